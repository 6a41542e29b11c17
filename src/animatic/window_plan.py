"""Windows over a story: where each begins, and which scenes' prompts it is given.

A model sees `size` frames at a time. Windows of that size lie over the whole video, each with the prompt of its time:
one scene's, or near a border a mix of two (DiTCtrl, Cai et al. 2025). Frames here are the model's own, latent ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from .errors import AnimaticError
from .transitions import Transition

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
