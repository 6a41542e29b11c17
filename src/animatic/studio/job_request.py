"""What a job of the studio is to do, as its record holds it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..backbones.components import Components
from ..checking import check
from ..errors import AnimaticError
from ..request import FinishingOptions, GenerationRequest
from ..scene import Story, story_json
from .variation import Variation


@dataclass(frozen=True)
class JobRequest:
    """What a job is to do.

    `generation` is the request of its video; `compare` are further methods for the same noise, `attention` asks for
    attention maps of the first take. `source` is (job, version) of the video that is to be finished. `seeds` are those
    of its takes, () the request's own alone; `vary` are values that one setting takes in a row.
    """

    generation: GenerationRequest
    compare: tuple[str, ...] = ()
    attention: bool = False
    source: tuple[str, int] | None = None
    seeds: tuple[int, ...] = ()
    vary: Variation | None = None

    @property
    def requests(self) -> list[tuple[str, GenerationRequest]]:
        """What is compared: ("NAME VALUE", request) of each value of the row, else ("", the request); other methods.

        Settings are the first method's.
        """
        first = self.generation
        compared = [("", first)]
        if self.vary:
            compared = [(self.vary.label(value), self.vary.applied(first, value)) for value in self.vary.values]
        others = [name for name in dict.fromkeys(self.compare) if name != first.method]
        return [*compared, *(("", replace(first, method=name, settings={})) for name in others)]

    @property
    def takes(self) -> int:
        """How many videos a render of it makes."""
        others = {name for name in self.compare if name != self.generation.method}
        compared = len(self.vary.values) if self.vary else 1
        return (compared + len(others)) * max(1, len(self.seeds))

    @property
    def story(self) -> Story:
        """The story that is shown: that of the last edit."""
        return self.generation.edited_story

    def check(self, model: Components, image: Path | None = None) -> list[str]:
        """Raise where one of its methods cannot do it on this model; returns what will be without effect.

        `image` is the file of the image that its video begins with.
        """
        if self.attention and not any(scene.tracks for scene in self.story):
            raise AnimaticError("attention maps are of objects, and the scene has none; want a box, or no maps")
        notes = [note for _, request in self.requests for note in check(request, model, image=image)]
        return list(dict.fromkeys(notes))

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it, with the story that is shown; `of` reads it."""
        scenes = [json.loads(story_json((scene,))) for scene in self.story]
        source = list(self.source) if self.source else None
        return {
            "story": {"version": 1, "scenes": scenes},
            "generation": self.generation.to_dict(),
            "compare": list(self.compare),
            "attention": self.attention,
            "source": source,
            "seeds": list(self.seeds),
            "vary": self.vary.to_dict() if self.vary else None,
        }

    @staticmethod
    def of(data: Mapping[str, Any]) -> JobRequest:
        """What `to_dict` wrote. The story in it is for readers of the log: the request has it, before its edits."""
        generation = GenerationRequest.of_dict(data["generation"], "the job")
        source = None
        if data["source"]:
            job, version = data["source"]
            source = (job, version)

        # records of before there were takes have neither
        seeds = tuple(data.get("seeds", ()))
        vary = Variation.of(data["vary"]) if data.get("vary") else None
        return JobRequest(generation, tuple(data["compare"]), data["attention"], source, seeds, vary)


def present_form(data: Mapping[str, Any]) -> dict[str, Any]:
    """A job's request as it is written now. In version 0.1 its fields were not grouped."""
    if "generation" in data:
        return dict(data)

    # what is to be generated
    names = ("model", "method", "settings", "seed", "steps", "frames", "size", "scheduler")
    flat = {name: data[name] for name in names if name in data}
    after = data.get("after") or {}
    story = after.get("source", data["story"])
    generation = GenerationRequest.of_dict({**flat, "story": story, "edits": after.get("edits", [])}, "the job")
    windows = replace(generation.windows, enabled=None)
    finishing = FinishingOptions(after.get("then", ""))
    generation = replace(generation, windows=windows, finishing=finishing)

    # the studio's own fields; "beside" and "heat" were their names
    compare = tuple(data.get("beside", ()))
    attention = bool(data.get("heat"))
    source = None
    if "then" in after:
        source = (after["of"], after["version"])
    return JobRequest(generation, compare, attention, source).to_dict()
