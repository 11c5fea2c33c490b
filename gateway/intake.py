"""This module is the intake: messages in, one durable log entry per read, acknowledgements out. In that order only.

The straight way is synchronous: judge the messages of a read, seal, append, acknowledge, all in the event loop's own
thread. Handing each append to another thread was measured (2026-11-22, 200 appends of 6 kB to the SQLite log, a commit
every 5 ms): 378 instead of 286 us of CPU per commit, and it frees nothing, because the next read naps meanwhile anyway.

Whatever cannot go straight (a series to allocate, a device to look up, a log that is locked or full) is *blocked*: the
link is held, nothing more is read, so memory is bounded by a read; `settle` then works in threads and with backoff
until everything is durable, pays the acknowledgements it owes, and releases the link.

Log time never goes back: an entry is logged at the wall clock or at the last entry's time, whichever is later.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, NamedTuple

import structlog

from core.entry import LogEntry
from core.errors import MalformedPayload, NotFound, Unavailable
from gateway.admission import Stage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.clock import Clock
    from core.mqtt import Publish, PublishRun
    from core.ports import LogAppender, Registry
    from gateway.admission import Admission
    from gateway.link import Link
    from gateway.metrics import GatewayMetrics
    from gateway.open_entry import Sealed
    from gateway.registry import Directory
    from gateway.settings import GatewaySettings

__all__ = ["Intake"]

_FRESH_SECONDS = 0.25  # topics of devices found unknown make us ask the catalog again at most this often

log = structlog.get_logger()


class _Owed(NamedTuple):
    """Acknowledgements that wait for the commit."""

    link: Link
    packet_ids: list[bytes]
    rare: list[Publish]


class Intake:
    """Takes messages from links and makes them durable; the `gateway.link.Sink` of the gateway."""

    def __init__(
        self,
        *,
        settings: GatewaySettings,
        admission: Admission,
        directory: Directory,
        appender: LogAppender,
        registry: Registry,
        clock: Clock,
        metrics: GatewayMetrics,
    ) -> None:
        self._settings = settings
        self._admission = admission
        self._directory = directory
        self._log = appender
        self._registry = registry
        self._clock = clock
        self._metrics = metrics
        self._owed: list[_Owed] = []
        self._sealed: list[tuple[Sealed, bytes]] = []
        self._blocked = asyncio.Event()
        self._is_away = False
        self._refreshing = asyncio.Lock()
        self._revision = -1
        self._refreshed_at = -math.inf
        self.logged_ns = 0
        self._appended_at = clock.monotonic()

    # -- starting ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load devices and series, and learn from the log's tail what was received last; retries until it can."""
        await self._insist(self.refresh)
        await self._insist(self._warm)

    async def refresh(self) -> None:
        """Load devices and series if the catalog's revision has changed.

        Raises:
            Unavailable: the catalog.
        """
        async with self._refreshing:
            asked_at = self._clock.monotonic()
            revision = await asyncio.to_thread(self._registry.revision)
            self._refreshed_at = asked_at
            if revision != self._revision:
                devices = await asyncio.to_thread(self._registry.devices)
                series = await asyncio.to_thread(self._registry.series)
                self._directory.load(devices, series)
                self._revision = revision

    async def _warm(self) -> None:
        rows = await asyncio.to_thread(self._log.tail, self._settings.warm_entries)
        batches = []
        for position, blob in rows:
            try:
                entry = LogEntry.from_bytes(blob)
            except MalformedPayload as error:
                detail = error.detail
                log.error("log entry cannot be read", position=position, detail=detail)  # noqa: TRY400 - no traceback
                self._metrics.unreadable_entries.inc()
                continue
            self.logged_ns = max(self.logged_ns, entry.logged)
            if len(entry.batch):
                batches.append(entry.batch)
            for status in entry.statuses:
                self._directory.note_status(status.device, online=status.online)
        self._admission.warm(batches)
        log.info("gateway is warm", entries=len(rows), readings=sum(map(len, batches)))

    # -- the straight way ----------------------------------------------------------------------------------------------

    def take(self, link: Link, run: PublishRun, rare: list[Publish]) -> None:
        """Judge the messages of one read, make them durable and acknowledge them, or block until that is possible."""
        now = self._clock.now_ns()
        self._admission.defers_strangers = self._clock.monotonic() - self._refreshed_at > _FRESH_SECONDS
        self._admission.judge(run.topics, run.payloads, now)
        for offset, message in enumerate(rare, start=len(run)):
            if message.unread:
                self._admission.refuse_long(message.topic, now + offset)
            else:
                self._admission.judge((message.topic,), (message.payload,), now + offset, retained=message.retain)
        self._owed.append(_Owed(link, run.packet_ids, rare))
        if self._blocked.is_set() or self._admission.deferred:
            self._block(link)
            return
        try:
            self._append()
        except Unavailable as error:
            self._complain(error)
            self._block(link)

    async def beat(self) -> None:
        """Append an empty entry whenever there was no other for a while, so that log time goes on; until cancelled."""
        while True:
            rest = self._appended_at + self._settings.heartbeat_seconds - self._clock.monotonic()
            if rest > 0 or self._blocked.is_set():
                await self._clock.sleep(max(rest, self._settings.heartbeat_seconds / 10))
                continue
            try:
                self._append(even_empty=True)
            except Unavailable as error:
                self._complain(error)
                self._blocked.set()

    async def follow_registry(self) -> None:
        """Poll the catalog for changes, until cancelled; while it is away, what is known stays in use."""
        while True:
            await self._clock.sleep(self._settings.registry_poll_seconds)
            try:
                await self.refresh()
            except Unavailable as error:
                log.warning("catalog is away: no news of devices", detail=error.detail)
                await self._clock.sleep(self._settings.retry_max_seconds)

    def _seal(self, *, even_empty: bool = False) -> None:
        if self._admission.is_empty() and not even_empty:
            return
        sealed = self._admission.seal()
        self.logged_ns = max(self._clock.now_ns(), self.logged_ns)
        entry = LogEntry(self.logged_ns, sealed.batch, sealed.tallies, sealed.quarantined, sealed.statuses)
        self._sealed.append((sealed, entry.to_bytes()))

    def _append(self, *, even_empty: bool = False) -> None:
        """Seal, append and acknowledge.

        Raises:
            Unavailable: nothing was appended, nothing acknowledged; what was sealed stays to be appended first.
        """
        self._seal(even_empty=even_empty)
        if self._sealed:
            started = self._clock.monotonic()
            position = self._log.append([blob for _, blob in self._sealed])
            self._note_appended(position, started)
        self._pay()

    def _note_appended(self, position: int, started: float) -> None:
        self._appended_at = self._clock.monotonic()
        self._metrics.commit(position, self._appended_at - started)
        for sealed, _ in self._sealed:
            self._metrics.count(sealed)
        self._sealed.clear()

    def _pay(self) -> None:
        owed, self._owed = self._owed, []
        for link, packet_ids, rare in owed:
            link.acknowledge(packet_ids, rare)

    def _block(self, link: Link) -> None:
        self._blocked.set()
        link.hold()

    # -- the long way --------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Whenever blocked, work until everything is durable and acknowledged; until cancelled."""
        while True:
            await self._blocked.wait()
            await self._insist(self._settle_once)
            links = {owed.link for owed in self._owed}
            self._pay()
            self._blocked.clear()
            for link in links:
                link.release()

    async def _settle_once(self) -> None:
        # a new link may bring messages while we wait for the catalog or the log: they are owed too
        while self._sealed or not self._admission.is_empty():
            await self._settle_some()

    async def _settle_some(self) -> None:
        if n := len(self._admission.deferred):
            await self.refresh()
            if n := self._admission.judge_deferred(Stage.DEVICES_KNOWN, n):
                await self._allocate()
                self._admission.judge_deferred(Stage.ALL_KNOWN, n)
        if self._admission.deferred:
            return  # they came while the catalog was asked for others
        self._seal()
        if self._sealed:
            started = self._clock.monotonic()
            position = await asyncio.to_thread(self._log.append, [blob for _, blob in self._sealed])
            self._note_appended(position, started)

    async def _allocate(self) -> None:
        """Have the catalog make the series that deferred messages need.

        Raises:
            Unavailable: the catalog.
        """
        wanted = sorted(self._admission.wanted)
        while wanted:
            try:
                series = await asyncio.to_thread(self._registry.allocate, wanted)
            except NotFound as error:
                # a device was removed a moment ago: the other devices' series can still be made
                await self.refresh()
                left = [pair for pair in wanted if self._directory.knows(pair[0])]
                if len(left) == len(wanted):
                    raise Unavailable("catalog", f"cannot allocate series: {error}") from error
                wanted = left
            else:
                self._directory.learn(series)
                return

    async def _insist(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do *work* until no part is unavailable, waiting longer each time."""
        wait = self._settings.retry_min_seconds
        while True:
            try:
                await work()
            except Unavailable as error:
                self._complain(error)
                self._metrics.retries.inc()
                await self._clock.sleep(wait)
                wait = min(wait * 2, self._settings.retry_max_seconds)
            else:
                break
        if self._is_away:
            log.info("gateway goes on")
            self._is_away = False
            self._metrics.is_held.set(0)

    def _complain(self, error: Unavailable) -> None:
        if not self._is_away:
            log.error(
                "gateway cannot keep messages: acknowledges nothing and retries", part=error.part, detail=error.detail
            )
            self._is_away = True
            self._metrics.is_held.set(1)
