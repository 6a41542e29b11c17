"""A story on one axis of time: which frames are whose, and the windows in which a model sees them.

A model sees `size` frames at a time. Windows of that size lie over the whole video, each told the words of its time:
one scene's, or near a border a mix of two (DiTCtrl, Cai et al. 2025). Frames here are the model's own, latent ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np
import psutil

from .errors import AnimaticError
from .scene import Scene, Story, Track

if TYPE_CHECKING:
    from .core.backbone import Geometry

PromptWeights = tuple[tuple[int, float], ...]  # scenes and their weights, which sum to 1


@dataclass(frozen=True)
class Window:
    """The frames from `first` on, and the words they are told."""

    first: int
    prompt_weights: PromptWeights


@dataclass(frozen=True)
class WindowPlan:
    """Windows of `size` over `frames`; `edges` are where scenes begin and end, from 0 to 1, one more than scenes."""

    windows: tuple[Window, ...]
    size: int
    frames: int
    edges: tuple[float, ...]

    def times(self, count: int) -> WindowPlan:
        """The same with `count` frames for each: for models that take several together."""
        windows = tuple(replace(w, first=w.first * count) for w in self.windows)
        return replace(self, windows=windows, size=self.size * count, frames=self.frames * count)


@dataclass(frozen=True)
class WindowLayout:
    """How windows lie over a story.

    `overlap` is what neighbours have in common, as a fraction of a window (0 to less than 1). `transitions`: how many
    windows between two scenes are given a mix of both prompts. With `by_count` the number of scenes decides how long
    the video is, not their seconds (DiTCtrl, see `by_count`); `longer_middle` are further windows for each scene
    between others, which only that layout knows.
    """

    overlap: float = 0.5
    transitions: int = 1
    longer_middle: int = 0
    by_count: bool = False


BY_TIME = WindowLayout()


def by_count(scenes: int, size: int, overlap: int, transitions: int, middle: int = 0) -> WindowPlan:
    """DiTCtrl's plan: a window a scene and `middle` more for each scene between others, `transitions` in between.

    S = P + n (P - 1) + m (P - 2) windows, size + (S - 1) (size - overlap) frames. Scenes change half-way between the
    middles of their windows.
    """
    stride = _stride(size, overlap)
    if scenes < 1 or transitions < 0 or middle < 0:
        raise AnimaticError(f"scenes {scenes}, transitions {transitions}, middle {middle}; want at least 1, 0 and 0")
    parts: list[PromptWeights] = []
    for i in range(scenes):
        if i:
            weights = (j / (transitions + 1) for j in range(1, transitions + 1))
            parts += [((i - 1, 1 - w), (i, w)) for w in weights]
        parts += [((i, 1.0),)] * (1 + middle * (0 < i < scenes - 1))
    frames = size + (len(parts) - 1) * stride
    last = [max(k for k, p in enumerate(parts) if p == ((i, 1.0),)) for i in range(scenes)]
    edges = [((k + (k + transitions + 1)) / 2 * stride + size / 2) / frames for k in last[:-1]]
    windows = tuple(Window(k * stride, p) for k, p in enumerate(parts))
    return WindowPlan(windows, size, frames, (0.0, *edges, 1.0))


def by_time(lengths: Sequence[int], size: int, overlap: int, transitions: int) -> WindowPlan:
    """Windows over scenes of so many frames each.

    Words change from scene to scene as a ramp over the middles of `transitions` windows, no longer than the shorter
    scene. The last window begins early enough to end with the story; a story shorter than a window is made that long.
    """
    stride = _stride(size, overlap)
    for i, length in enumerate(lengths):
        if length < 1:
            raise AnimaticError(f"scene {i + 1} of the story has {length} frames; want at least 1")
    borders = [0, *accumulate(lengths)]
    frames = max(size, borders[-1])
    firsts = [*range(0, frames - size, stride), frames - size]
    ends = [b * frames / borders[-1] for b in borders]
    windows = tuple(Window(first, _words(first + size / 2, ends, (transitions + 1) * stride)) for first in firsts)
    return WindowPlan(windows, size, frames, tuple(e / frames for e in ends))


def _words(at: float, ends: Sequence[float], ramp: float) -> PromptWeights:
    """Which scenes' words a window whose middle is `at` is told."""
    for i in range(1, len(ends) - 1):
        half = min(ramp, ends[i] - ends[i - 1], ends[i + 1] - ends[i]) / 2
        if abs(at - ends[i]) < half:
            weight = (at - ends[i] + half) / (2 * half)
            return (i - 1, 1 - weight), (i, weight)
    return ((min(sum(at >= e for e in ends[1:]), len(ends) - 2), 1.0),)


def _stride(size: int, overlap: int) -> int:
    if not 0 <= overlap < size:
        raise AnimaticError(f"overlap is {overlap}; want 0 to {size - 1} frames, for windows of {size}")
    return size - overlap


@dataclass(frozen=True)
class Timeline:
    """A story as one take, for controls: like a Scene whose things each belong to one of its parts.

    `edges` are the parts' beginnings and ends, from 0 to 1. A thing is absent outside its own part.
    """

    scenes: Story
    plan: WindowPlan

    @property
    def prompt(self) -> str:
        return " | ".join(scene.prompt for scene in self.scenes)

    @property
    def tracks(self) -> tuple[Track, ...]:
        return tuple(track for scene in self.scenes for track in scene.tracks)

    def part(self, track: int) -> tuple[int, Scene]:
        """The part that a thing belongs to, and its scene."""
        ends = list(accumulate(len(scene.tracks) for scene in self.scenes))
        at = sum(track >= end for end in ends)
        return at, self.scenes[at]

    def at(self, frames: int, legacy: bool = False) -> Scene:
        """One scene with a box per frame."""
        borders = [round(edge * frames) for edge in self.plan.edges]
        tracks: list[Track] = []
        for scene, (first, last) in zip(self.scenes, pairwise(borders), strict=True):
            for track in scene.at(max(1, last - first), legacy).tracks:
                boxes = (None,) * first + track.boxes[: last - first] + (None,) * (frames - last)
                tracks.append(replace(track, boxes=boxes))
        return Scene(self.prompt, tuple(tracks), seconds=sum(scene.seconds for scene in self.scenes))

    def masks(self, frames: int, height: int, width: int, legacy: bool = False) -> np.ndarray:
        """Cells inside each box: bool `[track, frame, height, width]`, all False where absent."""
        return self.at(frames, legacy).masks(frames, height, width)


def timeline_of(story: Story, geometry: Geometry, layout: WindowLayout = BY_TIME) -> Timeline:
    """A story laid out for a model: by its scenes' seconds, to the nearest frame of the latents, or by their number.

    Raises `AnimaticError` where a scene would not be shown, or the video would not fit into memory.
    """
    if not story:
        raise AnimaticError("the story has no scenes; want at least one")
    if not 0 <= layout.overlap < 1:
        raise AnimaticError(f"overlap is {layout.overlap}; want a fraction of the window, from 0 to less than 1")
    if layout.longer_middle and not layout.by_count:
        raise AnimaticError(
            f"longer_middle is {layout.longer_middle}, and scenes last their seconds here; want longer scenes"
        )
    token = geometry.patch[0]  # frames of the latents that the model takes together
    size = geometry.latent(geometry.frames, geometry.height, geometry.width)[1] // token
    overlap = round(layout.overlap * size)
    if layout.by_count:
        windows = len(story) * (1 + layout.transitions + layout.longer_middle)  # no fewer than there will be
        check_memory(windows * (size - overlap) * token, geometry.height, geometry.width, latents=0)
        return Timeline(
            story, by_count(len(story), size, overlap, layout.transitions, layout.longer_middle).times(token)
        )

    for i, scene in enumerate(story):
        if scene.seconds == 0:
            raise AnimaticError(f"scene {i + 1} of the story lasts 0 seconds; want more than 0")
    rate = geometry.fps / geometry.vae_temporal_ratio / token
    ends = [round(seconds * rate) for seconds in accumulate(scene.seconds for scene in story)]
    lengths = [max(1, b - a) for a, b in pairwise([0, *ends])]

    # windows of a length that no machine could show are not even listed
    check_memory(geometry.pixel_frames(sum(lengths) * token), geometry.height, geometry.width, latents=0)
    plan = by_time(lengths, size, overlap, layout.transitions)
    for i, scene in enumerate(story):
        if max(dict(window.prompt_weights).get(i, 0.0) for window in plan.windows) <= 0.5:
            seen = f"{size / rate:.2g} s, each {(size - overlap) / rate:.2g} s after the last"
            told_of = f"scene {i + 1} lasts {scene.seconds:g} s, too short to be told"
            raise AnimaticError(f"{told_of}: the model sees {seen}; want longer scenes")
    return Timeline(story, plan.times(token))


def check_no_frames(frames: int | None) -> None:
    """Raise `AnimaticError` where frames are asked of a story, whose scenes last their seconds."""
    if frames is not None:
        raise AnimaticError(f"frames is {frames}; a story is told how long it lasts by its seconds")


def check_memory(frames: int, height: int, width: int, latents: int, free: int | None = None) -> None:
    """Raise where a video of this size needs more memory than is free (bytes; what the machine says, if not given).

    Counted are its pixels, once as floats and once as bytes, and eight copies of `latents` floats.
    """
    needed = frames * height * width * 3 * 5 + latents * 4 * 8
    free = psutil.virtual_memory().available if free is None else free
    if needed > free:
        raise AnimaticError(
            f"{frames} frames of {width}x{height} would take {needed / 2**30:.1f} GiB of memory, and "
            f"{free / 2**30:.1f} GiB are free; want fewer or shorter scenes, or a smaller size"
        )
