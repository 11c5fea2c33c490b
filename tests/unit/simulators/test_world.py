"""The world's physics: shared causes show, and noise is the same at every step width."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import pytest

from core.city import Device
from core.errors import NotFound, SettingsError
from core.metrics import KINDS, METRICS
from simulators.layout import DEMO_COUNTS, UTC_OFFSET_SECONDS, city, contains, demo_city
from simulators.world import INSTRUMENTS, World
from simulators.world.causes import is_off

if TYPE_CHECKING:
    from numpy.typing import NDArray

MONDAY = 1_768_176_000 - UTC_OFFSET_SECONDS  # 2026-01-12 00:00 local
DISTRICTS, DEVICES = demo_city(7)
WORLD = World(7, DEVICES)


def ns(start_seconds: int, step_seconds: int, count: int) -> NDArray[np.int64]:
    return (start_seconds + np.arange(count, dtype=np.int64) * step_seconds) * 1_000_000_000


def test_the_city_has_five_districts_and_two_hundred_devices_inside_them() -> None:
    outlines = {district.id: district.outline for district in DISTRICTS}

    assert len(DISTRICTS) == 5
    assert len(DEVICES) == len({device.id for device in DEVICES}) == 200
    assert {kind: sum(d.kind == kind for d in DEVICES) for kind in DEMO_COUNTS} == DEMO_COUNTS
    for outline in outlines.values():
        assert outline[0] == outline[-1]
    for device in DEVICES:
        assert device.lon is not None
        assert device.lat is not None
        around = [name for name, ring in outlines.items() if contains(ring, device.lon, device.lat)]
        assert around == [device.district], device


def test_devices_report_the_metrics_of_their_kind_within_what_instruments_can_show() -> None:
    at = ns(MONDAY, 300, 2016)

    for device in DEVICES[::7]:
        values = WORLD.values(device.id, at)
        assert tuple(values) == KINDS[device.kind]
        for metric, column in values.items():
            assert np.isfinite(column).all()
            assert METRICS[metric].low <= column.min() <= column.max() <= METRICS[metric].high
            assert np.array_equal(column, np.round(column, INSTRUMENTS[metric].decimals))
            assert column.std() > 0


def test_traffic_peaks_at_rush_hour() -> None:
    week = ns(MONDAY, 300, 5 * 288)
    flows = np.mean([WORLD.truth(d.id, week)["flow"] for d in DEVICES if d.kind == "traffic"], axis=0)
    by_hour = flows.reshape(5, 24, 12).mean(axis=(0, 2))

    assert int(np.argmax(by_hour[:12])) == 8
    assert 12 + int(np.argmax(by_hour[12:])) in {17, 18}
    assert by_hour[3] < 0.2 * by_hour[8]
    assert by_hour[13] < by_hour[8]


def test_weekends_are_quieter_than_working_days() -> None:
    week = ns(MONDAY, 300, 7 * 288)
    flow = WORLD.truth("traffic-001", week)["flow"].reshape(7, 288).mean(axis=1)

    assert flow[5:].max() < flow[:5].min()


def test_no2_follows_traffic_and_speed_falls_when_flow_rises() -> None:
    at = ns(MONDAY, 300, 7 * 288)
    flow = np.mean([WORLD.values(d.id, at)["flow"] for d in DEVICES if d.kind == "traffic"], axis=0)
    no2 = np.mean([WORLD.values(d.id, at)["no2"] for d in DEVICES if d.kind == "air"], axis=0)
    counter = WORLD.values("traffic-003", at)

    assert np.corrcoef(flow, no2)[0, 1] > 0.5
    assert np.corrcoef(counter["flow"], counter["speed"])[0, 1] < -0.7


@pytest.mark.parametrize("metric", ["pm25", "temperature", "noise", "power"])
def test_neighbours_correlate_more_than_strangers(metric: str) -> None:
    """With the city's common course taken out, devices of one district still move together."""
    at = ns(MONDAY, 900, 14 * 96)
    kind = {"pm25": "air", "temperature": "weather", "noise": "noise", "power": "energy"}[metric]
    chosen = [d for d in DEVICES if d.kind == kind]
    columns = np.array([np.log(np.maximum(WORLD.truth(d.id, at)[metric] + 60, 1)) for d in chosen])
    columns -= columns.mean(axis=0)
    table = np.corrcoef(columns)
    same = [[a.district == b.district and a.id != b.id for b in chosen] for a in chosen]
    other = [[a.district != b.district for b in chosen] for a in chosen]

    assert table[np.array(same)].mean() > table[np.array(other)].mean() + 0.2


def test_scatter_is_the_same_at_five_seconds_and_at_five_minutes() -> None:
    """What is left of a series without its truth does not know the step, and has no memory."""
    for step in (5, 300):
        at = ns(MONDAY, step, 4000)
        rest = WORLD.value("weather-001", "temperature", at) - WORLD.truth("weather-001", at)["temperature"]

        assert rest.std() == pytest.approx(INSTRUMENTS["temperature"].absolute, rel=0.05)
        assert abs(np.corrcoef(rest[1:], rest[:-1])[0, 1]) < 0.06


def test_the_truth_moves_slowly() -> None:
    at = ns(MONDAY, 5, 17_280)

    for device in ("air-001", "traffic-001", "noise-001", "weather-001", "energy-001"):
        for metric, true in WORLD.truth(device, at).items():
            assert np.abs(np.diff(true)).max() < 0.01 * (true.max() - true.min()), metric


def test_nothing_reads_minus_zero() -> None:
    """A thermometer at freezing point says 0.0, and formats differ in what they do with a sign there."""
    station = next(device.id for device in DEVICES if device.kind == "weather")
    winter = ns(1_736_000_000, 60, 100_000)
    read = WORLD.value(station, "temperature", winter)
    assert (read == 0).any(), "the winter is too warm for this test"
    assert not np.signbit(read[read == 0]).any()


def test_an_unknown_device_metric_or_kind_is_named() -> None:
    at = ns(MONDAY, 5, 1)

    with pytest.raises(NotFound, match="'nobody' is not in this world"):
        WORLD.values("nobody", at)
    with pytest.raises(NotFound, match="district 'nowhere' is not in this world"):
        WORLD.leakage("nowhere", at)
    with pytest.raises(NotFound, match="'air-001' does not measure 'flow': it has pm25, pm10, no2, o3"):
        WORLD.value("air-001", "flow", at)
    with pytest.raises(SettingsError, match="x-1: kind 'volcano' is not one of air, air_station, beds,"):
        World(1, [Device("x-1", "volcano", "merkez")])


def test_no_times_are_no_readings() -> None:
    none = np.zeros(0, np.int64)
    device = city(1, 40).devices[-1]
    world = World(1, city(1, 40).devices)

    assert all(len(column) == 0 for column in world.values(device.id, none).values())
    assert [len(world.values(d.id, none)) for d in world.devices.values()] == [
        len(KINDS[d.kind]) for d in world.devices.values()
    ]


def test_a_device_without_a_place_stands_in_the_middle_of_its_district() -> None:
    at = ns(MONDAY, 300, 12)
    placed = [device for device in DEVICES if device.district == "gala"]
    world = World(7, [*placed, Device("air-x", "air", "gala")])

    assert np.isfinite(world.values("air-x", at)["pm25"]).all()
    assert np.isfinite(World(7, [Device("air-x", "air", "gala")]).values("air-x", at)["pm25"]).all()


def test_holidays_are_days_off() -> None:
    """2026-05-18 and 2027-03-22 are Mondays."""
    days = {name: (date.fromisoformat(name) - date(1970, 1, 1)).days for name in ("2026-05-18", "2027-03-22")}

    assert all(is_off(day) for day in days.values())
    assert not any(is_off(day + 7) or is_off(day + 1) for day in days.values())
    assert is_off((date(2026, 11, 21) - date(1970, 1, 1)).days)  # a Saturday
