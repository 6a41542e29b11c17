"""Seeds: whole numbers that every generator takes."""

from __future__ import annotations

import operator

from ..errors import AnimaticError

MOST_SEED = 2**63 - 1  # what torch's generators and SQLite's integers take alike


def check_seed(seed: int) -> int:
    """`seed` as an int. Raises `AnimaticError` where no generator takes it."""
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if not 0 <= number <= MOST_SEED:
        raise AnimaticError(f"seed is {seed!r}; want a whole number from 0 to {MOST_SEED}")
    return number
