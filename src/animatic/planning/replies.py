"""Parsers of language model replies: Scene JSON, and the text forms of LMD (stills) and LVD (boxes per frame).

LMD: arXiv 2305.13655, LVD: arXiv 2309.17444. Markdown, bullets, quotes and indentation are accepted. An error quotes
what could not be read, and says what was expected.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from typing import Any

from ..errors import AnimaticError, listed
from ..scene import Box, Scene, Track
from .boxes import clip, legacy_filter

CANVAS = 512  # pixels of both text forms
FRAMES = 6  # of LVD's
MAX_TRACKS = 30  # tracks; GLIGEN takes no more


def _label(words: str) -> re.Pattern[str]:
    return re.compile(rf"[*_`#>\s-]*\b{words}[*_`]*\s*:[*_` ]*", re.IGNORECASE)


_PART = _label("(objects|background prompt|negative prompt)")
_FRAME = _label(r"frame[ _]?(\d+)")
_KEYWORD = _label("background keyword")
_REASONING = _label("reasoning")


@dataclass(frozen=True)
class ReplyObject:
    """A named object with one box per key frame, as in the reply: boxes may leave 0..1 or have no area."""

    phrase: str
    boxes: tuple[Box | None, ...]


@dataclass(frozen=True)
class Reply:
    """A reply as it was read. `scene` makes a valid Scene of it; benchmarks judge it as it is."""

    tracks: tuple[ReplyObject, ...]
    background: str = ""
    negative: str = ""
    reasoning: str = ""
    seconds: float | None = None

    def scene(self, prompt: str, seconds: float = 2.0) -> tuple[Scene, tuple[str, ...]]:
        """The reply as a Scene, and what was changed: boxes clipped to the frame, objects without a box left out."""
        tracks: list[Track] = []
        changes: list[str] = []
        for item in self.tracks:
            boxes = tuple(None if box is None else clip(box) for box in item.boxes)
            cut = sum(a != b for a, b in zip(boxes, item.boxes, strict=True))
            if cut:
                changes.append(f"{item.phrase}: {cut} of {len(boxes)} boxes cut to the frame")
            if any(box is not None for box in boxes):
                tracks.append(Track(item.phrase, boxes))
            else:
                changes.append(f"{item.phrase}: no box in the frame, left out")
        seconds = seconds if self.seconds is None else self.seconds
        scene = Scene(prompt, tuple(tracks), self.background, self.negative, seconds, self.reasoning)
        return scene, tuple(changes)


def read(text: str, legacy: bool = False) -> Reply:
    """Read a reply in any of the three forms. `legacy`: stills get LMD's box filter and scaling.

    Raises `AnimaticError` that quotes the line it could not read and says what was expected.
    """
    found = _json(text, "tracks")
    if found is not None:
        return _from_json(found, "reply: ")
    if _FRAME.search(text) or _KEYWORD.search(text):
        return read_frames(text)
    if any(m[1].lower() == "background prompt" for m in _PART.finditer(text)):
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
    for i, scene in enumerate(scenes):
        _require(_has_text(scene, "prompt"), f"reply: scenes.{i}", scene, "an object with prompt and tracks")
    return [(scene["prompt"], _from_json(scene, f"reply: scenes.{i}.")) for i, scene in enumerate(scenes)]


def _json(text: str, key: str) -> dict[str, Any] | None:
    """The first JSON object of a text that has `key`, fenced or bare. Raises where it is broken, and says how."""
    decoder, named = json.JSONDecoder(), text.find(f'"{key}"')
    broken: json.JSONDecodeError | None = None  # of the innermost object that was to have the key
    for start in re.finditer(r"\{", text):
        try:
            value, _ = decoder.raw_decode(text, start.start())
        except json.JSONDecodeError as error:
            broken = error if start.start() < named else broken
            continue
        except RecursionError:
            raise AnimaticError(f"reply {_quote(text)}: is nested too deep; want an object with {key}") from None
        if key in value:
            return value
    if broken is not None:
        raise AnimaticError(f"reply{_broken(text, broken)}; want a whole JSON object")
    return None


def _broken(text: str, error: json.JSONDecodeError) -> str:
    """Where JSON is no JSON, and why: the library's words, in ours where models often go wrong."""
    after, before = text[error.pos :], text[: error.pos].rstrip()
    if not after.strip("` \n") or error.msg.startswith("Unterminated string"):
        return f" ends inside its JSON: {_quote(text[-60:])}"
    if before.endswith(",") and after[0] in "]}":
        reason = "a comma before the end of a list or object"
    elif re.match(r"[.+]\d|-\.\d", after):
        reason = "a number that JSON does not know, such as .5 for 0.5"
    elif after.startswith(("//", "/*", "#")):
        reason = "a comment"
    else:
        reason = error.msg[0].lower() + error.msg[1:]
    return f", line {error.lineno}, column {error.colno}: {reason}, at {_quote(after[:40])}"


def _from_json(data: dict[str, Any], where: str) -> Reply:
    """A reply in Scene JSON. Names, types and ranges are validated; `where` names the object in messages."""
    tracks = data.get("tracks")
    _require(isinstance(tracks, list), f"{where}tracks", tracks, "a list of phrase and boxes")
    objects = tuple(_object(track, f"{where}tracks.{i}") for i, track in enumerate(tracks or ()))
    lengths = sorted({len(item.boxes) for item in objects})
    _require(len(lengths) < 2, f"{where}tracks: the number of boxes", lengths, "the same number in every track")

    texts = {key: data.get(key) or "" for key in ("background", "negative", "reasoning")}
    for key, value in texts.items():
        _require(isinstance(value, str), f"{where}{key}", value, "words")

    seconds = data.get("seconds")
    valid = seconds is None or (isinstance(seconds, (int, float)) and 0 <= seconds < 1e6)
    _require(valid, f"{where}seconds", seconds, "a number >= 0")
    return Reply(objects, **texts, seconds=seconds)


def read_still(text: str, legacy: bool = False) -> Reply:
    """LMD's form: a list of `(name, [x, y, w, h])` in pixels of 512, a background prompt, a negative prompt."""
    # the passages under each label; what comes before the first is the list of objects
    parts = _PART.split(text)
    passages: dict[str, list[str]] = {}
    for label, value in zip(["objects", *parts[1::2]], parts[::2], strict=True):
        passages.setdefault(label.lower(), []).append(_plain(value))
    backgrounds = passages.get("background prompt", [])
    negatives = passages.get("negative prompt", [])
    if len(backgrounds) != 1 or len(negatives) > 1:
        raise AnimaticError(
            f"reply {_quote(text)}: {len(backgrounds)} background prompts and {len(negatives)} negative prompts; "
            "want one and at most one"
        )

    # names and boxes; an item with an empty box is left out
    listing = passages["objects"][-1]
    is_empty = not listing or "no objects" in listing.lower()
    boxes: list[tuple[str, Box]] = []
    for item in [] if is_empty else _list(listing, listing):
        valid = isinstance(item, (tuple, list)) and len(item) == 2 and isinstance(item[0], str)
        _require(valid, "reply: an object", item, "('name', [x, y, width, height])")
        if item[1]:
            boxes.append((item[0], _numbers(item[1], f"reply: box of {item[0]!r}")))
    if legacy:
        boxes = legacy_filter(boxes)
    objects = tuple(ReplyObject(name.strip(". ") or name, (_fractions(box),)) for name, box in boxes)

    background, negative = ("" if words == "None" else words for words in (backgrounds[0], "".join(negatives)))
    return Reply(objects, background, negative, seconds=0.0)


def read_frames(text: str) -> Reply:
    """LVD's form: per frame a list of `{"id", "name", "box": [x, y, w, h]}` in pixels of 512, and a keyword."""
    body, *backgrounds = _KEYWORD.split(text)
    if len(backgrounds) != 1:
        raise AnimaticError(
            f"reply {_quote(text)}: {len(backgrounds)} lines 'Background keyword:'; want one, at the end"
        )

    # the passage of each frame; where a prompt ended with "Frame 1:" the reply begins inside it
    reasoning, *parts = _FRAME.split(body)
    numbers = [int(n) for n in parts[::2]]
    passages = parts[1::2]
    if numbers[:1] == [2] and "[" in reasoning:
        numbers = [1, *numbers]
        passages = [reasoning, *passages]
        reasoning = ""
    if numbers != list(range(1, FRAMES + 1)):
        raise AnimaticError(f"reply has frames {listed(numbers)}; want {listed(range(1, FRAMES + 1))} in this order")

    # an object's boxes over the frames, by its id
    rows: dict[Any, tuple[str, list[Box | None]]] = {}
    for f, passage in enumerate(passages):
        where = f"reply: Frame {f + 1}: "
        for item in _list(passage, f"Frame {f + 1}: {passage.strip()}"):
            name: Any = item.get("name", item.get("keyword")) if isinstance(item, dict) else None
            valid = isinstance(name, str) and "box" in item and isinstance(item.get("id"), (int, float, str))
            _require(valid, f"{where}an object", item, "{'id': 0, 'name': 'cat', 'box': [x, y, w, h]}")
            _, row = rows.setdefault(item["id"], (name.strip("0123456789 ") or name, [None] * FRAMES))
            row[f] = _fractions(_numbers(item["box"], f"{where}box of {name!r}"))

    objects = tuple(ReplyObject(name, tuple(row)) for name, row in rows.values())
    keyword = _plain(backgrounds[0].strip().split("\n")[0])
    return Reply(objects, keyword, "", _plain(_REASONING.sub("", reasoning)))


def _list(text: str, line: str) -> list[Any]:
    """The Python list in a passage, without fences, bullets and a comment after " - "."""
    start, stop = text.find("["), text.rfind("]")
    straight = re.sub("[\u2018\u2019]", "'", re.sub("[\u201c\u201d]", '"', text))
    try:
        value = ast.literal_eval(straight[start : stop + 1] if 0 <= start < stop else straight.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = None
    if not isinstance(value, list):
        raise AnimaticError(f"reply: {_quote(line)}; want a list of names and boxes")
    return value


def _numbers(box: Any, where: str) -> Box:
    valid = isinstance(box, (list, tuple)) and len(box) == 4
    valid = valid and all(isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) < 1e6 for v in box)
    _require(valid, where, box, "four numbers")
    return float(box[0]), float(box[1]), float(box[2]), float(box[3])


def _fractions(box: Box) -> Box:
    """Pixels `x, y, width, height` to fractions `x0, y0, x1, y1`."""
    x, y, w, h = box
    return x / CANVAS, y / CANVAS, (x + w) / CANVAS, (y + h) / CANVAS


def _plain(text: str) -> str:
    return text.strip().strip("`*").strip()


def _quote(value: Any) -> str:
    """A value in one line of at most 90 characters, quoted."""
    text = " ".join(str(value).split())
    return repr(text if len(text) <= 90 else text[:89] + "\u2026")


def to_text(scene: Scene) -> str:
    """A Scene in the text form that fits it: LMD's for a still, LVD's for six key frames.

    Raises `AnimaticError` where neither does. Boxes are rounded to pixels of 512.
    """

    def present(f: int) -> list[tuple[int, str, list[int]]]:
        """Index, phrase and `x, y, width, height` in pixels of the objects present at a key frame."""
        out = []
        for i, track in enumerate(scene.tracks):
            if box := track.boxes[f]:
                x0, y0, x1, y1 = (round(v * CANVAS) for v in box)
                out.append((i, track.phrase, [x0, y0, x1 - x0, y1 - y0]))
        return out

    if scene.seconds == 0 and scene.keys == 1:
        objects = [(phrase, box) for _, phrase, box in present(0)]
        return f"{objects}\nBackground prompt: {scene.background}\nNegative prompt: {scene.negative}"
    if scene.tracks and scene.keys != FRAMES:
        raise AnimaticError(f"the scene has {scene.keys} key frames; the text form takes {FRAMES}, or 1 of 0 seconds")

    lines = []
    for f in range(FRAMES):
        row = [{"id": i, "name": phrase, "box": box} for i, phrase, box in present(f)]
        lines.append(f"Frame {f + 1}: {row}")
    frames = "\n".join(lines)
    return f"Reasoning: {scene.reasoning}\n{frames}\nBackground keyword: {scene.background}"


def _object(track: Any, where: str) -> ReplyObject:
    _require(_has_text(track, "phrase"), where, track, "an object with phrase and boxes")
    boxes = track.get("boxes")
    _require(isinstance(boxes, list) and boxes, f"{where}.boxes", boxes, "a list of [x0, y0, x1, y1] or null")
    parsed = (None if box is None else _corners(box, f"{where}.boxes.{i}") for i, box in enumerate(boxes))
    return ReplyObject(track["phrase"].strip(), tuple(parsed))


def _has_text(value: Any, key: str) -> bool:
    """Whether a value is an object with a text that is not empty under `key`."""
    return isinstance(value, dict) and isinstance(value.get(key), str) and bool(value[key].strip())


def _require(condition: Any, where: str, value: Any, what: str) -> None:
    """Raise the one-line `AnimaticError` of a value that is not as it should be."""
    if not condition:
        raise AnimaticError(f"{where} is {_quote(value)}; want {what}")


def _corners(box: Any, where: str) -> Box:
    """Fractions `x0, y0, x1, y1`, perhaps somewhat outside the frame."""
    corners = _numbers(box, where)
    x0, y0, x1, y1 = corners
    _require(all(-1 <= v <= 2 for v in corners), where, box, "fractions of the frame, in 0..1")
    _require(x0 <= x1 and y0 <= y1, where, box, "x0 <= x1 and y0 <= y1, not reversed")
    return corners
