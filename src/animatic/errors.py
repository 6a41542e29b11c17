"""The one error a user is meant to read: a single line that names the thing, its value and what would be right."""


class AnimaticError(ValueError):
    """Bad input. The command line prints it without a traceback and exits with code 2."""
