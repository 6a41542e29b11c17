"""The middleware: what every request passes before anything looks at it. Known paths, small bodies of JSON, a password.

Of Gradio's many routes only those of its API are open: no uploads, no files, no proxy.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .log import Refused

API = "/gradio_api"
OURS = ("/api/", "/made/", "/preview/")
GRADIO = tuple(f"{API}/{p}" for p in ("call/", "queue/join", "queue/data", "heartbeat/", "info"))
FREE = f"{API}/startup-events"  # Gradio asks it of itself, without a key
LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


@dataclass
class RequestFilter:
    """ASGI middleware. `pages` are paths open as they stand, `most` bytes of a body.

    `endpoints` are the API's names in Gradio's order, with how many values each takes.

    `local`: only a loopback name may be asked for, so that no other site's page can reach in by a name of its own.
    """

    app: ASGIApp
    pages: Collection[str]
    endpoints: Mapping[str, int]
    most: int
    password: str = ""
    local: bool = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        posted = scope["method"] == "POST"
        try:
            self._check(scope["method"], scope["path"], Headers(scope=scope))
            body = await self._read(receive) if posted else b""
            if posted:
                self._check_body(scope["path"], body)
        except Refused as no:
            asked = {"www-authenticate": 'Basic realm="animatic"'} if no.status == 401 else {}
            await JSONResponse({"error": str(no)}, no.status, HEADERS | asked)(scope, receive, send)
            return
        waiting = [{"type": "http.request", "body": body, "more_body": False}] * posted

        async def again() -> Message:
            return waiting.pop() if waiting else await receive()

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in HEADERS.items())]
            await send(message)

        await self.app(scope, again, sealed)

    def _check(self, method: str, path: str, headers: Headers) -> None:
        origin, length = headers.get("origin", ""), headers.get("content-length", "0")
        if self.local and _host(headers.get("host", "")) not in LOOPBACK:
            raise Refused("this server answers to its own machine only", 403)
        if origin and origin.partition("://")[2] != headers.get("host"):
            raise Refused("another site's page may not ask", 403)
        if self.password and path != FREE and not _knows(headers.get("authorization", ""), self.password):
            raise Refused("a password is wanted", 401)
        if not (path in self.pages or path in ("/config", FREE) or path.startswith((*OURS, *GRADIO))):
            raise Refused("there is no such page", 404)
        if method not in ("GET", "HEAD", "POST"):
            raise Refused(f"{method} is not understood", 405)
        if not length.isdigit() or int(length) > self.most:
            raise Refused(f"the request is over {self.most} bytes", 413)

    async def _read(self, receive: Receive) -> bytes:
        body, more = bytearray(), True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self.most:
                raise Refused(f"the request is over {self.most} bytes", 413)
        return bytes(body)

    def _check_body(self, path: str, body: bytes) -> None:
        """Refuse what Gradio would stumble over."""
        try:
            words = json.loads(body.decode("utf-8") or "{}", parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise Refused("the request is not JSON") from None
        if not isinstance(words, dict):
            raise Refused(f"the request is a JSON {type(words).__name__}; want an object")
        if not path.startswith(f"{API}/"):
            return
        match path.removeprefix(f"{API}/").strip("/").split("/"):
            case ["call", name]:
                pass
            case ["queue", "join"]:
                index = words.get("fn_index")
                name = dict(enumerate(self.endpoints)).get(index, "") if type(index) is int else ""
                if not isinstance(words.get("session_hash"), str):
                    raise Refused("session_hash is missing")
            case _:
                name = ""
        if name not in self.endpoints:
            raise Refused(f"there is no such endpoint; known: {', '.join(self.endpoints)}", 404)
        data, count = words.get("data"), self.endpoints[name]
        if not isinstance(data, list) or len(data) != count:
            raise Refused(f"{name}: data is not as it should be; want a list of {count} values")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _host(header: str) -> str:
    """The name in a Host header, without its port."""
    return header[1:].partition("]")[0] if header.startswith("[") else header.rpartition(":")[0] or header


def _knows(header: str, password: str) -> bool:
    """Whether a Basic authorization gives the password, under any user name."""
    kind, _, code = header.partition(" ")
    try:
        given = base64.b64decode(code, validate=True).partition(b":")[2] if kind.lower() == "basic" else b""
    except ValueError:
        return False
    return hmac.compare_digest(given, password.encode())
