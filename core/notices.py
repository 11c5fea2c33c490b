"""This module decides who hears of what happens to an alert, and is the one JSON form of an alert.

Everything goes to the retained MQTT topic; webhooks hear only what may need a person. Alerts that are
retrospective (caused by late readings) are recorded and told to nobody.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from core.alerts import NAMESPACE, EventKind
from core.clock import from_ns
from core.ports import OutboxItem
from core.texts import describe
from core.topics import alert_topic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.alerts import Alert, AlertEvent, Evidence

__all__ = ["CHANNELS", "alert_json", "notices_for"]

CHANNELS = ("mqtt", "webhook")
_PAGES = frozenset({EventKind.RAISED, EventKind.ACKNOWLEDGED, EventKind.CLEARED, EventKind.RESOLVED})


def notices_for(alert: Alert, event: AlertEvent, channels: Iterable[str]) -> list[OutboxItem]:
    """Return what must go out because *event* made *alert* what it is now; ids depend on event and channel only."""
    if alert.raised.retrospective:
        return []
    body = msgspec.json.encode({"event": event.kind, "alert": alert_json(alert)})
    return [
        OutboxItem(
            id=str(uuid.uuid5(NAMESPACE, f"{event.id}\n{channel}")),
            channel=channel,
            alert=alert.id,
            topic=alert_topic(alert.raised.district, alert.id),
            body=body,
            created=event.recorded,
        )
        for channel in channels
        if channel == "mqtt" or (event.kind in _PAGES and not _is_told(alert))
    ]


def _is_told(alert: Alert) -> bool:
    """Tell whether a person has heard of the cause already: through the alert that founded its incident."""
    return bool(alert.raised.incident) and alert.raised.incident != alert.id


def alert_json(alert: Alert) -> dict[str, Any]:
    """Return *alert* as the API, MQTT and webhooks show it: times in RFC 3339, facts flat, one English `text`."""
    return {
        "id": alert.id,
        "state": alert.state,
        "version": alert.version,
        **_facts(alert.raised),
        "opened_at": _iso(alert.opened_at),
        "changed_at": _iso(alert.changed_at),
        "cleared_at": None if alert.cleared_at is None else _iso(alert.cleared_at),
        "owner": alert.owner,
        "worst": _facts(alert.worst),
        "comments": [{"at": _iso(at), "by": by, "text": text} for at, by, text in alert.comments],
    }


def _facts(evidence: Evidence) -> dict[str, Any]:
    facts: dict[str, Any] = {name: getattr(evidence, name) for name in evidence.__struct_fields__}
    facts["card"] = None if evidence.card is None else msgspec.structs.asdict(evidence.card)
    facts["measured"] = _iso(evidence.measured)
    facts["text"] = describe(evidence)
    return facts


def _iso(ns: int) -> str:
    return from_ns(ns).isoformat(timespec="milliseconds").replace("+00:00", "Z")
