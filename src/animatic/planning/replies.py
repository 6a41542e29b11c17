"""A language model's reply, read: Scene JSON first, then the text forms of LMD (a still) and LVD (boxes per frame).

Markdown, bullets, quotes and indentation are forgiven. What cannot be read is quoted, with what was expected.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import AnimaticError
from ..scene import Box, Scene, Track
from .boxes import clip, legacy_filter

CANVAS = 512  # pixels of both text forms
FRAMES = 6  # of LVD's
MOST = 30  # tracks; GLIGEN takes no more
_LABELS = re.compile(r"[*_`#>\s]*\b(objects|background prompt|negative prompt)[*_`]*\s*:[*_`]*", re.IGNORECASE)
_FRAME = re.compile(r"[*_`#>\s-]*\bframe[ _]?(\d+)[*_`]*\s*:[*_`]*", re.IGNORECASE)
_KEYWORD = re.compile(r"[*_`#>\s-]*\bbackground keyword[*_`]*\s*:[*_` ]*", re.IGNORECASE)
_REASONING = re.compile(r"[*_`#>\s-]*\breasoning[*_`]*\s*:[*_` ]*", re.IGNORECASE)


@dataclass(frozen=True)
class Thing:
    """A named thing with one box per key frame, as the model said it: boxes may leave 0..1 or have no area."""

    phrase: str
    boxes: tuple[Box | None, ...]


@dataclass(frozen=True)
class Reply:
    """What a reply says. `scene` makes it sound; benchmarks judge it as it stands."""

    tracks: tuple[Thing, ...]
    background: str = ""
    negative: str = ""
    reasoning: str = ""
    seconds: float | None = None

    def scene(self, prompt: str, seconds: float = 2.0) -> tuple[Scene, tuple[str, ...]]:
        """The reply as a Scene, and what had to be changed: boxes cut to the frame, names of nothing left out."""
        tracks: list[Track] = []
        changes: list[str] = []
        for thing in self.tracks:
            boxes = tuple(None if box is None else clip(box) for box in thing.boxes)
            cut = sum(a != b for a, b in zip(boxes, thing.boxes, strict=True))
            if cut:
                changes.append(f"{thing.phrase}: {cut} of {len(boxes)} boxes cut to the frame")
            if any(box is not None for box in boxes):
                tracks.append(Track(thing.phrase, boxes))
            else:
                changes.append(f"{thing.phrase}: no box in the frame, left out")
        seconds = seconds if self.seconds is None else self.seconds
        scene = Scene(prompt, tuple(tracks), self.background, self.negative, seconds, self.reasoning)
        return scene, tuple(changes)


def read(text: str, legacy: bool = False) -> Reply:
    """Read a reply in any of the three forms. `legacy`: stills get LMD's box filter and scaling.

    Raises `AnimaticError` that quotes the line it could not read and says what was expected.
    """
    found = _json(text, "tracks")
    if found is not None:
        return _from_json(found)
    if _FRAME.search(text) or _KEYWORD.search(text):
        return read_frames(text)
    if any(m[1].lower() == "background prompt" for m in _LABELS.finditer(text)):
        return read_still(text, legacy)
    raise AnimaticError(
        f"reply {_quote(text)}: found neither JSON with tracks, nor 'Frame 1:', nor 'Background prompt:'"
    )


def read_story(text: str) -> list[tuple[str, Reply]]:
    """Read a story: `{"scenes": [{"prompt", "seconds", "tracks", ...}]}`. Raises `AnimaticError` as `read` does."""
    found = _json(text, "scenes")
    scenes = found["scenes"] if found else None
    if not isinstance(scenes, list) or not scenes:
        raise AnimaticError(f"reply {_quote(text)}: found no JSON with scenes")
    out: list[tuple[str, Reply]] = []
    for i, scene in enumerate(scenes):
        if not isinstance(scene, dict) or not isinstance(scene.get("prompt"), str) or not scene["prompt"].strip():
            raise AnimaticError(f"reply: scenes.{i} is {_quote(scene)}; want an object with prompt and tracks")
        if not isinstance(scene.get("tracks"), list):
            raise AnimaticError(f"reply: scenes.{i}.tracks is {_quote(scene.get('tracks'))}; want a list")
        out.append((scene["prompt"], _from_json(scene)))
    return out


def _json(text: str, key: str) -> dict[str, Any] | None:
    """The first JSON object of a text that has `key`, fenced or bare."""
    decoder = json.JSONDecoder()
    for start in re.finditer(r"\{", text):
        try:
            value, _ = decoder.raw_decode(text, start.start())
        except json.JSONDecodeError:
            continue
        if isinstance(value, dict) and key in value:
            return value
    if re.match(r"[\s`]*(?:json)?\s*\{\s*\"", text) and f'"{key}"' in text:
        raise AnimaticError(f"reply ends inside its JSON: {_quote(text[-60:])}; want a whole object")
    return None


def _from_json(data: dict[str, Any]) -> Reply:
    tracks = data["tracks"]
    if not isinstance(tracks, list):
        raise AnimaticError(f"reply: tracks is {_quote(tracks)}; want a list of phrase and boxes")
    things = tuple(_thing(track, f"reply: tracks.{i}") for i, track in enumerate(tracks))
    lengths = {len(thing.boxes) for thing in things}
    if len(lengths) > 1:
        raise AnimaticError(f"reply: tracks have {sorted(lengths)} boxes; want the same number in every track")
    words = [data.get(key) or "" for key in ("background", "negative", "reasoning")]
    for key, value in zip(("background", "negative", "reasoning"), words, strict=True):
        if not isinstance(value, str):
            raise AnimaticError(f"reply: {key} is {_quote(value)}; want words")
    seconds = data.get("seconds")
    if seconds is not None and not (isinstance(seconds, (int, float)) and 0 <= seconds < 1e6):
        raise AnimaticError(f"reply: seconds is {_quote(seconds)}; want a number >= 0")
    return Reply(things, words[0], words[1], words[2], seconds)


def _thing(track: Any, where: str) -> Thing:
    if not isinstance(track, dict) or not isinstance(track.get("phrase"), str) or not track["phrase"].strip():
        raise AnimaticError(f"{where} is {_quote(track)}; want an object with phrase and boxes")
    boxes = track.get("boxes")
    if not isinstance(boxes, list) or not boxes:
        raise AnimaticError(f"{where}.boxes is {_quote(boxes)}; want a list of [x0, y0, x1, y1] or null")
    made: list[Box | None] = []
    for i, box in enumerate(boxes):
        if box is None:
            made.append(None)
            continue
        numbers = _numbers(box, f"{where}.boxes.{i}")
        if not all(-1 <= v <= 2 for v in numbers):
            raise AnimaticError(f"{where}.boxes.{i} is {_quote(box)}; want fractions of the frame, in 0..1")
        if numbers[0] > numbers[2] or numbers[1] > numbers[3]:
            raise AnimaticError(f"{where}.boxes.{i} is {_quote(box)}, reversed; want x0 <= x1 and y0 <= y1")
        made.append(numbers)
    return Thing(track["phrase"].strip(), tuple(made))


def read_still(text: str, legacy: bool = False) -> Reply:
    """LMD's form: a list of `(name, [x, y, w, h])` in pixels of 512, a background prompt, a negative prompt."""
    parts = _LABELS.split(text)
    said: dict[str, list[str]] = {}
    for label, value in zip(["objects", *(p.lower() for p in parts[1::2])], [parts[0], *parts[2::2]], strict=True):
        said.setdefault(label, []).append(value.strip())
    backgrounds, negatives = said.get("background prompt", []), said.get("negative prompt", [])
    if len(backgrounds) != 1 or len(negatives) > 1:
        raise AnimaticError(
            f"reply {_quote(text)}: {len(backgrounds)} background prompts and {len(negatives)} negative prompts; "
            "want one and at most one"
        )
    listed = said["objects"][-1]
    boxes: list[tuple[str, Box]] = []
    for item in [] if not listed or "no objects" in listed.lower() else _literal(_list_of(listed), listed):
        if not (isinstance(item, (tuple, list)) and len(item) == 2 and isinstance(item[0], str)):
            raise AnimaticError(f"reply: {_quote(item)}; want ('name', [x, y, width, height])")
        if item[1]:  # a name with an empty box is no thing
            boxes.append((item[0], _numbers(item[1], f"reply: box of {item[0]!r}")))
    if legacy:
        boxes = legacy_filter(boxes)
    things = tuple(Thing(name.strip(". ") or name, (_fractions(box),)) for name, box in boxes)
    return Reply(things, _unless_none(_plain(backgrounds[0])), _unless_none(_plain("".join(negatives))), seconds=0.0)


def read_frames(text: str) -> Reply:
    """LVD's form: per frame a list of `{"id", "name", "box": [x, y, w, h]}` in pixels of 512, and a keyword."""
    keyword = list(_KEYWORD.finditer(text))
    if len(keyword) != 1:
        raise AnimaticError(f"reply {_quote(text)}: {len(keyword)} lines 'Background keyword:'; want one, at the end")
    body, background = text[: keyword[0].start()], text[keyword[0].end() :].strip()
    parts = _FRAME.split(body)
    numbers, values = [int(n) for n in parts[1::2]], parts[2::2]
    reasoning = parts[0]
    if numbers and numbers[0] == 2 and "[" in parts[0]:  # the answer goes on where a prompt ended with "Frame 1:"
        numbers, values, reasoning = [1, *numbers], [parts[0], *values], ""
    if numbers != list(range(1, FRAMES + 1)):
        raise AnimaticError(
            f"reply has frames {numbers}; want {', '.join(map(str, range(1, FRAMES + 1)))} in this order"
        )
    names: dict[Any, str] = {}
    boxes: dict[Any, list[Box | None]] = {}
    for f, value in enumerate(values):
        for item in _literal(_list_of(value), f"Frame {f + 1}: {value.strip()}"):
            name = item.get("name", item.get("keyword")) if isinstance(item, dict) else None
            if not isinstance(name, str) or "id" not in item or "box" not in item:
                raise AnimaticError(
                    f"reply: Frame {f + 1}: {_quote(item)}; want {{'id': 0, 'name': 'cat', 'box': [x, y, w, h]}}"
                )
            names.setdefault(item["id"], name.strip("0123456789 ") or name)
            row = boxes.setdefault(item["id"], [None] * FRAMES)
            row[f] = _fractions(_numbers(item["box"], f"reply: Frame {f + 1}: box of {name!r}"))
    things = tuple(Thing(names[i], tuple(row)) for i, row in boxes.items())
    word = _plain(background.split("\n")[0])
    return Reply(things, word, "", _plain(_REASONING.sub("", reasoning)))


def _list_of(text: str) -> str:
    """The list in a passage, without fences, bullets and a comment after " - "."""
    start, stop = text.find("["), text.rfind("]")
    return text[start : stop + 1] if 0 <= start < stop else text.strip()


def _literal(text: str, line: str) -> list[Any]:
    straight = re.sub("[\u2018\u2019]", "'", re.sub("[\u201c\u201d]", '"', text))
    try:
        value = ast.literal_eval(straight)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise AnimaticError(f"reply: {_quote(line)}; want a list of names and boxes") from None
    if not isinstance(value, list):
        raise AnimaticError(f"reply: {_quote(line)}; want a list of names and boxes")
    return value


def _numbers(box: Any, where: str) -> Box:
    good = isinstance(box, (list, tuple)) and len(box) == 4
    if not good or not all(isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) < 1e6 for v in box):
        raise AnimaticError(f"{where} is {_quote(box)}; want four numbers")
    return float(box[0]), float(box[1]), float(box[2]), float(box[3])


def _fractions(box: Box) -> Box:
    """Pixels `x, y, width, height` to fractions `x0, y0, x1, y1`."""
    x, y, w, h = box
    return x / CANVAS, y / CANVAS, (x + w) / CANVAS, (y + h) / CANVAS


def _plain(text: str) -> str:
    return text.strip().strip("`*").strip()


def _unless_none(text: str) -> str:
    return "" if text == "None" else text


def _quote(value: Any) -> str:
    said = " ".join(str(value).split())
    return repr(said if len(said) <= 90 else said[:89] + "\u2026")


def to_text(scene: Scene) -> str:
    """A Scene in the text form that fits it: LMD's for a still, LVD's for six key frames.

    Raises `AnimaticError` where neither does. Boxes are rounded to pixels of 512.
    """

    def pixels(box: Box) -> list[int]:
        x, y = round(box[0] * CANVAS), round(box[1] * CANVAS)
        return [x, y, round(box[2] * CANVAS) - x, round(box[3] * CANVAS) - y]

    if scene.seconds == 0 and scene.keys == 1:
        listed = [(t.phrase, pixels(box)) for t in scene.tracks if (box := t.boxes[0]) is not None]
        return f"{listed}\nBackground prompt: {scene.background}\nNegative prompt: {scene.negative}"
    if scene.tracks and scene.keys != FRAMES:
        raise AnimaticError(f"the scene has {scene.keys} key frames; the text form takes {FRAMES}, or 1 of 0 seconds")
    rows: Sequence[list[dict[str, Any]]] = [
        [
            {"id": i, "name": t.phrase, "box": pixels(box)}
            for i, t in enumerate(scene.tracks)
            if (box := t.boxes[f]) is not None
        ]
        for f in range(FRAMES)
    ]
    frames = "\n".join(f"Frame {f + 1}: {row}" for f, row in enumerate(rows))
    return f"Reasoning: {scene.reasoning}\n{frames}\nBackground keyword: {scene.background}"
