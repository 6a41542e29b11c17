"""What can be asked of the studio: one function per errand, of plain JSON values, the page's and everybody's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, validate_call

from ..backbones import PRESETS
from ..editing import Edit
from ..methods import METHODS, recipe_named
from ..planning.asking import Asking, Planned
from ..planning.chat import Paste
from ..planning.planners import Options, Planner, Rules, planner_named
from ..planning.template import template
from ..scene import Scene, Story, parse_story, story_json
from ..video import PALETTE
from .after import editing, finishing
from .fields import fields_of
from .log import Record, Refused
from .work import Studio, Wanted

FINISHES = {
    "interpolate:4": "four times as many frames",
    "upscale:2": "twice the size",
    "interpolate:4,upscale:2": "more frames, then larger",
    "motion:4": "more frames without a network, along the motion",
    "lanczos:2": "twice the size without a network",
}  # offered by the page; any other can be asked for
PAGE = 24  # records of the gallery at a time
SIDE = re.compile(r"(\d{1,5})x(\d{1,5})")

Kind = Literal["video", "image", "story"]
Seconds = Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(max_length=80)]
Value = bool | Annotated[int, Field(ge=-(2**53), le=2**53)] | float


class Api:
    """The errands. Each raises `AnimaticError` with one line on bad input; `Refused` says which kind of no it is."""

    def __init__(self, studio: Studio, planners: Mapping[str, Options] | None = None) -> None:
        """`planners` are language models by name and how they are asked, beside "rules" and "paste"."""
        self.studio = studio
        self.planners = planners or {}

    def options(self) -> dict[str, Any]:
        """What there is to choose from: models, methods, planners, limits."""
        loaded = self.studio.model(self.studio.models[0])
        size = {"width": loaded.geometry.width, "height": loaded.geometry.height, "frames": loaded.geometry.frames}
        about = {name: (recipe.__doc__ or "").splitlines()[0] for name, recipe in METHODS.items()}
        return {
            "models": {n: PRESETS[n].about if n in PRESETS else "a model folder" for n in self.studio.models},
            "methods": about,
            "planners": ["rules", *self.planners, "paste"],
            "finishes": FINISHES,
            "words": loaded.words,
            "size": {**size, "steps": loaded.habits.steps},
            "palette": PALETTE,
            "limits": asdict(self.studio.limits),
        }

    def plan(
        self, prompt: str, planner: Name = "rules", kind: Kind = "video", seconds: Seconds = 2.0, reply: str = ""
    ) -> dict[str, Any]:
        """A prompt to {"story": ..., "warnings": [...]}. `reply` is a language model's, for the paste planner."""
        self._short("prompt", prompt)
        return _told(self._planner(planner, kind, seconds, reply).plan(prompt))

    def chat(self, prompt: str, kind: Kind = "video") -> dict[str, Any]:
        """The words to give to a language model whose reply is pasted into `plan`: {"text": ...}."""
        self._short("prompt", prompt)
        return {"text": "\n\n".join(m["content"] for m in template(kind).messages(prompt, "json"))}

    def check(self, scene: dict[str, Any]) -> dict[str, Any]:
        """A Scene or Story as it is understood: {"story": ...}."""
        return {"story": json.loads(story_json(self._story(scene)))}

    def fields(self, model: Name = "mini", method: Name = "lvd") -> list[dict[str, Any]]:
        """The settings of a method on a model: path, kind, default, most, help."""
        return [asdict(f) for f in fields_of(recipe_named(method), self.studio.model(model))]

    def render(
        self,
        scene: dict[str, Any],
        model: Name = "mini",
        method: Name = "lvd",
        seed: Seed = 0,
        steps: Count | None = None,
        frames: Count | None = None,
        size: str = "",
        scheduler: Name = "",
        settings: dict[str, Value] | None = None,
        beside: list[Name] | None = None,
        heat: bool = False,
    ) -> dict[str, Any]:
        """Queue a render of a Scene or Story; returns its status at once, with its "id".

        `size` is WIDTHxHEIGHT; `settings` by the paths of `fields`; `beside` are methods to compare with; `heat` asks
        for attention maps.
        """
        limits = self.studio.limits
        sides = _size(size)
        for label, value, most in (
            ("steps", steps, limits.steps), ("frames", frames, limits.frames), ("beside", len(beside or ()),
            limits.beside), *(("size", side, limits.side) for side in sides or ()),
        ):  # fmt: skip
            if value is not None and value > most:
                raise Refused(f"{label} is {value}; at most {most} here")
        wanted = Wanted(
            self._story(scene), model, method, seed, steps, frames, sides, scheduler, settings or {},
            tuple(beside or ()), heat,
        )  # fmt: skip
        self.studio.check(wanted)
        return self.status(self.studio.submit("render", wanted.to_dict()).id)

    def finish(self, id: Name, then: Name, version: Annotated[int, Field(ge=0)] = 0) -> dict[str, Any]:
        """Queue the finishing of a job's video: `then` as on the command line, such as "interpolate:4,upscale:2"."""
        return self._after("finish", finishing(self.studio, self.studio.log.get(id), version, then))

    def edit(
        self,
        id: Name,
        swap: dict[Name, Name] | None = None,
        weight: dict[Name, float] | None = None,
        prompt: str = "",
        blend: bool = False,
    ) -> dict[str, Any]:
        """Queue a job's scene once more with other words: exchanged, of more or less weight, or a whole new prompt."""
        self._short("prompt", prompt)
        return self._after("edit", editing(self.studio.log.get(id), Edit(swap or {}, weight or {}, prompt, blend)))

    def _after(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        return self.status(self.studio.submit(action, request).id)

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

    def _planner(self, name: str, kind: Kind, seconds: float, reply: str) -> Planner:
        if name in self.planners:
            return planner_named(name, replace(self.planners[name], kind=kind, seconds=seconds))
        match name:
            case "rules":
                return Rules(kind, seconds)
            case "paste":
                return Asking(Paste(lambda: reply, show=lambda _: None), template(kind), attempts=1, seconds=seconds)
        raise Refused(f"unknown planner {name!r}; known here: {', '.join(['rules', *self.planners, 'paste'])}")

    def _story(self, data: dict[str, Any]) -> Story:
        story, limits = parse_story(data, "scene"), self.studio.limits
        _few("scenes", len(story), limits.scenes)
        for scene in story:
            _few("tracks", len(scene.tracks), limits.tracks)
            _few("key frames", scene.keys, limits.keys)
            for label, text in _texts(scene):
                self._short(label, text)
        return story

    def _short(self, label: str, text: str) -> None:
        if len(text) > self.studio.limits.letters:
            raise Refused(f"{label} has {len(text)} letters; at most {self.studio.limits.letters} here")


def call(api: Api, name: str, words: Mapping[str, Any]) -> Any:
    """One errand by name. Raises `AnimaticError` where the words are not those it takes."""
    try:
        return validate_call(config=ConfigDict(strict=True))(getattr(api, name))(**words)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        raise Refused(f"{name}: {place}: {first['msg'].removeprefix('Value error, ')}") from None


ERRANDS = ("options", "plan", "chat", "check", "fields", "render", "finish", "edit", "status", "cancel", "gallery")


def _told(planned: Planned) -> dict[str, Any]:
    return {"story": json.loads(story_json(planned.story)), "warnings": list(planned.warnings)}


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


def _texts(scene: Scene) -> list[tuple[str, str]]:
    fixed = ("prompt", "background", "negative", "reasoning")
    named = [text for track in scene.tracks for text in (track.phrase, track.prompt)]
    return [(label, getattr(scene, label)) for label in fixed] + [("phrase", text) for text in named]


def _few(label: str, count: int, most: int) -> None:
    if count > most:
        raise Refused(f"{count} {label}; at most {most} here")


def _size(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    match = SIDE.fullmatch(text)
    if not match:
        raise Refused(f"size is {text[:40]!r}; want WIDTHxHEIGHT, such as 64x64")
    return int(match[1]), int(match[2])
