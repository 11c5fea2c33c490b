"""Every series store keeps the promises of `core.ports.SeriesWriter` and `SeriesReader`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backends.series import SeriesSettings, open_reader, open_writer
from core.batch import ReadingBatch
from core.ports import Bands, SeriesReader, SeriesWriter
from tests.contracts.series_fake import MemorySeriesStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
START = 20_000 * DAY
IMPLEMENTATIONS = ("memory", "embedded", "embedded, sealed at once", "embedded, sealed and merged at once")


@dataclass
class Store:
    """A store under test; `settle` is the upkeep that must change no answer."""

    writer: SeriesWriter
    reader: SeriesReader
    upkeep: bool

    def settle(self) -> None:
        """Do upkeep as of day 10 if this implementation is to be tested after it."""
        if self.upkeep:
            self.writer.maintain(START + 10 * DAY)


@pytest.fixture(params=IMPLEMENTATIONS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        memory = MemorySeriesStore()
        yield Store(memory, memory, upkeep=True)
        return
    merged = "merged" in request.param
    limits = SeriesSettings(seal_rows=1, merge_seconds=0 if merged else 1e9)
    store = Store(open_writer(tmp_path, limits), open_reader(tmp_path, limits), upkeep="sealed" in request.param)
    yield store
    store.writer.close()
    store.reader.close()


def test_all_implementations_are_found() -> None:
    assert len(IMPLEMENTATIONS) == 4


def bands_of(*rows: tuple[int, int, float, float, float]) -> Bands:
    columns = list(zip(*rows, strict=True))
    return Bands(
        np.array(columns[0], np.int32), np.array(columns[1], np.int64), *(np.array(c, np.float64) for c in columns[2:])
    )


def test_a_new_store_is_empty(store: Store) -> None:
    store.settle()

    assert store.writer.position("log") == 0
    assert store.reader.count() == 0
    assert len(store.reader.latest()) == 0
    assert len(store.reader.readings(1, 0, 1 << 62, 10)) == 0
    assert len(store.reader.buckets(1, 0, 1 << 62, HOUR).start) == 0
    assert len(store.reader.bands(1, 0, 1 << 62).hour) == 0


def test_what_was_written_is_read_back_whole(store: Store) -> None:
    batch = ReadingBatch.of(
        [7, 7, 9], [START, START + 1, START], [1.5, -0.0, 1e300], received=[START + 5] * 3, quality=[0, 4097, 65535]
    )

    assert store.writer.write("log", 1, batch)
    store.settle()

    assert store.reader.readings(7, START, START + 2, 10) == batch.take(np.array([0, 1]))
    assert store.reader.readings(9, START, START + 2, 10) == batch.take(np.array([2]))
    assert store.reader.count() == 3


def test_a_position_is_written_once(store: Store) -> None:
    one, other = (ReadingBatch.of([1], [START], [value]) for value in (1.0, 2.0))

    assert store.writer.write("log", 5, one)
    store.settle()
    answers = [store.writer.write("log", position, other) for position in (5, 4, 0, -1)]

    assert answers == [False] * 4
    assert store.writer.position("log") == 5
    assert store.reader.latest() == one


def test_sources_have_positions_of_their_own(store: Store) -> None:
    batch = ReadingBatch.of([1], [START], [1.0])

    assert store.writer.write("log", 5, batch)
    assert store.writer.write("import", 1, ReadingBatch.of([2], [START], [1.0]))

    assert (store.writer.position("log"), store.writer.position("import"), store.writer.position("?")) == (5, 1, 0)
    assert store.reader.count() == 2


def test_an_empty_batch_moves_the_position(store: Store) -> None:
    assert store.writer.write("log", 3, ReadingBatch.empty())
    assert not store.writer.write("log", 3, ReadingBatch.of([1], [START], [1.0]))
    store.settle()

    assert store.writer.position("log") == 3
    assert store.reader.count() == 0


def test_the_last_one_written_wins_within_a_batch_between_batches_and_after_upkeep(store: Store) -> None:
    store.writer.write("log", 1, ReadingBatch.of([1, 1, 1], [START, START + 1, START], [1.0, 2.0, 3.0]))
    store.settle()
    store.writer.write("log", 2, ReadingBatch.of([1], [START + 1], [4.0], quality=[8]))
    store.settle()
    store.writer.write("log", 3, ReadingBatch.of([1], [START], [5.0]))

    found = store.reader.readings(1, START, START + 10, 10)
    assert found.value.tolist() == [5.0, 4.0]
    assert found.quality.tolist() == [0, 8]
    assert store.reader.count() == 2
    assert store.reader.buckets(1, START, START + HOUR, HOUR).n.tolist() == [2]


def test_latest_is_by_measured_time_however_late_it_came(store: Store) -> None:
    store.writer.write("log", 1, ReadingBatch.of([1, 2], [START + DAY, START], [1.0, 10.0]))
    store.settle()
    store.writer.write("log", 2, ReadingBatch.of([1, 2], [START, START + 1], [2.0, 20.0]))
    store.settle()
    store.writer.write("log", 3, ReadingBatch.of([1], [START + DAY], [3.0]))

    latest = store.reader.latest()
    assert latest.series.tolist() == [1, 2]
    assert latest.value.tolist() == [3.0, 20.0]


def test_readings_are_the_oldest_of_the_range_ascending_and_limited(store: Store) -> None:
    at = [START + 3 * DAY, START, START + DAY, START + 2 * DAY]
    store.writer.write("log", 1, ReadingBatch.of([1] * 4, at, [3.0, 0.0, 1.0, 2.0]))
    store.settle()

    assert store.reader.readings(1, START, START + 3 * DAY, 10).value.tolist() == [0.0, 1.0, 2.0]
    assert store.reader.readings(1, START + 1, START + 3 * DAY + 1, 2).value.tolist() == [1.0, 2.0]
    assert store.reader.readings(2, START, START + 3 * DAY, 10).value.tolist() == []
    assert len(store.reader.readings(1, START, START + DAY, 0)) == 0


@pytest.mark.parametrize("width", [HOUR // 2, HOUR, 24 * HOUR, 36 * HOUR])
def test_buckets_are_aligned_and_count_only_the_range(store: Store, width: int) -> None:
    at = np.arange(START, START + 3 * DAY, HOUR // 4)
    value = np.arange(len(at), dtype=np.float64)
    store.writer.write("log", 1, ReadingBatch.of([4] * len(at), at, value, quality=np.arange(len(at)) % 3))
    store.settle()
    start, end = START + HOUR // 4, START + 3 * DAY - HOUR // 4

    buckets = store.reader.buckets(4, start, end, width)

    inside = (at >= start) & (at < end)
    keys = at[inside] // width * width
    groups = [inside.nonzero()[0][keys == key] for key in np.unique(keys)]
    assert buckets.start.tolist() == np.unique(keys).tolist()
    assert buckets.n.tolist() == [len(g) for g in groups]
    assert buckets.mean.tolist() == pytest.approx([value[g].mean() for g in groups])
    assert buckets.low.tolist() == [value[g].min() for g in groups]
    assert buckets.high.tolist() == [value[g].max() for g in groups]
    assert buckets.last.tolist() == [value[g[-1]] for g in groups]
    assert buckets.quality.tolist() == [int(np.bitwise_or.reduce(g % 3)) for g in groups]
    assert buckets.quality.dtype == np.uint16


def test_a_bucket_needs_a_width(store: Store) -> None:
    with pytest.raises(ValueError, match="positive"):
        store.reader.buckets(1, 0, 1, 0)


def test_bands_are_those_of_the_hours_that_touch_the_range_and_the_last_one_wins(store: Store) -> None:
    rows = [(1, START + i * HOUR, float(i), i - 0.5, i + 0.5) for i in range(30)]
    store.writer.write("log", 1, ReadingBatch.empty(), bands_of(*rows))
    store.settle()
    store.writer.write("log", 2, ReadingBatch.empty(), bands_of((1, START + 2 * HOUR, 9.0, 8.0, 10.0)))
    store.settle()

    bands = store.reader.bands(1, START + HOUR + 1, START + 3 * HOUR)

    assert bands.hour.tolist() == [START + HOUR, START + 2 * HOUR]
    assert bands.expected.tolist() == [1.0, 9.0]
    assert bands.low.tolist() == [0.5, 8.0]
    assert bands.high.tolist() == [1.5, 10.0]
    assert bands.expected.dtype == np.float64
    assert store.reader.bands(1, START + 25 * HOUR, START + 26 * HOUR).expected.tolist() == [25.0]
    assert len(store.reader.bands(2, START, START + DAY).hour) == 0


def test_times_before_1970_and_far_ahead_are_kept(store: Store) -> None:
    at = [-DAY - 1, -1, 0, 250 * 365 * DAY]
    store.writer.write("log", 1, ReadingBatch.of([1] * 4, at, [1.0, 2.0, 3.0, 4.0]))

    assert store.reader.readings(1, -(1 << 62), 1 << 63, 10).measured.tolist() == at
    assert store.reader.latest().value.tolist() == [4.0]


def test_readings_before_the_retention_are_gone_and_stay_gone(store: Store) -> None:
    limit = SeriesSettings().raw_days
    old, young = START, START + 2 * DAY
    store.writer.write("log", 1, ReadingBatch.of([1, 1, 2], [old, young, old], [1.0, 2.0, 3.0]))
    store.settle()

    store.writer.maintain(START + (limit + 1) * DAY)
    store.writer.write("log", 2, ReadingBatch.of([1], [old + 1], [4.0]))

    assert store.reader.readings(1, 0, 1 << 62, 10).value.tolist() == [2.0]
    assert store.reader.latest().value.tolist() == [2.0]
    assert store.reader.count() == 1
