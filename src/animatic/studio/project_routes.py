"""Projects over HTTP: GET /project/JOB,JOB... is a zip file of jobs, POST /project takes one in."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from .uploads import PROJECT, received
from .visitors import Visitors

BLOCK = 1 << 20  # bytes that are sent at once


def add_project_routes(app: Any, visitors: Visitors) -> None:
    """Add the routes to an application. Files pass by way of the disk, in the studio's folder, never of memory."""
    folder = visitors.api.studio.log.folder

    @app.get(f"{PROJECT}/{{jobs}}")
    def exported(request: Request, jobs: str) -> Response:
        api = visitors.api_of(request.scope)

        # without a name on the disk: it is gone as soon as it is closed, whatever happens
        with ExitStack() as opened:
            file = opened.enter_context(tempfile.TemporaryFile(dir=folder))
            api.export_project(jobs.split(","), file)
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            opened.pop_all()  # it is closed when it has been sent
        headers = {"content-length": str(size), "content-disposition": 'attachment; filename="animatic-project.zip"'}
        return StreamingResponse(_blocks(file), media_type="application/zip", headers=headers)

    @app.post(PROJECT)
    async def imported(request: Request) -> Response:
        async with received(request, folder) as file:
            api = await run_in_threadpool(visitors.api_of, request.scope, True)
            return JSONResponse(await run_in_threadpool(api.import_project, file))


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    """A file's content, after which it is closed."""
    with file:
        while block := file.read(BLOCK):
            yield block
