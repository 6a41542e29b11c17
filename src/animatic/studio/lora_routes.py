"""LoRAs over HTTP: POST /lora?name=FILE.safetensors takes one in for the visitor who sends it."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from .uploads import LORA, received
from .visitors import Visitors


def add_lora_routes(app: Any, visitors: Visitors) -> None:
    """Add the route to an application."""

    @app.post(LORA)
    async def sent(request: Request, name: str = "") -> Response:
        async with received(request, visitors.api.studio.log.folder) as file:
            api = await run_in_threadpool(visitors.api_of, request.scope, True)
            return JSONResponse(await run_in_threadpool(api.keep_lora, file, name))
