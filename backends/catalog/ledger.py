"""This module is the ledger: what became of every message, the quarantine, and who is online.

Everything of one log position is booked in one transaction together with the position itself, so booking it again
changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, func, insert, select

from backends.catalog import tables
from backends.catalog.engine import Store, count, counted, in_chunks, move, position, upsert
from backends.catalog.textual import storable
from core.admission import LedgerRow, Outcome, Quarantined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backends.catalog.settings import CatalogSettings
    from core.admission import DeviceStatus, Tally

__all__ = ["SqlLedger"]

_BOOK = "ledger"
_DROPPED = "quarantine_dropped"
_COUNTS = ("received", "accepted", "duplicate", "late", "quarantined", "refused", "readings")


class SqlLedger:
    """`core.ports.LedgerBook` and `core.ports.LedgerReader` over a catalog."""

    def __init__(self, store: Store, settings: CatalogSettings) -> None:
        self._store = store
        self._settings = settings

    def position(self, source: str) -> int:
        """Return the log position up to which *source* was booked."""
        with self._store.read() as db:
            return position(db, _BOOK, source)

    def book(
        self,
        source: str,
        position: int,
        tallies: Sequence[Tally],
        quarantined: Sequence[Quarantined],
        statuses: Sequence[DeviceStatus],
    ) -> None:
        """Add everything in one transaction and move the position; at or below it, change nothing."""
        with self._store.write() as db:
            if position <= _position(db, source):
                return
            _add_tallies(db, tallies)
            self._add_quarantined(db, quarantined)
            _add_statuses(db, statuses)
            move(db, _BOOK, source, position)

    def ledger(self, device: str | None = None, first_day: int = 0, last_day: int = 1 << 31) -> list[LedgerRow]:
        """Return the balances per device and day (days since 1970, both ends included), by device, then day."""
        last = min(last_day, (1 << 31) - 1)  # the largest day that fits the column
        rows, reasons = (
            select(t).where(t.c.day.between(first_day, last), *([t.c.device == device] if device is not None else []))
            for t in (tables.ledger, tables.ledger_reason)
        )
        why: defaultdict[tuple[str, int], dict[str, int]] = defaultdict(dict)
        with self._store.read() as db:
            for row in db.execute(reasons.order_by(tables.ledger_reason.c.reason)):
                why[row.device, row.day][row.reason] = row.messages
            found = db.execute(rows.order_by(tables.ledger.c.device, tables.ledger.c.day)).mappings().all()
        return [LedgerRow(**row, reasons=why[row["device"], row["day"]]) for row in found]

    def quarantine(self, limit: int) -> list[Quarantined]:
        """Return the newest quarantined messages, newest first."""
        t = tables.quarantine.c
        columns = (t.topic, t.payload, t.received, t.device, t.reason, t.detail)
        with self._store.read() as db:
            return [Quarantined(*row) for row in db.execute(select(*columns).order_by(t.id.desc()).limit(limit))]

    def quarantine_dropped(self) -> int:
        """Return how many quarantined messages had to go because of `quarantine_keep` or `quarantine_megabytes`."""
        with self._store.read() as db:
            return counted(db, _DROPPED)

    def statuses(self) -> dict[str, tuple[bool, int]]:
        """Return {device: (online, since ns)}; repeating a state does not make it younger."""
        t = tables.device_status.c
        with self._store.read() as db:
            return {row.device: (row.online, row.since) for row in db.execute(select(t.device, t.online, t.since))}

    def _add_quarantined(self, db: Connection, quarantined: Sequence[Quarantined]) -> None:
        if not quarantined:
            return
        t = tables.quarantine
        rows = [
            {
                "size": len(message.payload),
                "topic": storable(message.topic),
                "payload": message.payload,
                "received": message.received,
                "device": storable(message.device),
                "reason": message.reason,
                "detail": storable(message.detail),
            }
            for message in quarantined
        ]
        db.execute(insert(t), rows)
        n, size = db.execute(select(func.count(), func.coalesce(func.sum(t.c.size), 0)).select_from(t)).one()
        budget = self._settings.quarantine_megabytes * 1_000_000
        dropped = last = 0
        if n > self._settings.quarantine_keep or size > budget:
            for row in db.execute(select(t.c.id, t.c.size).order_by(t.c.id)):
                if n - dropped <= self._settings.quarantine_keep and size <= budget:
                    break
                dropped, size, last = dropped + 1, size - row.size, row.id
            db.execute(delete(t).where(t.c.id <= last))
            count(db, _DROPPED, dropped)


def _position(db: Connection, source: str) -> int:
    return position(db, _BOOK, source)


def _add_tallies(db: Connection, tallies: Sequence[Tally]) -> None:
    days: dict[tuple[str, int], dict[str, int]] = {}
    reasons: defaultdict[tuple[str, int, str], int] = defaultdict(int)
    for tally in tallies:
        row = days.setdefault((tally.device, tally.day), dict.fromkeys(_COUNTS, 0))
        row["received"] += tally.received
        row[Outcome(tally.outcome)] += tally.messages
        row["readings"] += tally.readings
        reasons[tally.device, tally.day, f"{tally.outcome}:{tally.reason}"] += tally.messages
    upsert(db, tables.ledger, [{"device": d, "day": day, **row} for (d, day), row in days.items()], add=_COUNTS)
    rows = [{"device": d, "day": day, "reason": why, "messages": n} for (d, day, why), n in reasons.items()]
    upsert(db, tables.ledger_reason, rows, add=["messages"])


def _add_statuses(db: Connection, statuses: Sequence[DeviceStatus]) -> None:
    t = tables.device_status
    rows: dict[str, dict[str, Any]] = {}
    for names in in_chunks(sorted({status.device for status in statuses})):
        rows |= {row["device"]: dict(row) for row in db.execute(select(t).where(t.c.device.in_(names))).mappings()}
    for status in statuses:
        known = rows.get(status.device)
        if known is not None and known["said"] > status.received:
            continue
        since = known["since"] if known is not None and known["online"] == status.online else status.received
        rows[status.device] = {
            "device": status.device,
            "online": status.online,
            "since": since,
            "said": status.received,
        }
    upsert(db, t, list(rows.values()), put=["online", "since", "said"])
