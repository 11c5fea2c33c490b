"""What is behind an alert: its classification, and the incident that alerts of one cause fold into."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from core.alerts import AlertEvent, Card, Classification, EventKind, Evidence, Priority, fold
from core.notices import alert_json, notices_for
from processors.alerting.incidents import Incidents
from processors.alerting.triage import classify, look, tells_more

if TYPE_CHECKING:
    from processors.peers import PeerBank

S = 1_000_000_000
C = Classification


@pytest.mark.parametrize(
    ("code", "metric", "card", "expected"),
    [
        pytest.param("gap", "", Card(), C.SENSOR_FAULT, id="silent alone"),
        pytest.param("gap", "", Card(silent=80, of=100), C.GATEWAY_FAULT, id="silent with many"),
        pytest.param("range", "pm25", Card(peers=8, agreeing=8), C.SENSOR_FAULT, id="a value that cannot be"),
        pytest.param("novelty.peer", "pm25", Card(peers=8), C.SENSOR_FAULT, id="drifted from its peers"),
        pytest.param("novelty.range", "pm25", Card(peers=8, agreeing=6, near=8), C.EVENT, id="most peers agree"),
        pytest.param("novelty.peer", "pm25", Card(peers=8, agreeing=5), C.EVENT, id="its peers went the same way"),
        pytest.param("novelty.peer", "pm25", Card(peers=8, agreeing=3, near=8, near_strange=1), C.SENSOR_FAULT,
                     id="a drift is never unclear"),
        pytest.param("threshold.above", "pm25", Card(peers=8, agreeing=6), C.EVENT, id="a limit passed by many"),
        pytest.param("novelty.jump", "flow", Card(near=8, near_strange=7), C.EVENT, id="all is strange near by"),
        pytest.param("novelty.jump", "flow", Card(peers=8, near=8), C.SENSOR_FAULT, id="all is calm near by"),
        pytest.param("novelty.jump", "flow", Card(peers=2, agreeing=2), C.UNCLEAR, id="too few to say"),
        pytest.param("novelty.jump", "flow", Card(peers=5, agreeing=1, near=5, near_strange=2), C.UNCLEAR, id="so-so"),
        pytest.param("threshold.below", "battery", Card(peers=8, agreeing=8), C.SENSOR_FAULT, id="a battery"),
    ],
)  # fmt: skip
def test_a_classification_follows_from_the_card(code: str, metric: str, card: Card, expected: C) -> None:
    assert classify(code, metric, card) is expected


def test_the_card_says_how_far_off_each_peer_is() -> None:
    here = SimpleNamespace(own=5.0, others=(-0.123, 0.5, 3.0, 4.125))
    bank = SimpleNamespace(at=1, compare=lambda _: here, around=lambda *_: ([], []), last=lambda *_: None)

    card = look(cast("PeerBank", bank), "a", 7, past=0)

    assert card.peer_deviations == (-0.12, 0.5, 3.0, 4.12)
    assert (card.peers, card.peers_deviation, card.agreeing) == (4, 1.75, 2)


def test_while_an_event_goes_on_some_peers_are_enough() -> None:
    edge = Card(peers=8, agreeing=2, near=8, near_strange=1)
    calm = Card(peers=8, agreeing=1, near=8, near_strange=1)

    found = [classify("novelty.range", "noise", card, amid=amid) for card in (edge, calm) for amid in (False, True)]

    assert found == [C.SENSOR_FAULT, C.EVENT, C.SENSOR_FAULT, C.SENSOR_FAULT]


@pytest.mark.parametrize(
    ("now", "before", "more"),
    [
        pytest.param(8.0, 6.0, True, id="stranger than before"),
        pytest.param(-3.1, 6.0, True, id="still strange"),
        pytest.param(2.9, 5.0, False, id="calm again"),
        pytest.param(4.0, 20.0, False, id="far calmer"),
        pytest.param(1.0, 0.5, True, id="never strange, a little more so"),
        pytest.param(None, 6.0, False, id="not known any more"),
        pytest.param(None, None, True, id="never known"),
    ],
)
def test_a_later_look_counts_while_the_series_stands_out(
    now: float | None, before: float | None, *, more: bool
) -> None:
    assert tells_more(Card(deviation=now), Card(deviation=before)) is more


def _blackout(silent: int, size: int, *, fresh: int = 1) -> Incidents:
    incidents = Incidents()
    names = [f"d{k}" for k in range(size)]
    overdue = {name: 100 * S + k for k, name in enumerate(names[:silent])}
    told = [(name, overdue[name], 60 * S) for name in names[:fresh]]
    incidents.silences(told, overdue, dict.fromkeys(names, "north"), {"north": size})
    return incidents


@pytest.mark.parametrize(
    ("silent", "size", "together"),
    [
        pytest.param(800, 800, True, id="a whole district"),
        pytest.param(5, 20, True, id="five of twenty"),
        pytest.param(4, 5, False, id="four are no crowd"),
        pytest.param(19, 100, False, id="less than a fifth"),
    ],
)
def test_many_that_fall_silent_together_are_one_blackout(silent: int, size: int, *, together: bool) -> None:
    incidents = _blackout(silent, size)

    assert [(b.founder, len(b.members)) for b in incidents.blackouts] == ([("d0", silent)] if together else [])


def test_those_told_later_of_the_same_moment_join_and_another_district_does_too() -> None:
    incidents = _blackout(50, 100)
    far = {f"s{k}": 101 * S for k in range(30)}

    incidents.silences([("s0", 101 * S, 60 * S)], far, dict.fromkeys(far, "south"), {"south": 40})

    (blackout,) = incidents.blackouts
    assert (len(blackout.members), blackout.of) == (80, 140)


def test_silences_that_began_at_another_time_are_another_blackout() -> None:
    incidents = _blackout(50, 100)
    later = {f"d{k}": 9000 * S for k in range(50, 90)}

    incidents.silences([("d50", 9000 * S, 60 * S)], later, dict.fromkeys(later, "north"), {"north": 100})

    assert [len(b.members) for b in incidents.blackouts] == [50, 40]


def test_a_blackout_ends_when_most_are_back_and_frees_the_others_after_a_while() -> None:
    incidents = _blackout(10, 20)

    assert incidents.watch({f"d{k}": 0 for k in range(9)}, {}, 200 * S) == []
    assert incidents.watch({"d1": 0, "d2": 0}, {}, 300 * S) == []
    assert incidents.watch({"d1": 0, "d2": 0}, {}, 419 * S) == []
    assert sorted(incidents.watch({"d1": 0, "d2": 0}, {}, 420 * S)) == [f"d{k}" for k in range(10)]
    assert incidents.blackouts == []


def test_who_came_back_and_fell_silent_again_is_another_blackout_at_once() -> None:
    incidents = _blackout(10, 20)
    incidents.watch({"d9": 0}, {}, 300 * S)
    again = {f"d{k}": 305 * S for k in range(9)}

    incidents.silences([("d0", 305 * S, 60 * S)], again | {"d9": 100 * S}, dict.fromkeys(again, "north"), {"north": 20})

    assert [(b.over, sorted(b.members)) for b in incidents.blackouts] == [(300 * S, ["d9"]), (-1, sorted(again))]


def _facts(metric: str = "pm25", district: str = "north", *, late: bool = False) -> Evidence:
    return Evidence(
        code="novelty.range", rule="novelty", priority=Priority.MEDIUM, district=district, device="a", metric=metric,
        measured=0, value=1.0, classification=C.EVENT, retrospective=late,
    )  # fmt: skip


def test_alerts_of_an_event_join_by_metric_or_district_within_half_an_hour() -> None:
    incidents = Incidents()

    first = incidents.join("a", _facts(), 0)
    by_metric = incidents.join("b", _facts(district="south"), 1000 * S)
    by_district = incidents.join("c", _facts("noise", "south"), 2000 * S)
    other = incidents.join("d", _facts("lamp", "east"), 2000 * S)
    late = incidents.join("e", _facts(late=True), 0)
    after = incidents.join("f", _facts(), 5000 * S)

    assert [e.alert for e in (first, by_metric, by_district, other, late, after)] == ["a", "a", "a", "d", "e", "f"]
    assert first.joined == 2
    assert [e.joined for e in incidents.grown()] == []  # the first has ended, and nothing joined the others


def test_an_event_of_three_alerts_goes_on_in_its_districts_until_half_an_hour_after_the_last() -> None:
    incidents = Incidents()
    incidents.join("a", _facts(), 0)
    incidents.join("b", _facts(), 0)
    before = incidents.is_amid(_facts())
    incidents.join("c", _facts(), 0)

    assert not before
    assert incidents.is_amid(_facts())
    assert not incidents.is_amid(msgspec.structs.replace(_facts(), district="south"))
    assert not incidents.is_amid(_facts(late=True))
    assert incidents.is_amid(msgspec.structs.replace(_facts(), measured=1800 * S))
    assert not incidents.is_amid(msgspec.structs.replace(_facts(), measured=1801 * S))


def test_an_update_tells_what_is_behind_and_keeps_the_facts() -> None:
    facts = msgspec.structs.replace(_facts(), classification=C.UNCLEAR)
    judged = msgspec.structs.replace(
        facts, value=9.0, classification=C.EVENT, incident="x", card=Card(peers=8, agreeing=7)
    )
    events = [
        AlertEvent(id="1", alert="x", kind=EventKind.RAISED, at=0, recorded=0, evidence=facts),
        AlertEvent(id="2", alert="x", kind=EventKind.UPDATED, at=1, recorded=1, evidence=judged),
    ]  # fmt: skip

    told = alert_json(fold(events))

    assert (told["classification"], told["incident"], told["value"], told["version"]) == ("event", "x", 1.0, 2)
    assert (told["card"]["peers"], told["card"]["agreeing"], told["card"]["battery"]) == (8, 7, None)
    assert "7 of 8 sensors near by" in told["text"]


@pytest.mark.parametrize(("incident", "channels"), [("", 2), ("x", 2), ("another", 1)])
def test_who_joins_an_incident_pages_nobody(incident: str, channels: int) -> None:
    facts = msgspec.structs.replace(_facts(), incident=incident)
    event = AlertEvent(id="1", alert="x", kind=EventKind.RAISED, at=0, recorded=0, evidence=facts)

    assert len(notices_for(fold([event]), event, ("mqtt", "webhook"))) == channels
