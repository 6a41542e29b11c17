"""Scenes: named boxes moving through time. Planners write them, people edit them, controls condition models on them.

Boxes are `(x0, y0, x1, y1)` in fractions of the frame, origin top left, one per key frame; `None` means absent.
Key frames are evenly spaced over the scene, unless it gives their times. A Story is several scenes in a row.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
from pydantic import (
    AfterValidator,
    ConfigDict,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.dataclasses import dataclass

from .boxes import Box as Box
from .boxes import FramedBox, linear_frames, lvd_frames, timed_frames
from .boxes import cells as cells
from .errors import AnimaticError
from .files import read_json, write_atomically

VERSION = 1
VERSION_WITH_TIMES = 2  # of scenes that give the times of their key frames; all others are written as version 1
_STRICT = ConfigDict(extra="forbid")


def _non_empty(words: str) -> str:
    if not words.strip():
        raise ValueError("found nothing; want words")
    return words


_Words = Annotated[str, AfterValidator(_non_empty)]


@dataclass(frozen=True, config=_STRICT)
class Track:
    """One object through time: `phrase` as it stands in the prompt, `boxes` one per key frame.

    `prompt`, if given, describes the object on its own (LMD's per-box runs).
    """

    phrase: _Words
    boxes: tuple[FramedBox | None, ...]
    prompt: str = ""

    @field_validator("boxes")
    @classmethod
    def _some(cls, boxes: tuple[Box | None, ...]) -> tuple[Box | None, ...]:
        if not boxes:
            raise ValueError("no key frames; want at least one box or null")
        return boxes


@dataclass(frozen=True, config=_STRICT)
class Scene:
    """A prompt and the tracks of its objects. `seconds` is the duration; 0 is a still image.

    `times` are those of the key frames, in fractions of the duration, rising from 0 to 1; () is evenly spaced.

    Raises `ValueError` (a pydantic `ValidationError`) naming the field that is wrong.
    """

    prompt: _Words
    tracks: tuple[Track, ...] = ()
    background: str = ""
    negative: str = ""
    seconds: float = 2.0
    reasoning: str = ""
    times: tuple[float, ...] = ()

    @field_validator("seconds")
    @classmethod
    def _lasting(cls, seconds: float) -> float:
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"seconds is {seconds}; want a number >= 0")
        return seconds

    @field_validator("times")
    @classmethod
    def _rising(cls, times: tuple[float, ...]) -> tuple[float, ...]:
        is_rising = all(a < b for a, b in pairwise(times))
        if times and not (is_rising and times[0] == 0 and times[-1] == 1):
            raise ValueError(f"found {list(times)}; want rising times, the first 0 and the last 1")
        return times

    @model_validator(mode="after")
    def _in_step(self) -> Scene:
        lengths = {len(track.boxes) for track in self.tracks}
        if len(lengths) > 1:
            raise ValueError(f"tracks have {sorted(lengths)} key frames; want the same number in every track")
        if self.times and lengths - {len(self.times)}:
            raise ValueError(f"times are {len(self.times)} for {self.keys} key frames; want one for each")
        return self

    @model_serializer(mode="wrap")
    def _without_empty_times(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # What is evenly spaced is written as before there were times.
        data = serialize(self)
        if not self.times:
            data.pop("times")
        return data

    @property
    def keys(self) -> int:
        """Number of key frames (1 where nothing is tracked)."""
        return len(self.tracks[0].boxes) if self.tracks else 1

    @property
    def key_times(self) -> tuple[float, ...]:
        """The time of each key frame, 0 to 1."""
        if self.times and self.tracks:
            return self.times
        last = max(1, self.keys - 1)
        return tuple(i / last for i in range(self.keys))

    def part(self, track: int) -> tuple[int, Scene]:
        """(index, scene) of the part of a story that a track belongs to: here the scene itself, see `Timeline.part`."""
        return 0, self

    def at(self, frames: int, legacy: bool = False) -> Scene:
        """The same scene with one box per frame: linear in time, or by LVD's rule where `legacy`.

        Linear: key i stands at `key_times[i]`. Between a present and an absent key the nearer one decides. LVD's rule
        takes evenly spaced keys only: raises `AnimaticError` where the scene gives other times.
        """
        if frames < 1:
            raise AnimaticError(f"frames is {frames}; want at least 1")

        # LVD's rule differs where boxes are absent; it is kept for its published numbers.
        if legacy and self.times:
            given = [round(time, 3) for time in self.times]
            raise AnimaticError(f"times of the scene are {given}; want evenly spaced key frames for a published method")

        # Frames are evenly spaced: the scene that is returned gives no times.
        if legacy:
            resampled = [lvd_frames(track.boxes, frames) for track in self.tracks]
        elif self.times:
            resampled = [timed_frames(track.boxes, self.times, frames) for track in self.tracks]
        else:
            resampled = [linear_frames(track.boxes, frames) for track in self.tracks]
        tracks = []
        for track, boxes in zip(self.tracks, resampled, strict=True):
            tracks.append(replace(track, boxes=boxes))
        return replace(self, tracks=tuple(tracks), times=())

    def masks(self, frames: int, height: int, width: int, legacy: bool = False) -> np.ndarray:
        """Cells inside each box: bool `[track, frame, height, width]`, all False where absent.

        A box that rounds to nothing still covers the cell under its centre, unless `legacy` (LVD's rounding).
        """
        # One box a frame, then the cells under it.
        masks = np.zeros((len(self.tracks), frames, height, width), bool)
        for i, track in enumerate(self.at(frames, legacy).tracks):
            for f, box in enumerate(track.boxes):
                if box is None:
                    continue
                x0, y0, x1, y1 = box
                rows = cells(y0, y1, height, legacy)
                columns = cells(x0, x1, width, legacy)
                masks[i, f, rows, columns] = True
        return masks

    def to_json(self) -> str:
        """JSON of version 1, or 2 where the scene gives times."""
        return _dumps({"version": _version_of([self]), **_fields_of(self)})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `to_json`, atomically."""
        write_atomically(path, self.to_json().encode())


Story = tuple[Scene, ...]


def lasting(story: Story, seconds: float) -> Story:
    """The story made to last `seconds` in all, every scene by the same factor."""
    total = sum(scene.seconds for scene in story)
    if not (math.isfinite(seconds) and seconds > 0 and total > 0):
        raise AnimaticError(f"seconds is {seconds} for a story of {total:g} s; want more than 0 of both")

    # Every scene by the same factor.
    scenes = []
    for scene in story:
        scenes.append(replace(scene, seconds=scene.seconds * seconds / total))
    return tuple(scenes)


def parse(data: Any, name: str = "scene") -> Scene:
    """A Scene from decoded JSON. Raises `AnimaticError` naming `name` and the field."""
    if not isinstance(data, dict):
        raise AnimaticError(f"{name}: found {type(data).__name__}; want a JSON object with prompt and tracks")
    version = data.get("version", VERSION)
    if version not in (VERSION, VERSION_WITH_TIMES):
        known = f"{VERSION} and {VERSION_WITH_TIMES}"
        raise AnimaticError(f"{name}: version is {version!r}; this program reads versions {known}")

    # pydantic names the field that is wrong, and refuses unknown ones.
    fields = {key: value for key, value in data.items() if key != "version"}
    try:
        return TypeAdapter(Scene).validate_python(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise AnimaticError(f"{name}: {place}: {reason}" if place else f"{name}: {reason}") from None


def load_story(path: str | os.PathLike[str]) -> Story:
    """Every scene of a Scene or Story file."""
    return parse_story(read_json(path), str(path))


def parse_story(data: Any, name: str = "story") -> Story:
    """Every scene of decoded JSON, a Scene or a Story. Raises `AnimaticError` naming `name` and the field."""
    if not (isinstance(data, dict) and "scenes" in data):
        return (parse(data, name),)
    scenes = data["scenes"]
    if not isinstance(scenes, list) or not scenes:
        raise AnimaticError(f"{name}: scenes is {scenes!r}; want a list of at least one scene")
    for key in sorted(data.keys() - {"scenes", "version"}):
        raise AnimaticError(f"{name}: unknown field {key!r} next to scenes; want it in a scene")

    # Scenes of a story have its version.
    version = data.get("version", VERSION)
    story = []
    for i, scene in enumerate(scenes):
        if isinstance(scene, dict):
            scene = {"version": version, **scene}
        story.append(parse(scene, f"{name}: scenes.{i}"))
    return tuple(story)


def load_scene(path: str | os.PathLike[str]) -> Scene:
    story = load_story(path)
    if len(story) != 1:
        raise AnimaticError(f"{path}: holds a story of {len(story)} scenes; want one scene")
    return story[0]


def story_json(story: Iterable[Scene]) -> str:
    """JSON of the scene where there is one, else of the story; of version 2 where a scene gives times, else 1."""
    scenes = tuple(story)
    if len(scenes) == 1:
        return scenes[0].to_json()

    # A story of one scene is written as that scene.
    return _dumps({"version": _version_of(scenes), "scenes": [_fields_of(scene) for scene in scenes]})


def save_story(story: Iterable[Scene], path: str | os.PathLike[str]) -> None:
    """Write `story_json`, atomically."""
    write_atomically(path, story_json(story).encode())


def _version_of(scenes: Sequence[Scene]) -> int:
    return VERSION_WITH_TIMES if any(scene.times for scene in scenes) else VERSION


def _fields_of(scene: Scene) -> dict[str, Any]:
    fields = asdict(scene)
    if not scene.times:
        del fields["times"]
    return fields


def _dumps(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
