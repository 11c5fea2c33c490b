"""This module is the live stream: WebSocket for the console, SSE for everyone else; the same frames."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from typing import Annotated, Any

import structlog
from anyio import to_thread
from fastapi import APIRouter, Header, WebSocket
from starlette.requests import HTTPConnection, Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from api.context import Context, Ctx, Viewer
from api.hub import Client, Encoded, LiveHub
from api.models import FrameOut
from api.problems import answer, problem
from core.errors import UrbanpulseError

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["live"])

log = structlog.get_logger()

_GOING_AWAY, _POLICY = 1001, 1008


async def _frames(context: Context, connection: HTTPConnection, client: Client) -> AsyncIterator[Encoded]:
    """Yield frames until the hub closes or the client may no longer read (logged out, key revoked)."""
    checked = context.clock.monotonic()
    while (frame := await client.queue.get()) is not None:
        if context.clock.monotonic() - checked >= context.settings.recheck_seconds:
            checked = context.clock.monotonic()
            try:
                await to_thread.run_sync(context.guard.principal, connection)
            except UrbanpulseError as error:
                log.info("live stream ended", reason=answer(error).code)
                return
        yield frame


@router.websocket("/live")
async def live(websocket: WebSocket, context: Ctx) -> None:
    """Send live frames as JSON text. Who may not read, or comes from a foreign page, is refused before the upgrade."""
    try:
        context.guard.check_origin(websocket, required=False)
        await to_thread.run_sync(context.guard.principal, websocket)
        client = context.hub.add("websocket")
    except UrbanpulseError as error:
        await websocket.send_denial_response(problem(answer(error), websocket.url.path))
        return
    try:
        with suppress(OSError):  # gone already
            await websocket.accept()
            await _serve(websocket, context, client)
    finally:
        context.hub.remove(client)


async def _serve(websocket: WebSocket, context: Context, client: Client) -> None:
    """Send frames and notice a client that leaves; what it says is ignored."""

    async def send() -> None:
        async for frame in _frames(context, websocket, client):
            await websocket.send_text(frame.text)
        await websocket.close(_GOING_AWAY if context.hub.closed else _POLICY)

    async def listen() -> None:
        while (await websocket.receive())["type"] != "websocket.disconnect":
            pass

    async with asyncio.TaskGroup() as tasks:
        pair = [tasks.create_task(_quietly(job()), name=f"api websocket {job.__name__}") for job in (send, listen)]
        await asyncio.wait(pair, return_when=asyncio.FIRST_COMPLETED)
        for task in pair:
            task.cancel()


async def _quietly(job: Coroutine[Any, Any, None]) -> None:
    with suppress(WebSocketDisconnect):
        await job


@router.get(
    "/events",
    operation_id="stream_events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events: `event: frame`, `id: <epoch>:<n>`, `data:` a live frame",
            "content": {"text/event-stream": {"schema": FrameOut.model_json_schema()}},
        }
    },
)
async def events(
    _: Viewer, request: Request, context: Ctx, last_event_id: Annotated[str | None, Header(max_length=200)] = None
) -> StreamingResponse:
    """Send live frames as server-sent events; `Last-Event-ID` resumes while the frames are still kept.

    The same frames go out as text over the WebSocket `/api/v1/live`. The first one after connecting is a hello: epoch
    and number, no rows. A number that does not follow the last one means: fetch `/latest` and `/alerts` again.
    """
    client = context.hub.add("sse", last_event_id)

    async def body() -> AsyncIterator[bytes]:
        async for frame in _frames(context, request, client):
            yield frame.sse

    return _EventStream(body(), context.hub, client)


class _EventStream(StreamingResponse):
    """A stream that removes its client however it ends."""

    media_type = "text/event-stream"

    def __init__(self, body: AsyncIterator[bytes], hub: LiveHub, client: Client) -> None:
        super().__init__(body, headers={"X-Accel-Buffering": "no"})
        self._hub = hub
        self._client = client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._hub.remove(self._client)
