"""This module is an alert as far as scoring looks at it, and how a file of alerts is read.

The JSON form of an alert is that of `core.notices.alert_json`, which the API, MQTT and webhooks share; fields that
scoring does not need are passed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from core.alerts import Priority
from core.clock import to_ns
from core.errors import MalformedPayload

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Opening", "Openings", "Said", "opening_of", "read_openings"]


class Said(StrEnum):
    """What an alert says is behind it."""

    EVENT = "event"
    SENSOR_FAULT = "sensor fault"
    GATEWAY_FAULT = "gateway fault"
    UNCLEAR = "unclear"
    NOT_SAID = "not said"


@dataclass(frozen=True, slots=True)
class Opening:
    """When and about what an alert opened.

    Attributes:
        id: the alert's.
        at: when it opened by event time, ns UTC; not when it was recorded.
        metric: empty for an alert about a whole device.
        severity: the detector's score, 0 for plain rules.
        retrospective: late readings caused it, so nobody was paged.
        said: its classification, if it has one.
        joins: it came to an incident that another alert founded, so nobody was told of it.
    """

    id: str
    at: int
    device: str
    district: str
    metric: str
    code: str
    rule: str
    priority: Priority
    severity: float = 0.0
    retrospective: bool = False
    said: Said = Said.NOT_SAID
    joins: bool = False

    @property
    def is_gap(self) -> bool:
        """Tell whether it says that nothing came."""
        return self.code == "gap"


@dataclass(frozen=True, slots=True)
class Openings:
    """Alerts, each once, by time; `more` if the source had more than were taken."""

    items: tuple[Opening, ...]
    more: bool = False

    @classmethod
    def of(cls, items: Iterable[Opening], *, more: bool = False) -> Openings:
        """Return *items* in order; of several with one id (pages that moved while they were read) the last stays."""
        known = {item.id: item for item in items}
        return cls(tuple(sorted(known.values(), key=lambda item: (item.at, item.id))), more)


class _AlertJson(msgspec.Struct, frozen=True):
    id: str
    opened_at: datetime
    device: str
    district: str
    code: str
    rule: str
    priority: Priority
    metric: str = ""
    severity: float = 0.0
    retrospective: bool = False
    classification: str | None = None
    incident: str = ""


def opening_of(item: object, where: str) -> Opening:
    """Return the opening of the alert that the decoded JSON *item* is; *where* it stood is for the error.

    Raises:
        MalformedPayload: reason `bad_shape`; the text says where, and which field is wrong.
    """
    try:
        alert = msgspec.convert(item, _AlertJson)
        at = to_ns(alert.opened_at)
    except (msgspec.ValidationError, ValueError) as error:
        raise MalformedPayload("bad_shape", f"{where}: not an alert: {error}") from error
    return Opening(
        id=alert.id, at=at, device=alert.device, district=alert.district, metric=alert.metric, code=alert.code,
        rule=alert.rule, priority=alert.priority, severity=alert.severity, retrospective=alert.retrospective,
        said=_said(alert.classification, where), joins=alert.incident not in {"", alert.id},
    )  # fmt: skip


def read_openings(content: bytes, name: str) -> Openings:
    """Read alerts: a JSON array of them, `{"items": […]}` as the API answers, or one JSON object a line.

    A page of the API that names a next one counts as cut: `more` is set.

    Raises:
        MalformedPayload: reason `not_json` or `bad_shape`; the text names the file *name* and the line or item.
    """
    try:
        whole = msgspec.json.decode(content) if content.strip() else []
    except msgspec.DecodeError:
        return Openings.of(_lines(content, name))
    match whole:
        case list():
            items, more = whole, False
        case {"items": list() as items}:
            more = whole.get("next_cursor") is not None
        case {"id": _}:
            items, more = [whole], False
        case _:
            raise MalformedPayload(
                "bad_shape", f"{name}: a JSON array of alerts, an object with `items`, or an alert a line expected"
            )
    return Openings.of((opening_of(item, f"{name}: item {n}") for n, item in enumerate(items, 1)), more=more)


def _lines(content: bytes, name: str) -> Iterable[Opening]:
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            item: Any = msgspec.json.decode(line)
        except msgspec.DecodeError as error:
            raise MalformedPayload("not_json", f"{name}:{number}: not JSON: {error}") from error
        yield opening_of(item, f"{name}:{number}")


def _said(text: str | None, where: str) -> Said:
    if text is None:
        return Said.NOT_SAID
    try:
        return Said(text.replace("_", " ").replace("-", " ").lower())
    except ValueError:
        known = ", ".join(Said)
        raise MalformedPayload("bad_shape", f"{where}: classification {text[:40]!r}: one of {known} expected") from None
