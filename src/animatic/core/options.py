"""Dataclass fields that carry the help text of an option, so that settings and the command line share one description.

`cli.options.by_field` turns such a dataclass into one command-line option for each field.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any


def option(
    default: Any, help: str, metavar: str | None = None, flags: tuple[str, ...] = (), as_text: bool = False
) -> Any:
    """A dataclass field that is also a command-line option.

    Args:
        default: Value of the field, and of the option, where none is given.
        help: One sentence that says what the option is, with its unit and range.
        metavar: Placeholder for the value in the help; the name of the type if not given.
        as_text: Whether the command line takes a text for it, which the command then reads.
        flags: Names of the option, such as ("--out", "-o"); "--" and the name of the field if not given.

    """
    return field(default=default, metadata={"help": help, "metavar": metavar, "flags": flags, "as_text": as_text})
