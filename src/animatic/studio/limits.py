"""What one request may ask for: its numbers, and what is checked against them before anything is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..scene import Story, parse_story
from .log import Refused

Amount = tuple[str, float | None, int]
"""What is requested, in words with a place for its number; the number; the most that there may be."""


@dataclass(frozen=True)
class Limits:
    """What one request may ask for.

    `waiting` is of all users together, `frames` and `seconds` are of each scene. `takes` are of one job. `project` and
    `lora` are bytes of a file that is sent; `loras` and `lora_bytes` are of all LoRAs that one visitor keeps, and
    `lora_scale` is the strength of one, up or down. `body` are bytes of a request, `values` what it holds, counted by
    its commas and brackets: the largest scene of the other limits has some 42,000. `reply` are letters of a reply that
    was pasted. The time of reading grows with each. `memory`: GiB that a job may take beside its model's weights; 0 is
    what is free.
    """

    waiting: int = 16
    frames: int = 64
    steps: int = 200
    side: int = 1024
    image_side: int = 4096
    scenes: int = 8
    tracks: int = 16
    keys: int = 64
    letters: int = 2000
    compare: int = 2
    takes: int = 16
    project: int = 256_000_000
    project_jobs: int = 48
    lora: int = 256_000_000
    loras: int = 16
    lora_bytes: int = 1_000_000_000
    lora_scale: float = 2.0
    body: int = 2_000_000
    values: int = 50_000
    reply: int = 30_000
    seconds: int = 60
    memory: float = 0.0

    def amount_of_letters(self, label: str, *texts: str) -> list[Amount]:
        """The lengths of texts, for `check_amounts`."""
        return [(f"{label} has {{}} letters", len(text), self.letters) for text in texts]


def check_amounts(amounts: Sequence[Amount]) -> None:
    """Raise `Refused` where one of them is over its most."""
    for text, number, most in amounts:
        if number is not None and number > most:
            raise Refused(f"{text.format(number)}; at most {most} here")


def value_count(body: bytes) -> int:
    """How many values a JSON text has at most: each stands after one of these marks, which texts may have besides."""
    return sum(body.count(mark) for mark in (b",", b"[", b"{"))


def story_within(data: dict[str, Any], limits: Limits) -> Story:
    """A Scene or Story from outside, within the limits. Raises `AnimaticError` where it is none, or larger."""
    story = parse_story(data, "scene")
    check_amounts([("{} scenes", len(story), limits.scenes)])
    for scene in story:
        check_amounts([("seconds is {:g}", scene.seconds, limits.seconds)])
        check_amounts([("{} tracks", len(scene.tracks), limits.tracks), ("{} key frames", scene.keys, limits.keys)])
        for label in ("prompt", "background", "negative", "reasoning"):
            check_amounts(limits.amount_of_letters(label, getattr(scene, label)))
        for track in scene.tracks:
            check_amounts(limits.amount_of_letters("phrase", track.phrase, track.prompt))
    return story
