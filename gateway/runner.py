"""This module runs the gateway: session, intake, bookkeeper and the small regular duties, until told to stop.

What must survive is in the log before anything else happens, so stopping needs no flush: messages that were read and
not yet appended were not acknowledged, and the broker sends them again.
"""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import structlog

from core.errors import Unavailable
from gateway.admission import Admission
from gateway.intake import Intake
from gateway.ledger import Bookkeeper
from gateway.metrics import GatewayMetrics
from gateway.registry import Directory
from gateway.session import Session

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from core.clock import Clock
    from core.ports import LedgerBook, LogAppender, LogConsumer, Registry
    from gateway.settings import GatewaySettings, MqttSettings

__all__ = ["run"]

log = structlog.get_logger()


async def run(
    *,
    settings: GatewaySettings,
    mqtt: MqttSettings,
    log_appender: LogAppender,
    log_consumer: LogConsumer,
    registry: Registry,
    ledger: LedgerBook,
    clock: Clock,
    rng: random.Random,
    stop: asyncio.Event,
    metrics: CollectorRegistry,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Run the gateway until *stop* is set.

    *on_ready* is called each time the session with the broker is up. The log's appender and consumer may be one object.

    Raises:
        SettingsError: a TLS file is missing or bad.
    """
    counts = GatewayMetrics(metrics)
    directory = Directory(max_topics=settings.max_topics, burst=settings.max_burst)
    intake = Intake(
        settings=settings,
        admission=Admission(settings, directory),
        directory=directory,
        appender=log_appender,
        registry=registry,
        clock=clock,
        metrics=counts,
    )
    session = Session(mqtt, intake, clock=clock, rng=rng, nap_seconds=settings.commit_seconds, on_ready=on_ready)
    books = Bookkeeper(log_consumer, ledger, settings=settings, clock=clock, metrics=counts)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_receive(intake, session), name="gateway: receive"),
            group.create_task(books.run(), name="gateway: ledger"),
            group.create_task(_trim(log_appender, settings, clock), name="gateway: trim"),
            group.create_task(_watch(session, counts, clock), name="gateway: watch"),
        ]
        await stop.wait()
        for task in tasks:
            task.cancel()
    try:
        await asyncio.to_thread(books.book_all)  # so that what was received until now is in the ledger
    except Unavailable as error:
        log.warning("ledger is behind: the next start books the rest", part=error.part, detail=error.detail)
    log.info("gateway stopped")


async def _receive(intake: Intake, session: Session) -> None:
    await intake.start()
    gc.freeze()  # what exists now stays, so full collections need not go over it
    async with asyncio.TaskGroup() as group:
        group.create_task(intake.settle(), name="gateway: settle")
        group.create_task(intake.beat(), name="gateway: heartbeat")
        group.create_task(intake.follow_registry(), name="gateway: registry")
        group.create_task(session.run(), name="gateway: session")


async def _trim(appender: LogAppender, settings: GatewaySettings, clock: Clock) -> None:
    while True:
        await clock.sleep(settings.trim_seconds)
        try:
            trimmed = await asyncio.to_thread(appender.trim, clock.now_ns())
        except Unavailable as error:
            log.warning("log not trimmed", part=error.part, detail=error.detail)
        else:
            if trimmed:
                log.debug("log trimmed", entries=trimmed)


async def _watch(session: Session, metrics: GatewayMetrics, clock: Clock) -> None:
    while True:
        metrics.connected.set(session.link is not None)
        metrics.connects.set(session.connects)
        await clock.sleep(1.0)
