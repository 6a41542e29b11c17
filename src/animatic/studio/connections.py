"""What a connection may cost: seconds to ask, to send a body and to take an answer, and how many there may be.

A request is counted from its first byte to the end of its headers, so that one that sends a byte a minute ends as well
as one that sends nothing. Where all places are taken, the connection that has waited longest without asking makes room.
"""

from __future__ import annotations

import asyncio
import ipaddress
import sys
from dataclasses import dataclass
from typing import Any

MOST = 500  # connections at once, where the process may open files enough
SHARE_OF_ADDRESS = 4  # one address other than this machine's has a quarter of them
HANDLES = 4096  # files open at once that a server asks for: its connections, and those that come in one burst


@dataclass(frozen=True)
class ConnectionLimits:
    """Seconds until a connection is closed, and how many there are at once.

    `request`: without the headers of a request; `body`: until a request's body is there; `stalled`: in which a visitor
    takes nothing of an answer. `most`: connections; 0 is half of what the process may open, up to 500.
    """

    request: float = 20.0
    body: float = 60.0
    stalled: float = 60.0
    most: int = 0


def limit_connections(server: Any, limits: ConnectionLimits) -> None:
    """Hold a running `uvicorn.Server` to the limits; connections that are open already are left alone."""
    config = server.config
    if not config.loaded:
        config.load()
    config.http_protocol_class = _limited(config.http_protocol_class, limits, limits.most or _most())


def _most() -> int:
    if sys.platform == "win32":
        return MOST
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = HANDLES if hard == resource.RLIM_INFINITY else min(HANDLES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return MOST if soft == resource.RLIM_INFINITY else min(MOST, max(1, soft // 2))


def _limited(protocol: Any, limits: ConnectionLimits, most: int) -> Any:
    """A class of uvicorn's HTTP connections with limits; all of one class count together."""
    opened: dict[Any, None] = {}  # in the order in which they began to wait

    class Limited(protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._timers: dict[str, asyncio.TimerHandle] = {}
            self._address = (transport.get_extra_info("peername") or ("",))[0]
            self._make_room()
            if not transport.is_closing():
                self._await_request()

        def connection_lost(self, exc: Exception | None) -> None:
            opened.pop(self, None)
            for name in list(self._timers):
                self._stop(name)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._is_answering():
                self._stop("request")

        def on_response_complete(self) -> None:
            super().on_response_complete()
            # a request that came with the last one may be under way already
            if not self._is_answering():
                self._await_request()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._start("stalled", limits.stalled)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stop("stalled")

        def _is_answering(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _await_request(self) -> None:
            opened.pop(self, None)
            opened[self] = None
            self._start("request", limits.request)

        def _make_room(self) -> None:
            """Close the connection that waits longest where there are too many; this one, if none waits."""
            if not is_loopback(self._address):
                same = [other for other in opened if other._address == self._address]
                if len(same) >= max(1, most // SHARE_OF_ADDRESS):
                    self._close_one(same)
            if len(opened) >= most:
                self._close_one(list(opened))

        def _close_one(self, others: list[Any]) -> None:
            waiting = (other for other in others if not other._is_answering())
            closed = next(waiting, self)
            opened.pop(closed, None)
            closed.transport.abort()

        def _start(self, name: str, seconds: float) -> None:
            self._stop(name)
            self._timers[name] = self.loop.call_later(seconds, self.transport.abort)

        def _stop(self, name: str) -> None:
            if timer := self._timers.pop(name, None):
                timer.cancel()

    return Limited


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return True  # a socket of this machine has no address
