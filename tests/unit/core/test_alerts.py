"""Tests of the alert's life: the table is complete, and the fold follows it."""

from __future__ import annotations

import pytest

from core.alerts import (
    TRANSITIONS,
    AlertEvent,
    AlertState,
    EventKind,
    Evidence,
    Priority,
    alert_id,
    apply,
    event_id,
    fold,
)
from core.errors import Conflict
from core.notices import CHANNELS, alert_json, notices_for

EVIDENCE = Evidence(
    code="novelty.season",
    rule="novelty",
    priority=Priority.HIGH,
    district="d1",
    device="air-01",
    metric="pm25",
    unit="µg/m³",
    measured=1_767_225_600_000_000_000,
    value=212.0,
    expected=23.0,
    low=12.0,
    high=41.0,
    severity=5.4,
)


def event(kind: EventKind, at: int = 1, **more: object) -> AlertEvent:
    evidence = EVIDENCE if kind in {EventKind.RAISED, EventKind.WORSENED} else None
    fields: dict[str, object] = {"actor": "system", "evidence": evidence} | more
    return AlertEvent(id=event_id("a", kind, at), alert="a", kind=kind, at=at, recorded=at, **fields)  # type: ignore[arg-type]


def in_state(state: AlertState) -> list[AlertEvent]:
    steps = {
        AlertState.OPEN: [],
        AlertState.ACKNOWLEDGED: [EventKind.ACKNOWLEDGED],
        AlertState.RETURNED: [EventKind.CLEARED],
        AlertState.RESOLVED: [EventKind.RESOLVED],
    }[state]
    return [event(EventKind.RAISED), *(event(kind, 2) for kind in steps)]


@pytest.mark.parametrize("state", list(AlertState))
@pytest.mark.parametrize("kind", list(EventKind))
def test_the_fold_follows_the_table_and_nothing_else(state: AlertState, kind: EventKind) -> None:
    alert = fold(in_state(state))
    expected = TRANSITIONS.get((state, kind))

    if expected is None:
        with pytest.raises(Conflict, match=f"is {state}: cannot be {kind}"):
            apply(alert, event(kind, 3))
    else:
        after = apply(alert, event(kind, 3))
        assert (after.state, after.version) == (expected, alert.version + 1)


def test_nothing_but_raising_opens_an_alert() -> None:
    for kind in set(EventKind) - {EventKind.RAISED}:
        with pytest.raises(Conflict):
            apply(None, event(kind))
    with pytest.raises(Conflict, match="without evidence"):
        apply(None, event(EventKind.RAISED, evidence=None))
    with pytest.raises(Conflict, match="without events"):
        fold([])


def test_who_acknowledged_owns_it_and_comments_are_kept() -> None:
    alert = fold([*in_state(AlertState.OPEN), event(EventKind.ACKNOWLEDGED, 5, actor="ada", comment="on my way")])

    assert alert.owner == "ada"
    assert alert.comments == ((5, "ada", "on my way"),)


def test_ids_depend_on_what_happened_and_on_nothing_else() -> None:
    assert alert_id("r", "s", 1) == alert_id("r", "s", 1)
    assert len({alert_id("r", "s", 1), alert_id("r", "s", 2), alert_id("r", "t", 1), alert_id("q", "s", 1)}) == 4


def test_the_json_form_explains_the_alert() -> None:
    shown = alert_json(fold(in_state(AlertState.OPEN)))

    assert shown["text"] == (
        "pm25 at air-01 is 212 µg/m³ where 23 µg/m³ (12 to 41) is expected: unusual for this hour of the week; "
        "severity 5.4"
    )
    assert shown["measured"] == "2026-01-01T00:00:00.000Z"


def test_notices_have_ids_that_a_replay_repeats() -> None:
    raised = event(EventKind.RAISED)
    alert = fold([raised])

    first, second = notices_for(alert, raised, CHANNELS), notices_for(alert, raised, CHANNELS)

    assert [item.id for item in first] == [item.id for item in second]
    assert [item.channel for item in first] == ["mqtt", "webhook"]
    assert first[0].topic == "urbanpulse/alerts/d1/a"


def test_worsening_and_comments_page_nobody() -> None:
    alert = fold(in_state(AlertState.OPEN))

    for kind in (EventKind.WORSENED, EventKind.COMMENTED):
        assert [item.channel for item in notices_for(alert, event(kind, 2), CHANNELS)] == ["mqtt"]


def test_a_retrospective_alert_tells_nobody() -> None:
    late = Evidence(**({f: getattr(EVIDENCE, f) for f in EVIDENCE.__struct_fields__} | {"retrospective": True}))
    raised = event(EventKind.RAISED, evidence=late)

    assert notices_for(fold([raised]), raised, CHANNELS) == []
