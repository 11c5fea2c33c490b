"""Every alert journal and desk keeps the promises of `core.ports.AlertJournal` and `AlertDesk`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from backends.catalog import Catalog, CatalogSettings, open_catalog, tables
from core.alerts import (
    TRANSITIONS,
    Alert,
    AlertEvent,
    AlertState,
    EventKind,
    Evidence,
    Priority,
    alert_id,
    apply,
    event_id,
)
from core.errors import Conflict, NotFound
from tests.contracts.conftest import DATABASES, empty_database, small_catalog
from tests.contracts.fakes import MemoryJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

IMPLEMENTATIONS = ["memory", *DATABASES]
A, B = alert_id("gap", "a", 1), alert_id("gap", "b", 1)


def event(kind: EventKind, at: int, *, alert: str = A, **facts: Any) -> AlertEvent:
    defaults: dict[str, Any] = {"district": "center", "device": "air-1"}
    needs_facts = kind in {EventKind.RAISED, EventKind.WORSENED, EventKind.UPDATED}
    evidence = Evidence(code="gap", rule="gap", priority=Priority.LOW, measured=at, **(defaults | facts))
    return AlertEvent(
        id=event_id(alert, kind, at),
        alert=alert,
        kind=kind,
        at=at,
        recorded=at + 1,
        evidence=evidence if needs_facts else None,
    )


def test_the_suite_runs_on_every_journal() -> None:
    assert set(IMPLEMENTATIONS) >= {"memory", "sqlite"}


@pytest.fixture(params=IMPLEMENTATIONS)
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryJournal()
        return
    with small_catalog(empty_database(request.param, tmp_path, request)) as catalog:
        yield catalog.alerts


# -- the journal -------------------------------------------------------------------------------------------------------


def test_events_are_recorded_and_the_changed_alerts_named(journal: Any) -> None:
    changed = journal.record("log", 7, [event(EventKind.RAISED, 1, alert=B), event(EventKind.RAISED, 1)])

    assert (changed, journal.position("log"), journal.position("other")) == ([B, A], 7, 0)


def test_a_replay_changes_nothing(journal: Any) -> None:
    events = [event(EventKind.RAISED, 1), event(EventKind.CLEARED, 2)]
    journal.record("log", 7, events)

    assert journal.record("log", 7, events) == []
    assert journal.record("log", 8, [*events, event(EventKind.CLEARED, 2)]) == []
    assert journal.record("log", 6, [event(EventKind.RAISED, 1, alert=B)]) == []
    assert journal.position("log") == 8


def test_an_event_without_a_transition_is_kept_and_changes_nothing(journal: Any) -> None:
    assert journal.record("log", 1, [event(EventKind.CLEARED, 1)]) == []
    assert journal.record("log", 2, [event(EventKind.RAISED, 2), event(EventKind.CLEARED, 3)]) == [A]
    assert journal.record("log", 3, [event(EventKind.WORSENED, 4)]) == []


def test_an_event_is_stored_with_its_position_or_not_at_all(catalog: Catalog) -> None:
    broken = AlertEvent(id="x", alert=A, kind=EventKind.RAISED, at=1, recorded=1)

    with pytest.raises(Conflict, match="without evidence"):
        catalog.alerts.record("log", 7, [event(EventKind.RAISED, 1, alert=B), broken])

    assert catalog.alerts.position("log") == 0
    assert (catalog.alerts.alerts(), catalog.alerts.history(B), catalog.outbox.pending()) == ([], [], 0)


# -- the desk ----------------------------------------------------------------------------------------------------------


def test_an_acknowledged_alert_has_an_owner_and_a_history(catalog: Catalog) -> None:
    raised = event(EventKind.RAISED, 1)
    catalog.alerts.record("log", 1, [raised])

    after = catalog.alerts.act(A, EventKind.ACKNOWLEDGED, actor="ann", now_ns=9, comment="on my way", version=1)

    assert (after.state, after.owner, after.version) == (AlertState.ACKNOWLEDGED, "ann", 2)
    assert after.comments == ((9, "ann", "on my way"),)
    assert after == catalog.alerts.alert(A)
    history = catalog.alerts.history(A)
    assert history[0] == raised
    assert [(e.kind, e.at, e.actor, e.comment) for e in history[1:]] == [
        (EventKind.ACKNOWLEDGED, 9, "ann", "on my way")
    ]


def test_who_comes_second_hears_who_was_first_and_when(catalog: Catalog) -> None:
    catalog.alerts.record("log", 1, [event(EventKind.RAISED, 1)])
    catalog.alerts.act(A, EventKind.ACKNOWLEDGED, actor="ann", now_ns=1_767_225_600_000_000_000)

    with pytest.raises(Conflict, match="cannot be acknowledged; acknowledged by ann at 2026-01-01T00:00:00Z"):
        catalog.alerts.act(A, EventKind.ACKNOWLEDGED, actor="bob", now_ns=2)
    with pytest.raises(Conflict, match="version 1 is old, 2 is current; acknowledged by ann"):
        catalog.alerts.act(A, EventKind.RESOLVED, actor="bob", now_ns=2, version=1)
    assert len(catalog.alerts.history(A)) == 2


def test_acting_on_what_does_not_exist_is_not_found(catalog: Catalog) -> None:
    with pytest.raises(NotFound, match="nothing"):
        catalog.alerts.act("nothing", EventKind.COMMENTED, actor="ann", now_ns=1)
    with pytest.raises(NotFound, match="nothing"):
        catalog.alerts.alert("nothing")
    assert catalog.alerts.history("nothing") == []


def test_two_comments_at_the_same_instant_are_both_kept(catalog: Catalog) -> None:
    catalog.alerts.record("log", 1, [event(EventKind.RAISED, 1)])
    for text_ in ("one", "two \0"):
        catalog.alerts.act(A, EventKind.COMMENTED, actor="ann", now_ns=5, comment=text_)

    assert [comment for _, _, comment in catalog.alerts.alert(A).comments] == ["one", "two \ufffd"]


def test_the_processors_news_about_a_resolved_alert_is_told_to_nobody(catalog: Catalog) -> None:
    catalog.alerts.record("log", 1, [event(EventKind.RAISED, 1)])
    catalog.alerts.act(A, EventKind.RESOLVED, actor="ann", now_ns=2)
    waiting = catalog.outbox.pending()

    catalog.alerts.record("log", 2, [event(EventKind.WORSENED, 3), event(EventKind.CLEARED, 4)])

    assert catalog.alerts.alert(A).state is AlertState.RESOLVED
    assert catalog.outbox.pending() == waiting == 4


def test_a_retrospective_alert_is_listed_and_told_to_nobody(catalog: Catalog) -> None:
    catalog.alerts.record(
        "log", 1, [event(EventKind.RAISED, 1, retrospective=True), event(EventKind.RAISED, 2, alert=B)]
    )

    assert [alert.id for alert in catalog.alerts.alerts(retrospective=True)] == [A]
    assert [alert.id for alert in catalog.alerts.alerts(retrospective=False)] == [B]
    assert {item.alert for item in catalog.outbox.due(0, 10)} == {B}


def test_lists_are_filtered_and_newest_first(catalog: Catalog) -> None:
    names = {(at, district): alert_id("r", district, at) for at in (1, 2, 3) for district in ("center", "north")}
    events = [
        event(EventKind.RAISED, at, alert=name, district=district, device=f"{district}-{at}")
        for (at, district), name in names.items()
    ]
    catalog.alerts.record("log", 1, events)
    catalog.alerts.act(names[3, "north"], EventKind.RESOLVED, actor="ann", now_ns=9)

    assert [a.opened_at for a in catalog.alerts.alerts(district="center")] == [3, 2, 1]
    assert [a.opened_at for a in catalog.alerts.alerts(district="north", active=True)] == [2, 1]
    assert [a.id for a in catalog.alerts.alerts(active=False)] == [names[3, "north"]]
    assert [a.id for a in catalog.alerts.alerts(device="center-2")] == [names[2, "center"]]
    assert len(catalog.alerts.alerts(limit=4)) == 4


def two_incidents() -> tuple[list[AlertEvent], dict[str, str]]:
    """Return events of two incidents, of three alerts and of one, beside an alert that stands alone; and who is who."""
    names = {name: alert_id("r", name, 1) for name in ("founder", "joined", "understood", "other", "alone")}
    first, other = names["founder"], names["other"]
    facts = [
        *(("founder", 2, first), ("joined", 3, first), ("understood", 1, "")),
        *(("other", 4, other), ("alone", 5, "")),
    ]
    events = [event(EventKind.RAISED, at, alert=names[name], incident=incident) for name, at, incident in facts]
    return [*events, event(EventKind.UPDATED, 6, alert=names["understood"], incident=first)], names


def test_the_alerts_of_one_incident_are_listed_also_those_that_joined_later(catalog: Catalog) -> None:
    events, names = two_incidents()
    catalog.alerts.record("log", 1, events)
    catalog.alerts.act(names["joined"], EventKind.RESOLVED, actor="ann", now_ns=9)

    found = catalog.alerts.alerts(incident=names["founder"])

    assert [alert.id for alert in found] == [names["joined"], names["founder"], names["understood"]]
    assert catalog.alerts.alerts(incident=names["founder"], limit=1, before=3, before_id=names["joined"]) == [found[1]]
    assert [a.id for a in catalog.alerts.alerts(incident=names["founder"], active=False)] == [names["joined"]]
    assert [a.id for a in catalog.alerts.alerts(incident=names["other"])] == [names["other"]]
    assert catalog.alerts.alerts(incident=names["alone"]) == []


def test_incidents_of_a_catalog_from_before_they_could_be_asked_for_are_found(catalog_url: str) -> None:
    events, names = two_incidents()
    with small_catalog(catalog_url) as catalog:
        catalog.alerts.record("log", 1, events)
        before = catalog.alerts.alerts(incident=names["founder"])
        with catalog.store.write() as db:
            db.execute(text("DROP INDEX ix_alert_incident_active_opened_at"))
            db.execute(text("ALTER TABLE alert DROP COLUMN incident"))
            db.execute(text("UPDATE alembic_version SET version_num = '0002'"))

    with small_catalog(catalog_url) as catalog:
        assert len(before) == 3
        assert catalog.alerts.alerts(incident=names["founder"]) == before
        assert catalog.alerts.alerts(incident="") != []


def test_pages_have_neither_gaps_nor_repeats_even_when_many_open_at_once(catalog: Catalog) -> None:
    catalog.alerts.record("log", 1, [event(EventKind.RAISED, 5, alert=alert_id("r", str(i), 5)) for i in range(7)])

    seen: list[Alert] = []
    while page := catalog.alerts.alerts(
        limit=3, before=seen[-1].opened_at if seen else None, before_id=seen[-1].id if seen else ""
    ):
        seen += page

    assert len({alert.id for alert in seen}) == len(seen) == 7


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        pytest.param("active = 1 AND district = 'x'", "active_district_opened_at", id="active ones of a district"),
        pytest.param("incident = 'x'", "incident_active_opened_at", id="those of an incident"),
        pytest.param("active = 1 AND incident = 'x'", "incident_active_opened_at", id="active ones of an incident"),
    ],
)
def test_lists_come_from_an_index(tmp_path: Path, wanted: str, index: str) -> None:
    with small_catalog(f"sqlite:///{tmp_path}/catalog.sqlite") as catalog, catalog.store.read() as db:
        plan = db.execute(
            text(
                f"EXPLAIN QUERY PLAN SELECT body FROM alert WHERE {wanted} "  # noqa: S608 - the table above
                "ORDER BY opened_at DESC, id DESC LIMIT 9"
            )
        ).all()

    assert f"ix_alert_{index}" in str(plan)


# -- the cache ---------------------------------------------------------------------------------------------------------


def lenient_fold(events: Iterable[AlertEvent]) -> Alert | None:
    """Fold the events that the table knows, leaving the others out."""
    alert: Alert | None = None
    for e in events:
        if (alert.state if alert else None, e.kind) in TRANSITIONS:
            alert = apply(alert, e)
    return alert


steps = st.lists(st.tuples(st.booleans(), st.sampled_from(EventKind), st.integers(0, 3)), max_size=10)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps, name=st.uuids())
def test_the_cached_alert_is_the_fold_of_its_events(catalog: Catalog, steps: list[Any], name: Any) -> None:
    alert, position = str(name), catalog.alerts.position("log")
    for is_person, kind, at in steps:
        if is_person:
            try:
                catalog.alerts.act(alert, kind, actor="ann", now_ns=at, comment="c")
            except (Conflict, NotFound):
                continue
        else:
            position += 1
            catalog.alerts.record("log", position, [event(kind, at, alert=alert)])

    folded = lenient_fold(catalog.alerts.history(alert))

    with catalog.store.read() as db:
        row = db.execute(select(tables.alert).where(tables.alert.c.id == alert)).mappings().first()
    if folded is None:
        assert row is None
    else:
        assert catalog.alerts.alert(alert) == folded
        assert row is not None
        assert (row["state"], row["version"], row["active"]) == (
            folded.state,
            folded.version,
            folded.state != "resolved",
        )
        assert row["opened_at"] == folded.opened_at


PEOPLE_AND_PROCESSOR = """
import json, sys
from backends.catalog import CatalogSettings, open_catalog
from core.alerts import AlertEvent, EventKind, event_id
from core.errors import Conflict
url, names, number = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
catalog = open_catalog(url, CatalogSettings())
done = 0
for i, name in enumerate(names):
    if number == 0:
        kind = EventKind.CLEARED
        event = AlertEvent(id=event_id(name, kind, 5), alert=name, kind=kind, at=5, recorded=5)
        done += len(catalog.alerts.record("log", 100 + i, [event]))
    else:
        try:
            catalog.alerts.act(name, EventKind.ACKNOWLEDGED, actor=f"p{number}", now_ns=i)
            done += 1
        except Conflict:
            pass
print(done)
catalog.close()
"""


def test_people_and_the_processor_may_act_at_the_same_moment(
    catalog_url: str, processes: Callable[..., list[str]]
) -> None:
    names = [alert_id("r", str(i), 1) for i in range(40)]
    catalog = open_catalog(catalog_url, CatalogSettings())
    catalog.alerts.record("log", 1, [event(EventKind.RAISED, 1, alert=name) for name in names])

    cleared, *acknowledged = map(int, processes(PEOPLE_AND_PROCESSOR, catalog_url, json.dumps(names), n=3))

    assert (cleared, sum(acknowledged)) == (40, 40)
    for name in names:
        assert catalog.alerts.alert(name).state is AlertState.RESOLVED
        assert catalog.alerts.alert(name) == lenient_fold(catalog.alerts.history(name))
    assert catalog.outbox.pending() == 40 * 3 * 2
    catalog.close()
