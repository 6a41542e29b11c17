"""An edit of a story: words exchanged, given more or less weight, or a whole new prompt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import ClassVar

from pydantic import ConfigDict

from .errors import AnimaticError
from .scene import Scene, Story


@dataclass(frozen=True)
class Edit:
    """What changes: `swap` words for others, `weight` is a factor by word, `prompt` is a whole new prompt.

    The prompt of a story is that of its scenes with bars between them (A | B). With `blend` nothing may change but the
    regions that attend to the exchanged (or weighted) words. Raises `AnimaticError` where nothing changes.
    """

    swap: Mapping[str, str] = field(default_factory=dict)
    weight: Mapping[str, float] = field(default_factory=dict)
    prompt: str = ""
    blend: bool = False

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        for word, factor in self.weight.items():
            if not isfinite(factor):
                raise AnimaticError(f"weight of {word!r} is {factor}; want a finite number, such as 2 or 0.5")
        for old, new in self.swap.items():
            if not isinstance(new, str) or not new.strip():
                raise AnimaticError(f"{old!r} is swapped for {new!r}; want a word")
        if not (self.swap or self.weight or self.prompt):
            raise AnimaticError("the edit changes nothing; want words to swap, weights or a new prompt")

    def of(self, scene: Scene) -> Scene:
        """The edited scene: words are exchanged in prompt, background and phrases. Raises where a word is missing."""
        return self.of_story((scene,))[0]

    def of_story(self, story: Story) -> Story:
        """Every scene edited. Raises `AnimaticError` where a word is in none of them.

        Under a whole new prompt a box stays if the prompt still names its object.
        """
        if self.prompt:
            prompts = [prompt.strip() for prompt in self.prompt.split("|")] if len(story) > 1 else [self.prompt]
            if len(prompts) != len(story):
                raise AnimaticError(
                    f"the new prompt has {len(prompts)} parts for {len(story)} scenes; want A | B | ..."
                )
            story = tuple(_with_prompt(scene, prompt) for scene, prompt in zip(story, prompts, strict=True))

        for old, new in self.swap.items():
            texts = [text for s in story for text in (s.prompt, s.background, *(t.phrase for t in s.tracks))]
            if not any(word_pattern(old).search(text) for text in texts):
                prompts = " | ".join(scene.prompt for scene in story)
                raise AnimaticError(f"word {old!r} is not in the prompt {prompts!r}")
            story = tuple(_swapped(scene, old, new) for scene in story)
        return story


def word_pattern(words: str) -> re.Pattern[str]:
    """Matches whole words in any case. Raises `AnimaticError` where there are none."""
    if not words.strip():
        raise AnimaticError("a word to change is empty; want a word of the prompt")
    return re.compile(rf"(?<!\w){re.escape(words.strip())}(?!\w)", re.IGNORECASE)


def _with_prompt(scene: Scene, prompt: str) -> Scene:
    tracks = tuple(track for track in scene.tracks if word_pattern(track.phrase).search(prompt))
    return replace(scene, prompt=prompt, tracks=tracks, background="")


def _swapped(scene: Scene, old: str, new: str) -> Scene:
    def exchanged(text: str) -> str:
        # a function, because backslashes in a replacement text would be read as groups
        return word_pattern(old).sub(lambda _: new, text)

    tracks = tuple(replace(t, phrase=exchanged(t.phrase), prompt=exchanged(t.prompt)) for t in scene.tracks)
    return replace(scene, prompt=exchanged(scene.prompt), background=exchanged(scene.background), tracks=tracks)
