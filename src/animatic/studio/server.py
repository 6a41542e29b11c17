"""The server: the errands as plain HTTP and as Gradio's API, the files that were made, and the page."""

from __future__ import annotations

import functools
import inspect
import os
import threading
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from fastapi import Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware

from ..errors import AnimaticError
from .api import ERRANDS, Api, call
from .door import LOOPBACK, Door
from .log import Refused

PAGES = {"/": "index.html", "/studio.css": "studio.css", "/studio.js": "studio.js", "/icon.svg": "icon.svg"}
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def build(api: Api, local: bool = True, password: str = "") -> Any:
    """The application, not yet served: a `gradio.Server`. `local`: asked for by this machine's own names only."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # Gradio has no other switch for a Server
    import gradio

    counts = {name: len(_words(api, name)) for name in ERRANDS}
    door = Middleware(
        Door, pages=tuple(PAGES), errands=counts, most=api.studio.limits.body, password=password, local=local
    )
    app = gradio.Server(title="animatic studio", docs_url=None, redoc_url=None, openapi_url=None, middleware=[door])
    no = functools.partial(gradio.Error, print_exception=False)
    page = files("animatic.studio") / "page"
    for path, file in PAGES.items():
        shown = _static((page / file).read_bytes(), KINDS[file.rpartition(".")[2]])
        app.api_route(path, methods=["GET", "HEAD"])(shown)
    for name in ERRANDS:
        app.api(_for_gradio(api, name, no), name=name, concurrency_limit=8)

    @app.post("/api/{name}")
    async def errand(name: str, request: Request) -> Response:
        if name not in ERRANDS:
            return _no(Refused(f"there is no errand {name[:40]!r}; known: {', '.join(ERRANDS)}", 404))
        words = await request.json() if await request.body() else {}
        return await run_in_threadpool(_answered, lambda: JSONResponse(call(api, name, words)))

    @app.get("/made/{job}/{file}")
    def made(job: str, file: str) -> Response:
        return _answered(lambda: FileResponse(api.studio.log.file(job, file)))

    @app.get("/preview/{job}")
    def preview(job: str) -> Response:
        never = {"cache-control": "no-store"}
        return _answered(lambda: Response(api.studio.preview(job), media_type="image/webp", headers=never))

    return app


def serve(api: Api, host: str = "127.0.0.1", port: int = 7860, password: str = "", share: bool = False) -> Running:
    """Serve in the background. Raises `AnimaticError` where the port is taken, or sharing is open to everybody."""
    if share and not password:
        raise AnimaticError("share is on without a password; want one, for everybody could come in")
    app = build(api, host in LOOPBACK and not share, password)
    try:
        _, local, public = app.launch(
            server_name=host, server_port=port, share=share, prevent_thread_lock=True, quiet=True, show_error=True,
            ssr_mode=False, run_history=False, footer_links=[], mcp_server=False, pwa=False,
        )  # fmt: skip
    except OSError:
        raise AnimaticError(f"port {port} of {host} cannot be opened; want another --port") from None
    return Running(app, api, public or local)


class Running:
    """A server at work at `url`."""

    def __init__(self, app: Any, api: Api, url: str) -> None:
        self.app, self.api, self.url = app, api, url

    def wait(self) -> None:
        """Until it is interrupted."""
        threading.Event().wait()

    def close(self) -> None:
        """Stop serving and working; what waits is kept."""
        self.app.get_blocks().close(verbose=False)
        self.api.studio.close()


def _static(content: bytes, kind: str) -> Callable[[], Response]:
    return lambda: Response(content, media_type=kind, headers={"cache-control": "no-cache"})


def _answered(answer: Callable[[], Response]) -> Response:
    try:
        return answer()
    except AnimaticError as error:
        return _no(error)


def _no(error: AnimaticError) -> JSONResponse:
    return JSONResponse({"error": str(error)[:500]}, error.status if isinstance(error, Refused) else 400)


def _for_gradio(api: Api, name: str, no: Callable[[str], Exception]) -> Callable[..., Any]:
    """The errand with its own signature, by which Gradio names its parameters."""

    @functools.wraps(getattr(api, name))
    def errand(*values: Any, **words: Any) -> Any:
        try:
            return call(api, name, {**dict(zip(parameters, values, strict=False)), **words})
        except AnimaticError as error:
            raise no(str(error)[:500]) from None

    parameters = _words(api, name)
    return errand


def _words(api: Api, name: str) -> list[str]:
    """The names of what an errand takes."""
    return list(inspect.signature(getattr(api, name)).parameters)
