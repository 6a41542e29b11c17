"""The server: the endpoints as plain HTTP and as Gradio's API, the files that were made, and the page."""

from __future__ import annotations

import functools
import inspect
import os
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from fastapi import Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware

from ..errors import AnimaticError
from .api import ENDPOINTS, Api, call
from .connections import ConnectionLimits, limit_connections
from .log import Refused
from .lora_routes import add_lora_routes
from .middleware import LOOPBACK, RequestFilter
from .project_routes import add_project_routes
from .uploads import LORA, PROJECT
from .visitors import Visitors

KINDS = {
    "css": "text/css",
    "html": "text/html",
    "js": "text/javascript",
    "json": "application/json",
    "svg": "image/svg+xml",
}  # of the page's files, by their names' endings


BEGINNING = ("render",)  # endpoints by which a visitor gets the first job


def page_files() -> dict[str, tuple[bytes, str]]:
    """The page's files and kinds by path: {"/stage.js": (b"...", "text/javascript"), ...}; "/" is index.html."""
    found = {}
    for file in (files("animatic.studio") / "page").iterdir():
        kind = KINDS.get(file.name.rpartition(".")[2])
        if kind:
            path = "/" if file.name == "index.html" else f"/{file.name}"
            found[path] = (file.read_bytes(), kind)
    return found


def build(
    api: Api,
    local: bool = True,
    password: str = "",
    hosts: Sequence[str] = (),
    seconds: float = 60,
    shared: bool = False,
) -> Any:
    """The application, not yet served: a `gradio.Server`. `local`, `hosts`, `seconds`: see `RequestFilter`.

    With a password visitors are apart, unless they have one gallery, `shared`.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # Gradio has no other switch for a Server
    import gradio

    visitors = Visitors(api, bool(password) and not shared)

    # what every request passes first
    pages = page_files()
    takes: dict[str, list[str]] = {}
    for name in ENDPOINTS:
        signature = inspect.signature(getattr(api, name))
        takes[name] = list(signature.parameters)
    counts = {name: len(words) for name, words in takes.items()}

    def has_session(name: str) -> bool:
        return name in app.get_blocks()._queue.pending_messages_per_session

    request_filter = Middleware(
        RequestFilter,
        pages=pages,
        endpoints=counts,
        most=api.limits.body,
        most_values=api.limits.values,
        password=password,
        local=local,
        hosts=hosts,
        seconds=seconds,
        uploads={PROJECT: api.limits.project, LORA: api.limits.lora},
        has_session=has_session,
        apart=visitors.apart,
    )
    app = gradio.Server(
        title="animatic studio", docs_url=None, redoc_url=None, openapi_url=None, middleware=[request_filter],
        exception_handlers={AnimaticError: _refusal},
    )  # fmt: skip

    # the page
    for path, (content, kind) in pages.items():
        app.api_route(path, methods=["GET", "HEAD"])(_static(content, kind))

    # the endpoints, for Gradio's clients and as plain HTTP

    def for_gradio(name: str) -> Callable[..., Any]:
        method = getattr(api, name)

        @functools.wraps(method)
        def endpoint(*values: Any) -> Any:
            request, *given = values
            words = dict(zip(takes[name], given, strict=False))
            try:
                return call(visitors.api_of(request.request.scope, name in BEGINNING), name, words)
            except AnimaticError as error:
                raise gradio.Error(str(error)[:500], print_exception=False) from None

        # by the signature Gradio names the parameters, by the annotation it knows the one that it gives itself
        signature = inspect.signature(method)
        asked = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=gradio.Request)
        endpoint.__dict__["__signature__"] = signature.replace(parameters=[asked, *signature.parameters.values()])
        endpoint.__annotations__ = {**method.__annotations__, "request": gradio.Request}
        return endpoint

    for name in ENDPOINTS:
        app.api(for_gradio(name), name=name, concurrency_limit=8)

    @app.post("/api/{name}")
    async def endpoint(name: str, request: Request) -> Response:
        words = {}
        if await request.body():
            words = await request.json()

        # in a thread: a planner may take a minute, in which the page asks for the state of jobs
        own = await run_in_threadpool(visitors.api_of, request.scope, name in BEGINNING)
        answer = await run_in_threadpool(call, own, name, words)
        return JSONResponse(answer)

    # what was made; the log gives no other file than that of a job

    @app.get("/made/{job}/{file}")
    def made(request: Request, job: str, file: str) -> Response:
        return FileResponse(visitors.api_of(request.scope).studio.log.file(job, file))

    add_project_routes(app, visitors)
    add_lora_routes(app, visitors)

    @app.get("/preview/{job}")
    def preview(request: Request, job: str) -> Response:
        image = visitors.api_of(request.scope).studio.preview(job)
        return Response(image, media_type="image/webp", headers={"cache-control": "no-store"})

    return app


def _static(content: bytes, kind: str) -> Callable[[], Response]:
    return lambda: Response(content, media_type=kind, headers={"cache-control": "no-cache"})


def _refusal(request: Request, error: Exception) -> Response:
    """An error in one line, for the page to show; a quoted value may be long."""
    status = error.status if isinstance(error, Refused) else 400
    return JSONResponse({"error": str(error)[:500]}, status)


def serve(
    api: Api,
    host: str = "127.0.0.1",
    port: int = 7860,
    password: str = "",
    public_url: bool = False,
    connections: ConnectionLimits | None = None,
    shared: bool = False,
) -> Running:
    """Serve in the background; `shared`: see `build`.

    Raises `AnimaticError` where the port is taken, or a public address has no password.
    """
    if public_url and not password:
        raise AnimaticError("public_url is on without a password; want one, for everybody could come in")
    local = host in LOOPBACK and not public_url
    connections = connections or ConnectionLimits()
    app = build(api, local, password, (host,), connections.body, shared)

    # everything of Gradio that is not used is off: its footer, its history, its own page
    try:
        _, own_url, relayed_url = app.launch(
            server_name=host, server_port=port, share=public_url, prevent_thread_lock=True, quiet=True, show_error=True,
            ssr_mode=False, run_history=False, footer_links=[], mcp_server=False, pwa=False,
        )  # fmt: skip
    except OSError:
        raise _taken(host, port) from None
    limit_connections(app.get_blocks().server, connections)
    return Running(app, api, relayed_url or own_url)


def check_port(host: str, port: int) -> None:
    """Raise `AnimaticError` where the port cannot be opened."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # as servers do on POSIX: a port that was just closed may be opened again
            if os.name != "nt":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError:
        raise _taken(host, port) from None


def _taken(host: str, port: int) -> AnimaticError:
    return AnimaticError(f"port {port} of {host} cannot be opened; want another --port")


@dataclass(frozen=True)
class Running:
    """A server at work at `url`."""

    app: Any
    api: Api
    url: str

    def wait(self) -> None:
        """Until it is interrupted."""
        never = threading.Event()
        while not never.wait(1.0):  # without a time Windows would not let Ctrl-C through
            pass

    def close(self) -> bool:
        """Stop serving and working; what waits is kept. False where a job did not stop: see `Studio.close`."""
        self.app.get_blocks().close(verbose=False)
        return self.api.studio.close()
