"""Openers of a request, which ask for the video and say nothing of what it shows: "show me", "I want to see"."""

from __future__ import annotations

import re
from collections.abc import Sequence

_POLITE = r"(?:please |kindly |hey |hi |hello |, )*"
_ASKS = r"(?:(?:can|could|would|will) (?:you|we|i) )"
_CREATES = "create|generate|produce|animate|visuali[sz]e|depict|imagine"  # verbs that can be nothing else
_ACTS = rf"(?:{_CREATES}|make|render|draw|show|display|give|design|film|watch)"
_SEES = r"(?:see|have|watch|get|view|make|create|generate|show|be shown)"
_WISHES = r"(?:(?:i|we) (?:really )?(?:want|need|wish|(?:would|'d) (?:like|love))|(?:i|we)'d (?:like|love))"
_ARTICLE = r"(?:an?|the|some|one|two|three|[0-9]+)"
_AFTER_OTHERS = r"(?:up|off|out|back|over|of|in|on|at|and|or|is|are|it)"  # "show off" asks for nothing
_OPENER = re.compile(
    rf"{_POLITE}(?:"
    rf"{_WISHES}(?: (?:you )?to {_SEES}(?: me| us| for me)?)?"
    rf"|let (?:us|me|is) (?:{_SEES}|{_ACTS})"
    rf"|let(?= {_ARTICLE} )"
    rf"|{_ASKS}?{_POLITE}{_ACTS} (?:me|us)"
    rf"|{_ASKS}?{_POLITE}{_ACTS}(?= {_ARTICLE} )"
    rf"|{_ASKS}?{_POLITE}(?:{_CREATES})(?= [a-z])"
    rf"|{_ASKS}?{_POLITE}(?:make it|(?:show|draw|make)(?= (?!{_AFTER_OTHERS} )[a-z]))"
    r")(?= |$)"
)


CAUSING = frozenset("make it let see watch have imagine".split())  # what follows may do something: "make a ball bounce"


def opener_length(lows: Sequence[str]) -> int:
    """How many of the words `lows`, in lower case, open a request; 0 where the prompt begins with what it shows."""
    found = _OPENER.match(" ".join(lows))
    return len(found[0].split()) if found else 0
