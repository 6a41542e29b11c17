"""An HTTP client for servers that are not trusted: no redirects, answers of limited size, no body that drips."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

import httpx2

from ..errors import AnimaticError
from .server_protocol import AnswerLimits


class LimitedStream(httpx2.AsyncByteStream):
    """The body of an answer, as raw bytes. Reading raises `AnimaticError` at the first byte beyond a limit."""

    def __init__(self, response: httpx2.Response, limits: AnswerLimits) -> None:
        self.body: Any = response.stream
        self.headers = response.headers
        self.limits = limits

    async def __aiter__(self) -> AsyncIterator[bytes]:
        # a few bytes of a compressed body may be gigabytes
        encoding = self.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise AnimaticError(f"the server compresses its answer ({encoding[:20]}), which was not asked for")
        announced = self.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > self.limits.size:
            raise self._too_large(int(announced))

        size = 0
        line_began = time.monotonic()
        line_size = 0
        line_pieces = 0
        async for piece in self.body:
            size += len(piece)
            if size > self.limits.size:
                raise self._too_large(size)

            # a new line begins behind each line break
            if b"\n" in piece:
                line_began = time.monotonic()
                line_size = 0
                line_pieces = 0
            line_size += len(piece)
            line_pieces += 1
            taken = time.monotonic() - line_began
            drips = taken > self.limits.stall and line_size < self.limits.rate * taken
            if drips and line_pieces > self.limits.pieces:
                raise AnimaticError(f"the server's answer drips: {line_size:,} bytes in {taken:.0f} s; given up")
            yield piece

    async def aclose(self) -> None:
        await self.body.aclose()

    def _too_large(self, size: int) -> AnimaticError:
        limit = self.limits.size
        return AnimaticError(f"the server's answer has {size:,} bytes and more; want at most {limit:,}")


def limited_client(limits: AnswerLimits, statuses: list[int]) -> httpx2.AsyncClient:
    """A client whose answers are limited. A redirect is an answer as any other: the key goes to no other host.

    `statuses`: those of its answers are appended. It has no time limit of its own: one for each read would not end an
    answer that drips.
    """

    async def limit(response: httpx2.Response) -> None:
        statuses.append(response.status_code)
        response.stream = LimitedStream(response, limits)

    return httpx2.AsyncClient(
        follow_redirects=False,
        timeout=None,
        verify=_certificates(),
        headers={"Accept-Encoding": "identity"},
        event_hooks={"response": [limit]},
    )


@cache
def _certificates() -> ssl.SSLContext:
    """The certificates that are trusted; reading them takes longer than the rest of a client."""
    return httpx2.create_ssl_context()
