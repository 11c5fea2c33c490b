"""This module is the outbox: notices that wait to go out, in order per alert and channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select, update

from backends.catalog import tables
from backends.catalog.textual import storable
from core.ports import OutboxItem

if TYPE_CHECKING:
    from backends.catalog.engine import Store
    from backends.catalog.settings import CatalogSettings

__all__ = ["SqlOutbox"]

_T = tables.outbox
_ERROR_LENGTH = 500


class SqlOutbox:
    """`core.ports.Outbox` over a catalog. Finished notices are kept up to `outbox_keep`."""

    def __init__(self, store: Store, settings: CatalogSettings) -> None:
        self._store = store
        self._keep = settings.outbox_keep

    def due(self, now_ns: int, limit: int) -> list[OutboxItem]:
        """Return notices whose time has come, oldest first; one per alert and channel, the others wait for it."""
        older = _T.alias()
        waits = (
            select(older.c.seq)
            .where(
                older.c.alert == _T.c.alert,
                older.c.channel == _T.c.channel,
                older.c.state == "pending",
                older.c.seq < _T.c.seq,
            )
            .exists()
        )
        t = _T.c
        columns = (t.id, t.channel, t.alert, t.topic, t.body, t.created, t.attempts)
        query = select(*columns).where(t.state == "pending", t.due <= now_ns, ~waits).order_by(t.seq).limit(limit)
        with self._store.read() as db:
            return [OutboxItem(*row) for row in db.execute(query)]

    def sent(self, item: str, now_ns: int) -> None:
        """Mark a notice as delivered."""
        self._finish(item, "sent", now_ns, "")

    def failed(self, item: str, retry_ns: int, error: str) -> None:
        """Note a failed attempt and when to try again."""
        with self._store.write() as db:
            db.execute(
                update(_T)
                .where(_T.c.id == item, _T.c.state == "pending")
                .values(attempts=_T.c.attempts + 1, due=retry_ns, error=storable(error[:_ERROR_LENGTH]))
            )

    def given_up(self, item: str, now_ns: int, error: str) -> None:
        """Stop trying; the notice stays listed as failed."""
        self._finish(item, "failed", now_ns, error)

    def pending(self) -> int:
        """Return how many notices wait."""
        with self._store.read() as db:
            return db.scalar(select(func.count()).where(_T.c.state == "pending")) or 0

    def _finish(self, item: str, state: str, now_ns: int, error: str) -> None:
        with self._store.write() as db:
            db.execute(
                update(_T)
                .where(_T.c.id == item, _T.c.state == "pending")
                .values(state=state, attempts=_T.c.attempts + 1, finished=now_ns, error=storable(error[:_ERROR_LENGTH]))
            )
            finished = select(_T.c.seq).where(_T.c.state == state).order_by(_T.c.seq.desc())
            if (oldest := db.scalar(finished.offset(self._keep).limit(1))) is not None:
                db.execute(delete(_T).where(_T.c.state == state, _T.c.seq <= oldest))
