"""This module turns an alert, as the API shows it, into an annotation of Grafana."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from core.errors import SettingsError

__all__ = ["Note", "note_of"]


class _Alert(msgspec.Struct, frozen=True):
    """The fields of `core.notices.alert_json` that are noted."""

    id: str
    state: str
    district: str
    device: str
    rule: str
    priority: str
    text: str
    opened_at: datetime
    changed_at: datetime
    cleared_at: datetime | None = None
    metric: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """An annotation; times are ms, and an open alert ends when it began; `tag` is the alert's own."""

    tag: str
    time: int
    end: int
    tags: tuple[str, ...]
    text: str

    def body(self) -> dict[str, Any]:
        """Return what Grafana is sent."""
        return {"time": self.time, "timeEnd": self.end, "tags": list(self.tags), "text": self.text}

    def is_told_by(self, there: dict[str, Any]) -> bool:
        """Tell whether the annotation *there* says the same."""
        span = (there["time"], there.get("timeEnd") or there["time"])
        return span == (self.time, self.end) and there["text"] == self.text and set(there["tags"]) == set(self.tags)


def note_of(item: object) -> Note:
    """Return the note of the alert that *item*, an element of the API's answer, is.

    Raises:
        SettingsError: it is none.
    """
    try:
        alert = msgspec.convert(item, _Alert)
    except (msgspec.ValidationError, ValueError) as error:
        raise SettingsError("api", f"does not answer as urbanpulse does: not an alert: {error}") from error
    ended = alert.cleared_at or (alert.changed_at if alert.state == "resolved" else None)
    tag = f"alert:{alert.id}"
    facts = {"district": alert.district, "device": alert.device, "metric": alert.metric, "priority": alert.priority}
    return Note(
        tag=tag,
        time=_ms(alert.opened_at),
        end=max(_ms(ended or alert.opened_at), _ms(alert.opened_at)),
        tags=("urbanpulse", "alert", tag, *(f"{name}:{value}" for name, value in facts.items() if value)),
        text=f"{alert.text} ({alert.rule}, {alert.state})",
    )


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
