"""This module is the life of an alert: a state table, its events, and the fold that turns events into an alert.

After ISA-18.2, as far as a city needs it. An alert is *raised* once (its id is a UUIDv5 of rule, subject and opening
time, so a replay raises nothing twice), may *clear* by itself, may be *acknowledged* and *resolved* by a person.

    cleared while open         -> returned: the condition is gone, nobody has looked yet
    cleared while acknowledged -> resolved: someone looked and it is over

Only events are stored; the state is always `fold(events)`. A pair that is not in `TRANSITIONS` cannot happen.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from core.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ACTIVE",
    "NAMESPACE",
    "TRANSITIONS",
    "Alert",
    "AlertEvent",
    "AlertState",
    "Card",
    "Classification",
    "EventKind",
    "Evidence",
    "Priority",
    "alert_id",
    "apply",
    "event_id",
    "fold",
]

NAMESPACE = uuid.UUID("6f1d3c1e-5a0b-5a57-9a0e-9d1d2f7b7a10")


class AlertState(StrEnum):
    """Where an alert is in its life."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RETURNED = "returned"
    RESOLVED = "resolved"


class EventKind(StrEnum):
    """What happened to an alert."""

    RAISED = "raised"
    WORSENED = "worsened"
    ACKNOWLEDGED = "acknowledged"
    CLEARED = "cleared"
    RESOLVED = "resolved"
    COMMENTED = "commented"
    UPDATED = "updated"


class Classification(StrEnum):
    """What is behind an alert, as far as sensors near by, metrics of the same device and silences tell."""

    EVENT = "event"
    SENSOR_FAULT = "sensor fault"
    GATEWAY_FAULT = "gateway fault"
    UNCLEAR = "unclear"


class Priority(StrEnum):
    """How soon a person must act."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


_S, _E = AlertState, EventKind

ACTIVE = frozenset({_S.OPEN, _S.ACKNOWLEDGED, _S.RETURNED})
"""States that stand in the inbox."""

TRANSITIONS: dict[tuple[AlertState | None, EventKind], AlertState] = {
    (None, _E.RAISED): _S.OPEN,
    (_S.OPEN, _E.WORSENED): _S.OPEN,
    (_S.OPEN, _E.ACKNOWLEDGED): _S.ACKNOWLEDGED,
    (_S.OPEN, _E.CLEARED): _S.RETURNED,
    (_S.OPEN, _E.RESOLVED): _S.RESOLVED,
    (_S.ACKNOWLEDGED, _E.WORSENED): _S.ACKNOWLEDGED,
    (_S.ACKNOWLEDGED, _E.CLEARED): _S.RESOLVED,
    (_S.ACKNOWLEDGED, _E.RESOLVED): _S.RESOLVED,
    (_S.RETURNED, _E.ACKNOWLEDGED): _S.RESOLVED,
    (_S.RETURNED, _E.RESOLVED): _S.RESOLVED,
    # the processor does not know what people did: its news about a resolved alert change nothing
    (_S.RESOLVED, _E.WORSENED): _S.RESOLVED,
    (_S.RESOLVED, _E.CLEARED): _S.RESOLVED,
    **{(state, _E.COMMENTED): state for state in AlertState},
    # what is behind an alert may be understood only when its neighbours have spoken
    **{(state, _E.UPDATED): state for state in AlertState},
}


class Card(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was looked at to tell what is behind an alert; deviations are in a series' own usual deviations.

    Attributes:
        deviation: of the series itself from what it usually does at this hour.
        peers: nearest sensors of the same metric that spoke lately, and the median of their deviations.
        peer_deviations: of each of them, ascending; empty in alerts that are older than this field.
        agreeing: of them those that deviate strongly, and to the same side.
        near: nearest other devices of any kind, and how many of them show something strange.
        siblings: other metrics of the same device, and how many of them are strange.
        silent: devices that fell silent together; `of` so many in their districts.
        battery: last reported, percent; `rssi` dBm.
        past: alerts of the same rule about the same subject before this one.
        at_most: upper bound of the share of readings of this metric that are as odd, outside of known incidents.
        needed: severity from which novelty opens an alert here; more for young series and for a budget.
        budget: novelty alerts a day that the district is meant to have at most.
    """

    deviation: float | None = None
    peers: int = 0
    peers_deviation: float | None = None
    peer_deviations: tuple[float, ...] = ()
    agreeing: int = 0
    near: int = 0
    near_strange: int = 0
    siblings: int = 0
    siblings_strange: int = 0
    silent: int = 0
    of: int = 0
    battery: float | None = None
    rssi: float | None = None
    past: int = 0
    at_most: float | None = None
    needed: float | None = None
    budget: float | None = None


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why an alert was raised: facts, no prose. Texts are made from `code` and these facts, in any language.

    `classification` says what is behind it and `card` why. `incident` is the id of the alert that opened first of one
    cause (its own if it was the first), empty where there is none; `joined` counts those that came to it later.
    `code` is a message code such as `novelty.season`, `threshold.above`, `gap` or `flat`. `value`, `expected`, `low`
    and `high` are in `unit`; `low` and `high` are the expected band. `measured` is int64 ns. `severity` is the
    detector's unitless score (1 = unusual), 0 for plain rules. `retrospective` alerts are recorded and page nobody.
    """

    code: str
    rule: str
    priority: Priority
    district: str
    device: str
    metric: str = ""
    series: int = -1
    unit: str = ""
    measured: int
    value: float | None = None
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    duration_seconds: float = 0.0
    severity: float = 0.0
    retrospective: bool = False
    classification: Classification | None = None
    card: Card | None = None
    incident: str = ""
    joined: int = 0


class AlertEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. `at` is event time, `recorded` when we learnt of it, both int64 ns UTC."""

    id: str
    alert: str
    kind: EventKind
    at: int
    recorded: int
    actor: str = "system"
    evidence: Evidence | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Alert:
    """The fold of its events. `version` counts them; `raised` is the evidence at opening, `worst` the worst since."""

    id: str
    state: AlertState
    version: int
    raised: Evidence
    worst: Evidence
    opened_at: int
    changed_at: int
    cleared_at: int | None = None
    owner: str | None = None
    comments: tuple[tuple[int, str, str], ...] = ()


def alert_id(rule: str, subject: str, opened_at: int) -> str:
    """Return the id that the alert of *rule* about *subject* opening at *opened_at* (ns) always has."""
    return str(uuid.uuid5(NAMESPACE, f"{rule}\n{subject}\n{opened_at}"))


def event_id(alert: str, kind: EventKind, at: int) -> str:
    """Return the id that this event always has, so that a replay stores it once."""
    return str(uuid.uuid5(NAMESPACE, f"{alert}\n{kind}\n{at}"))


def apply(alert: Alert | None, event: AlertEvent) -> Alert:
    """Return the alert after *event*.

    Raises:
        Conflict: the table has no such transition; the text names state, event and alert.
    """
    state = TRANSITIONS.get((alert.state if alert else None, event.kind))
    if state is None:
        raise Conflict(f"alert {event.alert} is {alert.state if alert else 'not raised'}: cannot be {event.kind}")
    if alert is None:
        if event.evidence is None:
            raise Conflict(f"alert {event.alert}: raised without evidence")
        return Alert(event.alert, state, 1, event.evidence, event.evidence, event.at, event.at)
    changed = replace(alert, state=state, version=alert.version + 1)
    match event.kind:
        case EventKind.WORSENED if event.evidence is not None:
            changed = replace(changed, worst=event.evidence)
        case EventKind.UPDATED if event.evidence is not None:
            changed = replace(
                changed, raised=_judged(alert.raised, event.evidence), worst=_judged(alert.worst, event.evidence)
            )
        case EventKind.ACKNOWLEDGED:
            changed = replace(changed, owner=event.actor)
        case EventKind.CLEARED:
            changed = replace(changed, cleared_at=event.at)
        case _:
            pass
    if event.comment:
        changed = replace(changed, comments=(*changed.comments, (event.recorded, event.actor, event.comment)))
    return replace(changed, changed_at=max(alert.changed_at, event.at))


def _judged(facts: Evidence, by: Evidence) -> Evidence:
    """Return *facts* with what *by* says is behind them."""
    return msgspec.structs.replace(
        facts, classification=by.classification, card=by.card, incident=by.incident, joined=by.joined
    )


def fold(events: Iterable[AlertEvent]) -> Alert:
    """Return the alert that *events* (of one alert, in order) make.

    Raises:
        Conflict: they are empty or in an impossible order.
    """
    alert: Alert | None = None
    for event in events:
        alert = apply(alert, event)
    if alert is None:
        raise Conflict("an alert without events")
    return alert
