"""A story on one axis of time: which frames are whose, and the windows (`window_plan`) in which a model sees them.

Frames here are the model's own, latent ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np

from .errors import AnimaticError
from .free_memory import free_memory
from .scene import Scene, Story, Track
from .transitions import check_crossfades, transitions_of
from .window_plan import WindowPlan, between_cuts, by_count

if TYPE_CHECKING:
    from .core.backbone import Geometry


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
    free = free_memory() if free is None else free
    if needed <= free:
        return
    needs = f"{frames} frames of {width}x{height} would take {needed / 2**30:.1f} GiB of memory"
    has = f"{free / 2**30:.1f} GiB are free"
    raise AnimaticError(f"{needs}, and {has}; want fewer or shorter scenes, or a smaller size")
