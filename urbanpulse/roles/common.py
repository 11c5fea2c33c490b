"""This module is what all roles share: signals, metrics, and how they open what they stand on."""

from __future__ import annotations

import asyncio
import random
import signal
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server

from backends.log import SqliteLog
from core.errors import SettingsError
from urbanpulse.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from urbanpulse.installation import Installation
    from urbanpulse.settings import Settings

__all__ = ["new_rng", "open_log", "parts", "stop_on_signals"]

_METRICS_PORTS = {"broker": 0, "gateway": 1, "processor": 2}
"""What is added to `metrics_port`, so that the roles of one machine do not collide."""


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


@contextmanager
def parts(settings: Settings, role: str) -> Iterator[tuple[ExitStack, CollectorRegistry]]:
    """Open a stack of parts and, if asked for, a metrics listener on loopback."""
    metrics = CollectorRegistry()
    with ExitStack() as stack:
        if settings.metrics_port:
            port = settings.metrics_port + _METRICS_PORTS[role]
            try:
                server, thread = start_http_server(port, addr=settings.metrics_host, registry=metrics)
            except OSError as error:
                where = f"port {port} of {settings.metrics_host}"
                raise SettingsError("metrics_port", f"{where} cannot be used: {error.strerror}") from error
            stack.callback(thread.join)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
        yield stack, metrics


CONSUMERS = ("ledger", "processor")
"""Who reads the log: `gateway.ledger` and `processors.restart`. By name, so that a role loads its own room only."""


def open_log(installation: Installation, metrics: CollectorRegistry) -> SqliteLog:
    """Open the log of this installation. It keeps what a consumer has not read, also for one that has never run."""
    log = SqliteLog(
        installation.folder / "log.sqlite", installation.settings.log, clock=SystemClock(), registry=metrics
    )
    for consumer in CONSUMERS:
        log.cursor(consumer)  # asking registers it
    return log


def new_rng() -> random.Random:
    """Return a source of randomness for retries."""
    return random.Random()  # noqa: S311 - spreads retries, guards nothing
