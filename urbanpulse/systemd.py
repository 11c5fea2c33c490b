"""This module tells a service manager how a role is: started, alive, stopping (sd_notify(3)).

Without NOTIFY_SOCKET in the environment it says nothing. A watchdog that is pinged from the event loop restarts a role
whose loop hangs; a role that waits for its broker or database is alive and is left alone.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from core.clock import Clock

__all__ = ["notified"]

_log = structlog.get_logger()


@asynccontextmanager
async def notified(clock: Clock) -> AsyncIterator[None]:
    """Say READY on entry and STOPPING on exit; in between feed the watchdog, if there is one, twice per interval."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        yield
        return
    watchdog = None
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()) and os.environ.get("WATCHDOG_USEC"):
        seconds = int(os.environ["WATCHDOG_USEC"]) / 1e6 / 2
        watchdog = asyncio.create_task(_feed(address, seconds, clock), name="watchdog")
    _say(address, "READY=1")
    try:
        yield
    finally:
        _say(address, "STOPPING=1")
        if watchdog is not None:
            watchdog.cancel()
            await asyncio.gather(watchdog, return_exceptions=True)


async def _feed(address: str, seconds: float, clock: Clock) -> None:
    while True:
        _say(address, "WATCHDOG=1")
        await clock.sleep(seconds)


def _say(address: str, state: str) -> None:
    name = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.connect(name)
            end.sendall(state.encode())
    except OSError as error:
        _log.warning("service manager does not listen", state=state, error=str(error))
