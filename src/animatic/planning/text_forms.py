"""The text forms of LMD (stills) and LVD (boxes per frame), read and written.

LMD: arXiv 2305.13655, https://github.com/TonyLianLong/LLM-groundedDiffusion; LVD: arXiv 2309.17444,
https://github.com/TonyLianLong/LLM-groundedVideoDiffusion. Markdown, bullets, quotes and indentation are accepted. An
error quotes what could not be read, and says what was expected.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from ..errors import AnimaticError, listed
from ..scene import Box, Scene
from .boxes import legacy_filter
from .labels import before_label, label_pattern, parts_at
from .reply import Reply, ReplyObject, quote

CANVAS = 512  # pixels of both text forms
FRAMES = 6  # of LVD's

_PART = label_pattern("(objects|background prompt|negative prompt)")
_FRAME = label_pattern(r"frame[ _]?(\d{1,4})")
_LIST_BEGINS = re.compile(r"[\s*_`>-]*(?:(?:json|python)\s*)?\[")  # after the label of a frame; elsewhere it is prose
_KEYWORD = label_pattern("background keyword")
_REASONING = label_pattern("reasoning")
_COUNT = re.compile(r"^\d+\s+|(?<!\s)\s+\d+$|(?<=[a-z]{2})\d+$")  # "car 1", "car1", "2 cats", but not "R2D2"


def is_frames(text: str) -> bool:
    """Whether a text has a mark of LVD's form."""
    return bool(_FRAME.search(text) or _KEYWORD.search(text))


def is_still(text: str) -> bool:
    """Whether a text has a mark of LMD's form."""
    return any(match[1].lower() == "background prompt" for match in _PART.finditer(text))


def read_still(text: str, legacy: bool = False) -> Reply:
    """LMD's form: a list of `(name, [x, y, w, h])` in pixels of 512, a background prompt, a negative prompt.

    `legacy`: LMD's box filter and scaling. Raises `AnimaticError` that quotes what could not be read.
    """
    # the passages under each label; what comes before the first is the list of objects
    parts = parts_at(_PART, text)
    passages: dict[str, list[str]] = {}
    for label, value in zip(["objects", *parts[1::2]], parts[::2], strict=True):
        passages.setdefault(label.lower(), []).append(_plain(value))
    backgrounds = passages.get("background prompt", [])
    negatives = passages.get("negative prompt", [])
    if len(backgrounds) != 1 or len(negatives) > 1:
        raise AnimaticError(
            f"reply {quote(text)}: {len(backgrounds)} background prompts and {len(negatives)} negative prompts; "
            "want one and at most one"
        )

    # names and boxes; an item with an empty box is left out
    listing = passages["objects"][-1]
    is_empty = not listing or "no objects" in listing.lower()
    boxes: list[tuple[str, Box]] = []
    for item in [] if is_empty else _list(listing, listing):
        valid = isinstance(item, (tuple, list)) and len(item) == 2 and isinstance(item[0], str)
        _require(valid, "reply: an object", item, "('name', [x, y, width, height])")
        name, box = item
        if box:
            numbers = _numbers(box, f"reply: box of {name!r}")
            boxes.append((name, numbers))

    # boxes in fractions are made pixels, which LMD's filter knows
    repairs = ()
    if _are_fractions([box for _, box in boxes]):
        boxes = [(name, _times(box, CANVAS)) for name, box in boxes]
        repairs = ("boxes with numbers up to 1 are read as fractions",)
    if legacy:
        boxes = legacy_filter(boxes)
    objects = []
    for name, box in boxes:
        phrase = name.strip(". ") or name
        objects.append(ReplyObject(phrase, (_fractions(box),)))

    # models write "None" where they leave a prompt empty
    background = backgrounds[0]
    if background == "None":
        background = ""
    negative = "".join(negatives)
    if negative == "None":
        negative = ""
    return Reply(tuple(objects), background, negative, seconds=0.0, repairs=repairs)


def read_frames(text: str) -> Reply:
    """LVD's form: per frame a list of `{"id", "name", "box": [x, y, w, h]}` in pixels of 512, and a keyword.

    Raises `AnimaticError` that quotes what could not be read.
    """
    body, *backgrounds = parts_at(_KEYWORD, text)
    if len(backgrounds) > 1:
        raise AnimaticError(
            f"reply {quote(text)}: {len(backgrounds)} lines 'Background keyword:'; want one, at the end"
        )
    repairs: list[str] = [] if backgrounds else ["no line 'Background keyword:'; the background is left open"]
    reasoning, passages = _passages(body)

    # the objects of each frame
    frames: list[list[tuple[Any, str, Box | None]]] = []
    for f, passage in enumerate(passages, 1):
        items = _list(passage, f"Frame {f}: {passage.strip()}")
        frames.append([_item(item, f"reply: Frame {f}: ") for item in items])

    # boxes in fractions are made pixels
    scale = 1.0
    boxes = [box for frame in frames for _, _, box in frame if box is not None]
    if _are_fractions(boxes):
        scale = float(CANVAS)
        repairs.append("boxes with numbers up to 1 are read as fractions")

    # an object's boxes over the frames, by its id; objects that share one are told apart by their names
    shared = _shared_ids(frames)
    repairs += [f"id {quote(i)} is that of two objects in one frame; they are read as two" for i in shared]
    rows: dict[tuple[Any, ...], tuple[str, list[Box | None]]] = {}
    for f, frame in enumerate(frames):
        seen: list[tuple[Any, str]] = []
        for number, name, box in frame:
            seen.append((number, name))
            key: tuple[Any, ...] = (number,)
            if number in shared:
                key = (number, name, seen.count((number, name)))
            _, row = rows.setdefault(key, (name, [None] * FRAMES))
            if box is not None:
                row[f] = _fractions(_times(box, scale))

    # of the keyword only its line counts: some models go on talking after it
    objects = tuple(ReplyObject(name, tuple(row)) for name, row in rows.values())
    keyword = ""
    if backgrounds:
        first_line = backgrounds[0].strip().split("\n")[0]
        keyword = _plain(first_line)
    reasoning = _plain("".join(parts_at(_REASONING, reasoning)))
    return Reply(objects, keyword, "", reasoning, repairs=tuple(repairs))


def _passages(body: str) -> tuple[str, list[str]]:
    """The reasoning, and the passage of each frame. A label that no list follows is prose: "in Frame 1: it sits"."""
    labels = [match for match in _FRAME.finditer(body) if _LIST_BEGINS.match(body, match.end())]
    numbers = [int(label[1]) for label in labels]
    ends = [label.start() for label in labels[1:]] + [len(body)]
    passages = [before_label(body[label.end() : end]) for label, end in zip(labels, ends, strict=False)]
    reasoning = before_label(body[: labels[0].start()]) if labels else body

    # where a prompt ended with "Frame 1:" the reply begins inside it
    if numbers[:1] == [2] and "[" in reasoning:
        numbers = [1, *numbers]
        passages = [reasoning, *passages]
        reasoning = ""
    expected = list(range(1, FRAMES + 1))
    if numbers != expected:
        found = listed(numbers) or "without lists"
        raise AnimaticError(f"reply has frames {found}; want {listed(expected)} in this order")
    return reasoning, passages


def _item(item: Any, where: str) -> tuple[Any, str, Box | None]:
    """Id, name without its count, and box of an object in a frame; no box where it is null or empty."""
    name: Any = None
    number: Any = None
    if isinstance(item, dict):
        name = item.get("name", item.get("keyword"))
        number = item.get("id")
    is_number = isinstance(number, (int, float, str)) and not isinstance(number, bool)
    valid = isinstance(name, str) and is_number and "box" in item
    _require(valid, f"{where}an object", item, "{'id': 0, 'name': 'cat', 'box': [x, y, w, h]}")

    # models number what the prompt counts: "car 1", "car 2"
    phrase = _COUNT.sub("", name.strip()) or name
    box = item["box"]
    if box is None or box == []:
        return number, phrase, None
    return number, phrase, _numbers(box, f"{where}box of {name!r}")


def _shared_ids(frames: list[list[tuple[Any, str, Box | None]]]) -> list[Any]:
    """Ids that two objects of one frame have, in their order."""
    shared: dict[Any, None] = {}
    for frame in frames:
        numbers = [number for number, _, _ in frame]
        shared |= dict.fromkeys(number for number in numbers if numbers.count(number) > 1)
    return list(shared)


def _list(text: str, line: str) -> list[Any]:
    """The list in a passage, Python's or JSON's, without fences, bullets and a comment after " - "."""
    # chat pages turn quotes into typographic ones
    straight = re.sub("[\u201c\u201d]", '"', text)
    straight = re.sub("[\u2018\u2019]", "'", straight)
    start = straight.find("[")
    stop = straight.rfind("]")
    part = straight[start : stop + 1] if 0 <= start < stop else straight.strip()

    # the originals read Python's literals; other models write JSON
    value = None
    try:
        value = ast.literal_eval(part)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        try:
            value = json.loads(part)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, list):
        raise AnimaticError(f"reply: {quote(line)}; want a list of names and boxes")
    return value


def _numbers(box: Any, where: str) -> Box:
    valid = isinstance(box, (list, tuple)) and len(box) == 4
    valid = valid and all(map(_is_coordinate, box))
    _require(valid, where, box, "four numbers")
    x, y, w, h = map(float, box)
    return x, y, w, h


def _is_coordinate(value: Any) -> bool:
    """Whether a value is a number of a plausible size: JSON's 1e400 is infinite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < 1e6


def _are_fractions(boxes: list[Box]) -> bool:
    """Whether all numbers are of 0..1, and one is not whole: no object measures less than a pixel."""
    numbers = [value for box in boxes for value in box]
    if not all(0 <= value <= 1 for value in numbers):
        return False
    return any(value != int(value) for value in numbers)


def _times(box: Box, factor: float) -> Box:
    x, y, w, h = box
    return x * factor, y * factor, w * factor, h * factor


def _fractions(box: Box) -> Box:
    """Pixels `x, y, width, height` to fractions `x0, y0, x1, y1`."""
    x, y, w, h = box
    return x / CANVAS, y / CANVAS, (x + w) / CANVAS, (y + h) / CANVAS


def _plain(text: str) -> str:
    return text.strip().strip("`*").strip()


def _require(condition: Any, where: str, value: Any, what: str) -> None:
    """Raise the one-line `AnimaticError` of a value that is not as it should be."""
    if not condition:
        raise AnimaticError(f"{where} is {quote(value)}; want {what}")


def to_text(scene: Scene) -> str:
    """A Scene in the text form that fits it: LMD's for a still, LVD's for six key frames.

    Raises `AnimaticError` where neither does. Boxes are rounded to pixels of 512.
    """
    if scene.seconds == 0 and scene.keys == 1:
        objects = [(phrase, box) for _, phrase, box in _present(scene, 0)]
        return f"{objects}\nBackground prompt: {scene.background}\nNegative prompt: {scene.negative}"
    if scene.times:
        raise AnimaticError(
            f"the scene gives times of its {scene.keys} key frames; the text form takes {FRAMES} evenly spaced"
        )
    if scene.tracks and scene.keys != FRAMES:
        raise AnimaticError(f"the scene has {scene.keys} key frames; the text form takes {FRAMES}, or 1 of 0 seconds")

    lines = []
    for f in range(FRAMES):
        row = [{"id": i, "name": phrase, "box": box} for i, phrase, box in _present(scene, f)]
        lines.append(f"Frame {f + 1}: {row}")
    frames = "\n".join(lines)
    return f"Reasoning: {scene.reasoning}\n{frames}\nBackground keyword: {scene.background}"


def _present(scene: Scene, f: int) -> list[tuple[int, str, list[int]]]:
    """Index, phrase and `x, y, width, height` in pixels of the objects present at a key frame."""
    present = []
    for i, track in enumerate(scene.tracks):
        box = track.boxes[f]
        if box is not None:
            x0, y0, x1, y1 = (round(v * CANVAS) for v in box)
            present.append((i, track.phrase, [x0, y0, x1 - x0, y1 - y0]))
    return present
