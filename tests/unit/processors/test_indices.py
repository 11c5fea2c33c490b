"""Tests of the indices of districts as they are now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.batch import ReadingBatch
from core.city import Series
from core.entry import LogEntry
from core.errors import MalformedPayload
from core.quality import Flag
from processors.indices import DistrictIndices
from processors.windows import Windows, WindowSettings

if TYPE_CHECKING:
    from tests.unit.processors.conftest import House

SECOND = 1_000_000_000
T0 = 1_767_225_600 * SECOND  # midnight UTC
HOUR = 3600
SERIES = (
    Series(1, "a", "pm25", "north"),
    Series(2, "a", "no2", "north"),
    Series(3, "b", "pm25", "north"),
    Series(4, "c", "temperature", "south"),
    Series(5, "c", "humidity", "south"),
    Series(6, "d", "power", "south"),
)


def made() -> DistrictIndices:
    """Indices on windows with a bound of a minute."""
    indices = DistrictIndices(Windows(WindowSettings(lateness_seconds=60, idle_seconds=600)))
    for series in SERIES:
        indices.learn(series)
    return indices


def play(indices: DistrictIndices, first: int, last: int, **values: float) -> None:
    """Send each minute from *first* to *last* (minutes after midnight) one reading of each series named `s<id>`."""
    for minute in range(first, last):
        at = T0 + minute * 60 * SECOND
        indices.advance(at)
        ids = [int(name[1:]) for name in values]
        indices.update(ReadingBatch.of(ids, [at] * len(ids), list(values.values())))


def test_a_district_is_rated_when_its_hour_closes() -> None:
    """Not before; its air is the mean of its stations, and what is missing is named."""
    indices = made()
    play(indices, 0, 62, s1=10.0, s2=30.0, s3=20.0, s6=1.0)
    assert indices.current == {}

    play(indices, 62, 64, s1=10.0, s2=30.0, s3=20.0, s6=1.0)

    assert set(indices.current) == {("north", "eaqi"), ("north", "us_aqi")}
    hour, index = indices.current["north", "eaqi"]
    assert (hour, index.value, index.dominant, index.missing) == (T0, 3, "no2", ("pm10", "o3", "so2"))
    assert {part.pollutant: part.value for part in index.parts} == {"pm25": 2, "no2": 3}  # 15 µg/m³: level 2


def test_what_no_index_asks_for_is_not_held() -> None:
    """Power is not summed up: its readings cost no memory, and a state with them is no longer than one without."""
    with_power, without = made(), made()
    play(with_power, 0, 10, s1=10.0, s6=1.0)
    play(without, 0, 10, s1=10.0)

    assert with_power.to_bytes() == without.to_bytes()


def test_nowcast_needs_its_hours_and_then_moves_on() -> None:
    """The US AQI of PM comes with the second hour; NO2 has been there since the first."""
    indices = made()
    play(indices, 0, 64, s1=12.0)
    assert ("north", "us_aqi") not in indices.current

    play(indices, 64, 124, s1=12.0)

    assert indices.current["north", "us_aqi"][0] == T0 + HOUR * SECOND
    assert indices.current["north", "us_aqi"][1].value == 56


def test_a_broken_sensor_makes_no_district_worse() -> None:
    """What is out of range is left out."""
    indices = made()
    for minute in range(64):
        at = T0 + minute * 60 * SECOND
        indices.advance(at)
        indices.update(ReadingBatch.of([1, 3], [at, at], [9.0, 5000.0], quality=[0, int(Flag.RANGE)]))

    assert indices.current["north", "eaqi"][1].value == 2


def test_heat_and_what_is_old() -> None:
    """Heat where both metrics are; a district that fell silent is not told of for ever."""
    indices = made()
    play(indices, 0, 64, s4=35.0, s5=50.0)
    assert indices.current["south", "heat_index"][1].value == 40.7

    indices.advance(T0 + 7 * HOUR * SECOND)  # the newest hour is the one from 01:00, of four minutes
    assert ("south", "heat_index") in indices.current
    indices.advance(T0 + (7 * HOUR + 60) * SECOND)
    assert indices.current == {}


def test_restored_it_says_the_same() -> None:
    """At any minute, to the last bit; another state is refused."""
    whole, cut = made(), made()
    for minute in range(200):
        values = {"s1": 10.0 + minute % 7, "s2": 30.0, "s4": 30.0 + minute % 5, "s5": 60.0}
        play(whole, minute, minute + 1, **values)
        play(cut, minute, minute + 1, **values)
        if minute % 30 == 0:
            cut = DistrictIndices.from_bytes(cut.to_bytes())
            for series in SERIES:
                cut.learn(series)
        assert whole.current == cut.current

    assert whole.current
    assert whole.to_bytes() == cut.to_bytes()
    data = whole.to_bytes()
    for bad in (data[:-1], b"", b"\x81\xa7version\x02", data.replace(b"\xa5means", b"\xa5meant")):
        with pytest.raises(MalformedPayload) as refused:
            DistrictIndices.from_bytes(bad)
        assert refused.value.reason == "bad_state"


async def test_operators_see_the_index_of_each_district(empty_house: House) -> None:
    """The processor shows the newest hour that closed to Prometheus; a restart in between loses nothing."""
    house = empty_house
    air = [series.id for series in house.registry.series() if series.metric == "pm25"]
    for first, last in ((0, 50), (50, 85)):
        at = [T0 + minute * 60 * SECOND for minute in range(first, last)]
        blobs = [LogEntry(t, ReadingBatch.of(air, [t] * len(air), [20.0] * len(air))).to_bytes() for t in at]
        house.log.append(blobs)
        await house.run()

    assert house.shown("city_processor_district_index", district="north", index="eaqi") == 3
    assert house.shown("city_processor_district_index", district="south", index="eaqi") == 3
    assert house.shown("city_processor_windows_late") == 0


async def test_whoever_wants_no_windows_has_none(empty_house: House) -> None:
    """A setting turns them off, and on again: a state without them is no obstacle."""
    house = empty_house
    pipeline = house.settings
    for enabled in (False, True):
        house.settings = pipeline.model_copy(update={"windows": WindowSettings(enabled=enabled)})
        at = T0 + (60 * SECOND if enabled else 0)
        house.log.append([LogEntry(at, ReadingBatch.of([0], [at], [20.0])).to_bytes()])
        await house.run()
        assert house.readings() == 1 + enabled


def test_other_settings_begin_anew() -> None:
    """What was summed up under another lateness bound is not mixed in."""
    before = made()
    play(before, 0, 64, s1=10.0)

    kept = made().restored(before.to_bytes())
    fresh = DistrictIndices(Windows(WindowSettings(lateness_seconds=61))).restored(before.to_bytes())

    assert (len(kept.current), len(fresh.current)) == (1, 0)
