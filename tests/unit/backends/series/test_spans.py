"""Tests of answers about days that stand in several places: each reading counts once, however times overlap."""

from __future__ import annotations

import random
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backends.series import EmbeddedSeriesReader, EmbeddedSeriesWriter, SeriesSettings
from backends.series.spans import overlaps
from core.batch import ReadingBatch
from core.ports import RankBy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOUR = 3_600_000_000_000
START = 20_000 * 24 * HOUR
MINUTE = HOUR // 60


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([(0, 10), (11, 20)], [], id="side by side"),
        pytest.param([(0, 10), (10, 20)], [(10, 10)], id="one moment in common"),
        pytest.param([(0, 100), (10, 20), (15, 30)], [(10, 30)], id="three at once"),
        pytest.param([(0, 100), (10, 20), (50, 60)], [(10, 20), (50, 60)], id="two within a long one"),
    ],
)
def test_overlaps_are_where_two_spans_meet(spans: list[tuple[int, int]], expected: list[tuple[int, int]]) -> None:
    assert overlaps(spans) == expected


@pytest.mark.parametrize("parts", [2, 5, 40])
@pytest.mark.parametrize("late", [0, 1, 30])
@pytest.mark.parametrize(
    ("beside", "slice_rows"),
    [
        pytest.param(0, 500_000, id="rewritten"),
        pytest.param(MINUTE // 3, 500_000, id="beside"),
        pytest.param(MINUTE // 3 + 1, 10, id="beside, in ns and in slices"),
    ],
)
def test_grouping_and_ranking_count_every_reading_once_over_parts_that_overlap(
    tmp_path: Path, parts: int, late: int, beside: int, slice_rows: int
) -> None:
    """*late* minutes of each part reach into the one before, and rewrite what stands there or stand beside it."""
    rng = random.Random(parts + late)
    model: dict[tuple[int, int], float] = {}
    settings = SeriesSettings(seal_rows=1, seal_seconds=0, merge_seconds=1e9, merge_parts=1000, slice_rows=slice_rows)
    with closing(EmbeddedSeriesWriter(tmp_path, settings)) as writer:
        for part in range(parts):
            rows = [
                (series, START + (part * 30 + minute) * MINUTE + beside * (minute < 0), rng.uniform(0, 9))
                for minute in range(-late if part else 0, 30)
                for series in (1, 2, 3, 7)
            ]
            model |= {(series, at): value for series, at, value in rows}
            writer.write("log", part + 1, ReadingBatch.of(*zip(*rows, strict=True)))
            if part < parts - 1:  # the last one stays in the journal
                writer.maintain(START)
    end = START + (parts * 30 - 7) * MINUTE
    with closing(EmbeddedSeriesReader(tmp_path, settings)) as reader:
        some = np.array([7, 1, 3], np.int32)
        groups = reader.grouped(some, np.array([0, 5, 0], np.int32), START + 5 * MINUTE, end, 20 * MINUTE)
        ranking = {by: reader.top(np.array([1, 2, 3], np.int32), START, end, 2, by) for by in RankBy}

    buckets: dict[tuple[int, int], list[float]] = {}
    for (series, at), value in model.items():
        if series != 2 and START + 5 * MINUTE <= at < end:
            bucket = at // (20 * MINUTE) * 20 * MINUTE
            buckets.setdefault((5 if series == 1 else 0, bucket), []).append(value)
    assert list(zip(groups.group.tolist(), groups.start.tolist(), strict=True)) == sorted(buckets)
    for n, key in enumerate(sorted(buckets)):
        assert groups.n[n] == len(buckets[key])
        assert groups.mean[n] == pytest.approx(np.mean(buckets[key]))
        assert (groups.low[n], groups.high[n]) == (min(buckets[key]), max(buckets[key]))
    for by, got in ranking.items():
        found = {s: [v for (t, at), v in sorted(model.items()) if t == s and at < end] for s in (1, 2, 3)}
        scores: dict[RankBy, Callable[[list[float]], float]] = {
            RankBy.LAST: lambda v: v[-1],
            RankBy.MAX: max,
            RankBy.MEAN: lambda v: sum(v) / len(v),
        }
        score = scores[by]
        best = sorted(found, key=lambda s: -score(found[s]))[:2]
        assert got.series.tolist() == best
        np.testing.assert_allclose(got.value, [score(found[s]) for s in best])
