"""The command line: thin, every command a few calls of the Python API."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from ..errors import AnimaticError
from .aliases import with_present_names
from .commands import BenchmarkCommands, Commands
from .console import printable, warnings_as_lines

INTERRUPTED = 130  # what typer makes of Ctrl-C

app = typer.Typer(
    cls=Commands,
    help="Direct generated video: a prompt becomes a scene of moving boxes, and a video that obeys it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
benchmarks = typer.Typer(
    cls=BenchmarkCommands,
    help="Measure plans and videos: LMD's 400 prompts, LVD's 500, 60 of our own.",
    no_args_is_help=True,
)
app.add_typer(benchmarks, name="bench")


def _print_version(requested: bool) -> None:
    if requested:
        from .. import __version__

        print(f"animatic {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options of the program itself, before any command."""


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line. Bad input ends in one line on stderr and exit code 2, Ctrl-C in 130, SIGTERM in 143."""
    with _terminable() as received:
        try:
            with warnings_as_lines():
                words = sys.argv[1:] if arguments is None else arguments
                code = app(args=with_present_names(words), standalone_mode=False)
        except AnimaticError as error:
            code = _fail(str(error))
        except TyperException as error:
            code = _fail(error.format_message())
        except typer.Abort:
            code = _fail("a file ends too early")  # what typer makes of EOFError
        except KeyboardInterrupt:
            code = INTERRUPTED

        # typer turns an interruption into this code as well
        if code == INTERRUPTED:
            code = 128 + received[0] if received else INTERRUPTED
            _fail("interrupted; nothing was left half-written")
    sys.exit(code or 0)


def _fail(message: str) -> int:
    # in one line, whatever a library's message looks like
    one_line = printable(" ".join(message.split()))
    print(f"error: {one_line}", file=sys.stderr)
    return 2


@contextmanager
def _terminable() -> Iterator[list[int]]:
    """Within this context SIGTERM, which containers and services send, ends like Ctrl-C; it is in the list then."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # no other thread may handle signals
        return

    def end(number: int, frame: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    main()
