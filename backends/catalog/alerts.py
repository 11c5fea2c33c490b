"""This module keeps alerts: append-only events, and beside them the alert that they fold into.

The processors record what they found (`record`), people act (`act`); both append under the catalog's one write lock.
What the processors say may come too late: an event that `core.alerts.TRANSITIONS` does not know in the alert's
present state is stored, since it happened, and changes nothing. So an alert is always the fold of its events with
such events left out, and the row in `alert` is no more than that fold, cached.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from sqlalchemy import Connection, func, insert, select

from backends.catalog import tables
from backends.catalog.engine import Store, in_chunks, move, position, upsert
from backends.catalog.textual import storable
from core.alerts import ACTIVE, NAMESPACE, TRANSITIONS, Alert, AlertEvent, AlertState, EventKind, Evidence, apply
from core.clock import from_ns
from core.errors import Conflict, NotFound
from core.notices import notices_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.ports import OutboxItem

__all__ = ["SqlAlerts"]

_BOOK = "alerts"
_encode = msgspec.json.Encoder().encode
_decode_alert = msgspec.json.Decoder(Alert).decode
_decode_evidence = msgspec.json.Decoder(Evidence).decode

log = structlog.get_logger()


class SqlAlerts:
    """`core.ports.AlertJournal` and `core.ports.AlertDesk` over a catalog; notices go out on *channels*."""

    def __init__(self, store: Store, channels: Sequence[str]) -> None:
        self._store = store
        self._channels = tuple(channels)

    # -- the journal -------------------------------------------------------------------------------------------------

    def position(self, source: str) -> int:
        """Return the log position up to which *source* was recorded."""
        with self._store.read() as db:
            return position(db, _BOOK, source)

    def record(self, source: str, position: int, events: Sequence[AlertEvent]) -> list[str]:
        """Store *events*, move the position and queue their notices in one transaction; return the changed alerts.

        At or below the position of *source* nothing changes; an event whose id is stored is skipped.
        """
        with self._store.write() as db:
            if position <= _position(db, source):
                return []
            known = _stored(db, [event.id for event in events])
            changed: dict[str, None] = {}
            for event in events:
                if event.id not in known:
                    known.add(event.id)
                    if self._append(db, event):
                        changed[event.alert] = None
            move(db, _BOOK, source, position)
        return list(changed)

    # -- the desk ----------------------------------------------------------------------------------------------------

    def alerts(
        self,
        *,
        active: bool | None = None,
        district: str | None = None,
        device: str | None = None,
        incident: str | None = None,
        retrospective: bool | None = None,
        limit: int = 200,
        before: int | None = None,
        before_id: str = "",
    ) -> list[Alert]:
        """Return alerts, newest opening first; (`before`, `before_id`) of the last one pages without gap or repeat."""
        t = tables.alert.c
        query = select(t.body).order_by(t.opened_at.desc(), t.id.desc()).limit(limit)
        wanted = (
            *((t.active, active), (t.district, district), (t.device, device)),
            *((t.incident, incident), (t.retrospective, retrospective)),
        )
        query = query.where(*(column == value for column, value in wanted if value is not None))
        if before is not None:
            query = query.where((t.opened_at < before) | ((t.opened_at == before) & (t.id < before_id)))
        with self._store.read() as db:
            return [_decode_alert(body) for body in db.scalars(query)]

    def alert(self, alert: str) -> Alert:
        """Return one alert.

        Raises:
            NotFound: no such alert.
        """
        with self._store.read() as db:
            return _known(_get(db, alert), alert)

    def history(self, alert: str) -> list[AlertEvent]:
        """Return the events of one alert, in order."""
        t = tables.alert_event.c
        with self._store.read() as db:
            rows = db.execute(select(tables.alert_event).where(t.alert == alert).order_by(t.seq)).all()
        return [
            AlertEvent(
                id=row.id,
                alert=row.alert,
                kind=EventKind(row.kind),
                at=row.at,
                recorded=row.recorded,
                actor=row.actor,
                evidence=None if row.evidence is None else _decode_evidence(row.evidence),
                comment=row.comment,
            )
            for row in rows
        ]

    def act(
        self,
        alert: str,
        kind: EventKind,
        *,
        actor: str,
        now_ns: int,
        comment: str = "",
        version: int | None = None,
    ) -> Alert:
        """Append what a person did, with the notices it causes; return the alert after it.

        Raises:
            NotFound: no such alert.
            Conflict: impossible in its state, or *version* is given and not current; the text says who and when.
        """
        with self._store.write() as db:
            current = _known(_get(db, alert), alert)
            is_stale = version is not None and version != current.version
            if is_stale or (current.state, kind) not in TRANSITIONS:
                raise Conflict(_refusal(db, current, kind, version if is_stale else None))
            event = AlertEvent(
                id=str(uuid.uuid5(NAMESPACE, f"{alert}\n{kind}\n{now_ns}\n{current.version + 1}")),
                alert=alert,
                kind=kind,
                at=now_ns,
                recorded=now_ns,
                actor=storable(actor),
                comment=storable(comment),
            )
            self._append(db, event)
            return _known(_get(db, alert), alert)

    def _append(self, db: Connection, event: AlertEvent) -> bool:
        """Store *event*; tell whether it changed its alert."""
        last = select(func.max(tables.alert_event.c.seq)).where(tables.alert_event.c.alert == event.alert)
        row = {name: getattr(event, name) for name in ("id", "alert", "at", "recorded", "actor", "comment")}
        row |= {
            "seq": (db.scalar(last) or 0) + 1,
            "kind": event.kind.value,
            "evidence": None if event.evidence is None else _encode(event.evidence).decode(),
        }
        db.execute(insert(tables.alert_event).values(row))
        before = _get(db, event.alert)
        if (before.state if before else None, event.kind) not in TRANSITIONS:
            log.info("alert event changes nothing", alert=event.alert, kind=event.kind, state=before and before.state)
            return False
        after = apply(before, event)
        _put(db, after)
        # news of the processors about what a person has closed already are nobody's to read
        if before is None or before.state is not AlertState.RESOLVED or event.actor != "system":
            _queue(db, notices_for(after, event, self._channels))
        return True


def _position(db: Connection, source: str) -> int:
    return position(db, _BOOK, source)


def _stored(db: Connection, ids: Sequence[str]) -> set[str]:
    t = tables.alert_event.c
    found: set[str] = set()
    for chunk in in_chunks(ids):
        found.update(db.scalars(select(t.id).where(t.id.in_(chunk))))
    return found


def _get(db: Connection, alert: str) -> Alert | None:
    body = db.scalar(select(tables.alert.c.body).where(tables.alert.c.id == alert))
    return None if body is None else _decode_alert(body)


def _known(found: Alert | None, alert: str) -> Alert:
    if found is None:
        raise NotFound(f"alert {alert[:80]}: no such alert")
    return found


def _put(db: Connection, alert: Alert) -> None:
    row: dict[str, Any] = {
        "id": alert.id,
        "state": alert.state.value,
        "active": alert.state in ACTIVE,
        "version": alert.version,
        "district": alert.raised.district,
        "device": alert.raised.device,
        "retrospective": alert.raised.retrospective,
        "opened_at": alert.opened_at,
        "body": _encode(alert).decode(),
        "incident": alert.raised.incident,
    }
    upsert(db, tables.alert, [row], put=["state", "active", "version", "body", "incident"])


def _queue(db: Connection, notices: Sequence[OutboxItem]) -> None:
    if notices:
        rows = [
            {
                "id": item.id,
                "channel": item.channel,
                "alert": item.alert,
                "topic": item.topic,
                "body": item.body,
                "created": item.created,
                "state": "pending",
                "due": 0,
                "attempts": 0,
                "error": "",
            }
            for item in notices
        ]
        db.execute(insert(tables.outbox), rows)


def _refusal(db: Connection, alert: Alert, kind: EventKind, version: int | None) -> str:
    t = tables.alert_event.c
    last = db.execute(
        select(t.kind, t.actor, t.recorded).where(t.alert == alert.id).order_by(t.seq.desc()).limit(1)
    ).one()
    at = from_ns(last.recorded).isoformat(timespec="seconds").replace("+00:00", "Z")
    why = f"cannot be {kind}" if version is None else f"version {version} is old, {alert.version} is current"
    return f"alert {alert.id} is {alert.state}: {why}; {last.kind} by {last.actor} at {at}"
