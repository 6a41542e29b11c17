"""Commands whose modules are imported when one of them is called: the list of commands needs none of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

from ..importing import collector_paused
from .options import by_field, finite_only


@dataclass(frozen=True)
class LateCommand:
    """Where a command is, and what the list of commands says of it.

    `module` is a module of this package, `function` one of its functions, `summary` the first sentence of its
    docstring.
    """

    module: str
    function: str
    summary: str

    def imported(self, name: str) -> Any:
        """The command, called `name` on the command line, as typer makes it of the function."""
        with collector_paused():
            function = getattr(import_module(f".{self.module}", __package__), self.function)

        # typer makes a command of an app that has one
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(name)(finite_only(by_field(function)))
        return typer.main.get_command(app)


class LateCommands(Mapping[str, Any]):
    """Commands by name, each imported when it is looked up."""

    def __init__(self, where: Mapping[str, LateCommand], groups: Mapping[str, Any]) -> None:
        self._where = where
        self._groups = groups
        self._imported: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name in self._groups:
            return self._groups[name]
        if name not in self._imported:
            self._imported[name] = self._where[name].imported(name)
        return self._imported[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._where
        yield from self._groups

    def __len__(self) -> int:
        return len(self._where) + len(self._groups)


class LateGroup(TyperGroup):
    """A group of commands that are imported when they are called. Subclasses say where they are."""

    where: ClassVar[Mapping[str, LateCommand]]

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        groups = self.commands  # what typer has registered
        self.commands = LateCommands(self.where, groups)  # type: ignore[assignment]

        # names and summaries, for the list of commands
        summaries = {name: TyperCommand(name, help=late.summary) for name, late in self.where.items()}
        self._listed = TyperGroup(**{**attributes, "commands": {**summaries, **groups}})

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help without an import of any command."""
        self._listed.format_help(ctx, formatter)
