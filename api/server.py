"""This module runs the app on a socket until told to stop."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import structlog
import uvicorn

from core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

    from api.context import Context
    from api.settings import ApiSettings

__all__ = ["run"]

log = structlog.get_logger()

_BACKLOG = 1024


class _Server(uvicorn.Server):
    """Signals are the roof's: it sets `stop`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run(
    app: FastAPI, settings: ApiSettings, *, stop: asyncio.Event, started: asyncio.Future[int] | None = None
) -> None:
    """Serve *app* until *stop* is set; then end streams, finish open requests and return.

    *started* is given the port as soon as connections are taken (it matters when the port is 0).

    Raises:
        SettingsError: host and port cannot be listened on.
    """
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",  # the other one uses the deprecated half of websockets
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        ws_max_size=4096,  # clients have nothing to say
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
    with closing(_listen(settings)) as listener:
        port: int = listener.getsockname()[1]
        server = _Server(config)
        context: Context = app.state.context

        async def until_stopped() -> None:
            await stop.wait()
            context.hub.close()
            server.should_exit = True

        async with asyncio.TaskGroup() as tasks:
            stopper = tasks.create_task(until_stopped(), name="api stop")
            log.info("api listens", host=settings.host, port=port)
            if started is not None and not started.done():
                started.set_result(port)
            await server.serve(sockets=[listener])
            stopper.cancel()
    log.info("api stopped")


def _listen(settings: ApiSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(_BACKLOG)  # the kernel holds early connections until the app has started
    except OSError as error:
        listener.close()
        raise SettingsError(
            "api.port", f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}"
        ) from error
    listener.setblocking(False)
    return listener
