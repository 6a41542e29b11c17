"""The command line: thin, every command a few calls of the Python API."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from ..errors import AnimaticError
from . import bench as cli_bench
from . import card as cli_card
from . import edit as cli_edit
from . import exchange as cli_exchange
from . import finish as cli_finish
from . import make as cli_make
from . import plan as cli_plan
from . import rehearse as cli_rehearse
from . import studio as cli_studio
from . import train as cli_train
from .aliases import with_present_names
from .console import printable, table, warnings_as_lines
from .options import AsJson, by_field, only_finite

INTERRUPTED = 130  # what typer makes of Ctrl-C

app = typer.Typer(
    help="Direct generated video: a prompt becomes a scene of moving boxes, and a video that obeys it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


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


cli_plan.add_to(app)
cli_exchange.add_to(app)
cli_train.add_to(app)
app.command()(by_field(cli_edit.edit))
app.command()(cli_card.card)
app.command()(cli_rehearse.rehearse)
app.command()(cli_studio.studio)
app.command()(cli_finish.finish)
app.add_typer(cli_bench.app, name="bench")
app.command()(by_field(cli_make.make))
app.command()(by_field(cli_make.render))


@app.command()
def models(as_json: AsJson = False) -> None:
    """List the models known by name."""
    from ..backbones import PRESETS
    from ..plugins import packages_of

    rows = [(name, preset.about, preset.source or "bundled") for name, preset in PRESETS.items()]
    rows += [(name, "of an installed package", package) for name, package in packages_of("animatic.backbones").items()]
    table(("model", "what it is", "weights"), rows, as_json)


@app.command()
def methods(
    name: Annotated[str, typer.Argument(help="A method: list its settings, for --set.", show_default=False)] = "",
    model: Annotated[str, typer.Option(help="The model whose settings they are.")] = "mini",
    as_json: AsJson = False,
) -> None:
    """List the methods known by name with their papers and repositories, or the settings of one."""
    from ..methods import GROUP, METHODS
    from ..plugins import packages_of

    if name:
        _settings(name, model, as_json)
        return
    rows = [(name, each.summary, each.paper, each.arxiv, each.repository) for name, each in METHODS.items()]
    for other, package in packages_of(GROUP).items():
        rows.append((other, f"of the installed package {package}", "", "", ""))
    table(("method", "what it does", "paper", "arXiv", "repository"), rows, as_json)


def _settings(method: str, model: str, as_json: bool) -> None:
    """Every setting of a method on a model: its name, what it is there, and one sentence."""
    from ..backbones import load
    from ..core.setting_values import shown
    from ..methods import method_named
    from ..methods.settings import settings_of

    known = settings_of(method_named(method), load(model)).values()
    if as_json:
        print(json.dumps([setting.to_dict() for setting in known]))
        return
    rows = [(each.path, shown(each.default), each.range, each.help) for each in known]
    table((f"{method} on {model}", "is", "may be", "what it is"), rows)


@app.command()
def info(
    file: Annotated[Path, typer.Argument(help="A video or picture made by animatic.")],
    request: Annotated[
        bool, typer.Option("--request", help="Only what makes it again: `animatic render` takes it as a file.")
    ] = False,
) -> None:
    """Print what a result was made from."""
    from ..request_files import request_in
    from ..video import read_info

    if not request:
        print(printable(json.dumps(read_info(file), indent=1, ensure_ascii=False)))
        return
    carried = request_in(file)
    if carried is None:
        raise AnimaticError(f"{file}: carries no request; want a file that animatic wrote")
    print(printable(json.dumps(carried.to_dict(), indent=1, ensure_ascii=False)))


# typer takes "nan" for a number; a threshold of NaN would compare as false everywhere
only_finite(app)


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
