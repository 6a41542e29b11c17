"""The middleware: what every request passes before anything looks at it. Known paths, small bodies of JSON, a password.

Of Gradio's many routes only those of its API are open: none of its uploads, no files, no proxy.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import socket
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers, QueryParams
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .connections import is_loopback
from .limits import value_count
from .log import Refused
from .passwords import Guard
from .uploads import TYPES
from .visitors import SCOPE, new_session, session_in, set_cookie

API = "/gradio_api"
OURS = ("/api/", "/made/", "/preview/", "/project/")
GRADIO = tuple(f"{API}/{p}" for p in ("call/", "queue/join", "queue/data", "heartbeat/", "info"))
AT_ONCE = 16  # requests of one address other than this machine's that are answered at the same time
STREAMS = (f"{API}/queue/data", f"{API}/heartbeat/")
SESSION = f"{API}/queue/data"
FREE = f"{API}/startup-events"  # Gradio asks it of itself, without a key
HOST = re.compile(r"(?:\[(?P<address>[0-9a-fA-F:.]+)\]|(?P<name>[^\[\]:/@\s]*))(?::[0-9]{1,5})?")  # [::1]:7860
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
POLICY = (
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob: data:", "media-src 'self'",
    "connect-src 'self'", "object-src 'none'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'",
    "require-trusted-types-for 'script'", "trusted-types 'none'",
)  # fmt: skip
HEADERS = {
    "content-security-policy": "; ".join(POLICY),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}


@dataclass
class RequestFilter:
    """ASGI middleware. `pages` are paths open as they stand, `most` bytes of a body and `most_values`
    in it, `uploads` bytes of a file by the path that it is sent to.

    `endpoints` are the API's names in Gradio's order, with how many values each takes. `seconds`: until a body is
    there whole. `has_session`: whether a session of Gradio's clients has begun.

    `local`: requests must name a loopback host, so that no other site's page can reach in by a name of its own. Where
    it is off and there is no password they must name an address, this machine or one of `hosts`, for the same reason.

    `apart`: each browser gets a session, see `visitors`.
    """

    app: ASGIApp
    pages: Collection[str]
    endpoints: Mapping[str, int]
    most: int
    most_values: int
    password: str = ""
    local: bool = True
    hosts: Collection[str] = ()
    seconds: float = 60.0
    uploads: Mapping[str, int] = field(default_factory=dict)
    has_session: Callable[[str], bool] = bool
    apart: bool = False

    def __post_init__(self) -> None:
        self.guard = Guard(self.password)
        self._answering: Counter[str] = Counter()  # requests, by address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        # streams stay open while a job is at work, and cost next to nothing
        client, _ = scope.get("client") or ("", 0)
        if is_loopback(client) or scope["path"].startswith(STREAMS):
            await self._filtered(scope, receive, send, client)
            return

        # one address may not have all threads of the server
        if self._answering[client] >= AT_ONCE:
            message = f"{AT_ONCE} requests of this address are being answered; want fewer at once"
            await JSONResponse({"error": message}, 429, HEADERS)(scope, receive, send)
            return
        self._answering[client] += 1
        try:
            await self._filtered(scope, receive, send, client)
        finally:
            self._answering[client] -= 1
            if not self._answering[client]:
                del self._answering[client]

    async def _filtered(self, scope: Scope, receive: Receive, send: Send, client: str) -> None:
        """Answer a request of `client`; a refusal is answered here, and never gets to Gradio."""
        method = scope["method"]
        path = scope["path"]
        unread: list[Message] = []
        try:
            self._check(method, path, Headers(scope=scope), client)
            if path == SESSION:
                self._check_session(QueryParams(scope["query_string"]).get("session_hash", ""))
            if method == "POST" and path not in self.uploads:
                body = await self._read_in_time(receive)
                self._check_body(path, body)
                unread.append({"type": "http.request", "body": body, "more_body": False})
        except Refused as refusal:
            headers = dict(HEADERS)
            if refusal.status == 401:
                headers["www-authenticate"] = 'Basic realm="animatic"'  # a browser opens its form by it
            response = JSONResponse({"error": str(refusal)}, refusal.status, headers)
            await response(scope, receive, send)
            return

        added = self._with_session(scope) if self.apart else {}

        # the body was taken from the stream to be checked, and is handed on whole; a file is counted as it comes
        count = 0

        async def again() -> Message:
            nonlocal count
            if unread:
                return unread.pop()
            message = await receive()
            count += len(message.get("body", b""))
            if path in self.uploads and count > self.uploads[path]:
                raise Refused(f"the file is over {self.uploads[path]} bytes", 413)
            return message

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [(name.encode(), value.encode()) for name, value in (HEADERS | added).items()]
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        await self.app(scope, again, sealed)

    def _with_session(self, scope: Scope) -> dict[str, str]:
        """Note in its scope which session a request is of; returns the header that begins one.

        A page that another site's link opens is requested without the cookie (SameSite), which a new one would replace.
        What the page itself asks for, by POST, has it.
        """
        headers = Headers(scope=scope)
        session = session_in(headers.get("cookie", ""))
        scope[SCOPE] = session or new_session()
        if session or scope["method"] != "POST":
            return {}
        secure = "https" in (scope["scheme"], headers.get("x-forwarded-proto"))
        return {"set-cookie": set_cookie(scope[SCOPE], secure)}

    def _check(self, method: str, path: str, headers: Headers, client: str) -> None:
        """Raise `Refused` where a request is not let in, by its address, its headers and who asks."""
        # a name of its own that leads to 127.0.0.1 would let another site's page in (DNS rebinding)
        host = headers.get("host", "")
        if self.local and _host(host) not in LOOPBACK:
            raise Refused("this server answers to its own machine only", 403)
        if not self.local and not self.password and not self._is_named(_host(host)):
            raise Refused(
                f"this server is not called {_host(host)[:60]!r}; want its address, or a password for it", 403
            )

        # browsers send the origin with whatever another site's page posts
        origin = headers.get("origin", "")
        if origin and origin.partition("://")[2] != headers.get("host"):
            raise Refused("requests of another site's page are not allowed", 403)
        authorization = headers.get("authorization", "")
        if path != FREE:
            if wait := self.guard.wait(client):
                raise Refused(f"too many wrong passwords; try again in {wait:.0f} s", 429)
            if not self.guard.lets_in(client, authorization):
                raise Refused("a password is required", 401)

        # after the password: who does not have it learns no path
        is_page = path in self.pages or path in ("/config", FREE, *self.uploads)
        is_endpoint = path.startswith((*OURS, *GRADIO))
        if not is_page and not is_endpoint:
            raise Refused("there is no such page", 404)
        if method not in ("GET", "HEAD", "POST"):
            raise Refused(f"{method} is not understood", 405)

        # a form of another site's page is sent without being asked for, but never as JSON or a file
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        is_file = path in self.uploads
        wanted = TYPES[path] if is_file else "application/json"
        if method == "POST" and kind != wanted and (kind or is_file):
            raise Refused(f"the content is of type {kind[:60]!r}; want {wanted}", 415)

        # the announced length; `_read` counts what comes, for it may be more
        length = headers.get("content-length", "0")
        most = self.uploads[path] if is_file else self.most
        if not length.isdigit() or int(length) > most:
            raise Refused(f"the request is over {most} bytes", 413)

    def _check_session(self, name: str) -> None:
        """Refuse what Gradio would notice only after it began to answer."""
        if not self.has_session(name):
            raise Refused("no such session has begun", 404)

    def _is_named(self, host: str) -> bool:
        """Whether a host is an address or a name of this machine: a name of somebody else's can lead here, too."""
        try:
            ipaddress.ip_address(host)
            return True
        except ValueError:
            own = socket.gethostname().lower()
            return host.lower() in (*LOOPBACK, own, f"{own}.local", *self.hosts)

    async def _read_in_time(self, receive: Receive) -> bytes:
        """The whole body. Raises `Refused` where it is too large, or comes too slowly."""
        try:
            async with asyncio.timeout(self.seconds):
                return await self._read(receive)
        except TimeoutError:
            raise Refused(f"the request was not there whole after {self.seconds:g} s", 408) from None

    async def _read(self, receive: Receive) -> bytes:
        """The whole body. Raises `Refused` at the first byte too many, before the rest is taken."""
        body = bytearray()
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if message["type"] == "http.disconnect":
                raise Refused("the request ended in the middle")
            if len(body) > self.most:
                raise Refused(f"the request is over {self.most} bytes", 413)
        return bytes(body)

    def _check_body(self, path: str, body: bytes) -> None:
        """Refuse what Gradio would answer with a traceback: no JSON, an unknown endpoint, too few values."""
        # no thread answers anybody while JSON is read, and what is done with each value takes far longer
        if (count := value_count(body)) > self.most_values:
            raise Refused(f"the request has {count} commas and brackets; at most {self.most_values} here", 413)
        try:
            words = json.loads(body.decode("utf-8") or "{}", parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise Refused("the request is not JSON") from None
        if SURROGATE.search(body):
            try:
                json.dumps(words, ensure_ascii=False).encode()
            except UnicodeEncodeError:
                raise Refused("the request has half a character (a lone surrogate); want whole ones") from None
        if not isinstance(words, dict):
            raise Refused(f"the request is a JSON {type(words).__name__}; want an object")
        if not path.startswith(f"{API}/"):
            return

        # by name, or as Gradio's own client asks: by the number of the endpoint
        match path.removeprefix(f"{API}/").strip("/").split("/"):
            case ["call", name]:
                pass
            case ["queue", "join"]:
                index = words.get("fn_index")
                name = ""
                if type(index) is int:  # True is an int, too, and is no number here
                    name = dict(enumerate(self.endpoints)).get(index, "")
                if not isinstance(words.get("session_hash"), str):
                    raise Refused("session_hash is missing")
            case _:
                name = ""
        if name not in self.endpoints:
            raise Refused(f"there is no such endpoint; known: {', '.join(self.endpoints)}", 404)
        data = words.get("data")
        count = self.endpoints[name]
        if not isinstance(data, list) or len(data) != count:
            raise Refused(f"{name}: data is not as it should be; want a list of {count} values")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _host(header: str) -> str:
    """The name in a Host header, without its port; "" where it is not of that form."""
    found = HOST.fullmatch(header)
    return (found["address"] or found["name"]) if found else ""
