"""The embedded series store: limits, upkeep, damage, and what it does when the disk or the journal says no."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

import backends.series
from backends.series import EmbeddedSeriesReader, EmbeddedSeriesWriter, SeriesSettings, open_reader, open_writer
from backends.series.columns import READINGS, concat
from backends.series.hot import HotRows
from backends.series.journal import FILE
from backends.series.parquet import Parquet
from core.batch import ReadingBatch
from core.errors import SettingsError, Unavailable
from core.ports import Bands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
START = 20_000 * DAY
NOW = START + 30 * DAY
SECOND = 1_000_000_000


class House:
    """A folder with one writer and one reader, and a look behind both."""

    def __init__(self, folder: Path, **limits: Any) -> None:
        self.folder = folder
        self.registry = CollectorRegistry()
        self.settings = SeriesSettings(**{"seal_seconds": 0, "merge_seconds": 1e9} | limits)
        self.writer = EmbeddedSeriesWriter(folder, self.settings, self.registry)
        self.reader = EmbeddedSeriesReader(folder, self.settings)
        self.position = self.writer.position("log")

    def write(self, batch: ReadingBatch) -> None:
        self.position += 1
        assert self.writer.write("log", self.position, batch)

    def sql(self, query: str) -> list[Any]:
        db = sqlite3.connect(self.folder / FILE)
        try:
            return db.execute(query).fetchall()
        finally:
            db.close()

    def unsealed(self) -> int:
        return int(self.sql("SELECT coalesce(sum(n), 0) FROM batch WHERE id > (SELECT through FROM summary)")[0][0])

    def parts(self, name: str = "") -> list[Path]:
        return sorted((self.folder / "parts").rglob(f"{name}*.parquet"))

    def metric(self, name: str) -> float | None:
        return self.registry.get_sample_value(name)

    def close(self) -> None:
        self.reader.close()
        self.writer.close()


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Callable[..., House]]:
    houses: list[House] = []

    def make(**limits: Any) -> House:
        houses.append(House(tmp_path, **limits))
        return houses[-1]

    yield make
    for house in houses:
        house.close()


def rows(n: int, *, at: int = START, series: int = 1, step: int = SECOND, value: float = 0.0) -> ReadingBatch:
    """Return *n* readings of one series from *at* on; their values count up from *value*."""
    return ReadingBatch.of([series] * n, at + np.arange(n) * step, value + np.arange(n))


def test_public_names_are_pinned() -> None:
    assert backends.series.__all__ == [
        "EmbeddedSeriesReader",
        "EmbeddedSeriesWriter",
        "InfluxSettings",
        "SeriesSettings",
        "create_store",
        "open_reader",
        "open_writer",
    ]


def test_an_unknown_url_is_a_settings_error_that_names_the_setting(tmp_path: Path) -> None:
    for opening in (open_writer, open_reader):
        with pytest.raises(SettingsError, match=r"series\.url.*carbon"):
            opening(tmp_path, SeriesSettings(url="carbon://x"))


# -- when the journal is sealed


def test_the_journal_is_sealed_at_its_row_limit_and_not_one_row_below(build: Callable[..., House]) -> None:
    house = build(seal_rows=10, seal_seconds=1e9)

    house.write(rows(9))
    house.writer.maintain(NOW)
    assert (house.unsealed(), len(house.parts())) == (9, 0)

    house.write(rows(1, at=START + HOUR))
    house.writer.maintain(NOW)
    assert (house.unsealed(), len(house.parts())) == (0, 1)
    assert house.metric("city_series_sealed_rows_total") == 10
    assert house.metric("city_series_unsealed_rows") == 0


def test_the_journal_is_sealed_at_its_byte_limit(build: Callable[..., House]) -> None:
    house = build(seal_bytes=30 * 10 + 8, seal_seconds=1e9)

    house.write(rows(9))
    house.writer.maintain(NOW)
    assert house.unsealed() == 9

    house.write(rows(1))
    house.writer.maintain(NOW)
    assert house.unsealed() == 0


def test_the_journal_is_sealed_when_its_oldest_row_has_waited_long_enough(build: Callable[..., House]) -> None:
    house = build(seal_seconds=100)
    house.write(rows(1))

    house.writer.maintain(NOW)
    house.write(rows(1, series=2))
    house.writer.maintain(NOW + 99 * SECOND)
    assert house.unsealed() == 2

    house.writer.maintain(NOW + 100 * SECOND)
    assert house.unsealed() == 0


def test_sealing_takes_slices_and_parts_never_cross_a_day(build: Callable[..., House]) -> None:
    house = build(slice_rows=10)
    for i in range(6):
        house.write(rows(5, at=START + DAY - 2 * SECOND, series=i))

    house.writer.maintain(NOW)

    assert [(day, n) for day, n in house.sql("SELECT day, n FROM part ORDER BY id")] == [(20_000, 4), (20_001, 6)] * 3
    assert house.reader.count() == 30


def test_writes_are_refused_above_the_journal_limit_until_it_is_sealed(build: Callable[..., House]) -> None:
    house = build(journal_rows=10)
    house.write(rows(10))

    with pytest.raises(Unavailable, match="journal_rows"):
        house.writer.write("log", 2, rows(1, series=2))
    assert house.metric("city_series_refused_writes_total") == 1
    assert house.writer.position("log") == 1
    assert house.writer.write("log", 2, ReadingBatch.empty())

    house.writer.maintain(NOW)
    assert house.writer.write("log", 3, rows(10, series=2))
    assert house.reader.count() == 20


def test_the_journal_limit_counts_what_was_there_before_a_restart(build: Callable[..., House]) -> None:
    house = build(journal_rows=10)
    house.write(rows(6))
    house.writer.close()

    again = build(journal_rows=10)
    with pytest.raises(Unavailable, match="6 rows"):
        again.writer.write("log", 2, rows(5))


# -- merging


def test_a_finished_day_is_merged_and_gets_a_rollup_once_its_parts_have_waited(build: Callable[..., House]) -> None:
    house = build(merge_seconds=100, grace_seconds=50)
    for i in range(3):
        house.write(rows(3600, at=START + i * HOUR, value=i))
        house.writer.maintain(START + i * HOUR)

    house.writer.maintain(START + DAY - 1)
    assert len(house.parts("raw-")) == 3
    house.writer.maintain(START + DAY)

    assert len(house.parts("raw-merged")) == 1
    assert len(house.parts("rollup-merged")) == 1
    assert len(house.parts("raw-")) == 4, "replaced parts stay for readers that still use them"
    buckets = house.reader.buckets(1, START, START + DAY, HOUR)
    assert buckets.n.tolist() == [3600] * 3
    assert buckets.low.tolist() == [0.0, 1.0, 2.0]
    assert buckets.last.tolist() == [3599.0, 3600.0, 3601.0]

    house.writer.maintain(START + DAY + 49 * SECOND)
    assert len(house.parts("raw-")) == 4
    house.writer.maintain(START + DAY + 50 * SECOND)
    assert [path.name for path in house.parts("raw-")] == ["raw-merged-3-0-ms-ms.parquet"]
    assert house.reader.count() == 3 * 3600


def test_a_part_waits_for_merge_seconds(build: Callable[..., House]) -> None:
    house = build(merge_seconds=100)
    house.write(rows(1))
    house.writer.maintain(NOW)

    house.writer.maintain(NOW + 99 * SECOND)
    assert house.parts("raw-merged") == []

    house.writer.maintain(NOW + 100 * SECOND)
    assert len(house.parts("raw-merged")) == 1


def test_a_day_with_too_many_parts_is_merged_before_it_is_over(build: Callable[..., House]) -> None:
    house = build(merge_parts=3, grace_seconds=0)
    for i in range(3):
        assert house.parts("raw-merged") == []
        house.write(rows(1, series=i))
        house.writer.maintain(START)

    assert len(house.parts("raw-merged")) == 1
    assert house.reader.count() == 3


def test_a_late_reading_rewrites_only_the_slices_that_hold_its_series(build: Callable[..., House]) -> None:
    house = build(slice_rows=100, merge_seconds=0, grace_seconds=0)
    for i in range(10):
        house.write(rows(60, series=i))
    house.writer.maintain(NOW)
    before = {path.name for path in house.parts("raw-merged")}

    house.write(rows(1, series=9, value=-5.0))
    house.writer.maintain(NOW + 1)
    house.writer.maintain(NOW + 2)

    after = {path.name for path in house.parts("raw-merged")}
    assert len(before) == len(after) == 6
    assert len(before & after) == 5
    assert house.reader.count() == 600
    assert house.reader.buckets(9, START, START + DAY, HOUR).low.tolist() == [-5.0]
    assert house.reader.buckets(9, START, START + DAY, HOUR).n.tolist() == [60]


def test_slices_cover_every_series_once() -> None:
    series, counts = np.array([1, 4, 5, 9], np.int32), np.array([5, 100, 3, 3])

    assert backends.series.upkeep._slices(series, counts, 10) == [(1, 4), (5, 9)]
    assert backends.series.upkeep._slices(series, counts, 1000) == [(1, 9)]


# -- forgetting


def test_after_readings_are_forgotten_their_hours_are_left_until_those_go_too(build: Callable[..., House]) -> None:
    house = build(raw_days=2, rollup_days=5, merge_seconds=0, grace_seconds=0)
    hours = np.array([START, START + HOUR])
    bands = Bands(np.array([1, 1], np.int32), hours, np.ones(2), np.zeros(2), np.full(2, 2.0))
    house.writer.write("log", 1, rows(7200), bands)
    house.writer.maintain(START + DAY)

    house.writer.maintain(START + 3 * DAY)
    assert house.parts("raw-") == []
    assert house.reader.count() == 0
    assert len(house.reader.readings(1, START, START + DAY, 10)) == 0
    assert house.reader.buckets(1, START, START + DAY, HOUR).n.tolist() == [3600, 3600]
    fine = house.reader.buckets(1, START, START + DAY, 60 * SECOND)
    assert fine.start.tolist() == hours.tolist(), "an hour counts at its start"
    assert house.reader.bands(1, START, START + DAY).expected.tolist() == [1.0, 1.0]

    house.writer.maintain(START + 6 * DAY)
    house.writer.maintain(START + 6 * DAY + 1)
    assert list((house.folder / "parts").iterdir()) == []
    assert len(house.reader.buckets(1, START, START + DAY, HOUR).n) == 0
    assert len(house.reader.bands(1, START, START + DAY).hour) == 0


def test_forgetting_never_goes_back_with_the_clock(build: Callable[..., House]) -> None:
    house = build(raw_days=2)
    house.write(rows(1))
    house.writer.maintain(START + 3 * DAY)

    house.writer.maintain(START)

    assert house.reader.count() == 0


# -- damage


def test_files_that_nobody_knows_are_deleted_at_the_start(build: Callable[..., House]) -> None:
    house = build()
    house.write(rows(1))
    house.writer.maintain(NOW)
    known = house.parts()
    (known[0].parent / "raw-9-9.tmp").write_bytes(b"half")
    (known[0].parent / "raw-9-9.parquet").write_bytes(b"whole, but never published")
    house.writer.close()

    build()

    assert list(known[0].parent.iterdir()) == known


def test_batches_that_a_crash_left_after_sealing_count_once_and_go(build: Callable[..., House]) -> None:
    house = build()
    house.write(rows(5))
    saved = house.sql("SELECT id, kind, n, data FROM batch")
    house.writer.maintain(NOW)
    db = sqlite3.connect(house.folder / FILE)
    db.executemany("INSERT INTO batch VALUES (?, ?, ?, ?)", saved)
    db.commit()
    db.close()

    assert house.reader.count() == 5
    house.writer.maintain(NOW)
    assert house.sql("SELECT count(*) FROM batch") == [(0,)]


@pytest.mark.parametrize("damage", ["missing", "cut short", "garbage"])
def test_a_damaged_part_is_named_in_the_log_and_the_rest_is_served(build: Callable[..., House], damage: str) -> None:
    house = build()
    for day in range(3):
        house.write(rows(10, at=START + day * DAY, value=day))
        house.writer.maintain(NOW)
    victim = house.parts("raw-")[1]
    match damage:
        case "missing":
            victim.unlink()
        case "cut short":
            victim.write_bytes(victim.read_bytes()[:-20])
        case _:
            victim.write_bytes(os.urandom(1000))

    with capture_logs() as logs:
        found = house.reader.readings(1, START, NOW, 100)

    assert len(found) == 20
    assert [victim.name in entry["path"] for entry in logs if entry["log_level"] == "error"] == [True]


def test_a_day_with_a_damaged_part_is_not_merged_and_keeps_what_it_has(build: Callable[..., House]) -> None:
    house = build(merge_seconds=0, grace_seconds=0)
    for i in range(2):
        house.write(rows(10, at=START + i * HOUR))
        house.writer.maintain(START)
    house.write(rows(10, at=START + 2 * DAY))
    house.parts("raw-")[0].write_bytes(b"garbage")

    with capture_logs() as logs:
        house.writer.maintain(NOW)
        house.writer.maintain(NOW + 1)

    assert [entry["day"] for entry in logs if entry["event"] == "series day not merged"] == [20_000]
    assert [path.parent.name for path in house.parts("raw-merged")] == ["20002"], "other days are merged all the same"
    assert len(house.reader.readings(1, START, START + DAY, 100)) == 10


def test_a_crash_between_unlinking_and_forgetting_a_part_is_survived(build: Callable[..., House]) -> None:
    house = build(raw_days=1, grace_seconds=100)
    house.write(rows(1))
    house.writer.maintain(START)
    house.writer.maintain(START + 5 * DAY)
    (part,) = house.parts()
    part.unlink()
    part.parent.rmdir()

    house.writer.maintain(START + 6 * DAY)

    assert house.sql("SELECT count(*) FROM part") == [(0,)]


def test_a_reader_that_meets_a_replaced_part_starts_over(build: Callable[..., House]) -> None:
    house = build(merge_seconds=0, grace_seconds=0)
    house.write(rows(10))
    house.writer.maintain(START)
    stale = house.reader._snapshot()
    house.writer.maintain(NOW)
    house.writer.maintain(NOW + 1)
    snapshots = iter([stale])
    fresh = house.reader._snapshot
    house.reader._snapshot = lambda: next(snapshots, None) or fresh()  # type: ignore[method-assign]

    with capture_logs() as logs:
        assert len(house.reader.readings(1, START, NOW, 100)) == 10

    assert [entry for entry in logs if entry["log_level"] == "error"] == []


def test_a_journal_of_another_format_is_refused(build: Callable[..., House]) -> None:
    house = build()
    house.writer.close()
    db = sqlite3.connect(house.folder / FILE)
    db.execute("UPDATE meta SET value = 99 WHERE key = 'format'")
    db.commit()
    db.close()

    with pytest.raises(SettingsError, match="format 99"):
        EmbeddedSeriesWriter(house.folder, house.settings)
    with pytest.raises(SettingsError, match="format 99"):
        house.reader.count()


# -- the other side is away


def test_a_reader_of_a_folder_that_nobody_wrote_to_is_unavailable_and_recovers(tmp_path: Path) -> None:
    reader = EmbeddedSeriesReader(tmp_path / "series", SeriesSettings())
    with pytest.raises(Unavailable, match="nothing has been written"):
        reader.count()

    EmbeddedSeriesWriter(tmp_path / "series", SeriesSettings()).close()

    assert reader.count() == 0
    reader.close()


def test_a_locked_journal_is_unavailable_and_nothing_is_half_written(build: Callable[..., House]) -> None:
    house = build(busy_seconds=0.05)
    house.write(rows(1))
    locker = sqlite3.connect(house.folder / FILE, isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")

    with pytest.raises(Unavailable, match="locked"):
        house.writer.write("log", 2, rows(5, series=2))
    with pytest.raises(Unavailable, match="locked"):
        house.writer.maintain(NOW)
    assert house.reader.count() == 1, "readers do not wait for writers"
    locker.execute("ROLLBACK")
    locker.close()

    assert house.parts() == []
    assert house.writer.write("log", 2, rows(5, series=2))
    house.writer.maintain(NOW)
    assert house.reader.count() == 6
    assert house.unsealed() == 0


def test_a_full_disk_under_the_journal_is_unavailable_and_nothing_is_half_written(build: Callable[..., House]) -> None:
    house = build()
    house.write(rows(1))
    pages = house.writer._db.execute("PRAGMA page_count").fetchone()[0]
    house.writer._db.execute(f"PRAGMA max_page_count={pages + 1}")

    with pytest.raises(Unavailable, match="full"):
        house.writer.write("log", 2, rows(10_000, series=2))
    assert house.writer.position("log") == 1
    assert house.reader.count() == 1

    house.writer._db.execute("PRAGMA max_page_count=1000000")
    assert house.writer.write("log", 2, rows(10_000, series=2))
    assert house.reader.count() == 10_001


def test_a_full_disk_under_sealing_leaves_the_journal_and_no_file(tmp_path: Path) -> None:
    """A limit on file size stands for the full disk: DuckDB fails in the middle of a part, as it would there."""
    script = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from tests.unit.backends.series.test_embedded import House, START, NOW, rows\n"
        "import numpy as np\n"
        "from core.batch import ReadingBatch\n"
        "from core.errors import Unavailable\n"
        "house = House(Path(sys.argv[1]))\n"
        "rng = np.random.default_rng(1)\n"
        "n = 50_000\n"
        "house.write(ReadingBatch.of(np.arange(n), START + rng.integers(0, 10**12, n), rng.normal(0, 1, n)))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))\n"
        "try:\n    house.writer.maintain(NOW)\n"
        "except Unavailable as error:\n    print('unavailable:', error)\n"
        "left = [p.name for p in Path(sys.argv[1]).rglob('raw*')]\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "print(left, house.unsealed(), house.reader.count())\n"
        "house.writer.maintain(NOW)\n"
        "print(house.unsealed(), house.reader.count())\n"
        "house.close()\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[4],
    )

    lines = [line for line in done.stdout.splitlines() if "[info" not in line]
    assert done.returncode == 0, done.stderr
    assert lines[0].startswith("unavailable: series:")
    assert lines[1:] == ["[] 50000 50000", "0 50000"]


# -- memory and threads


def test_a_process_that_only_writes_does_not_load_the_query_engine(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from backends.series import SeriesSettings, open_writer\n"
        "from core.batch import ReadingBatch\n"
        "writer = open_writer(Path(sys.argv[1]), SeriesSettings())\n"
        "writer.write('log', 1, ReadingBatch.of([1], [1], [1.0])); writer.maintain(10**18); writer.close()\n"
        "print('duckdb' in sys.modules)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[4],
    )

    assert done.stdout == "False\n"


def test_a_reader_answers_the_same_whether_the_journal_fits_its_cache_or_not(build: Callable[..., House]) -> None:
    house = build(cache_rows=25, seal_seconds=1e9)
    for i in range(10):
        house.write(rows(5, at=START + i * HOUR, value=i * 5))
        assert house.reader.count() == 5 * (i + 1)

    assert house.reader.readings(1, START, NOW, 100).value.tolist() == [float(i) for i in range(50)]
    assert sum(chunk.n for chunk in house.reader._hot[0]._chunks) == 25


@pytest.mark.parametrize("through", range(6))
@pytest.mark.parametrize(("chunk", "chunks"), [(65_536, 1), (12, 1), (10, 2), (5, 3)])
def test_sealed_batches_are_trimmed_from_the_cache_wherever_sealing_stopped(
    build: Callable[..., House], monkeypatch: pytest.MonkeyPatch, through: int, chunk: int, chunks: int
) -> None:
    monkeypatch.setattr("backends.series.hot._CHUNK", chunk)
    house = build(seal_seconds=1e9)
    hot = HotRows(READINGS, 1000)
    for i in range(3):
        house.write(rows(5, at=START + i * HOUR, value=i * 5))
    assert len(hot.refresh(house.writer._db, 0)) == chunks
    for i in range(3, 5):
        house.write(rows(5, at=START + i * HOUR, value=i * 5))

    left = concat(READINGS, [piece.rows for piece in hot.refresh(house.writer._db, through)])

    assert left["value"].tolist() == [float(i) for i in range(through * 5, 25)]


@pytest.mark.parametrize("slice_rows", [10, 1000])
@pytest.mark.parametrize("start", [START, -3 * DAY - 7 * SECOND])
def test_parts_that_overlap_count_once_however_many_rows_they_share(
    build: Callable[..., House], slice_rows: int, start: int
) -> None:
    house = build(seal_rows=1, slice_rows=slice_rows)
    written: dict[tuple[int, int], float] = {}
    for n in range(3):  # each part takes back half of what the one before said; one series is not asked for
        for series in (4, 5, 6, 7):
            batch = rows(
                40, at=start + n * 20 * 120 * SECOND, series=series, step=120 * SECOND, value=1000 * n + series
            )
            house.write(batch)
            written |= {(series, int(t)): float(v) for t, v in zip(batch.measured, batch.value, strict=True)}
        if n < 2:
            house.writer.maintain(START)
    district = np.array([4, 5, 6], np.int32)
    until = start + 100 * 120 * SECOND
    for group in ([3, 3, 3], [3, 9, 3]):
        found = house.reader.grouped(district, np.array(group, np.int32), start, until, HOUR)

        expected: dict[tuple[int, int], list[float]] = {}
        for (series, at), value in written.items():
            if series != 7:
                expected.setdefault((group[series - 4], at // HOUR * HOUR), []).append(value)
        assert list(zip(found.group.tolist(), found.start.tolist(), strict=True)) == sorted(expected)
        for i, key in enumerate(sorted(expected)):
            assert found.n[i] == len(expected[key])
            assert found.mean[i] == pytest.approx(np.mean(expected[key]))
            assert (found.low[i], found.high[i]) == (min(expected[key]), max(expected[key]))
    nothing = house.reader.grouped(district, np.zeros(3, np.int32), until + DAY, until + 2 * DAY, HOUR)
    assert len(nothing.group) == 0


def test_writing_goes_on_while_upkeep_works_in_another_thread(build: Callable[..., House]) -> None:
    house = build(seal_rows=1, merge_parts=2, grace_seconds=0, slice_rows=500)
    stop = threading.Event()
    errors: list[Exception] = []

    def upkeep() -> None:
        while not stop.is_set():
            try:
                house.writer.maintain(START)
            except Exception as error:  # noqa: BLE001 - shown by the assert below
                errors.append(error)
                return

    thread = threading.Thread(target=upkeep)
    thread.start()
    try:
        for i in range(300):
            house.write(rows(50, at=START + i * 40 * SECOND, value=i))
    finally:
        stop.set()
        thread.join()

    assert errors == []
    assert house.reader.count() == 299 * 40 + 50
    overlap = house.reader.readings(1, START + 40 * SECOND, START + 50 * SECOND, 100)
    assert overlap.value.tolist() == [1.0 + i for i in range(10)], "the later write wins"


def test_the_engine_is_opened_once_when_threads_ask_at_the_same_moment(tmp_path: Path) -> None:
    threads = 8
    for _ in range(20):
        with Parquet(tmp_path, memory_mb=64, threads=1) as parquet:
            together = threading.Barrier(threads)

            def ask(parquet: Parquet = parquet, together: threading.Barrier = together) -> None:
                together.wait()
                parquet.query(lambda times: f"SELECT 1 FROM {times.files}", ["gone"])  # noqa: S608 - our own words

            with ThreadPoolExecutor(threads) as pool:
                for asked in [pool.submit(ask) for _ in range(threads)]:
                    with pytest.raises(FileNotFoundError):
                        asked.result()


def test_one_reader_may_be_shared_by_threads(build: Callable[..., House]) -> None:
    house = build()
    for i in range(5):
        house.write(rows(100, series=i, at=START + i * HOUR))
        if i < 4:
            house.writer.maintain(NOW)
    answers: list[int] = []

    def ask() -> None:
        for i in range(5):
            answers.append(len(house.reader.readings(i, START, NOW, 1000)))
            answers.append(house.reader.count() // 5)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [100] * 40
