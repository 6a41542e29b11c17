"""Options that had another name in version 0.1: they work for one version more, and a line says what they are now."""

from __future__ import annotations

from collections.abc import Sequence

from ..training.settings import RENAMED
from .console import line

TRAIN = {f"--{old}": f"--{new.replace('_', '-')}" for old, new in RENAMED.items()}
OPTIONS: dict[str, dict[str, str]] = {"train": TRAIN, "studio": {"--share": "--public-url"}}  # by command


def with_present_names(words: Sequence[str]) -> list[str]:
    """A command line (without the program's name) in which every option has its present name."""
    if not words:
        return []
    command, *rest = words
    names = OPTIONS.get(command, {})

    renamed = [command]
    for word in rest:
        option, equals, value = word.partition("=")
        if option in names:
            line(f"{option} is called {names[option]} now", stderr=True)  # stdout may be JSON
            word = names[option] + equals + value
        renamed.append(word)
    return renamed
