"""This module tests what the api tells of indices."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from core.batch import ReadingBatch
from core.city import Series
from core.errors import SettingsError
from tests.unit.api.fakes import HOUR, NOW, SECOND, World

if TYPE_CHECKING:
    from pathlib import Path

MINUTE = 60 * SECOND
DAY = 24 * HOUR


def filled(world: World, device: str, district: str, **metrics: Any) -> None:
    """Give the store one reading a minute of each metric: a function of the minutes before NOW, three days back."""
    minutes = np.arange(3 * 1440, 0, -1)
    parts = [world.store.batch] if len(world.city._series) > 3 else []
    for code, value in metrics.items():
        number = 100 + len(world.city._series)
        world.city._series.append(Series(number, device, code, district))
        values = np.array([float(value(minute)) if callable(value) else value for minute in minutes.tolist()])
        parts.append(ReadingBatch.of(np.full(len(minutes), number), NOW - minutes * MINUTE, values))
    world.city.rev += 1
    world.store.batch = ReadingBatch.concat(parts)


async def got(world: World, query: str, status: int = 200) -> Any:
    async with world.client() as client:
        answer = await client.get(f"/api/v1/indices?{query}")
    assert answer.status_code == status, answer.text
    return answer.json()


def item(body: Any, name: str) -> Any:
    return next(item for item in body["items"] if item["index"] == name)


async def test_a_device_has_the_indices_of_its_metrics(world: World) -> None:
    """Air from hourly means; what is missing is named; heat where both metrics are."""
    filled(world, "s", "north", pm25=12.0, no2=30.0, temperature=35.0, humidity=50.0)

    body = await got(world, "device=s")

    assert (body["device"], body["district"]) == ("s", "north")
    assert [one["index"] for one in body["items"]] == ["eaqi", "heat_index", "us_aqi"]
    eaqi, aqi, heat = (item(body, name)["columns"] for name in ("eaqi", "us_aqi", "heat_index"))
    assert eaqi["t"] == [(NOW - k * HOUR) // 1_000_000 for k in range(24, 0, -1)]
    assert set(eaqi["value"]) == {3}
    assert eaqi["dominant"][0] == "no2"
    assert eaqi["missing"][0] == ["pm10", "o3", "so2"]
    assert set(eaqi["incomplete"]) == {True}
    assert (set(aqi["value"]), set(aqi["category"]), set(aqi["version"])) == ({56}, {"Moderate"}, {"2024-05-06"})
    assert item(body, "us_aqi")["reference_celsius"] == 25
    assert (set(heat["value"]), item(body, "heat_index")["unit"]) == ({40.7}, "°C")


async def test_nowcast_looks_back_beyond_the_start(world: World) -> None:
    """The first hour asked for has its twelve hours: a pulse just before it is still felt."""
    filled(world, "s", "north", pm25=lambda minute: 71.0 if 120 < minute <= 180 else 0.0)

    body = await got(world, f"device=s&index=us_aqi&start={(NOW - 2 * HOUR) // SECOND}")

    columns = item(body, "us_aqi")["columns"]
    assert len(body["items"]) == 1
    pulse = [math.floor(71 * 0.5**age / (2 - 0.5**11) * 10) / 10 for age in (1, 2)]
    assert columns["value"] == [aqi_of(value) for value in pulse]


def aqi_of(value: float) -> int:
    """EPA's first two rows of PM2.5."""
    if value <= 9.0:
        return math.floor(50 / 9.0 * value + 0.5)
    return math.floor((100 - 51) / (35.4 - 9.1) * (value - 9.1) + 51 + 0.5)


async def test_a_district_is_the_mean_of_its_readings(world: World) -> None:
    """Two stations of 10 and 20 µg/m³ are a district of 15, level 2."""
    filled(world, "s", "south", pm25=10.0)
    filled(world, "t", "south", pm25=20.0)

    body = await got(world, "district=south&index=eaqi")

    assert (body["device"], body["district"]) == (None, "south")
    assert set(item(body, "eaqi")["columns"]["value"]) == {2}
    assert [set(item(await got(world, f"device={d}"), "eaqi")["columns"]["value"]) for d in "st"] == [{2}, {3}]


async def test_noise_is_told_by_day_from_energies() -> None:
    """Days from 7 to 7 of the city, the last one that is over by default."""
    world = World()
    filled(world, "n", "south", noise=lambda minute: 60.0 if minute % 2 else 50.0)

    body = await got(world, "device=n")

    lden, lnight = item(body, "lden")["columns"], item(body, "lnight")["columns"]
    level = 10 * math.log10((10**6 + 10**5) / 2)
    assert lnight["value"] == [round(level, 1)]
    assert lden["value"] == [round(level + 10 * math.log10((12 + 4 * 10**0.5 + 8 * 10) / 24), 1)]
    assert lden["t"] == [(NOW - 17 * HOUR - DAY) // 1_000_000]  # NOW is midnight UTC: the last day began 41 hours ago
    assert (await got(world, "district=south"))["items"] == []


async def test_offset_and_periods_are_settings() -> None:
    """At UTC+5 a day that begins at six begins at one o'clock UTC."""
    world = World()
    settings = world.settings.model_copy(
        update={"indices": world.settings.indices.model_copy(update={"utc_offset_minutes": 300, "day_hour": 6})}
    )
    world = World(settings=settings)
    filled(world, "n", "south", noise=50.0)

    body = await got(world, f"device=n&start={(NOW - 2 * DAY) // SECOND}")

    assert [t * 1_000_000 - NOW for t in item(body, "lden")["columns"]["t"]] == [HOUR - 3 * DAY, HOUR - 2 * DAY]


async def test_gaps_are_left_out_and_not_carried(world: World) -> None:
    """An hour without readings has no index, though twelve older ones would do for an average."""
    filled(world, "s", "north", pm25=12.0)
    batch = world.store.batch
    world.store.batch = batch.take((batch.measured < NOW - 2 * HOUR) | (batch.measured >= NOW - HOUR))

    columns = item(await got(world, "device=s"), "us_aqi")["columns"]

    assert (NOW - 2 * HOUR) // 1_000_000 not in columns["t"]
    assert len(columns["t"]) == 23


async def test_an_index_of_ones_own_comes_from_a_file(tmp_path: Path) -> None:
    """Named in the settings, it is told beside the others; a bad file stops the start."""
    path = tmp_path / "own.toml"
    path.write_text(
        'name = "own"\ntitle = "Own"\nscore = "level"\n[[table]]\nversion = "1"\nfrom = 2020-01-01\n'
        'categories = [{ name = "low", to = 1 }, { name = "high", to = 2 }]\n'
        '[[table.term]]\npollutant = "pm25"\naverage = "1h"\nupper = [10]\n',
        "utf-8",
    )
    usual = World().settings
    settings = usual.model_copy(update={"indices": usual.indices.model_copy(update={"files": (path,)})})
    world = World(settings=settings)
    filled(world, "s", "north", pm25=12.0)

    body = await got(world, "device=s&index=own")

    assert item(body, "own")["columns"]["category"] == ["high"] * 24
    path.write_text("nothing = 1\n", "utf-8")
    with pytest.raises(SettingsError, match=r"own\.toml: .*`nothing`|own\.toml: .*missing"):
        World(settings=settings)


@pytest.mark.parametrize(
    ("query", "status", "named"),
    [
        pytest.param("", 422, "name a device or a district", id="neither"),
        pytest.param("device=air-1&district=north", 422, "one of both", id="both"),
        pytest.param("device=nobody", 404, "'nobody': unknown", id="an unknown device"),
        pytest.param("district=nowhere", 404, "'nowhere': unknown", id="an unknown district"),
        pytest.param("device=air-1&index=aqi", 404, "index 'aqi': unknown", id="an unknown index"),
        pytest.param("device=air-1&start=yesterday", 422, "'yesterday' is no time", id="no time"),
        pytest.param("device=air-1&start=1760000000", 422, "more than 31 days", id="too long"),
        pytest.param("device=air-1&start=1760003600&end=1760000000", 422, "start: after end", id="backwards"),
    ],
)
async def test_what_cannot_be_asked(world: World, query: str, status: int, named: str) -> None:
    assert named in (await got(world, query, status))["detail"]


async def test_the_future_and_the_hour_at_hand_have_no_index(world: World) -> None:
    """An answer ends with the last hour that is over."""
    filled(world, "s", "north", pm25=12.0)

    body = await got(world, f"device=s&start={(NOW - HOUR) // SECOND}&end={(NOW + DAY) // SECOND}")
    later = await got(world, f"device=s&start={(NOW + HOUR) // SECOND}&end={(NOW + DAY) // SECOND}")

    assert len(item(body, "eaqi")["columns"]["t"]) == 1
    assert later["items"] == []
