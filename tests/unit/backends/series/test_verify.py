"""Tests of checksums: what is damaged is found, named, kept out of merges, put aside; the rest is served."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest
from structlog.testing import capture_logs

from backends.series import EmbeddedSeriesReader, EmbeddedSeriesWriter, SeriesSettings
from backends.series.journal import FILE
from backends.series.verify import Damage, Report, repair, verify
from core.batch import ReadingBatch
from core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
START = 20_000 * DAY
LIMITS = SeriesSettings(seal_seconds=0, merge_seconds=1e9, grace_seconds=0)
MERGING = LIMITS.model_copy(update={"merge_seconds": 0.0})
ROWS = 5_000


def day_of(day: int, seed: int = 0) -> ReadingBatch:
    rng = np.random.default_rng(seed)
    measured = START + day * DAY + np.sort(rng.choice(DAY // 1_000_000, ROWS, replace=False)) * 1_000_000
    return ReadingBatch.of(rng.integers(1, 20, ROWS), measured, np.round(rng.normal(20, 5, ROWS), 2))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a folder with three days: two merged, one sealed, and a reading in the journal."""
    writer = EmbeddedSeriesWriter(tmp_path, MERGING)
    for day in range(3):
        writer.write("log", day + 1, day_of(day, day))
        writer.maintain(START + day * DAY)
    writer.maintain(START + 2 * DAY)
    writer.maintain(START + 2 * DAY + 1)
    writer.write("log", 4, ReadingBatch.of([1], [START + 3 * DAY], [1.0]))
    writer.close()
    return tmp_path


def part(folder: Path, name: str) -> Path:
    (found,) = (folder / "parts").rglob(name)
    return found


def flip(path: Path, at: int, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)


def count(folder: Path) -> int:
    with closing(EmbeddedSeriesReader(folder, LIMITS)) as reader:
        return reader.count()


def sql(folder: Path, statement: str) -> None:
    db = sqlite3.connect(folder / FILE)
    with closing(db), db:
        db.execute(statement)


def test_a_whole_store_is_found_whole(store: Path) -> None:
    seen: list[tuple[int, int]] = []

    report = verify(store, LIMITS, progress=lambda done, total: seen.append((done, total)))

    assert report.damaged == ()
    assert (report.parts, report.rows, report.unsealed) == (5, 3 * ROWS, 1)  # three of readings, two rollups
    assert seen[-1][0] == seen[-1][1] == report.bytes == sum(p.stat().st_size for p in store.rglob("*.parquet"))


def regions() -> Iterator[object]:
    rng = random.Random(1)
    for percent in range(0, 100, 4):
        yield pytest.param(percent + rng.random() * 4, rng.randrange(8), id=f"at {percent} percent")
    for name, at in (("first byte", 0.0), ("last byte", 100.0)):
        yield pytest.param(at, rng.randrange(8), id=name)


@pytest.mark.parametrize(("percent", "bit"), list(regions()))
def test_one_flipped_bit_anywhere_in_a_part_is_found_and_named_and_the_rest_served(
    store: Path, percent: float, bit: int
) -> None:
    path = part(store, f"{START // DAY + 1}/raw-merged*.parquet")
    flip(path, min(int(path.stat().st_size * percent / 100), path.stat().st_size - 1), bit)

    report = verify(store, LIMITS)

    (found,) = report.damaged
    assert (found.what, found.path) == (Damage.CHANGED, path.relative_to(store).as_posix())
    assert found.part is not None
    assert (found.part.first, found.part.last, found.part.n) == (1, 19, ROWS)
    assert START + DAY <= found.part.lo < found.part.hi < START + 2 * DAY
    assert report.lost == ROWS
    with closing(EmbeddedSeriesReader(store, LIMITS)) as reader, capture_logs():
        for day in (0, 2):
            readings = reader.readings(7, START + day * DAY, START + (day + 1) * DAY, ROWS)
            expected = day_of(day, day)
            np.testing.assert_array_equal(readings.value, expected.value[expected.series == 7])


@pytest.mark.parametrize(
    ("size", "detail"),
    [pytest.param(0, "0 bytes instead of", id="empty"), pytest.param(-1, "bytes instead of", id="cut by a byte")],
)
def test_a_part_of_another_size_is_changed(store: Path, size: int, detail: str) -> None:
    path = part(store, f"{START // DAY}/raw-merged*.parquet")
    path.write_bytes(path.read_bytes()[:size])

    (found,) = verify(store, LIMITS).damaged

    assert found.what is Damage.CHANGED
    assert detail in found.detail


def test_missing_and_unknown_files_are_told_apart(store: Path) -> None:
    gone = part(store, f"{START // DAY}/raw-merged*.parquet")
    gone.unlink()
    strange = gone.with_name("raw-9-9.parquet")
    strange.write_bytes(b"PAR1")

    found = {f.what: f.path for f in verify(store, LIMITS).damaged}

    assert found == {
        Damage.MISSING: gone.relative_to(store).as_posix(),
        Damage.ORPHAN: strange.relative_to(store).as_posix(),
    }


def test_what_a_running_writer_has_not_listed_yet_is_no_orphan(store: Path) -> None:
    with closing(EmbeddedSeriesWriter(store, LIMITS)):
        (store / "parts" / f"{START // DAY}" / "raw-merged-99-0.parquet").write_bytes(b"PAR1")

        assert verify(store, LIMITS).damaged == ()


def test_a_batch_of_the_journal_that_cannot_be_unpacked_is_named(store: Path) -> None:
    sql(store, "UPDATE batch SET data = x'00'")

    (found,) = verify(store, LIMITS).damaged

    assert found.what is Damage.JOURNAL
    assert "batch 4" in found.detail


def test_a_folder_without_a_store_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="nothing has been written"):
        verify(tmp_path, LIMITS)


def test_a_damaged_part_is_not_merged_into_one_with_a_fresh_checksum(store: Path) -> None:
    path = part(store, "raw-3-3-*.parquet")
    flip(path, path.stat().st_size // 2, 3)

    with closing(EmbeddedSeriesWriter(store, MERGING)) as writer, capture_logs() as logs:
        writer.maintain(START + 10 * DAY)

    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["series day not merged"]
    assert path.exists()
    assert [found.path for found in verify(store, LIMITS).damaged] == [path.relative_to(store).as_posix()]


# -- repair


def mend(folder: Path) -> tuple[Report, list[str]]:
    report = verify(folder, LIMITS)
    return report, repair(folder, LIMITS, START, report)


def test_repair_puts_a_damaged_part_aside_and_keeps_its_rollup_and_everything_else(store: Path) -> None:
    path = part(store, f"{START // DAY}/raw-merged*.parquet")
    content = path.read_bytes()
    flip(path, 5000, 1)

    _, done = mend(store)

    assert "moved to damaged/" in done[0]
    (aside,) = (store / "damaged").iterdir()
    assert len(aside.read_bytes()) == len(content)
    assert verify(store, LIMITS).damaged == ()
    with capture_logs() as logs:
        assert count(store) == 2 * ROWS + 1
        with closing(EmbeddedSeriesReader(store, LIMITS)) as reader:
            hours = reader.buckets(7, START, START + DAY, HOUR)
    expected = day_of(0, 0)
    assert hours.n.sum() == (expected.series == 7).sum()
    assert logs == []


def test_repair_makes_a_rollup_anew_from_its_readings(store: Path) -> None:
    path = part(store, f"{START // DAY}/rollup-merged*.parquet")
    flip(path, 200, 1)
    with closing(EmbeddedSeriesReader(store, LIMITS)) as reader:
        raw = reader.buckets(7, START, START + DAY - 1, HOUR)  # not the whole day: from readings

    mend(store)

    assert verify(store, LIMITS).damaged == ()
    (again,) = (store / "parts").rglob("rollup-*again*.parquet")
    with closing(EmbeddedSeriesReader(store, LIMITS)) as reader:
        hours = reader.buckets(7, START, START + DAY, HOUR)
    np.testing.assert_array_equal(raw.n, hours.n)
    np.testing.assert_allclose(raw.mean, hours.mean)
    assert again.parent.name == str(START // DAY)


def test_repair_takes_missing_and_unknown_files_off_the_books(store: Path) -> None:
    path = part(store, "raw-3-3-*.parquet")
    path.rename(path.with_name("raw-7-7.parquet"))

    mend(store)

    assert verify(store, LIMITS).damaged == ()
    assert [p.name for p in (store / "damaged").iterdir()] == [f"{START // DAY + 2}-raw-7-7.parquet"]
    assert count(store) == 2 * ROWS + 1


def test_repair_needs_the_writer_to_be_away(store: Path) -> None:
    report = verify(store, LIMITS)

    with closing(EmbeddedSeriesWriter(store, LIMITS)), pytest.raises(Unavailable, match="another writer"):
        repair(store, LIMITS, START, report)


# -- stores of the first version


@pytest.fixture
def old_store(store: Path) -> Path:
    """Return the same as a version without checksums left it."""
    sql(store, "ALTER TABLE part DROP COLUMN sha256")
    return store


def test_a_store_without_checksums_is_decoded_instead(old_store: Path) -> None:
    assert verify(old_store, LIMITS).damaged == ()

    path = part(old_store, f"{START // DAY}/raw-merged*.parquet")
    flip(path, path.stat().st_size - 6, 7)  # the length of the footer

    assert [found.what for found in verify(old_store, LIMITS).damaged] == [Damage.CHANGED]


def test_upkeep_takes_the_missing_checksums(old_store: Path) -> None:
    with closing(EmbeddedSeriesWriter(old_store, LIMITS)) as writer:
        writer.maintain(START)

    path = part(old_store, f"{START // DAY}/raw-merged*.parquet")
    flip(path, path.stat().st_size // 2, 0)

    assert [found.detail for found in verify(old_store, LIMITS).damaged] == ["SHA-256 differs"]


def test_upkeep_gives_no_checksum_to_what_cannot_be_read(old_store: Path) -> None:
    path = part(old_store, "raw-3-3-*.parquet")
    flip(path, path.stat().st_size - 6, 7)

    with closing(EmbeddedSeriesWriter(old_store, LIMITS)) as writer, capture_logs() as logs:
        writer.maintain(START)
        writer.maintain(START)

    errors = [entry for entry in logs if entry["log_level"] == "error"]
    assert [(e["event"], e["path"]) for e in errors] == [
        ("series part damaged", path.relative_to(old_store).as_posix())
    ]
