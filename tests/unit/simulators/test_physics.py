"""The city's physics: what goes in comes out, causes show in their effects, and near things move together."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest

from core.metrics import KINDS, METRICS
from simulators.events import CityEvent, EventKind
from simulators.geometry import UTC_OFFSET_SECONDS, kilometres
from simulators.instruments import INSTRUMENTS
from simulators.layout import KIND_SHARES, city
from simulators.world import World
from simulators.world.power import LOSSES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.city import Device

S = 1_000_000_000
MONDAY = (1_771_804_800 - UTC_OFFSET_SECONDS) * S  # 2026-02-23 00:00 local
DEVICES = city(5, 1000).devices
WORLD = World(5, DEVICES)
WEEK = MONDAY + np.arange(7 * 144, dtype=np.int64) * 600 * S
YEAR = MONDAY - 53 * 86_400 * S + np.arange(366 * 24, dtype=np.int64) * 3_600 * S + 1234 * S  # 2026
DISTRICTS = sorted({device.district for device in DEVICES})


def of_kind(kind: str, district: str | None = None) -> list[Device]:
    return [d for d in DEVICES if d.kind == kind and district in {None, d.district}]


def table(kind: str, metric: str, at: NDArray[np.int64], most: int = 1000) -> NDArray[np.float64]:
    return np.array([WORLD.truth(device.id, at)[metric] for device in of_kind(kind)[:most]])


def hourly_rest(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the working days of *columns* (whole weeks) without the city's course and each one's usual day."""
    days = columns.reshape(len(columns), -1, 7, 144)[:, :, :5].reshape(len(columns), -1, 144)
    days = days / days.mean(axis=(1, 2), keepdims=True)
    days = days - days.mean(axis=0, keepdims=True)
    return np.asarray((days - days.mean(axis=1, keepdims=True)).reshape(len(columns), -1))


@pytest.mark.parametrize("kind", KIND_SHARES)
def test_a_year_of_every_metric_is_finite_within_its_limits_and_alive(kind: str) -> None:
    for device in of_kind(kind)[:3]:
        values = WORLD.values(device.id, YEAR)
        assert tuple(values) == KINDS[kind]
        for metric, column in values.items():
            assert np.isfinite(column).all(), metric
            assert METRICS[metric].low <= column.min() < column.max() <= METRICS[metric].high, metric
            assert np.array_equal(column, column.round(INSTRUMENTS[metric].decimals)), metric


def test_no_alert_rule_of_an_ordinary_city_is_broken_by_an_ordinary_year() -> None:
    """Street-level air, frost, heat, storm and water pressure stay off the limits that rules come with."""
    assert table("air", "pm25", YEAR, 8).max() < 60
    assert table("weather", "temperature", YEAR, 8).max() < 45
    assert table("weather", "temperature", YEAR, 8).min() > -15
    assert table("weather_station", "wind_speed", YEAR, 8).max() < 20
    assert table("water", "water_pressure", YEAR, 8).min() > 1.5
    assert 30 < table("weather_station", "rain", YEAR, 8).sum(axis=1).mean() < 900  # mm in a year


@pytest.mark.parametrize("events", [(), (EventKind.BURST, EventKind.OUTAGE, EventKind.HEAT_WAVE)], ids=["usual", "bad"])
def test_the_water_balance_of_every_zone_closes(events: tuple[EventKind, ...]) -> None:
    """What the inlets take in is what the meters count and what leaks, to the last bits of the sum."""
    day = 86_400 * S
    happened = [CityEvent(kind, MONDAY + day, MONDAY + 3 * day, 1.0, DISTRICTS[0]) for kind in events]
    world = World(5, DEVICES, happened)

    for district in DISTRICTS:
        taken = sum(world.truth(d.id, WEEK)["water_flow"] for d in of_kind("water", district))
        used = sum(world.truth(d.id, WEEK)["water_use"] for d in of_kind("water_meter", district))
        np.testing.assert_allclose(taken, used / 3600 + world.leakage(district, WEEK), rtol=1e-9)
        assert (0.02 * taken < world.leakage(district, WEEK)).all()


@pytest.mark.parametrize("events", [(), (EventKind.OUTAGE, EventKind.HEAT_WAVE)], ids=["usual", "bad"])
def test_substations_carry_what_their_district_draws_and_the_losses(events: tuple[EventKind, ...]) -> None:
    day = 86_400 * S
    happened = [CityEvent(kind, MONDAY + day, MONDAY + 3 * day, 0.5, DISTRICTS[0]) for kind in events]
    world = World(5, DEVICES, happened)

    for district in DISTRICTS:
        carried = sum(world.truth(d.id, WEEK)["power"] for d in of_kind("energy", district))
        drawn = sum(world.truth(d.id, WEEK)["power"] for d in of_kind("meter", district) + of_kind("light", district))
        np.testing.assert_allclose(carried, drawn * (1 + LOSSES), rtol=1e-9)


def test_a_meter_counts_the_energy_that_it_shows_as_power() -> None:
    step = 300
    day = MONDAY + np.arange(288, dtype=np.int64) * step * S
    truth = WORLD.truth(of_kind("meter")[3].id, day)
    power, energy = truth["power"], truth["energy"]

    assert energy[0] == 0.0
    np.testing.assert_allclose(np.diff(energy), (power[1:] + power[:-1]) / 2 * step / 3600, rtol=1e-9)


def test_lamps_burn_while_the_sun_is_down() -> None:
    """At 58.4° E, 38° N and UTC+5 the sun sets about 17:50 in December and 20:30 in June."""
    device = of_kind("light")[0].id
    for day, dark, light in ((-64, (7.5, 18.5), (9.0, 17.0)), (117, (5.0, 21.2), (6.5, 19.8))):
        at = MONDAY + day * 86_400 * S
        for hour, lamp in ((dark[0], 1.0), (dark[1], 1.0), (light[0], 0.0), (light[1], 0.0)):
            assert WORLD.truth(device, np.array([at + int(hour * 3600) * S]))["lamp"] == [lamp], (day, hour)


def test_traffic_peaks_at_rush_hour_on_working_days_and_not_on_holidays() -> None:
    flow = table("traffic", "flow", MONDAY + np.arange(28 * 144, dtype=np.int64) * 600 * S).mean(axis=0)
    by_hour = flow.reshape(28, 24, 6).mean(axis=2)
    working = by_hour[:5].mean(axis=0)
    # 2026-03-08, 21 and 22 are holidays on weekends anyway; 2026-05-18 is a Monday, 2026-09-27 a Sunday
    constitution, monday_before = (
        table("traffic", "flow", MONDAY + np.array([day * 86_400 + 8 * 3600]) * S).mean() for day in (84, 77)
    )

    assert int(np.argmax(working[:12])) == 8
    assert 12 + int(np.argmax(working[12:])) in {17, 18}
    assert by_hour[5:7, 8].mean() < 0.95 * working[8]
    assert constitution < 0.9 * monday_before


def test_parked_cars_do_not_drive() -> None:
    """Where people live, cars are parked when the streets are empty, and the other way round."""
    homes = min(of_kind("parking"), key=lambda d: WORLD.truth(d.id, WEEK)["occupied"][12 * 6])
    works = max(of_kind("parking"), key=lambda d: WORLD.truth(d.id, WEEK[72:73])["occupied"][0])
    flow = table("traffic", "flow", WEEK[: 5 * 144]).mean(axis=0)
    quiet = table("parking", "occupied", WEEK[: 5 * 144])
    likeness = [np.corrcoef(row, flow)[0, 1] for row in quiet]

    assert homes != works
    assert min(likeness) < -0.5 < 0.4 < max(likeness)


def test_no2_and_noise_follow_the_flow_of_near_traffic() -> None:
    near, far = [], []
    rest = {kind: hourly_rest(table(kind, metric, WEEK)) for kind, metric in (("traffic", "flow"), ("noise", "noise"))}
    flow = table("traffic", "flow", WEEK)
    no2 = table("air", "no2", WEEK)
    for n, noise in enumerate(of_kind("noise")):
        order = sorted(range(len(of_kind("traffic"))), key=lambda k: distance(of_kind("traffic")[k], noise))
        near.append(np.corrcoef(rest["noise"][n], rest["traffic"][order[0]])[0, 1])
        far.append(np.corrcoef(rest["noise"][n], rest["traffic"][order[-1]])[0, 1])

    assert np.corrcoef(flow.mean(axis=0), no2.mean(axis=0))[0, 1] > 0.6
    assert min(np.corrcoef(flow.mean(axis=0), row)[0, 1] for row in no2) > 0.3
    assert np.mean(near) > np.mean(far) + 0.2


def distance(a: Device, b: Device) -> float:
    assert a.lon is not None
    assert a.lat is not None
    assert b.lon is not None
    assert b.lat is not None
    (ax, ay), (bx, by) = kilometres(a.lon, a.lat), kilometres(b.lon, b.lat)
    return float(np.hypot(ax - bx, ay - by))


@pytest.mark.parametrize(
    ("kind", "metric"),
    [
        ("air", "pm25"),
        ("traffic", "flow"),
        ("noise", "noise"),
        ("weather", "temperature"),
        ("parking", "occupied"),
    ],
)
def test_likeness_falls_with_distance_also_without_the_citys_course(kind: str, metric: str) -> None:
    """Without what all share and without each one's usual day, neighbours still move together; strangers do not."""
    at = MONDAY + np.arange(28 * 144, dtype=np.int64) * 600 * S
    rest = np.atleast_2d(np.corrcoef(hourly_rest(table(kind, metric, at))))
    near: list[float] = []
    middle: list[float] = []
    far: list[float] = []
    for (a, one), (b, other) in combinations(enumerate(of_kind(kind)), 2):
        km = distance(one, other)
        (near if km < 1.2 else middle if km < 3.0 else far if km > 5.5 else []).append(float(rest[a][b]))

    assert min(len(near), len(middle), len(far)) > 5
    assert np.mean(near) > np.mean(middle) + 0.1
    assert np.mean(middle) > np.mean(far) + 0.1
    assert np.mean(near) > 0.35
    assert abs(np.mean(far)) < 0.25


def test_inlets_of_one_water_zone_move_together_and_those_of_others_do_not() -> None:
    inlets = of_kind("water")
    rest = np.atleast_2d(np.corrcoef(hourly_rest(table("water", "water_pressure", WEEK))))
    same = [rest[a][b] for a, b in combinations(range(len(inlets)), 2) if inlets[a].district == inlets[b].district]
    other = [rest[a][b] for a, b in combinations(range(len(inlets)), 2) if inlets[a].district != inlets[b].district]

    assert np.mean(same) > 0.5
    assert np.mean(other) < 0.1


def test_containers_fill_and_are_emptied_on_days_of_collection() -> None:
    level = table("waste", "level", MONDAY + np.arange(28 * 144, dtype=np.int64) * 600 * S)
    emptied = np.diff(level, axis=1) < -5

    assert (np.diff(level, axis=1)[~emptied] >= -1e-9).all()
    for row in emptied:
        days = np.flatnonzero(row) // 144 % 7
        assert 2 <= len(set(days.tolist())) <= 3
        assert not {6} & set(days.tolist())  # nobody comes on Sundays


def test_water_makes_soil_moist_and_evaporation_dries_it() -> None:
    at = MONDAY + 120 * 86_400 * S + np.arange(30 * 144, dtype=np.int64) * 600 * S
    district = of_kind("irrigation")[0].district
    flow = WORLD.truth(of_kind("irrigation")[0].id, at)["water_flow"]
    moisture = WORLD.truth(of_kind("soil", district)[0].id, at)["soil_moisture"]
    waters = flow > 1
    lagged = np.roll(waters, 12)
    change = np.diff(moisture, append=moisture[-1])

    assert 5 <= (np.diff(waters.astype(int)) == 1).sum() <= 9  # every fourth day
    assert change[waters & lagged].mean() > 0.05
    assert change[~waters & ~lagged].mean() < 0


def test_a_fridge_cycles_with_its_compressor_and_warms_when_its_door_is_open() -> None:
    at = MONDAY + np.arange(2 * 86_400, dtype=np.int64)[::20] * S
    truth = WORLD.truth(of_kind("cold_chain")[0].id, at)
    temperature, door = truth["fridge_temperature"], truth["door"]
    turns = np.flatnonzero(np.diff(np.sign(np.diff(temperature))) != 0)

    assert 2.0 < temperature.min() < temperature.max() < 9.0
    assert 2 * 48 * 3600 / 3000 < len(turns) < 2 * 48 * 3600 / 1000
    assert set(door) == {0.0, 1.0}
    opened = np.roll(door, 6) == 1.0  # two minutes later
    assert temperature[opened].mean() > temperature[~opened].mean() + 0.3


def test_a_fence_smells_what_the_wind_brings() -> None:
    """Fences on opposite sides of a plant do not smell it at the same time; ozone is made by the sun."""
    gala = [np.array(WORLD.truth(d.id, WEEK)["h2s"]) for d in of_kind("plant", "gala")]
    o3 = table("air", "o3", WEEK).mean(axis=0).reshape(7, 24, 6).mean(axis=(0, 2))

    assert np.min(np.corrcoef(np.array(gala))) < 0.2
    assert 12 <= int(np.argmax(o3)) <= 16


def test_a_front_brings_wind_and_rain_and_falling_warmth() -> None:
    station = WORLD.truth(of_kind("weather_station")[0].id, YEAR)
    wet = station["rain"] > 0

    assert 0.01 < wet.mean() < 0.2
    assert station["humidity"][wet].mean() > station["humidity"][~wet].mean() + 5
    summer, winter = (station["temperature"][day * 24 : (day + 30) * 24].mean() for day in (185, 5))
    assert summer - winter > 20


@pytest.mark.parametrize("kind", KIND_SHARES)
def test_batteries_go_down_slowly_and_signals_fade(kind: str) -> None:
    device = of_kind(kind)[0].id
    days = MONDAY + np.arange(900, dtype=np.int64) * 86_400 * S
    battery, signal = WORLD.battery(device, days), WORLD.signal(device, days)

    if battery is not None:
        assert 15 < battery.min() <= battery.max() <= 100
        assert (np.diff(battery) > 30).sum() <= 5  # changed when it was low, not more often
        assert np.median(np.abs(np.diff(battery))) <= 3
    if signal is not None:
        assert -140 < signal.min() < signal.max() < -50
        assert 1 < signal.std() < 8
    assert (battery is not None) >= (kind in {"waste", "soil", "water_meter", "cold_chain", "parking", "irrigation"})
    assert (signal is None) >= (kind in {"traffic", "energy", "water"})
