"""A story as a timeline for video editors, through OpenTimelineIO: a clip for each scene, a marker for each object.

https://opentimelineio.readthedocs.io. Needs `pip install 'animatic[editors]'`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import AnimaticError
from .frames import SceneFrames


def timeline(parts: Sequence[SceneFrames], fps: float, video: str = "") -> bytes:
    """The timeline as OTIO JSON. `video` is the file of the whole story, which the clips refer to.

    Raises `AnimaticError` where OpenTimelineIO is not installed.
    """
    otio = _library()
    total = sum(part.count for part in parts)

    def span(first: int, count: int) -> Any:
        start = otio.opentime.RationalTime(first, fps)
        duration = otio.opentime.RationalTime(count, fps)
        return otio.opentime.TimeRange(start, duration)

    row = otio.schema.Track(name="scenes", kind=otio.schema.TrackKind.Video)
    for number, part in enumerate(parts, 1):
        # All clips are parts of one file; without it they are placeholders.
        media = otio.schema.MissingReference()
        if video:
            location = Path(video).resolve().as_uri()
            media = otio.schema.ExternalReference(target_url=location, available_range=span(0, total))
        clip = otio.schema.Clip(f"scene {number}", media, span(part.first, part.count))
        clip.metadata["animatic"] = {"prompt": part.scene.prompt, "background": part.scene.background}

        # When each object is there.
        for track in part.tracks:
            present = [f for f, box in enumerate(track.boxes) if box is not None]
            if present:
                marked = span(part.first + present[0], present[-1] - present[0] + 1)
                clip.markers.append(otio.schema.Marker(track.phrase, marked))
        row.append(clip)

    name = parts[0].scene.prompt
    made = otio.schema.Timeline(name=name)
    made.tracks.append(row)
    return made.to_json_string(indent=1).encode()


def _library() -> Any:
    try:
        return import_module("opentimelineio")
    except ModuleNotFoundError:
        raise AnimaticError("timelines need OpenTimelineIO; want pip install 'animatic[editors]'") from None
