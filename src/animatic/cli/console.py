"""What the commands show: lines, bars and tables on the terminal, nothing where JSON is requested."""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..errors import AnimaticWarning

# C0 but newline and tab, DEL, C1, marks that turn the direction of text, and halves of a character
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """`text` with control characters as JSON writes them, `\\u001b`: a stranger's file must not steer the terminal."""
    return CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def console(silent: bool = False, stderr: bool = False) -> Console:
    """Text is shown as it stands: names of files may hold brackets and colons."""
    return Console(quiet=silent, stderr=stderr or not sys.stdout.isatty(), markup=False, emoji=False)


def line(text: str, silent: bool = False, style: str | None = None, stderr: bool = False) -> None:
    """A line as it stands: not coloured by its words, not broken."""
    console(silent, stderr).print(printable(text), style=style, highlight=False, soft_wrap=True)


@contextmanager
def bar(label: str, silent: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A progress bar that shows itself at the first step: what fails before leaves nothing on the terminal."""
    # transient: a finished bar makes room for the line that says what was made
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=console(silent), transient=True)
    task = progress.add_task(label, total=None)

    def tick(done: int, count: int) -> None:
        progress.start()
        progress.update(task, completed=done, total=count)

    try:
        yield tick
    finally:
        if progress.live.is_started:
            progress.stop()


def show_characters(count: int) -> None:
    """How much of an answer has come, on one line of a terminal; 0 clears the line."""
    # a file or a pipe would hold every state of the line
    if sys.stderr.isatty():
        words = f"answer: {count:,} characters" if count else ""
        sys.stderr.write(f"\r{words}\x1b[K")
        sys.stderr.flush()


def table(head: Sequence[str], rows: Sequence[Sequence[object]], as_json: bool = False) -> None:
    """Rows as a table, or as a list of JSON objects on one line."""
    if as_json:
        print(json.dumps([dict(zip(head, row, strict=True)) for row in rows]))
        return
    drawn = Table()
    for i, column in enumerate(head):
        drawn.add_column(
            printable(column), no_wrap=i == 0, overflow="fold"
        )  # what stands first is to be copied: never cut
    for row in rows:
        drawn.add_row(*(printable(str(cell)) for cell in row))

    # a pipe has no width to fit into
    screen = Console(markup=False, emoji=False)
    width = screen.width if screen.is_terminal else max(screen.width, 200)
    screen.print(drawn, width=width)


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Our own warnings as single lines among the command's others, on stderr: there may be JSON on stdout."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, AnimaticWarning):
                line(f"note: {message}", style="yellow", stderr=True)
            else:
                others(message, category, *where, **more)

        warnings.showwarning = show
        yield
