"""Every ledger keeps the promises of `core.ports.LedgerBook` and `LedgerReader`."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.admission import UNKNOWN_DEVICE, DeviceStatus, LedgerRow, Outcome, Quarantined, Reason, Tally
from tests.contracts.conftest import DATABASES, empty_database, small_catalog
from tests.contracts.fakes import MemoryLedger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backends.catalog import Catalog

IMPLEMENTATIONS = ["memory", *DATABASES]
OK = Tally("air-1", 20_000, Outcome.ACCEPTED, Reason.OK, 3, 3, 9)


def test_the_suite_runs_on_every_ledger() -> None:
    assert set(IMPLEMENTATIONS) >= {"memory", "sqlite"}


@pytest.fixture(params=IMPLEMENTATIONS)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Return a ledger that keeps 5 quarantined messages."""
    if request.param == "memory":
        yield MemoryLedger(quarantine_keep=5)
        return
    with small_catalog(empty_database(request.param, tmp_path, request)) as catalog:
        yield catalog.ledger


def quarantined(payload: bytes) -> Quarantined:
    return Quarantined("devices/air-1/readings", payload, 7, "air-1", Reason.NOT_JSON, "not JSON")


def test_tallies_add_up_per_device_and_day_and_reason(ledger: Any) -> None:
    repeated = Tally("air-1", 20_000, Outcome.DUPLICATE, Reason.REPEATED, 2, 2, 0)
    ledger.book("log", 1, [OK, repeated], [], [])
    ledger.book("log", 2, [OK, Tally("air-1", 20_001, Outcome.LATE, Reason.OLD, 1, 1, 4)], [], [])

    rows = ledger.ledger()

    assert rows == [
        LedgerRow("air-1", 20_000, 8, 6, 2, 0, 0, 0, 18, {"accepted:ok": 6, "duplicate:repeated": 2}),
        LedgerRow("air-1", 20_001, 1, 0, 0, 1, 0, 0, 4, {"late:old": 1}),
    ]
    assert all(row.balances for row in rows)


def test_a_row_whose_counts_disagree_does_not_balance(ledger: Any) -> None:
    ledger.book("log", 1, [Tally("air-1", 1, Outcome.ACCEPTED, Reason.OK, 3, 2, 2)], [], [])

    assert not ledger.ledger()[0].balances


def test_a_position_is_booked_once_per_source(ledger: Any) -> None:
    for source, position in (("log", 5), ("log", 5), ("log", 4), ("other", 4)):
        ledger.book(source, position, [OK], [quarantined(b"x")], [])

    assert (ledger.position("log"), ledger.position("other"), ledger.position("none")) == (5, 4, 0)
    assert ledger.ledger()[0].accepted == 6
    assert len(ledger.quarantine(10)) == 2


def test_booking_nothing_moves_the_position(ledger: Any) -> None:
    ledger.book("log", 9, [], [], [])

    assert (ledger.position("log"), ledger.ledger()) == (9, [])


def test_rows_are_chosen_by_device_and_day_both_ends_included(ledger: Any) -> None:
    tallies = [Tally(name, day, Outcome.REFUSED, Reason.TOO_FAST, 1, 1, 0) for name in "ab" for day in (1, 2, 3)]
    ledger.book("log", 1, [*tallies, Tally(UNKNOWN_DEVICE, 2, Outcome.REFUSED, Reason.UNKNOWN_DEVICE, 1, 1, 0)], [], [])

    assert [(row.device, row.day) for row in ledger.ledger("a", 2, 3)] == [("a", 2), ("a", 3)]
    assert [(row.device, row.day) for row in ledger.ledger(first_day=2, last_day=2)] == [("-", 2), ("a", 2), ("b", 2)]
    assert ledger.ledger("nobody") == []


def test_quarantine_keeps_the_newest_and_counts_what_goes(ledger: Any) -> None:
    ledger.book("log", 1, [], [quarantined(b"%d" % i) for i in range(5)], [])
    assert ledger.quarantine_dropped() == 0

    ledger.book("log", 2, [], [quarantined(b"5")], [])

    assert [message.payload for message in ledger.quarantine(10)] == [b"5", b"4", b"3", b"2", b"1"]
    assert ledger.quarantine(1) == [quarantined(b"5")]
    assert ledger.quarantine_dropped() == 1


def test_more_at_once_than_quarantine_keeps_leaves_the_newest(ledger: Any) -> None:
    ledger.book("log", 1, [], [quarantined(b"%d" % i) for i in range(8)], [])

    assert [message.payload for message in ledger.quarantine(10)] == [b"7", b"6", b"5", b"4", b"3"]
    assert ledger.quarantine_dropped() == 3


def test_a_status_is_as_old_as_its_first_saying(ledger: Any) -> None:
    ledger.book("log", 1, [], [], [DeviceStatus("air-1", True, 10), DeviceStatus("air-1", True, 20)])
    assert ledger.statuses() == {"air-1": (True, 10)}

    ledger.book("log", 2, [], [], [DeviceStatus("air-1", False, 30), DeviceStatus("air-2", True, 30)])
    assert ledger.statuses() == {"air-1": (False, 30), "air-2": (True, 30)}


def test_a_status_that_was_overtaken_changes_nothing(ledger: Any) -> None:
    ledger.book("log", 1, [], [], [DeviceStatus("air-1", False, 30), DeviceStatus("air-1", True, 20)])

    assert ledger.statuses() == {"air-1": (False, 30)}


# -- the catalog only --------------------------------------------------------------------------------------------------


def test_quarantine_keeps_at_most_its_megabytes(catalog: Catalog) -> None:
    half = b"x" * 500_000
    catalog.ledger.book("log", 1, [], [quarantined(half), quarantined(half)], [])
    assert catalog.ledger.quarantine_dropped() == 0

    catalog.ledger.book("log", 2, [], [quarantined(b"y")], [])

    assert [message.payload for message in catalog.ledger.quarantine(10)] == [b"y", half]
    assert catalog.ledger.quarantine_dropped() == 1


def test_text_that_no_database_stores_is_kept_readable(catalog: Catalog) -> None:
    odd = Quarantined("devices/\0", b"\0", 1, "\ud800", Reason.BAD_TOPIC, "detail \0")

    catalog.ledger.book("log", 1, [], [odd], [])

    kept = catalog.ledger.quarantine(1)[0]
    assert (kept.topic, kept.payload, kept.device, kept.detail) == ("devices/\ufffd", b"\0", "\ufffd", "detail \ufffd")


entries = st.lists(
    st.tuples(
        st.integers(1, 8),
        st.lists(
            st.builds(
                Tally,
                st.sampled_from(["a", "b", UNKNOWN_DEVICE]),
                st.integers(0, 2),
                st.sampled_from([outcome.value for outcome in Outcome]),
                st.sampled_from([Reason.OK.value, Reason.OLD.value]),
                st.integers(0, 5),
                st.integers(0, 5),
                st.integers(0, 5),
            ),
            max_size=4,
        ),
        st.lists(st.builds(DeviceStatus, st.sampled_from(["a", "b"]), st.booleans(), st.integers(0, 9)), max_size=3),
    ),
    max_size=6,
)


fresh = itertools.count()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=entries)
def test_any_bookings_are_those_of_the_model(catalog: Catalog, entries: list[Any]) -> None:
    """Sources are fresh per example, devices are not: the model is compared by difference of what each example adds."""
    model = MemoryLedger()
    before = {(row.device, row.day): row for row in catalog.ledger.ledger()}
    source = f"s{next(fresh)}"
    for position, tallies, _ in entries:
        catalog.ledger.book(source, position, tallies, [], [])
        model.book(source, position, tallies, [], [])

    for row in model.ledger():
        now = next(r for r in catalog.ledger.ledger(row.device, row.day, row.day))
        was = before.get((row.device, row.day))
        for name in ("received", "accepted", "duplicate", "late", "quarantined", "refused", "readings"):
            assert getattr(now, name) - (getattr(was, name) if was else 0) == getattr(row, name)
    assert catalog.ledger.position(source) == model.position(source)
