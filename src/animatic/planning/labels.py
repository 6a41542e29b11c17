"""Labels of a language model's reply, such as "**Frame 1:**", found in linear time.

A pattern that begins with a run of spaces and marks tries each of them as its beginning: quadratic time, and thoughts
of thousands of letters are blanked to as many spaces. So a label's pattern begins with its word, and what stands
before it is cut off from the end.
"""

from __future__ import annotations

import re

_MARKS = re.compile(r"[*_`#>\s-]*")  # of Markdown, before a label


def label_pattern(words: str) -> re.Pattern[str]:
    """A label with its colon, of a pattern of words."""
    return re.compile(rf"\b{words}[*_`]*\s*:[*_` ]*", re.IGNORECASE)


def parts_at(pattern: re.Pattern[str], text: str) -> list[str]:
    """A text split at a label, as `re.split` does it, without the spaces and marks before each."""
    *parts, last = pattern.split(text)
    return [*map(before_label, parts), last]


def before_label(text: str) -> str:
    """What stands before a label, without the spaces and marks that end it."""
    marks = _MARKS.match(text[::-1])
    return text[: len(text) - marks.end()] if marks else text
