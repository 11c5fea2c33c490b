"""Tests of retention by metric: each series goes at its own time, its hours stay, and nothing comes back."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from backends.series import EmbeddedSeriesReader, EmbeddedSeriesWriter, SeriesSettings, open_writer
from backends.series.verify import verify
from core.batch import ReadingBatch
from core.city import Series
from core.errors import SettingsError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
START = 20_000 * DAY
NOISE, PM25, NO2, STRANGE = 1, 2, 4096, 9
DAYS = 12


class Names:
    """Who is who; like the catalog's registry."""

    def __init__(self) -> None:
        self.metrics = {NOISE: "noise", PM25: "pm25", NO2: "no2"}
        self.is_away = False

    def revision(self) -> int:
        if self.is_away:
            raise Unavailable("catalog", "away")
        return len(self.metrics)

    def series(self) -> list[Series]:
        return [Series(n, f"device-{n}", metric, "north") for n, metric in sorted(self.metrics.items())]


class House:
    """A store with names, and a look at it by days."""

    def __init__(self, folder: Path, names: Names | None = None, **limits: Any) -> None:
        settings = {"seal_seconds": 0, "merge_seconds": 0, "grace_seconds": 0, **limits}
        self.folder = folder
        self.settings = SeriesSettings(**settings)
        self.names = names or Names()
        self.writer = EmbeddedSeriesWriter(folder, self.settings, names=self.names)
        self.reader = EmbeddedSeriesReader(folder, self.settings)
        self.position = self.writer.position("log")

    def write(self, day: int, *series: int) -> None:
        """Write two readings of the day, an hour apart, of each of *series*."""
        self.position += 1
        measured = [START + day * DAY + hour * HOUR for hour in (1, 2) for _ in series]
        self.writer.write("log", self.position, ReadingBatch.of([*series] * 2, measured, [float(day)] * len(measured)))

    def keep_up(self, day: int) -> None:
        """Do the upkeep of the start of *day*, twice: the second one sweeps."""
        self.writer.maintain(START + day * DAY)
        self.writer.maintain(START + day * DAY)

    def days(self, series: int) -> list[int]:
        measured = self.reader.readings(series, 0, 1 << 62, 1000).measured
        return sorted(set(((measured - START) // DAY).tolist()))

    def hours(self, series: int) -> int:
        return int(self.reader.buckets(series, START, START + DAYS * DAY, HOUR).n.sum())

    def close(self) -> None:
        self.reader.close()
        self.writer.close()


@pytest.fixture
def houses() -> Iterator[list[House]]:
    made: list[House] = []
    yield made
    for house in made:
        house.close()


def filled(houses: list[House], folder: Path, **limits: Any) -> House:
    """Return a house in which every series reported on each of DAYS days, with upkeep at the end of each."""
    house = House(folder, **limits)
    houses.append(house)
    for day in range(DAYS):
        house.write(day, NOISE, PM25, NO2, STRANGE)
        house.keep_up(day + 1)
    return house


def test_each_series_goes_after_its_own_days_and_its_hours_stay(tmp_path: Path, houses: list[House]) -> None:
    house = filled(houses, tmp_path, raw_days=5, keep={"noise": 2, "no2": 8})

    assert house.days(NOISE) == list(range(10, DAYS))
    assert house.days(PM25) == house.days(STRANGE) == list(range(7, DAYS))
    assert house.days(NO2) == list(range(4, DAYS))
    assert {house.hours(series) for series in (NOISE, PM25, NO2, STRANGE)} == {2 * DAYS}
    assert house.reader.count() == 2 * (2 + 5 + 5 + 8)
    assert verify(tmp_path, house.settings).damaged == ()
    listed = {path.name for path in (tmp_path / "parts").rglob("raw-*")}
    assert len(listed) == 8, "one part a day, none of a day that nobody keeps"


def test_a_sector_counts_for_its_metrics_and_a_metric_goes_before_its_sector(
    tmp_path: Path, houses: list[House]
) -> None:
    house = filled(houses, tmp_path, raw_days=4, keep={"air": 6, "pm25": 3})

    assert [len(house.days(series)) for series in (NOISE, PM25, NO2)] == [4, 3, 6]


def test_readings_that_come_too_late_for_their_series_are_not_kept_and_undo_nothing(
    tmp_path: Path, houses: list[House]
) -> None:
    house = filled(houses, tmp_path, raw_days=8, keep={"noise": 2})
    before = house.hours(NOISE)

    house.write(6, NOISE, PM25)
    house.keep_up(DAYS)

    assert house.days(NOISE) == [10, 11]
    assert house.hours(NOISE) == before
    assert house.hours(PM25) == 2 * DAYS
    assert 6 in house.days(PM25)


def test_unmerged_parts_are_thinned_out_in_their_order(tmp_path: Path, houses: list[House]) -> None:
    house = House(tmp_path, raw_days=8, keep={"noise": 1}, merge_seconds=1e9)
    houses.append(house)
    for value in (1, 2, 3):
        house.position += 1
        batch = ReadingBatch.of([NOISE, PM25], [START, START], [float(value)] * 2)
        house.writer.write("log", house.position, batch)
        house.writer.maintain(START)
    house.keep_up(3)

    assert house.days(NOISE) == []
    assert house.reader.readings(PM25, 0, 1 << 62, 9).value.tolist() == [3.0]


def test_other_settings_apply_to_what_is_there(tmp_path: Path, houses: list[House]) -> None:
    filled(houses, tmp_path, raw_days=10, keep={"noise": 6}).close()
    houses.clear()

    house = House(tmp_path, raw_days=10, keep={"air": 6, "noise": 3})
    houses.append(house)
    house.keep_up(DAYS)

    assert [len(house.days(series)) for series in (NOISE, PM25, NO2, STRANGE)] == [3, 6, 6, 10]


def test_without_names_retention_by_metric_waits_and_forgets_nothing_too_soon(
    tmp_path: Path, houses: list[House]
) -> None:
    names = Names()
    names.is_away = True
    house = House(tmp_path, names, raw_days=2, keep={"noise": 4})
    houses.append(house)
    for day in range(6):
        house.write(day, NOISE, PM25)
        house.keep_up(day + 1)
    assert [house.days(series) for series in (NOISE, PM25)] == [[2, 3, 4, 5], [2, 3, 4, 5]]

    names.is_away = False
    house.keep_up(6)
    assert [house.days(series) for series in (NOISE, PM25)] == [[2, 3, 4, 5], [4, 5]]


def test_a_damaged_part_is_left_as_it_is(tmp_path: Path, houses: list[House]) -> None:
    house = filled(houses, tmp_path, raw_days=20, keep={"noise": 11})
    path = min((tmp_path / "parts" / str(START // DAY + 1)).glob("raw-*"))
    content = bytearray(path.read_bytes())
    content[10] ^= 1
    path.write_bytes(content)

    with capture_logs() as logs:
        house.keep_up(DAYS + 1)

    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["series part not thinned out"]
    assert path.read_bytes() == bytes(content)


def test_names_that_no_device_has_are_told(tmp_path: Path, houses: list[House]) -> None:
    with capture_logs() as logs:
        filled(houses, tmp_path, raw_days=20, keep={"niose": 3})

    assert [entry["metrics"] for entry in logs if "no device" in entry["event"]] == [["niose"]]


@pytest.mark.parametrize("days", [0, -1, "a while"])
def test_a_number_of_days_is_positive(days: object) -> None:
    with pytest.raises(ValidationError):
        SeriesSettings(keep={"noise": days})

    assert SeriesSettings(keep={"noise": 1}).keep == {"noise": 1}


def test_an_influxdb_cannot_keep_metrics_apart(tmp_path: Path) -> None:
    settings = SeriesSettings(url="http://127.0.0.1:8086", keep={"noise": 3})

    with pytest.raises(SettingsError, match=r"series\.keep"):
        open_writer(tmp_path, settings)


def test_a_writer_without_names_keeps_all_alike(tmp_path: Path) -> None:
    settings = SeriesSettings(raw_days=5, keep={"noise": 1}, seal_seconds=0, merge_seconds=0)
    with closing(open_writer(tmp_path, settings)) as writer:
        writer.write("log", 1, ReadingBatch.of([NOISE], [START], [1.0]))
        writer.maintain(START + 4 * DAY)
    with closing(EmbeddedSeriesReader(tmp_path, settings)) as reader:
        np.testing.assert_array_equal(reader.readings(NOISE, 0, 1 << 62, 9).value, [1.0])
