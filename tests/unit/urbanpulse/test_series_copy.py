"""Copying a series store: what is missing is written, what was cut short goes on, and nobody else writes meanwhile."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backends.series import create_store, open_reader, open_writer
from core.batch import ReadingBatch
from core.city import Device
from core.errors import Conflict, NotFound
from core.ports import Bands
from tests.influx import influxd
from urbanpulse.clock import SystemClock
from urbanpulse.demo import register_devices
from urbanpulse.installation import Installation, prepare
from urbanpulse.series_copy import Copied, copy_series, place
from urbanpulse.settings import Settings
from urbanpulse.stores import open_series, read_series

if TYPE_CHECKING:
    from pathlib import Path

    from core.ports import SeriesQueries

HOUR = 3_600_000_000_000
START = 1_767_225_600_000_000_000
SERIES, EACH = 12, 500


@pytest.fixture
def ours(tmp_path: Path) -> Installation:
    """Return an installation whose embedded store has readings and bands, written up to position 77."""
    installation = prepare(Settings(data_dir=tmp_path / "data"))
    register_devices(installation, "copy", [Device(f"air-{n}", "air", f"d-{n % 2}") for n in range(SERIES // 2)])
    with closing(installation.open_catalog()) as catalog:
        made = catalog.registry.allocate([(f"air-{n // 2}", ("pm25", "no2")[n % 2]) for n in range(SERIES)])
        ids = np.array([series.id for series in made], np.int32)
        with closing(open_series(installation, catalog, clock=SystemClock())) as store:
            series = np.repeat(ids, EACH)
            at = START + np.tile(np.arange(EACH) * 600_000_000_000, SERIES)
            batch = ReadingBatch.of(series, at, np.arange(len(at)) / 7, quality=np.arange(len(at)) % 3)
            hour = np.full(SERIES, START)
            store.write("processor", 77, batch, Bands(ids, hour, *(np.full(SERIES, v) for v in (2.0, 1.0, 3.0))))
    return installation


def copy(ours: Installation, source: str, target: str, **more: object) -> Copied:
    settings = ours.settings
    return copy_series(settings, place(settings, source), place(settings, target), **more)  # type: ignore[arg-type]


def content(store: SeriesQueries, ours: Installation) -> list[object]:
    with closing(ours.open_catalog()) as catalog:
        found = [(one.id, store.readings(one.id, 0, 1 << 62, 10_000)) for one in catalog.registry.series()]
    rows = [(i, b.measured.tolist(), b.value.tolist(), b.quality.tolist()) for i, b in found]
    bands = [
        [getattr(store.bands(i, 0, 1 << 62), c).tolist() for c in ("hour", "expected", "low", "high")] for i, _ in found
    ]
    return [rows, bands]


def of_folder(path: Path, ours: Installation) -> list[object]:
    with closing(open_reader(path, ours.settings.series)) as reader:
        return content(reader, ours)


def test_a_folder_gets_readings_and_bands(ours: Installation, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    seen: list[tuple[int, int]] = []

    copied = copy(ours, "embedded", str(target), progress=lambda done, total: seen.append((done, total)))

    n = SERIES * EACH
    assert copied == Copied(SERIES, n, there=0, copied=n, missing=0, bands=SERIES, position=None)
    assert of_folder(target, ours) == of_folder(ours.folder / "series", ours)
    assert seen[-1] == (n, n)


def test_a_dry_run_counts_and_writes_nothing(ours: Installation, tmp_path: Path) -> None:
    target = tmp_path / "copy"

    counted = copy(ours, "embedded", str(target), dry_run=True)

    assert counted == Copied(SERIES, SERIES * EACH, there=0, copied=0, missing=SERIES * EACH, bands=0, position=None)
    assert not target.exists()


def test_a_copy_that_was_cut_short_goes_on(ours: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "copy"
    monkeypatch.setattr("urbanpulse.series_copy._SERIES_AT_ONCE", 3)

    def cut(done: int, _total: int) -> None:
        if done >= 5 * EACH:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy(ours, "embedded", str(target), progress=cut)
    copied = copy(ours, "embedded", str(target))

    assert (copied.there, copied.copied, copied.missing) == (6 * EACH, 6 * EACH, 0)
    assert of_folder(target, ours) == of_folder(ours.folder / "series", ours)


def test_a_series_larger_than_one_write_is_copied_in_pieces(
    ours: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("urbanpulse.series_copy._READINGS_AT_ONCE", 70)

    copied = copy(ours, "embedded", str(tmp_path / "copy"))

    assert (copied.copied, copied.missing) == (SERIES * EACH, 0)
    assert of_folder(tmp_path / "copy", ours) == of_folder(ours.folder / "series", ours)


def test_what_is_whole_is_left_alone(ours: Installation, tmp_path: Path) -> None:
    copy(ours, "embedded", str(tmp_path / "copy"))

    again = copy(ours, "embedded", str(tmp_path / "copy"))

    assert (again.there, again.copied, again.bands) == (SERIES * EACH, 0, 0)


def test_a_store_that_is_being_written_is_refused(ours: Installation, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    with (
        closing(open_writer(target, ours.settings.series)),
        pytest.raises(Conflict, match="stop the processor first"),
    ):
        copy(ours, "embedded", str(target))


def test_a_store_is_not_copied_into_itself(ours: Installation) -> None:
    with pytest.raises(Conflict, match="the same store"):
        copy(ours, "embedded", str(ours.folder / "series"))


def test_a_toml_file_says_all_about_a_store(ours: Installation, tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text('[series]\nurl = "http://there:8086"\n[series.influx]\ndatabase = "elsewhere"\n')

    found = place(ours.settings, str(file))

    assert (found.settings.url, found.settings.influx.database) == ("http://there:8086", "elsewhere")
    assert (found.folder, found.is_ours) == (ours.folder / "series", True)


def test_a_source_that_is_not_there_is_named(ours: Installation, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere: no such folder"):
        copy(ours, str(tmp_path / "nowhere"), "embedded")


def test_influxdb_gets_everything_and_the_processors_position_and_gives_it_back(
    ours: Installation, tmp_path: Path
) -> None:
    with influxd(tmp_path / "server") as url:
        there = ours.settings.model_copy(update={"series": ours.settings.series.model_copy(update={"url": url})})
        create_store(ours.folder / "series", there.series)
        before = of_folder(ours.folder / "series", ours)

        copied = copy(ours, "embedded", url)

        assert (copied.copied, copied.missing, copied.bands, copied.position) == (SERIES * EACH, 0, SERIES, 77)
        other = prepare(there)
        with closing(other.open_catalog()) as catalog:
            with closing(read_series(other, catalog)) as reader:
                assert content(reader, ours) == before
            with closing(open_series(other, catalog, clock=SystemClock())) as store:
                assert store.position("processor") == 77
        again = copy(ours, url, str(tmp_path / "back"))
        assert (again.copied, again.missing, again.position) == (SERIES * EACH, 0, None)
        assert of_folder(tmp_path / "back", ours) == before


def test_what_the_target_does_not_keep_is_told(ours: Installation, tmp_path: Path) -> None:
    """A target that forgets sooner drops what is older than it keeps: that is no silent loss."""
    target = tmp_path / "copy"
    limited = place(ours.settings, str(target))
    settings = limited.settings.model_copy(update={"raw_days": 1})
    with closing(open_writer(target, settings)) as store:
        store.write("x", 1, ReadingBatch.of([0], [START + 400 * 24 * HOUR], [1.0]))
        store.maintain(START + 400 * 24 * HOUR)

    copied = copy(ours, "embedded", str(target))

    assert copied.missing > 0
    assert copied.position is None
