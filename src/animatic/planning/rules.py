"""The offline planner: English to a Scene with rules, no model. What was not understood is in `reasoning`.

words -> clauses -> objects with motions and relations -> boxes -> an account of every word
         reading.py                                       layout.py   account.py
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ..errors import AnimaticError
from ..scene import Scene, Track
from .account import Account, Role
from .layout import arrange
from .paths import Move
from .reading import MAX_OBJECTS, Reading, read

_SIDEWAYS = {"left": -1, "leftwards": -1, "leftward": -1, "right": 1, "rightwards": 1, "rightward": 1}
SHOWS = 0.02  # of the frame: the smallest change of a box that counts as one


def plan(prompt: str, keys: int = 6, seconds: float = 2.0) -> Scene:
    """A Scene of `keys` key frames over `seconds` (0: a still image of one key) from an English prompt.

    Raises `AnimaticError` where the prompt is empty, not English, names nothing to show, or more than 16 objects.
    """
    return plan_with_account(prompt, keys, seconds)[0]


def plan_with_account(prompt: str, keys: int = 6, seconds: float = 2.0) -> tuple[Scene, Account]:
    """`plan`, and what became of each word of the prompt."""
    if not prompt.strip():
        raise AnimaticError("the prompt is empty; want a sentence")
    if keys < 1:
        raise AnimaticError(f"keys is {keys}; want at least 1")

    reading = read(prompt)
    total = sum(item.count for item in reading.objects)
    if not total and not reading.negative and not reading.background:
        short = prompt if len(prompt) <= 60 else prompt[:59] + "…"
        raise AnimaticError(f"the prompt {short!r} names no object to place; want one, such as 'a bear walks left'")
    if total > MAX_OBJECTS:
        raise AnimaticError(f"the prompt names {total} objects to place; want at most {MAX_OBJECTS}")

    still = seconds <= 0
    tracks, members = arrange(
        reading.objects, reading.relations, 1 if still else keys, reading.convoys, reading.background
    )
    _check_motions(reading, tracks, members, keys)
    account = reading.ledger.account()
    negative = ", ".join(dict.fromkeys(reading.negative))
    reasoning = _explanation(reading, account)
    return Scene(prompt.strip(), tracks, reading.background, negative, seconds, reasoning), account


def _check_motions(reading: Reading, tracks: Sequence[Track], members: Sequence[Sequence[int]], keys: int) -> None:
    """What was read as a motion but changes no box was not understood."""
    for token, (check, objects) in list(reading.ledger.about.items()):
        own = [tracks[j] for i in objects for j in members[i]]
        shows = {"moves": _moves, "visible": _comes_or_goes}[check]

        # a still has one key frame, in which no motion can show
        is_still = keys < 2 or not own or len(own[0].boxes) < 2
        is_shown = any(map(shows, own)) and (check != "moves" or _agrees(reading, token, own))
        if not is_still and not is_shown:
            reading.ledger.set(Role.NOT_UNDERSTOOD, token)


def _agrees(reading: Reading, token: int, own: Sequence[Track]) -> bool:
    """Whether each object goes once to the side that a word names, or away from it after "from"."""
    way = _SIDEWAYS.get(reading.ledger.low(token), 0)
    before = [reading.ledger.low(i) for i in range(max(0, token - 3), token)]
    if not way or not ({"to", "towards", "toward", "from"} & set(before)) or "of" in before:
        return True
    near = [low for low in before if low in ("to", "towards", "toward", "from")][-1]
    if near == "from":
        way = -way
    return all(_goes(track, way) for track in own)


def _goes(track: Track, way: int) -> bool:
    """Whether an object's centre goes left (-1) or right (1) between two of its boxes, or its height alone changes."""
    centres = [(box[0] + box[2]) / 2 for box in track.boxes if box is not None]
    return any((b - a) * way > SHOWS / 2 for a, b in pairwise(centres))


def _moves(track: Track) -> bool:
    """Whether a side of the object's box changes from what it was when it first appeared."""
    boxes = [box for box in track.boxes if box is not None]
    for box in boxes[1:]:
        changes = (abs(a - b) for a, b in zip(boxes[0], box, strict=True))
        if max(changes) > SHOWS:
            return True
    return False


def _comes_or_goes(track: Track) -> bool:
    return None in track.boxes


def _explanation(reading: Reading, account: Account) -> str:
    """What was understood, and what was not, for the scene's `reasoning`."""
    parts = []
    for item in reading.objects:
        moves = ", then ".join(map(_move_in_words, item.moves)) or "still"
        parts.append(f"{item.count} x {item.phrase}: {moves}")
    parts += reading.notes
    return "; ".join(filter(None, [*parts, account.summary()]))


def _move_in_words(move: Move) -> str:
    x, y = move.goal
    if (x, y) == (None, None):
        return "a stop" if move.path == "line" else move.path
    high, low = ("top", "bottom") if x is None else ("upper", "lower")
    words = ({0.0: high, 1.0: low}.get(y, ""), {0.0: "left", 1.0: "right"}.get(x, ""))  # type: ignore[arg-type]
    goal = "to the " + (" ".join(filter(None, words)) or "middle")
    return goal if move.path == "line" else f"{move.path} {goal}"
