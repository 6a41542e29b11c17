"""The offline planner: English to a Scene with rules, no model. What was not understood is in `reasoning`.

words -> noun phrases -> objects with motions and relations -> boxes
         phrases.py      reading.py, clauses.py               layout.py
"""

from __future__ import annotations

from ..errors import AnimaticError
from ..scene import Scene
from .layout import arrange
from .motions import Spot
from .phrases import MAX_OBJECTS
from .reading import Reading, read


def plan(prompt: str, keys: int = 6, seconds: float = 2.0) -> Scene:
    """A Scene of `keys` key frames over `seconds` (0: a still image of one key) from an English prompt.

    Raises `AnimaticError` where the prompt is empty, names no object (neither present nor absent), or more than twelve.
    """
    if not prompt.strip():
        raise AnimaticError("the prompt is empty; want a sentence")
    if keys < 1:
        raise AnimaticError(f"keys is {keys}; want at least 1")

    reading = read(prompt)
    total = sum(item.count for item in reading.objects)
    if not total and not reading.negative:
        short = prompt if len(prompt) <= 60 else prompt[:59] + "…"
        raise AnimaticError(f"the prompt {short!r} names no object to place; want one, such as 'a bear walks left'")
    if total > MAX_OBJECTS:
        raise AnimaticError(f"the prompt names {total} objects to place; want at most {MAX_OBJECTS}")

    tracks = arrange(reading.objects, reading.relations, keys if seconds > 0 else 1)
    negative = ", ".join(reading.negative)
    return Scene(prompt.strip(), tracks, reading.background, negative, seconds, _explanation(reading))


def _explanation(reading: Reading) -> str:
    """What was understood, and what was not, for the scene's `reasoning`."""
    parts = []
    for item in reading.objects:
        moves = ", then ".join(map(_move_in_words, item.moves)) or "still"
        parts.append(f"{item.count} x {item.phrase}: {moves}")
    parts += reading.notes
    if reading.unread:
        parts.append("not understood: " + ", ".join(dict.fromkeys(reading.unread)))
    return "; ".join(parts)


def _move_in_words(move: Spot | str) -> str:
    if isinstance(move, str):
        return move
    x, y = move
    high, low = ("top", "bottom") if x is None else ("upper", "lower")
    words = ({0.0: high, 1.0: low}.get(y, ""), {0.0: "left", 1.0: "right"}.get(x, ""))  # type: ignore[arg-type]
    return "to the " + (" ".join(filter(None, words)) or "middle")
