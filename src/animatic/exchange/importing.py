"""Boxes from tracking and annotation tools as a scene: MOT's CSV, COCO's JSON, CVAT's XML.

MOT Challenge: Dendorfer et al. 2020, https://arxiv.org/abs/2003.09003 (frames from 1, pixels, left top width height).
COCO: https://cocodataset.org/#format-data (an image is a frame; tracks by `track_id`, as CVAT and others write it).
CVAT for video 1.1: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/.
"""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from defusedxml import DefusedXmlException
from defusedxml import ElementTree as xml

from ..errors import AnimaticError, listed
from ..files import read_text
from ..scene import Box, Scene, Track

MOST_BYTES = 100_000_000
MOST_FRAMES = 100_000
UNREADABLE = (
    *(KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError),
    *(csv.Error, DefusedXmlException, xml.ParseError),
)


@dataclass(frozen=True)
class Annotations:
    """Boxes in pixels, (x0, y0, x1, y1), by track and frame; the label of each track; the size of the picture.

    `frames` is one more than the last frame that the file has, annotated or not.
    """

    boxes: Mapping[str, Mapping[int, Box]]
    labels: Mapping[str, str]
    size: tuple[int, int] | None
    frames: int


def read_annotations(path: Path, form: str = "") -> Annotations:
    """The annotations in a file; `form` is "mot", "coco" or "cvat", or "" to go by the file's ending.

    Raises `AnimaticError` in one line where the file is not of that format.
    """
    chosen = form or SUFFIXES.get(path.suffix.lower(), "")
    if chosen not in READERS:
        asked = f"form is {form!r}" if form else f"{path} has the ending {path.suffix!r}"
        raise AnimaticError(f"{asked}; want one of {listed(READERS)}")
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        raise AnimaticError(f"{path} has {path.stat().st_size} bytes; want at most {MOST_BYTES}")
    try:
        found = READERS[chosen](read_text(path))
    except UNREADABLE as e:
        reason = f"no {e}" if isinstance(e, KeyError) else str(e)
        raise AnimaticError(f"{path}: not {chosen.upper()} annotations ({reason[:120]})") from None
    if not found.boxes:
        raise AnimaticError(f"{path}: no boxes in it; want at least one")
    return found


def scene_of(
    found: Annotations,
    prompt: str = "",
    names: Mapping[str, str] | None = None,
    size: tuple[int, int] | None = None,
    fps: float = 8.0,
    keys: int = 0,
) -> Scene:
    """A scene of the annotated tracks.

    Args:
        found: What `read_annotations` gave.
        prompt: Of the scene; "" puts the names of the tracks together.
        names: Words for tracks, by their number or label in the file.
        size: (width, height) in pixels, where the file does not say it.
        fps: Frames a second of the annotated video, which give the scene its duration.
        keys: Key frames; 0 has one for every frame.
    """
    size = size or found.size
    if size is None or min(size) < 1:
        raise AnimaticError("the file does not say how large the pictures are; want --size WIDTHxHEIGHT")
    if not (math.isfinite(fps) and fps > 0):
        raise AnimaticError(f"fps is {fps}; want more than 0")
    if not 0 <= keys <= MOST_FRAMES:
        raise AnimaticError(f"keys is {keys}; want 0 to {MOST_FRAMES}")

    # Every name must be known, and given only once.
    names = dict(names or {})
    known = {*found.boxes, *found.labels.values()}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise AnimaticError(f"no track or label {unknown[0]!r} in the file; it has {listed(sorted(known))}")

    times = _key_frames(found.frames, keys)
    tracks = []
    for track, boxes in found.boxes.items():
        label = found.labels.get(track, "")
        phrase = names.get(track) or names.get(label) or label
        if not phrase:
            raise AnimaticError(f"track {track} has no label; want --name {track}=WORDS")
        tracks.append(Track(phrase, tuple(_fraction(boxes.get(f), size) for f in times)))

    phrases = list(dict.fromkeys(track.phrase for track in tracks))
    seconds = found.frames / fps if found.frames > 1 else 0.0
    return Scene(prompt or " and ".join(phrases), tuple(tracks), seconds=seconds)


def _key_frames(frames: int, keys: int) -> list[int]:
    """The frames that become key frames: all, or `keys` evenly spaced from the first to the last."""
    if not keys or keys >= frames:
        return list(range(frames))
    if keys == 1:
        return [0]
    return [round(i * (frames - 1) / (keys - 1)) for i in range(keys)]


def _fraction(box: Box | None, size: tuple[int, int]) -> Box | None:
    """A box in pixels as fractions of the frame, cut to it; None where nothing of it is in the frame."""
    if box is None:
        return None
    width, height = size
    x0, x1 = (min(max(x / width, 0.0), 1.0) for x in box[0::2])
    y0, y1 = (min(max(y / height, 0.0), 1.0) for y in box[1::2])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _read_mot(text: str) -> Annotations:
    boxes: dict[str, dict[int, Box]] = defaultdict(dict)
    last = 0
    for row in csv.reader(text.splitlines()):
        if not row:
            continue
        if len(row) < 6:
            raise ValueError(f"a line of {len(row)} values; want frame, id, left, top, width, height")
        frame = _frame(float(row[0]) - 1)
        left, top, width, height = (_number(value) for value in row[2:6])

        # A confidence of 0 marks lines of the ground truth to be ignored.
        last = max(last, frame)
        if len(row) > 6 and _number(row[6]) == 0:
            continue
        boxes[row[1].strip()][frame] = (left, top, left + width, top + height)
    return Annotations(boxes, {}, None, last + 1)


def _read_coco(text: str) -> Annotations:
    data = json.loads(text)
    images = data["images"]
    categories = {category["id"]: str(category["name"]) for category in data.get("categories", [])}

    # Frames are in the order of their numbers, else of their names.
    images = sorted(images, key=lambda image: (image.get("frame_id", image.get("frame_index", 0)), image["file_name"]))
    frame_of = {image["id"]: frame for frame, image in enumerate(images)}
    sizes = {(int(image["width"]), int(image["height"])) for image in images}
    if len(sizes) != 1:
        raise ValueError(f"pictures of {len(sizes)} sizes; want one")

    boxes: dict[str, dict[int, Box]] = defaultdict(dict)
    labels: dict[str, str] = {}
    for annotation in data["annotations"]:
        left, top, width, height = (_number(value) for value in annotation["bbox"])
        label = categories.get(annotation["category_id"], "")
        frame = frame_of[annotation["image_id"]]

        # Without tracks the n-th box of a label in a frame is the n-th track of it.
        attributes = annotation.get("attributes") or {}
        track = annotation.get("track_id", attributes.get("track_id"))
        if track is None:
            number = sum(1 for name, there in boxes.items() if labels[name] == label and frame in there)
            track = f"{label} {number + 1}"
        track = str(track)
        boxes[track][frame] = (left, top, left + width, top + height)
        labels[track] = label
    return Annotations(boxes, labels, sizes.pop(), _frame(len(images) - 1) + 1)


def _read_cvat(text: str) -> Annotations:
    root = xml.fromstring(text)
    if root.tag != "annotations":
        raise ValueError(f"its first element is {root.tag!r}; want 'annotations'")
    width = root.findtext(".//original_size/width")
    height = root.findtext(".//original_size/height")
    size = (int(width), int(height)) if width and height else None

    boxes: dict[str, dict[int, Box]] = defaultdict(dict)
    labels: dict[str, str] = {}
    last = 0
    for track in root.iter("track"):
        name = track.attrib["id"]
        labels[name] = track.attrib["label"]
        for box in track.iter("box"):
            # A box that is outside marks the frame in which the object is gone.
            frame = _frame(float(box.attrib["frame"]))
            last = max(last, frame)
            if box.attrib.get("outside") == "1":
                continue
            corners = [_number(box.attrib[corner]) for corner in ("xtl", "ytl", "xbr", "ybr")]
            boxes[name][frame] = (corners[0], corners[1], corners[2], corners[3])
    length = root.findtext(".//task/size")
    return Annotations(boxes, labels, size, max(_frame(int(length) - 1) if length else 0, last) + 1)


def _frame(value: float) -> int:
    if not (value == int(value) and 0 <= value < MOST_FRAMES):
        raise ValueError(f"frame {value:g}; want a whole number in 0..{MOST_FRAMES - 1}")
    return int(value)


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r}; want a number")
    return number


READERS: dict[str, Callable[[str], Annotations]] = {"mot": _read_mot, "coco": _read_coco, "cvat": _read_cvat}
SUFFIXES = {".txt": "mot", ".csv": "mot", ".json": "coco", ".xml": "cvat"}
