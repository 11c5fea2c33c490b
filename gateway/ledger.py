"""This module is the bookkeeper: it reads the log and books tallies, quarantined messages and states into the catalog.

It is a consumer like any other, so the ledger can never disagree with the log: what is booked is decided by the
position alone, which the catalog moves in the same transaction. It works in a thread and many entries at a time,
because a catalog row per device and day is cheap only when booked seldom.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import structlog

from core.admission import Tally
from core.entry import Books
from core.errors import MalformedPayload, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from core.admission import DeviceStatus, Quarantined
    from core.clock import Clock
    from core.ports import LedgerBook, LogConsumer
    from gateway.metrics import GatewayMetrics
    from gateway.settings import GatewaySettings

__all__ = ["CONSUMER", "Bookkeeper", "add_up"]

CONSUMER = "ledger"
"""Our name as a consumer of the log, and as a source in the catalog."""

log = structlog.get_logger()


_decode_tally = msgspec.msgpack.Decoder(Tally).decode


def add_up(tallies: Iterable[Tally]) -> list[Tally]:
    """Return one tally per device, day, outcome and reason, sorted."""
    sums: dict[tuple[str, int, str, str], list[int]] = {}
    for t in tallies:
        key = (t.device, t.day, t.outcome, t.reason)
        row = sums.get(key)
        if row is None:
            sums[key] = [t.received, t.messages, t.readings]
        else:
            row[0] += t.received
            row[1] += t.messages
            row[2] += t.readings
    return [Tally(*key, *sums[key]) for key in sorted(sums)]


class Bookkeeper:
    """Books the log's entries into *book*, each exactly once."""

    def __init__(
        self,
        consumer: LogConsumer,
        book: LedgerBook,
        *,
        settings: GatewaySettings,
        clock: Clock,
        metrics: GatewayMetrics,
    ) -> None:
        self._consumer = consumer
        self._book = book
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._is_away = False

    async def run(self) -> None:
        """Book every `ledger_seconds`, until cancelled."""
        wait = self._settings.retry_min_seconds
        while True:
            try:
                await asyncio.to_thread(self.book_all)
            except Unavailable as error:
                if not self._is_away:
                    log.warning("ledger waits", part=error.part, detail=error.detail)
                self._is_away = True
                await self._clock.sleep(wait)
                wait = min(wait * 2, self._settings.retry_max_seconds)
                continue
            if self._is_away:
                log.info("ledger goes on")
            self._is_away, wait = False, self._settings.retry_min_seconds
            await self._clock.sleep(self._settings.ledger_seconds)

    def book_all(self) -> int:
        """Book everything there is; return how many entries.

        Raises:
            Unavailable: log or catalog; what was not booked will be.
        """
        booked = 0
        self._consumer.cursor(CONSUMER)  # registers us, so that nothing unread is trimmed
        position = self._book.position(CONSUMER)
        while rows := self._consumer.read(position, self._settings.ledger_entries):
            position = self._book_rows(rows)
            booked += len(rows)
        self._metrics.ledger_position.set(position)
        return booked

    def _book_rows(self, rows: list[tuple[int, bytes]]) -> int:
        tallies: Counter[bytes] = Counter()
        quarantined: list[Quarantined] = []
        statuses: list[DeviceStatus] = []
        for position, blob in rows:
            try:
                books = Books.from_bytes(blob)
            except MalformedPayload as error:
                log.error(  # noqa: TRY400 - the detail says all
                    "log entry cannot be read: its messages are missing in the ledger",
                    position=position,
                    detail=error.detail,
                )
                self._metrics.unreadable_entries.inc()
                continue
            tallies.update(books.tallies)
            quarantined += books.quarantined
            statuses += books.statuses
        position = rows[-1][0]
        self._book.book(CONSUMER, position, add_up(self._decoded(tallies)), quarantined, statuses)
        self._consumer.commit(CONSUMER, position)
        return position

    def _decoded(self, tallies: Mapping[bytes, int]) -> list[Tally]:
        """Return each tally times how often it was there."""
        found: list[Tally] = []
        for raw, n in tallies.items():
            try:
                t = _decode_tally(raw)
            except msgspec.MsgspecError as error:  # its entry is whole, so whoever wrote it did not mean our tallies
                log.error("tally cannot be read: its messages are missing in the ledger", detail=str(error))  # noqa: TRY400 - the detail says all
                self._metrics.unreadable_entries.inc(n)
                continue
            found.append(Tally(t.device, t.day, t.outcome, t.reason, n * t.received, n * t.messages, n * t.readings))
        return found
