"""Files that are sent: where to, of which type, and how they pass by way of the disk, never of memory."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from fastapi import Request

from .log import Refused

PROJECT, LORA = "/project", "/lora"
TYPES = {PROJECT: "application/zip", LORA: "application/octet-stream"}
SECONDS = 600.0  # until a file is there whole


@asynccontextmanager
async def received(request: Request, folder: Path) -> AsyncIterator[IO[bytes]]:
    """The file that a request sends, in the studio's folder, without a name: it is gone whatever happens."""
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            async with asyncio.timeout(SECONDS):
                async for block in request.stream():
                    file.write(block)
        except TimeoutError:
            raise Refused(f"the file was not there whole after {SECONDS:g} s", 408) from None
        yield file
