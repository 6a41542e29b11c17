"""What can be asked of the studio: one function per errand, of plain JSON values, the page's and everybody's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, validate_call

from ..backbones import PRESETS
from ..editing import Edit
from ..finishing.checks import planned_shapes, resolved
from ..finishing.stage import NetworkStage, Shape
from ..finishing.stages import source_model_of, stages_of
from ..methods import METHODS, recipe_named
from ..methods.settings import settings_of
from ..planning.chat import Paste
from ..planning.language_model import LanguageModelPlanner
from ..planning.planners import Planner, PlannerOptions, planner_named
from ..planning.template import load_template
from ..scene import Scene, Story, parse_story, story_json
from ..video import PALETTE, parse_size
from .jobs import Wanted
from .log import DONE, Record, Refused
from .work import Studio

FINISHES = {
    "interpolate:4": "four times as many frames",
    "upscale:2": "twice the size",
    "interpolate:4,upscale:2": "more frames, then larger",
    "motion:4": "more frames without a network, along the motion",
    "lanczos:2": "twice the size without a network",
}  # offered by the page; any other can be asked for
PAGE = 24  # records of the gallery at a time

Kind = Literal["video", "image", "story"]
Seconds = Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(max_length=80)]
Value = bool | Annotated[int, Field(ge=-(2**53), le=2**53)] | float | Annotated[str, Field(max_length=2000)] | None


class Api:
    """The errands. Each raises `AnimaticError` with one line on bad input; `Refused` says which kind of no it is."""

    def __init__(self, studio: Studio, planners: Mapping[str, PlannerOptions] | None = None) -> None:
        """`planners` are language models by name and how they are asked, beside "rules" and "paste"."""
        self.studio, self.limits = studio, studio.limits
        self.planners = {"rules": PlannerOptions(), **(planners or {})}

    def options(self) -> dict[str, Any]:
        """What there is to choose from: models, methods, planners, limits."""
        loaded = self.studio.model(self.studio.models[0])
        geometry = loaded.geometry
        size = {"width": geometry.width, "height": geometry.height, "frames": geometry.frames}
        return {
            "models": {n: PRESETS[n].about if n in PRESETS else "a model folder" for n in self.studio.models},
            "methods": {name: (recipe.__doc__ or "").splitlines()[0] for name, recipe in METHODS.items()},
            "planners": [*self.planners, "paste"],
            "finishes": FINISHES,
            "words": loaded.words,
            "size": {**size, "steps": loaded.defaults.steps},
            "palette": PALETTE,
            "limits": asdict(self.limits),
        }

    def plan(
        self, prompt: str, planner: Name = "rules", kind: Kind = "video", seconds: Seconds = 2.0, reply: str = ""
    ) -> dict[str, Any]:
        """A prompt to {"story": ..., "warnings": [...], "accounts": [...]}: of planner rules, each word's role.

        `reply` is a language model's, for the paste planner.
        """
        _within(self._letters("prompt", prompt))
        asker: Planner
        if planner == "paste":
            asker = LanguageModelPlanner(
                Paste(lambda: reply, show=lambda _: None), load_template(kind), attempts=1, seconds=seconds
            )
        elif planner in self.planners:
            asker = planner_named(planner, replace(self.planners[planner], kind=kind, seconds=seconds))
        else:
            raise Refused(f"unknown planner {planner!r}; known here: {', '.join([*self.planners, 'paste'])}")
        made = asker.plan(prompt)
        accounts = [{"prompt": each.prompt, "words": each.to_list()} for each in made.accounts]
        return {
            "story": json.loads(story_json(made.story)), "warnings": list(made.warnings), "accounts": accounts,
        }  # fmt: skip

    def chat(self, prompt: str, kind: Kind = "video") -> dict[str, Any]:
        """The words to give to a language model whose reply is pasted into `plan`: {"text": ...}."""
        _within(self._letters("prompt", prompt))
        return {"text": "\n\n".join(m["content"] for m in load_template(kind).messages(prompt, "json"))}

    def check(self, scene: dict[str, Any]) -> dict[str, Any]:
        """A Scene or Story as it is understood: {"story": ...}."""
        return {"story": json.loads(story_json(self._story(scene)))}

    def fields(self, model: Name = "mini", method: Name = "lvd") -> list[dict[str, Any]]:
        """The settings of a method on a model: path, kind, default, most, choices, range, help."""
        return [each.to_dict() for each in settings_of(recipe_named(method), self.studio.model(model)).values()]

    def render(
        self,
        scene: dict[str, Any],
        model: Name = "mini",
        method: Name = "",
        seed: Seed = 0,
        steps: Count | None = None,
        frames: Count | None = None,
        size: str = "",
        scheduler: Name = "",
        settings: dict[str, Value] | None = None,
        beside: list[Name] | None = None,
        heat: bool = False,
    ) -> dict[str, Any]:
        """Queue a render of a Scene or Story, in one take; returns its status at once, with its "id".

        The frames are those of `animatic render` with the same words. `method` "" is lvd, or ditctrl+lvd for what is
        made in windows: several scenes, which last their `seconds`, or a long one without `frames`. `size` is
        WIDTHxHEIGHT; `settings` by the paths of `fields`; `beside` are methods to compare with; `heat` asks for
        attention maps.
        """
        sides, others, limits = parse_size(size), tuple(beside or ()), self.limits
        asked = [("steps is {}", steps, limits.steps), ("frames is {}", frames, limits.frames)]
        asked += [("size is {}", side, limits.side) for side in sides or ()]
        _within([*asked, ("beside is {}", len(others), limits.beside)])
        story, values = self._story(scene), settings or {}
        wanted = Wanted(story, model, method, seed, steps, frames, sides, scheduler, values, others, heat)
        if not method:
            seen_at_once = isinstance(wanted.laid_out(self.studio.model(model)), Scene)
            wanted = replace(wanted, method="lvd" if seen_at_once else "ditctrl+lvd")
        self.studio.check(wanted)
        return self._queued("render", wanted)

    def finish(self, id: Name, then: Name, version: Annotated[int, Field(ge=0)] = 0) -> dict[str, Any]:
        """Queue the finishing of a job's video: `then` as on the command line, such as "interpolate:4,upscale:2"."""
        record, stages, limits = self.studio.log.get(id), stages_of(then), self.limits
        if record.state != DONE or version >= len(record.files):
            raise Refused(f"job {id} is {record.state} and has {len(record.files)} videos; want one that is done")
        for name, stage in stages:
            if isinstance(stage, NetworkStage) and stage.model:
                self.studio.known(stage.model, f"{name}: ")
        video = self.studio.log.video(id, version)
        for shape in planned_shapes(Shape.of(video), resolved(stages, source_model_of(video))):
            if max(shape.width, shape.height) > limits.side or shape.frames > 8 * limits.frames:
                size = f"{shape.frames} frames of {shape.width}x{shape.height}"
                raise Refused(f"that makes {size}; at most {8 * limits.frames} of {limits.side} here")
        wanted = Wanted.of(record.request)
        method = wanted.method if wanted.after else record.files[version]["method"]
        return self._queued("finish", replace(wanted, method=method), {"of": id, "version": version, "then": then})

    def edit(
        self,
        id: Name,
        swap: dict[Name, Name] | None = None,
        weight: dict[Name, float] | None = None,
        prompt: str = "",
        blend: bool = False,
    ) -> dict[str, Any]:
        """Queue a job's story once more with other words: exchanged, of more or less weight, or a whole new prompt.

        Of a story the new prompt is that of its scenes with bars between them: A | B.
        """
        _within(self._letters("prompt", prompt))
        edit, request = Edit(swap or {}, weight or {}, prompt, blend), self._made(id).request
        wanted, before = Wanted.of(request), request["after"] or {}
        told = {
            "of": id,
            "source": before.get("source", request["story"]),
            "edits": [*before.get("edits", ()), asdict(edit)],
        }
        return self._queued("edit", replace(wanted, story=edit.of_story(wanted.story)), told)

    def _made(self, id: str) -> Record:
        """The job that made what a job finished, or the job itself."""
        record = self.studio.log.get(id)
        while record.action == "finish":
            record = self.studio.log.get(record.request["after"]["of"])
        return record

    def _queued(self, action: str, wanted: Wanted, after: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What is done to a job that was made is asked for in the words of that job, but for what was beside it."""
        if after:
            wanted = replace(wanted, beside=(), heat=False, after=after)
        return self.status(self.studio.submit(action, wanted.to_dict()).id)

    def status(self, id: Name) -> dict[str, Any]:
        """A job's state: waiting (place), running (done, count, rest in seconds), done (files), failed, cancelled."""
        return _with_links(self.studio.status(id))

    def cancel(self, id: Name) -> dict[str, Any]:
        """Stop a job; returns its status."""
        return _with_links(self.studio.cancel(id))

    def gallery(self, search: str = "", first: Annotated[int, Field(ge=0)] = 0) -> dict[str, Any]:
        """Jobs, newest first, whose prompt, method, model or state hold every word of `search`."""
        found = [r for r in reversed(self.studio.log.all()) if _holds(r, search.lower().split())]
        return {"count": len(found), "jobs": [_with_links(asdict(r)) for r in found[first : first + PAGE]]}

    def _story(self, data: dict[str, Any]) -> Story:
        story, limits = parse_story(data, "scene"), self.limits
        _within([("{} scenes", len(story), limits.scenes)])
        for scene in story:
            _within([("seconds is {:g}", scene.seconds, limits.seconds)])
            _within([("{} tracks", len(scene.tracks), limits.tracks), ("{} key frames", scene.keys, limits.keys)])
            for label in ("prompt", "background", "negative", "reasoning"):
                _within(self._letters(label, getattr(scene, label)))
            for track in scene.tracks:
                _within(self._letters("phrase", track.phrase, track.prompt))
        return story

    def _letters(self, label: str, *texts: str) -> list[Asked]:
        return [(f"{label} has {{}} letters", len(text), self.limits.letters) for text in texts]


Asked = tuple[str, float | None, int]
"""What is asked for, in words with a place for its number; the number; the most that there may be."""


def _within(asked: Sequence[Asked]) -> None:
    for told, number, most in asked:
        if number is not None and number > most:
            raise Refused(f"{told.format(number)}; at most {most} here")


def call(api: Api, name: str, words: Mapping[str, Any]) -> Any:
    """One errand by name. Raises `AnimaticError` where there is none, or the words are not those it takes."""
    if name not in ERRANDS:
        raise Refused(f"there is no errand {name[:40]!r}; known: {', '.join(ERRANDS)}", 404)
    try:
        return validate_call(config=ConfigDict(strict=True))(getattr(api, name))(**words)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        raise Refused(f"{name}: {place}: {first['msg'].removeprefix('Value error, ')}") from None


ERRANDS = ("options", "plan", "chat", "check", "fields", "render", "finish", "edit", "status", "cancel", "gallery")


def _with_links(told: dict[str, Any]) -> dict[str, Any]:
    """Files as links; a preview's too."""
    told["files"] = [
        {k: v if k == "method" else f"/made/{told['id']}/{v}" for k, v in version.items()} for version in told["files"]
    ]
    return told


def _holds(record: Record, words: Sequence[str]) -> bool:
    request = record.request
    text = f"{record.prompt} {request['model']} {request['method']} {record.state} {record.id}".lower()
    return all(word in text for word in words)
