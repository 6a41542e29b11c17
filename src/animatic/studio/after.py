"""What can be done to a video that was made: finish it, or make it again with other words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..cascade.stage import Networked, Shape
from ..cascade.stages import finish, planned, said, stages_of
from ..controls.watching import Progress, Stop, Stopped
from ..editing import Edit, render_edit
from ..methods import recipe_named
from ..scene import parse_story, save_story, story_json
from ..video import Video
from .fields import tuned
from .log import DONE, Record, Refused
from .work import Job, Limits, Studio, Wanted, kept

AFTER = "after"  # key of a request: what is to be done; the others are those of the render it is done to


def finishing(studio: Studio, record: Record, version: int, then: str) -> dict[str, Any]:
    """A request to take a version of a job through stages. Raises where that cannot be done, or is too much."""
    if record.state != DONE or not version < len(record.files):
        raise Refused(f"job {record.id} is {record.state} and has {len(record.files)} videos; want one that is done")
    stages = stages_of(then)
    for name, stage in stages:
        if isinstance(stage, Networked) and stage.model not in ("", *studio.models):
            raise Refused(f"{name}: unknown model {stage.model[:60]!r}; known here: {', '.join(studio.models)}")
    _small(planned(Shape.of(_video(studio, record.id, version)), stages), studio.limits)
    method = record.files[version]["method"]
    return _request(record, method) | {AFTER: {"of": record.id, "version": version, "then": then}}


def editing(record: Record, edit: Edit) -> dict[str, Any]:
    """A request to make a job's scene again with other words; its story is what it will be."""
    scene, *more = parse_story(record.request["story"])
    if more:
        raise Refused(f"job {record.id} shows {len(more) + 1} scenes; want one, to be edited")
    told = {"of": record.id, "source": record.request["story"], "edit": asdict(edit)}
    edited = json.loads(story_json((edit.of(scene),)))
    scenes = {"version": 1, "scenes": edited.get("scenes", [edited])}
    return _request(record, record.request["method"]) | {"story": scenes, AFTER: told}


def finish_made(studio: Studio, job: Job) -> list[dict[str, str]]:
    """Take a video through its stages."""
    request, told = job.record.request, job.record.request[AFTER]
    video = _video(studio, told["of"], told["version"])
    save_story(parse_story(request["story"]), job.folder / "story.json")

    def tick(done: int, count: int) -> None:
        if job.stop.is_set():
            raise Stopped
        job.tick(done, count)

    made = finish(video, stages_of(told["then"]), said(video, "", request["seed"], tick=tick))
    return [kept(job, made, "1-finished", f"{request['method']}, then {told['then']}")]


def edit_made(studio: Studio, job: Job) -> list[dict[str, str]]:
    """Make the scene again as edited and as it was, from the same noise."""
    request = dict(job.record.request)
    told = request.pop(AFTER)
    wanted, model = Wanted.of(request), studio.model(request["model"])
    (scene,) = parse_story(told["source"])
    save_story(wanted.story, job.folder / "story.json")
    before, after = render_edit(
        scene, Edit(**told["edit"]), model,
        tuned(recipe_named(wanted.method), wanted.settings, model, wanted.method), wanted.seed, steps=wanted.steps,
        frames=wanted.frames, size=wanted.size, scheduler=wanted.scheduler,
        watch=[Stop(job.stop.is_set), Progress(job.tick)],
    )  # fmt: skip
    return [kept(job, after, "1-edited", "edited"), kept(job, before, "2-before", "before")]


def _request(record: Record, method: str) -> dict[str, Any]:
    plain = {key: value for key, value in record.request.items() if key != AFTER}
    return {**plain, "beside": (), "heat": False, "method": method if AFTER not in record.request else plain["method"]}


def _video(studio: Studio, name: str, version: int) -> Video:
    files: Mapping[str, str] = studio.log.get(name).files[version]
    return Video.load(studio.log.file(name, files["mkv"]))


def _small(shapes: list[Shape], limits: Limits) -> None:
    for shape in shapes:
        if max(shape.width, shape.height) > limits.side or shape.frames > 8 * limits.frames:
            size = f"{shape.frames} frames of {shape.width}x{shape.height}"
            raise Refused(f"that makes {size}; at most {8 * limits.frames} of {limits.side} here")
