"""A story on one axis of time: which frames are whose, and the windows in which a model sees them.

A model sees `size` frames at a time. Windows of that size lie over the whole video, each with the prompt of its time:
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
from .transitions import Transition, check_crossfades, transitions_of

if TYPE_CHECKING:
    from .core.backbone import Geometry

PromptWeights = tuple[tuple[int, float], ...]  # scenes and their weights, which sum to 1


@dataclass(frozen=True)
class Window:
    """The frames from `first` on, and the weights of the scenes' prompts there."""

    first: int
    prompt_weights: PromptWeights


@dataclass(frozen=True)
class WindowPlan:
    """Windows of `size` over `frames`; `edges` are where scenes begin and end, from 0 to 1, one more than scenes.

    `cuts` are frames at which the picture changes: no window lies over one.
    """

    windows: tuple[Window, ...]
    size: int
    frames: int
    edges: tuple[float, ...]
    cuts: tuple[int, ...] = ()

    def times(self, count: int) -> WindowPlan:
        """The same with `count` frames for each: for models that take several together."""
        windows = tuple(replace(window, first=window.first * count) for window in self.windows)
        cuts = tuple(cut * count for cut in self.cuts)
        return replace(self, windows=windows, size=self.size * count, frames=self.frames * count, cuts=cuts)


@dataclass(frozen=True)
class WindowLayout:
    """How windows lie over a story.

    `overlap` is what neighbours have in common, as a fraction of a window (0 to less than 1). `transitions`: what
    joins two scenes: how many windows are given a mix of both prompts, or a text, see the module of that name. With
    `by_count` the number of scenes decides how long the video is, not their seconds (DiTCtrl, see `by_count`);
    `longer_middle` are further windows for each scene between others, which only that layout knows.
    """

    overlap: float = 0.5
    transitions: int | str = 1
    longer_middle: int = 0
    by_count: bool = False


BY_TIME = WindowLayout()


def by_count(scenes: int, size: int, overlap: int, transitions: int | Sequence[int], middle: int = 0) -> WindowPlan:
    """DiTCtrl's plan: a window a scene and `middle` more for each scene between others, `transitions` in between.

    `transitions` are the same between all scenes, or one for each join. Where they are all n,
    S = P + n (P - 1) + m (P - 2) windows, size + (S - 1) (size - overlap) frames. Scenes change half-way between the
    middles of their windows.
    """
    stride = _stride(size, overlap)
    counts = _at_each_join(transitions, scenes - 1)
    if scenes < 1 or min(counts, default=0) < 0 or middle < 0:
        raise AnimaticError(f"scenes {scenes}, transitions {transitions}, middle {middle}; want at least 1, 0 and 0")

    # The weights of each window: a ramp from the scene before, then the scene alone.
    weights: list[PromptWeights] = []
    last: list[int] = []  # of each scene, its last window alone
    for i in range(scenes):
        if i:
            for j in range(1, counts[i - 1] + 1):
                weight = j / (counts[i - 1] + 1)
                weights.append(((i - 1, 1 - weight), (i, weight)))
        is_between = 0 < i < scenes - 1
        alone = 1 + middle if is_between else 1
        weights += [((i, 1.0),)] * alone
        last.append(len(weights) - 1)
    windows = tuple(Window(k * stride, own) for k, own in enumerate(weights))
    frames = size + (len(weights) - 1) * stride

    # Scenes change half-way between the last window of one and the first of the next.
    edges = []
    for window, count in zip(last[:-1], counts, strict=True):
        following = window + count + 1
        centre = (window + following) / 2 * stride + size / 2
        edges.append(centre / frames)
    return WindowPlan(windows, size, frames, (0.0, *edges, 1.0))


def by_time(lengths: Sequence[int], size: int, overlap: int, transitions: int | Sequence[int]) -> WindowPlan:
    """Windows over scenes of so many frames each, `transitions` between all of them, or one number for each join.

    Words change from scene to scene as a ramp over the middles of `transitions` windows, no longer than the shorter
    scene. The last window begins early enough to end with the story; a story shorter than a window is made that long.
    """
    stride = _stride(size, overlap)
    for i, length in enumerate(lengths):
        if length < 1:
            raise AnimaticError(f"scene {i + 1} of the story has {length} frames; want at least 1")

    # A story shorter than a window is stretched to it.
    borders = [0, *accumulate(lengths)]
    total = borders[-1]
    frames = max(size, total)
    ends = [border * frames / total for border in borders]

    # A ramp of this length has so many windows' centres in it.
    ramps = [(count + 1) * stride for count in _at_each_join(transitions, len(lengths) - 1)]
    windows = []
    for first in [*range(0, frames - size, stride), frames - size]:
        weights = _prompt_weights(first + size / 2, ends, ramps)
        windows.append(Window(first, weights))
    return WindowPlan(tuple(windows), size, frames, tuple(end / frames for end in ends))


def between_cuts(lengths: Sequence[int], size: int, overlap: int, transitions: Sequence[Transition]) -> WindowPlan:
    """Windows over scenes of so many frames each, as `by_time` lays them, those between two cuts for themselves.

    What lies between two cuts is made as long as a window where it is shorter.
    """
    joins = [join.windows for join in transitions]
    ends = [i + 1 for i, count in enumerate(joins) if count is None] + [len(lengths)]
    windows: list[Window] = []
    edges = [0.0]
    starts = []
    frames = 0
    for first, stop in pairwise([0, *ends]):
        mixed = [count for count in joins[first : stop - 1] if count is not None]
        part = by_time(lengths[first:stop], size, overlap, mixed)

        # The part after those before it, its scenes by their numbers in the story.
        starts.append(frames)
        for window in part.windows:
            weights = tuple((first + scene, weight) for scene, weight in window.prompt_weights)
            windows.append(Window(frames + window.first, weights))
        edges += [frames + edge * part.frames for edge in part.edges[1:]]
        frames += part.frames
    return WindowPlan(tuple(windows), size, frames, tuple(edge / frames for edge in edges), tuple(starts[1:]))


def _at_each_join(transitions: int | Sequence[int], joins: int) -> Sequence[int]:
    """Numbers of mixed windows, one for each join of two scenes."""
    if isinstance(transitions, int):
        return [transitions] * joins
    if len(transitions) != joins:
        raise AnimaticError(f"transitions are {len(transitions)} for {joins} joins of scenes; want one for each")
    return transitions


def _prompt_weights(centre: float, ends: Sequence[float], ramps: Sequence[float]) -> PromptWeights:
    """The weights of the scenes' prompts for a window with this centre; scene i is between `ends[i]` and the next."""
    for i in range(1, len(ends) - 1):
        before = ends[i] - ends[i - 1]
        after = ends[i + 1] - ends[i]
        half = min(ramps[i - 1], before, after) / 2
        offset = centre - ends[i]
        if abs(offset) < half:
            weight = (offset + half) / (2 * half)
            return (i - 1, 1 - weight), (i, weight)

    # Away from borders the window shows one scene alone.
    scene = sum(centre >= end for end in ends[1:])
    scene = min(scene, len(ends) - 2)
    return ((scene, 1.0),)


def _stride(size: int, overlap: int) -> int:
    if not 0 <= overlap < size:
        raise AnimaticError(f"overlap is {overlap}; want 0 to {size - 1} frames, for windows of {size}")
    return size - overlap


@dataclass(frozen=True)
class Timeline:
    """A story on one axis of time, for controls: like a Scene whose tracks each belong to one of its scenes.

    A track is absent outside its own scene. `crossfades`: how many frames of the video each of the plan's cuts is
    dissolved over, 0 for none.
    """

    scenes: Story
    plan: WindowPlan
    crossfades: tuple[int, ...] = ()

    @property
    def prompt(self) -> str:
        return " | ".join(scene.prompt for scene in self.scenes)

    @property
    def tracks(self) -> tuple[Track, ...]:
        return tuple(track for scene in self.scenes for track in scene.tracks)

    def cuts(self, geometry: Geometry) -> list[int]:
        """Frames of the decoded video, before its crossfades, at which the picture changes."""
        return [geometry.pixel_frames(cut) for cut in self.plan.cuts]

    def part(self, track: int) -> tuple[int, Scene]:
        """(index, scene) of the scene that a track belongs to."""
        # Tracks are numbered through the scenes.
        ends = list(accumulate(len(scene.tracks) for scene in self.scenes))
        at = sum(track >= end for end in ends)
        return at, self.scenes[at]

    def at(self, frames: int, legacy: bool = False) -> Scene:
        """One scene with a box per frame."""
        borders = [round(edge * frames) for edge in self.plan.edges]
        tracks: list[Track] = []
        for scene, (first, last) in zip(self.scenes, pairwise(borders), strict=True):
            # A track is absent before and after its scene.
            before = (None,) * first
            after = (None,) * (frames - last)
            own = scene.at(max(1, last - first), legacy)
            for track in own.tracks:
                boxes = before + track.boxes[: last - first] + after
                tracks.append(replace(track, boxes=boxes))
        seconds = sum(scene.seconds for scene in self.scenes)
        return Scene(self.prompt, tuple(tracks), seconds=seconds)

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
        given = f"longer_middle is {layout.longer_middle}"
        raise AnimaticError(f"{given}, and scenes last their seconds here; want longer scenes")

    # Everything is counted in tokens: the latent frames that the model takes together.
    token = geometry.patch[0]
    height, width = geometry.height, geometry.width
    _, latent_frames, *_ = geometry.latent(geometry.frames, height, width)
    size = latent_frames // token
    overlap = min(round(layout.overlap * size), size - 1)  # a window of one frame, an image's, has no room for any
    stride = size - overlap
    transitions = transitions_of(layout.transitions, len(story) - 1)
    mixed = [join.windows for join in transitions if join.windows is not None]
    if layout.by_count:
        if len(mixed) < len(transitions):
            given = f"transitions is {layout.transitions!r}"
            raise AnimaticError(f"{given}, and this method counts windows; want numbers of mixed windows")
        windows = len(story) * (1 + layout.longer_middle) + sum(mixed)  # no fewer than there will be
        check_memory(windows * stride * token, height, width, latents=0)
        plan = by_count(len(story), size, overlap, mixed, layout.longer_middle)
        return Timeline(story, plan.times(token))

    for i, scene in enumerate(story):
        if scene.seconds == 0:
            raise AnimaticError(f"scene {i + 1} of the story lasts 0 seconds; want more than 0")

    # Ends are rounded, not lengths: rounding errors do not add up.
    rate = geometry.fps / geometry.vae_temporal_ratio / token
    ends = [round(seconds * rate) for seconds in accumulate(scene.seconds for scene in story)]
    lengths = [max(1, end - begin) for begin, end in pairwise([0, *ends])]

    # Windows of a length that no machine could show are not even listed.
    frames = geometry.pixel_frames(sum(lengths) * token)
    check_memory(frames, height, width, latents=0)
    plan = between_cuts(lengths, size, overlap, transitions)

    # A scene is shown where it has most of the weight in some window.
    for i, scene in enumerate(story):
        weights = [dict(window.prompt_weights).get(i, 0.0) for window in plan.windows]
        if max(weights) <= 0.5:
            window = f"{size / rate:.2g} s, each {stride / rate:.2g} s after the last"
            lasts = f"scene {i + 1} lasts {scene.seconds:g} s, too short to be shown"
            raise AnimaticError(f"{lasts}: the model sees {window}; want longer scenes")

    # A crossfade takes frames from both sides of its cut.
    crossfades = tuple(join.frames for join in transitions if join.windows is None)
    timeline = Timeline(story, plan.times(token), crossfades)
    check_crossfades(geometry.pixel_frames(timeline.plan.frames), timeline.cuts(geometry), crossfades)
    return timeline


def check_no_frames(frames: int | None) -> None:
    """Raise `AnimaticError` where frames are asked of a story, whose scenes last their seconds."""
    if frames is not None:
        raise AnimaticError(f"frames is {frames}; a story lasts the seconds of its scenes; leave it out")


def check_memory(frames: int, height: int, width: int, latents: int, free: int | None = None) -> None:
    """Raise where a video of this size needs more memory than is free (bytes; what the machine says, if not given).

    Counted are its pixels, once as floats and once as bytes, and eight copies of `latents` floats.
    """
    # Five bytes a number: a float and a byte.
    pixels = frames * height * width * 3
    needed = pixels * 5 + latents * 4 * 8
    free = psutil.virtual_memory().available if free is None else free
    if needed <= free:
        return
    needs = f"{frames} frames of {width}x{height} would take {needed / 2**30:.1f} GiB of memory"
    has = f"{free / 2**30:.1f} GiB are free"
    raise AnimaticError(f"{needs}, and {has}; want fewer or shorter scenes, or a smaller size")
