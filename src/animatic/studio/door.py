"""The front door: what every request passes before anything looks at it. Known paths, small bodies of JSON, a password.

Of Gradio's many routes only those of its API are open: no uploads, no files, no proxy.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
class Door:
    """ASGI middleware. `pages` are paths open as they stand, `most` bytes of a body.

    `errands` are the API's names in Gradio's order, with how many values each takes.

    `local`: only a loopback name may be asked for, so that no other site's page can reach in by a name of its own.
    """

    app: ASGIApp
    pages: Collection[str]
    errands: Mapping[str, int]
    most: int
    password: str = ""
    local: bool = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        no = self._refusal(scope["method"], scope["path"], headers)
        body = b""
        if no is None and scope["method"] == "POST":
            body, whole = await self._read(receive)
            no = self._unread(scope["path"], body) if whole else (413, f"the request is over {self.most} bytes")
        if no is not None:
            status, message = no
            extra = {"www-authenticate": 'Basic realm="animatic"'} if status == 401 else None
            answer = JSONResponse({"error": message}, status, {**HEADERS, **(extra or {})})
            await answer(scope, receive, send)
            return
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return waiting.pop() if waiting and scope["method"] == "POST" else await receive()

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in HEADERS.items())]
            await send(message)

        await self.app(scope, again, sealed)

    def _refusal(self, method: str, path: str, headers: Headers) -> tuple[int, str] | None:
        if self.local and _host(headers.get("host", "")) not in LOOPBACK:
            return 403, "this server answers to its own machine only"
        origin = headers.get("origin", "")
        if origin and origin.partition("://")[2] != headers.get("host"):
            return 403, "another site's page may not ask"
        if self.password and path != FREE and not _knows(headers.get("authorization", ""), self.password):
            return 401, "a password is wanted"
        if not (path in self.pages or path in ("/config", FREE) or path.startswith((*OURS, *GRADIO))):
            return 404, "there is no such page"
        if method not in ("GET", "HEAD", "POST"):
            return 405, f"{method} is not understood"
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self.most:
            return 413, f"the request is over {self.most} bytes"
        return None

    async def _read(self, receive: Receive) -> tuple[bytes, bool]:
        """The body, and whether it is all of it."""
        parts, size = [], 0
        while True:
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self.most:
                return b"", False
            if not message.get("more_body"):
                return b"".join(parts), True

    def _unread(self, path: str, body: bytes) -> tuple[int, str] | None:
        """What Gradio would stumble over."""
        try:
            words = json.loads(body.decode("utf-8") or "{}", parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return 400, "the request is not JSON"
        if not isinstance(words, dict):
            return 400, f"the request is a JSON {type(words).__name__}; want an object"
        if path.startswith(f"{API}/"):
            return self._strange(path.removeprefix(f"{API}/").strip("/").split("/"), words)
        return None

    def _strange(self, parts: list[str], words: Mapping[str, Any]) -> tuple[int, str] | None:
        match parts:
            case ["call", name]:
                pass
            case ["queue", "join"]:
                index = words.get("fn_index")
                name = dict(enumerate(self.errands)).get(index, "") if type(index) is int else ""
                if not isinstance(words.get("session_hash"), str):
                    return 400, "session_hash is missing"
            case _:
                name = ""
        if name not in self.errands:
            return 404, f"there is no such errand; known: {', '.join(self.errands)}"
        data = words.get("data")
        if not isinstance(data, list) or len(data) != self.errands[name]:
            return 400, f"{name}: data is not as it should be; want a list of {self.errands[name]} values"
        return None


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
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(given, password.encode())
