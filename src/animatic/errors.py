"""What a user is meant to read of what went wrong, or otherwise than asked: single lines."""

import warnings


class AnimaticError(ValueError):
    """Bad input. The command line prints it without a traceback and exits with code 2."""


class AnimaticWarning(UserWarning):
    """Something was done otherwise than asked, or may not be what was meant. The command line prints it as one line."""


def warn(line: str) -> None:
    """Say a line through Python's `warnings`, once for each text."""
    warnings.warn(line, AnimaticWarning, stacklevel=3)
