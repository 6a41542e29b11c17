"""Options that had another name in version 0.1: they work for one version more, and a line says what they are now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .console import line


def present_names(command: str) -> Mapping[str, str]:
    """Options of a command by the name that they had in version 0.1."""
    if command == "studio":
        return {"--share": "--public-url"}
    if command == "train":
        from ..training.settings import RENAMED

        return {f"--{old}": f"--{new.replace('_', '-')}" for old, new in RENAMED.items()}
    return {}


def with_present_names(words: Sequence[str]) -> list[str]:
    """A command line (without the program's name) in which every option has its present name."""
    if not words:
        return []
    command, *rest = words
    names = present_names(command)

    renamed = [command]
    for word in rest:
        option, equals, value = word.partition("=")
        if option in names:
            line(f"{option} is called {names[option]} now", stderr=True)  # stdout may be JSON
            word = names[option] + equals + value
        renamed.append(word)
    return renamed
