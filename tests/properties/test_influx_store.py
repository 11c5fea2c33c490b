"""The store on a real InfluxDB answers like a dict after any order of writes, repeats, late readings and upkeep."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backends.series import InfluxSettings, SeriesSettings, create_store, open_reader, open_writer
from core.batch import ReadingBatch
from core.clock import ManualClock
from core.ports import RankBy
from tests.contracts.series_fake import MemorySeriesStore
from tests.influx import influxd, listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from core.ports import RejectedReading, SeriesQueries

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
START = 20_000 * DAY
SERIES = np.array([1, 2, 3, 40], np.int32)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with influxd(tmp_path_factory.mktemp("influxd")) as url:
        yield url


def fail(position: int, readings: Sequence[RejectedReading]) -> None:
    raise AssertionError(f"refused at {position}: {readings}")


def some(rng: np.random.Generator) -> ReadingBatch:
    """Return readings of a few moments, so that many come again, with and without a mask."""
    n = int(rng.integers(1, 30))
    at = START + rng.integers(0, 3, n) * DAY + rng.integers(0, 4, n) * (HOUR // 3)
    return ReadingBatch.of(
        rng.choice(SERIES, n), at, np.round(rng.normal(0, 9, n), 1), quality=rng.choice([0, 0, 8], n)
    )


def same(reader: SeriesQueries, model: MemorySeriesStore) -> None:
    latest = model.latest()
    assert reader.latest() == ReadingBatch.of(latest.series, latest.measured, latest.value, quality=latest.quality)
    assert reader.count() == model.count()
    for series in SERIES.tolist():
        theirs, ours = (store.buckets(series, START, START + 3 * DAY, DAY) for store in (model, reader))
        found = [
            (b.start.tolist(), b.n.tolist(), b.low.tolist(), b.high.tolist(), b.last.tolist(), b.quality.tolist())
            for b in (theirs, ours)
        ]
        assert found[0] == found[1]
    group = np.array([0, 1, 1, 0], np.int32)
    theirs_g, ours_g = (store.grouped(SERIES, group, START, START + 3 * DAY, HOUR) for store in (model, reader))
    assert ours_g.n.tolist() == theirs_g.n.tolist()
    assert ours_g.mean.tolist() == pytest.approx(theirs_g.mean.tolist())
    top, first = (store.top(SERIES, START, START + 3 * DAY, 2, RankBy.MAX) for store in (model, reader))
    assert first.value.tolist() == top.value.tolist()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_store_answers_like_a_dict(tmp_path: Path, server: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    name = f"dict-{seed}"
    influx = InfluxSettings(database=name, rollup_database=name, rollup_delay_seconds=0, batch_lines=7)
    settings = SeriesSettings(url=server, influx=influx)
    create_store(tmp_path, settings)
    model, names = MemorySeriesStore(), listed()

    with closing(open_reader(tmp_path, settings, names=names)) as reader:
        position = 0
        for _ in range(3):  # lives of the writer
            writer = open_writer(tmp_path, settings, names=names, clock=ManualClock(), on_rejected=fail)
            with closing(writer):
                for _ in range(6):
                    batch = some(rng)
                    position += int(rng.integers(0, 3))
                    assert writer.write("log", position, batch) == model.write("log", position, batch)
                    if rng.random() < 0.3:
                        writer.maintain(START + 10 * DAY)
                writer.maintain(START + 10 * DAY)
            same(reader, model)
            for width in (HOUR, DAY):
                ours, theirs = (store.rollups(SERIES, START, START + 3 * DAY, width) for store in (reader, model))
                for column in ("series", "start", "n", "low", "high", "last", "quality"):
                    assert getattr(ours, column).tolist() == getattr(theirs, column).tolist(), column
