"""Tests of the log entry: one blob, complete or noticed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.admission import DeviceStatus, Outcome, Quarantined, Reason, Tally
from core.batch import ReadingBatch
from core.entry import LogEntry
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
