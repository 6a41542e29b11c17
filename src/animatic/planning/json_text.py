"""The last whole JSON object of a text, with what language models get wrong in JSON repaired.

Strict JSON is read by `json`. What it refuses is read as JSON5 (https://spec.json5.org), which has comments, trailing
commas, single quotes and numbers such as .5; Python's None, True, False and tuples are rewritten first. The library
refuses an object that is cut off: one that completes it would make up boxes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import AnimaticError
from .reply import quote

MAX_REPAIRED = 200_000  # characters of a text that are read as JSON5, some 4 s of work
MAX_OBJECTS = 1_000  # outermost objects of a text, whole or broken, that are looked at
LEAST_REPAIRED = 10_000  # characters that one object counts at least: not one in every brace of a long text

# what JSON does not have, or has only between quotes; the groups' names are the words of the repairs
_TOKEN = re.compile(
    r"""
    "(?:\\.|[^"\\])*+(?:"|\\?\Z)                     # a string of JSON, which is left alone; one that is not
    | (?P<single_quotes>'(?:\\.|[^'\\])*+(?:'|\\?\Z))  # closed reaches to the end, and is looked at once
    | (?P<a_comment>//[^\n]*|/\*(?:.*?\*/|.*\Z))
    | (?P<a_hash_comment>\#[^\n]*)
    | (?P<Python_constants>\b(?:None|True|False)\b)
    | (?P<Python_tuples>[()])
    | (?P<a_trailing_comma>,(?=\s*[\]}]))
    | (?P<numbers_such_as_dot_five>(?<![\w.])(?:[+]\.?\d|-?\.\d))
    """,
    re.VERBOSE | re.DOTALL,
)
_AS_JSON5 = {"None": "null", "True": "true", "False": "false", "(": "[", ")": "]"}
_END = re.compile(r"[`\s]*\Z")
_PYTHON = re.compile(r"None|True|False|[(#]")  # near the place where JSON5 breaks
_THINKING = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)


@dataclass(frozen=True)
class FoundObject:
    """An object and the lines that say what was repaired in its text."""

    value: dict[str, Any]
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Broken:
    """What begins as an object, and is none: where it begins and breaks, as offsets, and why."""

    start: int
    stop: int
    reason: str


def without_thinking(text: str) -> str:
    """The text with what stands in `<think>` blanked, so that lines and columns stay what they were.

    A chat template may open `<think>` itself: what stands before a lone closing tag was thinking too. A tag that is
    never closed reaches to the end.
    """
    # where thinking begins and ends; nothing is blanked before all of it is known, for each tag may change it
    spans: list[tuple[int, int]] = []
    opened: int | None = None
    for tag in _THINKING.finditer(text):
        if tag[1] == "":
            opened = tag.start() if opened is None else opened
            continue

        # of a lone closing tag everything before it
        if opened is None:
            spans = []
            opened = 0
        spans.append((opened, tag.end()))
        opened = None
    if opened is not None:
        spans.append((opened, len(text)))

    pieces: list[str] = []
    done = 0  # offset up to which `pieces` reach
    for start, stop in spans:
        pieces += [text[done:start], _blank(text[start:stop])]
        done = stop
    return "".join(pieces) + text[done:]


def last_object(text: str, key: str) -> FoundObject | None:
    """The last whole JSON object of a text that has `key`, fenced or bare; None where nothing was to be one.

    Raises `AnimaticError` where there is one but it is broken, with its place and the reason.
    """
    plain = _unquoted(text)
    repairs = () if plain is text else ("the JSON stands in quotes",)

    # an object that has the key begins before its last mention: one in quotes, or the bare word of JSON5
    quoted = max(plain.rfind(f'"{key}"'), plain.rfind(f"'{key}'"))
    named = quoted if quoted >= 0 else plain.rfind(key)

    # a draft may come before the answer: the last object counts
    found: FoundObject | None = None
    broken: _Broken | None = None  # the innermost one that was to have the key, after the last whole one
    for item in _objects(plain, named):
        if isinstance(item, _Broken):
            broken = item
        elif (inner := _with_key(item.value, key)) is not None:
            found = FoundObject(inner, item.repairs)
            broken = None

    if found is None:
        if broken is None:
            return None
        raise AnimaticError(f"reply{_place(plain, broken)}; want a whole JSON object")
    if broken is not None:
        repairs += (f"a later object was not read: the reply{_place(plain, broken)}",)
    return FoundObject(found.value, repairs + found.repairs)


def _objects(text: str, end: int) -> Iterator[FoundObject | _Broken]:
    """The outermost objects of a text that begin before `end`, in their order, and what begins like one."""
    decoder = json.JSONDecoder(strict=False)  # models break lines inside strings
    position = text.find("{")
    budget = MAX_REPAIRED
    for _ in range(MAX_OBJECTS):
        if not 0 <= position < end:
            return
        try:
            value, stop = decoder.raw_decode(text, position)
            yield FoundObject(value)
        except json.JSONDecodeError as error:
            item, stop = _repaired(text, position, error, budget)
            budget -= max(stop - position, LEAST_REPAIRED)
            yield item
        except RecursionError:
            raise _too_deep(text) from None
        except ValueError:
            raise _too_many_digits(text) from None
        position = text.find("{", max(stop, position + 1))


def _repaired(text: str, start: int, error: json.JSONDecodeError, budget: int) -> tuple[FoundObject | _Broken, int]:
    """What begins at `start` read as JSON5, and where it ends or breaks. `error`: why it is no JSON."""
    import json5

    strict = _Broken(start, error.pos, error.msg[0].lower() + error.msg[1:])
    if budget <= 0:
        return strict, error.pos

    part = text[start : start + budget]
    try:
        value, message, length = json5.parse(part, consume_trailing=False, strict=False)
        if message is not None and _PYTHON.search(part, max(0, length - 6), length + 6):
            value, message, length = json5.parse(_rewritten(part), consume_trailing=False, strict=False)
    except RecursionError:
        raise _too_deep(text) from None
    except ValueError:
        raise _too_many_digits(text) from None
    stop = start + length
    if length >= len(part) < len(text) - start:  # the part ends, not the text
        return strict, stop
    if message is not None or not isinstance(value, dict):
        return _broken(text, start, stop), max(stop, error.pos)

    # each kind of repair is named once
    kinds = dict.fromkeys(token.lastgroup for token in _TOKEN.finditer(part, 0, length) if token.lastgroup)
    repairs = [f"the JSON has {kind.replace('_', ' ')}" for kind in kinds]
    return FoundObject(value, tuple(repairs or ["the JSON is JSON5"])), stop


def _rewritten(part: str) -> str:
    """Python's constants, tuples and comments as JSON5, of the same length: offsets stay what they were."""
    pieces: list[str] = []
    done = 0
    for token in _TOKEN.finditer(part):
        rewritten = _AS_JSON5.get(token[0], token[0])
        if token.lastgroup == "a_hash_comment":
            rewritten = " " * len(token[0])
        pieces += [part[done : token.start()], rewritten]
        done = token.end()
    return "".join(pieces) + part[done:]


def _with_key(value: dict[str, Any], key: str) -> dict[str, Any] | None:
    """The object itself, or the one inside it, such as `{"answer": {"tracks": ...}}`; None where none has the key."""
    if key in value:
        return value
    inner = [item for item in value.values() if isinstance(item, dict) and key in item]
    return inner[0] if len(inner) == 1 else None


def _unquoted(text: str) -> str:
    """The text that a JSON string holds, where the whole reply is one or is escaped like one; else the text itself."""
    bare = text.strip("` \n")
    is_string = len(bare) > 1 and bare[0] == bare[-1] == '"'
    is_escaped = '{\\"' in bare and '{"' not in bare
    if not (is_string or is_escaped):
        return text
    try:
        value = json.loads(bare if is_string else f'"{bare}"', strict=False)
    except json.JSONDecodeError:
        return text
    return value if isinstance(value, str) else text


def _broken(text: str, start: int, stop: int) -> _Broken:
    """What begins at `start` and is no object from `stop` on, with the reason; "" where the text ends there."""
    if _END.match(text, stop):
        return _Broken(start, stop, "")

    # the library looks on behind a second comma
    second = max(text.rfind(",", start, stop), stop if text[stop] == "," else -1)
    if second > start and text[start:second].rstrip().endswith(",") and not text[second + 1 : stop].strip():
        return _Broken(start, second, "two commas in a row")
    return _Broken(start, stop, f"{text[stop]!r} is not expected here")


def _place(text: str, broken: _Broken) -> str:
    """Where JSON breaks, and why."""
    if not broken.reason:
        return f" ends inside its JSON: {quote(text[-60:])}"
    line = text.count("\n", 0, broken.stop) + 1
    column = broken.stop - text.rfind("\n", 0, broken.stop)
    return f", line {line}, column {column}: {broken.reason}, at {quote(text[broken.stop : broken.stop + 40])}"


def _too_deep(text: str) -> AnimaticError:
    return AnimaticError(f"reply {quote(text)}: is nested too deep; want an object of the template's form")


def _too_many_digits(text: str) -> AnimaticError:
    # Python's own limit, against quadratic time
    return AnimaticError(f"reply {quote(text)}: a number of thousands of digits; want a scene")


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)
