"""The command that opens the studio."""

from __future__ import annotations

import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import AnimaticError
from . import plan as cli_plan
from .console import console, line

if TYPE_CHECKING:
    from ..studio.server import Running


def studio(
    host: Annotated[str, typer.Option(help="Address to listen at; others than loopback let the network in.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="Port to listen at.", min=1, max=65535)] = 7860,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A name of `animatic models` or a folder; may be repeated, else mini-2 and mini. The first loads now."
        ),
    ] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE[:SCALE[:NETWORK]]", help="A LoRA that may be requested; may be repeated."),
    ] = None,
    planner: Annotated[str, typer.Option(help=f"A further planner to offer: one of {cli_plan.KNOWN}.")] = "",
    base_url: cli_plan.BaseUrl = "",
    template: cli_plan.Template = "",
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the run log: all that is made, and all that is served.")
    ] = (Path("out/studio")),
    password: Annotated[
        str,
        typer.Option(
            envvar="ANIMATIC_PASSWORD", help="Password that every visitor must enter; the user name does not matter."
        ),
    ] = "",
    shared: Annotated[
        bool, typer.Option(help="One gallery and one queue of all who have the password, in place of one each.")
    ] = False,
    public_url: Annotated[bool, typer.Option(help="Also open a public address, through Gradio's relay.")] = False,
    waiting: Annotated[int, typer.Option(help="Most jobs in the queue, of all users.", min=1)] = 16,
    frames: Annotated[int, typer.Option(help="Most frames of a video.", min=1)] = 64,
    steps: Annotated[int, typer.Option(help="Most denoising steps.", min=1)] = 200,
    side: Annotated[int, typer.Option(help="Most pixels of a side.", min=1)] = 1024,
    memory: Annotated[
        float, typer.Option(help="Most GiB a job may take beside its model's weights; 0 is what is free.", min=0)
    ] = 0.0,
) -> None:
    r"""Open the studio: draw scenes in the browser and render them. Needs `pip install animatic\[studio]`."""
    for name, value in (("base-url", base_url), ("template", template)):
        if value and not planner:
            raise AnimaticError(f"{name} is {value!r} without a planner; want --planner openai:MODEL too")
    if shared and not password:
        raise AnimaticError("shared is on without a password; without one all visitors share a gallery anyway")
    # Gradio and the first model take seconds, so they are loaded under a sign of life
    with console().status("loading"):
        if not find_spec("gradio"):
            raise AnimaticError("the studio needs Gradio; want pip install 'animatic[studio]'")
        from ..planning.planners import PlannerOptions, default_cache
        from ..studio.api import Api
        from ..studio.middleware import LOOPBACK
        from ..studio.models import OFFERED
        from ..studio.server import check_port, serve
        from ..studio.work import Limits, Studio

        limits = Limits(waiting=waiting, frames=frames, steps=steps, side=side, memory=memory)
        options = PlannerOptions(template=template, base_url=base_url, cache=default_cache())
        planners = {planner: options} if planner else {}

        # a port that is taken is found before the folder's jobs are taken up
        check_port(host, port)
        workshop = Studio(out, tuple(model or OFFERED), limits, tuple(lora or ()))
        try:
            server = serve(Api(workshop, planners), host, port, password, public_url, shared=shared)
        except BaseException:
            workshop.close()
            raise
    line(f"studio  {server.url}")
    if password and not shared and (count := len(workshop.log.all())):
        line(
            f"{count} jobs of before are of no visitor: they are seen with --shared, or without a password", style="dim"
        )
    if host not in LOOPBACK and not password:
        line("no password: whoever reaches this address can render", style="dim")
    try:
        server.wait()
    finally:
        if not _closed(server):
            _leave()


def _closed(server: Running) -> bool:
    """Close the server; False where a job does not stop, or the user does not want to wait for it."""
    try:
        return server.close()
    except KeyboardInterrupt:
        return server.api.studio.close(patience=0)


def _leave() -> None:
    """End this process at once: a job is in an operation that cannot be interrupted. Files are whole at any moment."""
    print("error: interrupted; nothing was left half-written", file=sys.stderr, flush=True)
    os._exit(128 + signal.SIGINT)
