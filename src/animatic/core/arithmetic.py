"""Arithmetic of whole numbers."""

from __future__ import annotations


def ceil_div(dividend: int, divisor: int) -> int:
    """`dividend / divisor`, rounded up to a whole number; `divisor` > 0."""
    return -(-dividend // divisor)
