"""What a user is meant to read of what went wrong, or otherwise than asked: single lines."""

import warnings
from collections.abc import Iterable

MOST = 1000  # letters of a message


class AnimaticError(ValueError):
    """Bad input. The command line prints it without a traceback and exits with code 2.

    A message that quotes far too much, such as a whole file that somebody gave for a name, loses its middle. Line
    breaks, which come from files and from libraries' errors, become spaces.
    """

    def __init__(self, message: str) -> None:
        message = " ".join(message.splitlines())
        if len(message) > MOST:
            half = MOST // 2
            message = f"{message[:half]} … {message[-half:]}"
        super().__init__(message)


def listed(names: Iterable[object], most: int = 12) -> str:
    """Names with commas; of more than `most` the first ones and how many more, so that a message stays short."""
    words = [str(name) for name in names]
    rest = len(words) - most
    if rest <= 0:
        return ", ".join(words)
    return f"{', '.join(words[:most])} and {rest:,} more"


def counted(count: int, noun: str) -> str:
    """ "1 clip", "2 clips"; the noun's plural ends in s."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


class AnimaticWarning(UserWarning):
    """Something was done otherwise than asked, or may not be what was meant. The command line prints it as one line."""


def warn(line: str) -> None:
    """Say a line through Python's `warnings`, once for each text."""
    warnings.warn(line, AnimaticWarning, stacklevel=3)
