"""The offline planner: English to a Scene with rules, no model. What it cannot read, it says in `reasoning`."""

from __future__ import annotations

from dataclasses import replace

from ..errors import AnimaticError
from ..scene import Scene, Track
from .layout import Relation, Spot, Thing, arrange
from .lexicon import IMPLIED, KINDS
from .phrases import MOST, verb
from .reading import KIND_MOVES, Reading, read


def plan(prompt: str, keys: int = 6, seconds: float = 2.0) -> Scene:
    """A Scene of `keys` key frames over `seconds` (0: a still of one key) from an English prompt.

    Raises `AnimaticError` where the prompt is empty, names nothing wanted or unwanted, or more than twelve things.
    """
    if not prompt.strip():
        raise AnimaticError("the prompt is empty; want a sentence")
    if keys < 1:
        raise AnimaticError(f"keys is {keys}; want at least 1")
    reading = read(prompt)
    total = sum(kind.count for kind in reading.kinds)
    if not total and not reading.negative:
        raise AnimaticError(
            f"the prompt {_short(prompt)!r} names no thing to place; want one, such as 'a bear walks left'"
        )
    if total > MOST:
        raise AnimaticError(f"the prompt names {total} things to place; want at most {MOST}")
    _suppose(reading)
    things, relations = _expand(reading)
    boxes = arrange(things, relations, keys if seconds > 0 else 1) if things else []
    tracks = tuple(Track(thing.phrase, row) for thing, row in zip(things, boxes, strict=True))
    return Scene(
        prompt.strip(), tracks, reading.background, ", ".join(reading.negative), seconds, reasoning=_explain(reading)
    )


def _short(prompt: str) -> str:
    return prompt if len(prompt) <= 60 else prompt[:59] + "…"


def _suppose(reading: Reading) -> None:
    """What words imply without saying: "a flying bird" goes somewhere, and is in the sky."""
    for i, kind in enumerate(reading.kinds):
        thing = kind.thing
        stem = verb(kind.doing) or ""
        placed = thing.start != (None, None) or any(i in (r.a, r.b) for r in reading.relations)
        if not thing.moves and not placed and kind.count == 1 and KINDS.get(stem) in KIND_MOVES:
            thing.moves.append(KIND_MOVES[KINDS[stem]])
            reading.notes.append(f"{thing.phrase}: no way is told, taken as the usual one")
        if not reading.background and stem in IMPLIED:
            reading.background = IMPLIED[stem]
            reading.notes.append(f"background {IMPLIED[stem]} from {kind.doing!r}")


def _expand(reading: Reading) -> tuple[list[Thing], list[Relation]]:
    """Kinds of several to single things, and relations between kinds to relations between things."""
    things: list[Thing] = []
    members: list[range] = []
    for kind in reading.kinds:
        members.append(range(len(things), len(things) + kind.count))
        things += [replace(kind.thing, moves=list(kind.thing.moves)) for _ in range(kind.count)]
    relations = [Relation(r.kind, a, b) for r in reading.relations for a in members[r.a] for b in members[r.b]]
    return things, relations


def _explain(reading: Reading) -> str:
    parts = [
        f"{kind.count} x {kind.thing.phrase}: {', then '.join(_name(m) for m in kind.thing.moves) or 'still'}"
        for kind in reading.kinds
    ]
    parts += reading.notes
    if reading.unread:
        parts.append("not understood: " + ", ".join(dict.fromkeys(reading.unread)))
    return "; ".join(parts)


def _name(move: Spot | str) -> str:
    if isinstance(move, str):
        return move
    x, y = move
    sides = ("top", "bottom") if x is None else ("upper", "lower")
    words = [
        side for v, (low, high) in ((y, sides), (x, ("left", "right"))) for u, side in ((0, low), (1, high)) if v == u
    ]
    return "to the " + (" ".join(words) or "middle")
