"""Tests of how times stand in Parquet files: small, exact, and readable by anybody."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pytest

from backends.series import EmbeddedSeriesReader, EmbeddedSeriesWriter, SeriesSettings
from backends.series.columns import READINGS
from backends.series.parquet import Parquet
from backends.series.times import name_for, zigzag
from core.batch import ReadingBatch

if TYPE_CHECKING:
    from pathlib import Path

MS = 1_000_000
START = 1_700_000_000_000 * MS
FAR = 1 << 62
LIMITS = SeriesSettings(seal_rows=1, seal_seconds=0, merge_seconds=1e9)


def columns(measured: list[int], received: list[int] | None = None) -> dict[str, np.ndarray]:
    """Return readings of one series."""
    n = len(measured)
    return {
        "series": np.full(n, 3, np.int32),
        "measured": np.array(measured, np.int64),
        "received": np.array(received or measured, np.int64),
        "value": np.arange(n, dtype=np.float64),
        "quality": np.zeros(n, np.uint16),
    }


@pytest.mark.parametrize(
    ("measured", "received", "words"),
    [
        pytest.param([START, START + MS], None, "-ms-ms", id="whole milliseconds"),
        pytest.param([START, START + MS], [START + 1, START], "-ms-ns", id="a clock in ns at the receiver"),
        pytest.param([START, START + 1], [START, START], "-ns-ms", id="one reading is not whole"),
        pytest.param([-MS, 0], None, "-ms-ms", id="before 1970"),
        pytest.param([-1, 0], None, "-ns-ns", id="a nanosecond before 1970"),
        pytest.param([1 - FAR, FAR - 1], None, "-ns-ns", id="the last that fit"),
        pytest.param([1 - FAR, FAR], None, "", id="too far for a timestamp"),
        pytest.param([-FAR, 0], None, "", id="too long ago for a timestamp"),
        pytest.param([-(1 << 63), (1 << 63) - 1], None, "", id="all of 64 bits"),
    ],
)
def test_a_file_says_by_its_name_how_times_stand_in_it_and_gives_back_every_nanosecond(
    tmp_path: Path, measured: list[int], received: list[int] | None, words: str
) -> None:
    rows = columns(measured, received)

    path = name_for("parts/1/raw-1.parquet", rows)
    with Parquet(tmp_path, memory_mb=64, threads=1) as files:
        files.write(path, READINGS, rows)
        found = files.read(READINGS, [path])
        inside = files.read(READINGS, [path], spans=[(measured[0], measured[1])])

    assert path == f"parts/1/raw-1{words}.parquet"
    for name, column in rows.items():
        np.testing.assert_array_equal(found[name], column, err_msg=name)
    assert inside["measured"].tolist() == measured[:1], "the end of a span is not in it"


@pytest.mark.parametrize("first", [START - 1, START, START + 1, START + MS - 1, START + MS])
@pytest.mark.parametrize("length", [0, 1, MS - 1, MS, MS + 1])
def test_a_span_ends_at_its_nanosecond_in_files_of_every_kind(tmp_path: Path, first: int, length: int) -> None:
    whole = [START + i * MS for i in range(-1, 4)]
    kinds = {"ms": columns(whole), "ns": columns([*whole, START + 3 * MS + 1]), "numbers": columns(whole)}
    paths = [
        name_for(f"raw-{kind}.parquet", rows) if kind != "numbers" else "raw.parquet" for kind, rows in kinds.items()
    ]

    with Parquet(tmp_path, memory_mb=64, threads=1) as files:
        for path, rows in zip(paths, kinds.values(), strict=True):
            files.write(path, READINGS, rows)
        together = files.read(READINGS, paths, spans=[(first, first + length)])
        alone = [files.read(READINGS, [path], spans=[(first, first + length)]) for path in paths]

    expected = [at for at in whole if first <= at < first + length]
    assert together["measured"].tolist() == expected * 3
    assert [found["measured"].tolist() for found in alone] == [expected] * 3


def test_every_second_series_stands_backwards_so_that_time_never_leaps() -> None:
    series = np.repeat([2, 4, 5, 9], [3, 2, 1, 3])
    rows = {"series": series, "measured": np.array([1, 2, 3, 1, 3, 2, 1, 2, 3])}

    turned = zigzag(rows)

    assert turned["series"].tolist() == series.tolist()
    assert turned["measured"].tolist() == [1, 2, 3, 3, 1, 2, 3, 2, 1]


@pytest.mark.parametrize("n", [0, 1])
def test_a_file_of_one_reading_or_none_is_left_as_it_is(n: int) -> None:
    rows = columns([START] * n)

    assert zigzag(rows)["measured"].tolist() == [START] * n


def test_parts_of_an_older_version_are_read_and_merged_with_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It wrote int64 ns; where one reading stands in an old and a new part, the new one counts."""
    series, at = np.repeat([1, 2], 50), START + np.tile(np.arange(50), 2) * 1000 * MS
    written = [ReadingBatch.of(series, at + shift, np.arange(100.0) + shift % 7) for shift in (0, 25_000 * MS, 1)]
    with closing(EmbeddedSeriesWriter(tmp_path, LIMITS)) as writer, monkeypatch.context() as patch:
        patch.setattr("backends.series.parts.name_for", lambda path, _: path)
        writer.write("log", 1, written[0])
        writer.maintain(START)
        writer._db.execute("UPDATE meta SET value = 1 WHERE key = 'format'")
    expected = {
        (s, t): v for b in written for s, t, v in zip(b.series.tolist(), b.measured.tolist(), b.value, strict=True)
    }

    with (
        closing(EmbeddedSeriesReader(tmp_path, LIMITS)) as reader,
        closing(EmbeddedSeriesWriter(tmp_path, LIMITS)) as writer,
    ):
        assert len(reader.readings(1, 0, FAR, 1000)) == 50
        for position, batch in enumerate(written[1:], start=2):
            writer.write("log", position, batch)
            writer.maintain(START)
        names = [path.name.rpartition("raw-")[2] for path in sorted((tmp_path / "parts").rglob("raw-*"))]
        before = [reader.readings(one, 0, FAR, 1000) for one in (1, 2)]
    with closing(EmbeddedSeriesWriter(tmp_path, SeriesSettings(merge_seconds=0))) as writer:
        writer.maintain(START + 10 * 86_400_000 * MS)
    with closing(EmbeddedSeriesReader(tmp_path, LIMITS)) as reader:
        after = [reader.readings(one, 0, FAR, 1000) for one in (1, 2)]

    assert names == ["1-1.parquet", "2-2-ms-ms.parquet", "3-3-ns-ns.parquet"]
    assert before == after
    found = {(s, t): v for b in after for s, t, v in zip(b.series.tolist(), b.measured.tolist(), b.value, strict=True)}
    assert found == expected


def test_a_plain_reader_sees_timestamps_whatever_the_parts_hold(tmp_path: Path) -> None:
    with Parquet(tmp_path, memory_mb=64, threads=1) as files:
        for n, rows in enumerate((columns([START]), columns([START + 123_456_789]))):
            files.write(name_for(f"raw-{n}.parquet", rows), READINGS, rows)

    found = duckdb.execute(
        f"SELECT measured FROM read_parquet('{tmp_path}/raw-*.parquet', union_by_name = true)"  # noqa: S608 - ours
    ).fetchnumpy()["measured"]

    assert found.dtype == np.dtype("M8[ns]")
    assert found.view(np.int64).tolist() == [START, START + 123_456_789]
