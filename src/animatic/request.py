"""What a video is made with, whole. Every file carries it: the same video can be made again from it, or edited."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import asdict, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from .core.setting_values import Value
from .errors import AnimaticError
from .scene import Scene, Story, parse_story

_STRICT = ConfigDict(extra="forbid")


@dataclasses.dataclass(frozen=True)
class Edit:
    """What is to be other. `swap` words for others, `prompt` is a whole new one, `weight` is a factor by word.

    The prompt of a story is that of its scenes with bars between them. `blend`: only where the exchanged (or weighted)
    words are looked at may anything change.
    """

    swap: Mapping[str, str] = field(default_factory=dict)
    weight: Mapping[str, float] = field(default_factory=dict)
    prompt: str = ""
    blend: bool = False

    def __post_init__(self) -> None:
        for word, factor in self.weight.items():
            if not isfinite(factor):
                raise AnimaticError(f"weight of {word!r} is {factor}; want a finite number, such as 2 or 0.5")
        if not (self.swap or self.weight or self.prompt):
            raise AnimaticError("the edit changes nothing; want words to swap, weights or a new prompt")

    def of(self, scene: Scene) -> Scene:
        """The scene with its words exchanged, in prompt, background and names. Raises where a word is not there."""
        return self.of_story((scene,))[0]

    def of_story(self, story: Story) -> Story:
        """Every scene with its words exchanged. Raises where a word is in none of them.

        Under a whole new prompt the boxes stay of what it still names.
        """
        if self.prompt:
            prompts = [prompt.strip() for prompt in self.prompt.split("|")] if len(story) > 1 else [self.prompt]
            if len(prompts) != len(story):
                raise AnimaticError(
                    f"the new prompt has {len(prompts)} parts for {len(story)} scenes; want A | B | ..."
                )
            story = tuple(_renamed(scene, prompt) for scene, prompt in zip(story, prompts, strict=True))

        for old, new in self.swap.items():
            texts = [text for s in story for text in (s.prompt, s.background, *(t.phrase for t in s.tracks))]
            if not any(word_pattern(old).search(text) for text in texts):
                prompts = " | ".join(scene.prompt for scene in story)
                raise AnimaticError(f"word {old!r} is not in the prompt {prompts!r}")
            story = tuple(_swapped(scene, old, new) for scene in story)
        return story


def _renamed(scene: Scene, prompt: str) -> Scene:
    tracks = tuple(track for track in scene.tracks if word_pattern(track.phrase).search(prompt))
    return replace(scene, prompt=prompt, tracks=tracks, background="")


def _swapped(scene: Scene, old: str, new: str) -> Scene:
    def exchanged(text: str) -> str:
        return word_pattern(old).sub(lambda _: new, text)

    tracks = tuple(replace(t, phrase=exchanged(t.phrase), prompt=exchanged(t.prompt)) for t in scene.tracks)
    return replace(scene, prompt=exchanged(scene.prompt), background=exchanged(scene.background), tracks=tracks)


def word_pattern(words: str) -> re.Pattern[str]:
    """Matches whole words, whatever their case. Raises where there are none."""
    if not words.strip():
        raise AnimaticError("a word to change is empty; want a word of the prompt")
    return re.compile(rf"(?<!\w){re.escape(words.strip())}(?!\w)", re.IGNORECASE)


@dataclass(frozen=True, config=_STRICT)
class GenerationRequest:
    """All that decides a video but the versions of the libraries. Files carry one in which nothing is left open.

    `model` is a name, a folder or a hub id, `loras` are files, their scales and networks (see
    `backbones.lora.LoraRequest`). `settings` are those of the method that are not its own, by name (see
    `methods.settings`). `fps` are frames per second; None are those of the model, or of the scene's seconds where
    `frames` are given. `size` is (width, height) in pixels, before any enlargement of the file. `negative` are the
    model's own unwanted words; a scene's stand in the scene. `windowed` says that the story was made in windows,
    `overlap`, `transitions` and `longer_middle` how (see `timeline.WindowLayout`). `stages` are finishing stages (see
    `animatic finish`). `edits` are changes to the story, one after another; `inverted` is a digest of the video whose
    noise this was made from, "" where there is none.
    """

    story: Story
    model: str = "mini"
    loras: tuple[tuple[str, float, str], ...] = ()
    method: str = "none"
    settings: Mapping[str, Value] = field(default_factory=dict)
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    frames: int | None = None
    fps: float | None = None
    size: tuple[int, int] | None = None
    scheduler: str = ""
    negative: str | None = None
    windowed: bool = False
    overlap: float | None = None
    transitions: int | None = None
    longer_middle: int | None = None
    dtype: str = ""
    quantize: str = ""
    offload: bool = False
    save_memory: bool = False
    stages: str = ""
    edits: tuple[Edit, ...] = ()
    inverted: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)  # pyright: ignore[reportArgumentType] - pydantic's dataclass is one

    @staticmethod
    def of(info: Mapping[str, Any], source: str | Path) -> GenerationRequest:
        """The request that a file carries. Raises `AnimaticError` naming `source` where it carries none."""
        if "request" not in info:
            raise AnimaticError(f"{source}: carries no request; want a file that animatic wrote")
        try:
            return TypeAdapter(GenerationRequest).validate_python(info["request"])
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise AnimaticError(f"{source}: its request cannot be read ({place}: {first['msg']})") from None

    @staticmethod
    def before_requests(info: Mapping[str, Any], source: str | Path, frames: int) -> GenerationRequest:
        """What is known of a video of `frames` frames whose file was written when only a part was recorded."""
        if "scene" not in info and "story" not in info:
            raise AnimaticError(
                f"{source}: does not say what it was made from; say what it shows with --invert CAPTION"
            )
        windowed = "story" in info
        return GenerationRequest(
            parse_story(info["story" if windowed else "scene"], str(source)),
            str(info.get("model", "mini")).partition(" + ")[0],
            method=info.get("method", "none"),
            seed=info.get("seed", 0),
            steps=info.get("steps"),
            frames=None if windowed else frames,
            scheduler=info.get("scheduler", ""),
            windowed=windowed,
        )
