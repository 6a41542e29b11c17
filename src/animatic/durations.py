"""Durations of clips: a number of frames at a frame rate, the model's own unless another is requested.

A model has learnt how far objects move from frame to frame, so that at another rate motion is too fast or too
slow (CogVideoX's 49 frames are 6 s at 8 a second; within 2 s motion is three times as fast).
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .errors import AnimaticError, warn
from .video import check_rate

if TYPE_CHECKING:
    from .core.backbone import Backbone, Geometry
    from .scene import Scene
    from .timeline import Timeline


def at_rate(backbone: Backbone, fps: Any) -> Backbone:
    """`backbone` as one whose clips are shown at `fps` frames per second; None: at its own.

    Raises `AnimaticError` where `fps` is no number that a video may have.
    """
    if fps is None:
        return backbone
    if isinstance(fps, bool) or not isinstance(fps, numbers.Real):
        raise AnimaticError(f"fps is {fps!r}; want a number, such as {backbone.geometry.fps:g}")
    check_rate(float(fps))
    backbone = copy(backbone)
    backbone.geometry = replace(backbone.geometry, fps=float(fps))
    return backbone


def clip_frames(scenes: Sequence[Scene | Timeline], geometry: Geometry, frames: int | None) -> int:
    """How many frames a clip has: those requested, or the model's own; 1 where all scenes are stills."""
    if frames is not None:
        return frames
    return geometry.frames if any(getattr(scene, "seconds", 1.0) for scene in scenes) else 1


def frame_rate(scene: Scene, geometry: Geometry, frames: int | None, fps: float | None) -> float:
    """Frames per second of a clip of `scene`, for the requested `frames` and `fps` (None: not requested).

    A number of frames alone fills the scene's seconds, as does a picture. Else the rate is the geometry's.
    """
    count = clip_frames([scene], geometry, frames)
    if scene.seconds and fps is None and (frames is not None or count == 1):
        return count / scene.seconds
    return geometry.fps


def frame_rates(scenes: Sequence[Scene], backbone: Backbone, frames: int | None, fps: float | None) -> list[float]:
    """The rate of each scene's clip, see `frame_rate`; warns where one will not last as long as its scene.

    Raises `AnimaticError` where no video has such a rate.
    """
    rates = [frame_rate(scene, backbone.geometry, frames, fps) for scene in scenes]
    for scene, rate in zip(scenes, rates, strict=True):
        check_rate(rate)
        if note := length_note(scene, backbone, frames, fps):
            warn(note)
    return rates


def length_note(scene: Scene, backbone: Backbone, frames: int | None, fps: float | None) -> str:
    """One line where a clip will not last as long as its scene, to a frame; else ""."""
    geometry = backbone.geometry
    if not scene.seconds or (frames is not None and fps is not None):
        return ""
    count = clip_frames([scene], geometry, frames)
    rate = frame_rate(scene, geometry, frames, fps)
    lasts = count / rate
    if abs(lasts - scene.seconds) <= 1.001 / rate:  # a frame, and what rounding adds
        return ""
    way = "a story, in windows, may be longer" if lasts < scene.seconds else "a number of frames makes it shorter"
    made = f"{backbone.name} makes {count} frames at {rate:g} a second"
    return f"scene {scene.prompt[:40]!r} lasts {lasts:.3g} s, not {scene.seconds:.3g} s: {made}; {way}"
