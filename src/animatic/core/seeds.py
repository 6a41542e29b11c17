"""Seeds: whole numbers that every random generator accepts."""

from __future__ import annotations

import operator

from ..errors import AnimaticError

MOST_SEED = 2**63 - 1  # the largest that both torch's generators and SQLite's integers accept


def check_seed(seed: int) -> int:
    """`seed` as an int. Raises `AnimaticError` where it is not a whole number from 0 to MOST_SEED."""
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if not 0 <= number <= MOST_SEED:
        raise AnimaticError(f"seed is {seed!r}; want a whole number from 0 to {MOST_SEED}")
    return number
