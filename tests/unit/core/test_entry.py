"""Tests of the log entry: one blob, complete or noticed."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.admission import DeviceStatus, Outcome, Quarantined, Reason, Tally
from core.batch import ReadingBatch
from core.entry import Books, LogEntry
from core.errors import MalformedPayload


def entry() -> LogEntry:
    return LogEntry(
        7,
        ReadingBatch.of([1], [2], [3.5]),
        (Tally("air-01", 20_000, Outcome.ACCEPTED, Reason.OK, 1, 1, 1),),
        (Quarantined("devices/x/readings", b"{", 5, "-", Reason.NOT_JSON, "devices/x/readings: not JSON"),),
        (DeviceStatus("air-01", online=True, received=6),),
    )


def test_what_is_written_is_what_is_read() -> None:
    assert LogEntry.from_bytes(entry().to_bytes()) == entry()


def test_a_heartbeat_carries_only_log_time() -> None:
    assert LogEntry.from_bytes(LogEntry(99).to_bytes()) == LogEntry(99)


@given(st.data())
def test_any_flipped_bit_is_noticed(data: st.DataObject) -> None:
    blob = bytearray(entry().to_bytes())
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(MalformedPayload, match="checksum"):
        LogEntry.from_bytes(bytes(blob))


def test_every_truncation_is_noticed() -> None:
    blob = entry().to_bytes()

    for length in range(len(blob)):
        with pytest.raises(MalformedPayload):
            LogEntry.from_bytes(blob[:length])


def test_the_books_of_an_entry_are_what_the_entry_holds() -> None:
    tallies = (
        Tally("air-01", 20_000, "accepted", "ok", 1, 1, 1),
        Tally("air-01", 20_000, "accepted", "ok", 1, 1, 1),
        Tally("-", 20_000, "quarantined", "unknown_device", 3, 2, 0),
    )
    kept = Quarantined("t", b"x", 1, "-", "not_json", "why")
    whole = LogEntry(
        5, ReadingBatch.of([1], [2], [3.0]), tallies, (kept,), (DeviceStatus("air-01", online=True, received=1),)
    )

    books = Books.from_bytes(whole.to_bytes())

    assert books.tallies[0] == books.tallies[1]
    assert [msgspec.msgpack.decode(raw, type=Tally) for raw in books.tallies] == list(tallies)
    assert (tuple(books.quarantined), tuple(books.statuses)) == (whole.quarantined, whole.statuses)


def test_the_books_of_a_damaged_entry_are_refused_like_the_entry() -> None:
    raw = LogEntry(5).to_bytes()
    for n in range(len(raw)):
        with pytest.raises(MalformedPayload, match="checksum does not match"):
            Books.from_bytes(raw[:n])
