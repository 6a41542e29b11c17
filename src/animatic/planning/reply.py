"""A language model's reply as it was read, before it is made a valid Scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import AnimaticError
from ..scene import Box, Scene, Track
from .boxes import clip

KINDS = {"image": 1, "video": 6, "story": 6}  # what is planned -> key frames that are asked for
MAX_TRACKS = 30  # tracks; GLIGEN takes no more
MAX_SCENES = 6  # of a story
MAX_QUOTED = 90  # characters of a value in a message


@dataclass(frozen=True)
class ReplyObject:
    """A named object with one box per key frame, as in the reply: boxes may leave 0..1 or have no area."""

    phrase: str
    boxes: tuple[Box | None, ...]


@dataclass(frozen=True)
class Reply:
    """A reply as it was read. `scene` makes a valid Scene of it; benchmarks judge it as it is.

    `repairs` say in what the reply was not in the form that was asked for, and how it was read; one line each.
    """

    tracks: tuple[ReplyObject, ...]
    background: str = ""
    negative: str = ""
    reasoning: str = ""
    seconds: float | None = None
    repairs: tuple[str, ...] = ()

    def scene(self, prompt: str, seconds: float = 2.0) -> tuple[Scene, tuple[str, ...]]:
        """The reply as a Scene, and what was changed, one line each.

        Boxes are clipped to the frame; a box without area means that the object is absent, as in LMD's filter; an
        object without any box is left out. `seconds`: duration where the reply gives none.

        Raises `AnimaticError` where an object has no name.
        """
        tracks: list[Track] = []
        changes = list(self.repairs)
        for item in self.tracks:
            if not item.phrase.strip():
                raise AnimaticError("reply: an object has no name; want words for each")
            boxes, item_changes = _within_frame(item)
            changes += item_changes
            if any(box is not None for box in boxes):
                tracks.append(Track(item.phrase, boxes))
            else:
                changes.append(f"{item.phrase}: no box in the frame, left out")

        seconds = seconds if self.seconds is None else self.seconds
        scene = Scene(prompt, tuple(tracks), self.background, self.negative, seconds, self.reasoning)
        return scene, tuple(changes)


def _within_frame(item: ReplyObject) -> tuple[tuple[Box | None, ...], list[str]]:
    """An object's boxes cut to the frame, None where nothing is left of one, and what was changed."""
    boxes: list[Box | None] = []
    cut = 0
    empty = 0
    for box in item.boxes:
        clipped = None if box is None else clip(box)
        if box is not None and not _has_area(box):
            empty += 1
            clipped = None
        elif clipped != box:
            cut += 1

        # a box that only touches the frame is cut to a line
        boxes.append(clipped if clipped is not None and _has_area(clipped) else None)

    changes = []
    if cut:
        changes.append(f"{item.phrase}: {cut} of {len(boxes)} boxes cut to the frame")
    if empty:
        changes.append(f"{item.phrase}: {empty} of {len(boxes)} boxes have no area and are read as absent")
    return tuple(boxes), changes


def _has_area(box: Box) -> bool:
    return box[2] > box[0] and box[3] > box[1]


def quote(value: Any) -> str:
    """A value in one line of at most 90 characters, quoted."""
    text = " ".join(str(value).split())
    return repr(text if len(text) <= MAX_QUOTED else text[: MAX_QUOTED - 1] + "\u2026")
