"""A story as one row of frames: what every format for other tools starts from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import AnimaticError
from ..scene import Scene, Story, Track
from ..video import check_rate

MOST_FRAMES = 100_000


@dataclass(frozen=True)
class SceneFrames:
    """A scene with one box a frame in every track; `first` is the number of its first frame in the story."""

    scene: Scene
    first: int
    count: int

    @property
    def tracks(self) -> tuple[Track, ...]:
        return self.scene.tracks


def in_frames(story: Story, fps: float) -> list[SceneFrames]:
    """The scenes of a story at `fps` frames a second; a still is one frame.

    Raises `AnimaticError` where the rate is out of range, or the story is longer than `MOST_FRAMES`.
    """
    check_rate(fps)
    parts = []
    first = 0
    for scene in story:
        count = max(1, round(scene.seconds * fps))
        if first + count > MOST_FRAMES:
            raise AnimaticError(f"the story has over {MOST_FRAMES} frames at {fps:g} a second; want fewer")
        parts.append(SceneFrames(scene.at(count), first, count))
        first += count
    return parts


def names_of_tracks(scene: Scene) -> Iterator[str]:
    """A name for each track that no other has: "2-red-ball", by its place and its words."""
    for i, track in enumerate(scene.tracks):
        letters = [c if c.isalnum() else "-" for c in track.phrase.lower()]
        words = "-".join(filter(None, "".join(letters).split("-")))
        yield f"{i}-{words[:40]}".rstrip("-")
