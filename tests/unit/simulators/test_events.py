"""City events: every kind shows in what it touches, from its start to its end, in its district, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import SettingsError
from simulators.events import EVENTS, CityEvent, EventKind
from simulators.geometry import UTC_OFFSET_SECONDS
from simulators.instruments import INSTRUMENTS
from simulators.layout import city
from simulators.world import World

S = 1_000_000_000
HOUR = 3600 * S
MONDAY = (1_771_804_800 - UTC_OFFSET_SECONDS) * S  # 2026-02-23 00:00 local
DISTRICT = "gala"  # has a plant and a farm
CITY = city(7, 1000).devices
BARE = World(7, CITY)
DEVICES = [
    device
    for district in {device.district: None for device in CITY}
    for kind in {device.kind: None for device in CITY}
    for device in [d for d in CITY if (d.district, d.kind) == (district, kind)][: 8 if district == DISTRICT else 1]
]
"""Some of every kind at both sides of the border."""
AT = MONDAY + np.arange(3 * 144, dtype=np.int64) * 600 * S + 17 * S
BASE = {device.id: BARE.truth(device.id, AT) for device in DEVICES}

# kind: first hour of the event and how many: when what it changes is there to be changed
TIMES = {
    EventKind.INVERSION: (30, 10),
    EventKind.FLOOD: (31, 6),
    EventKind.OUTAGE: (41, 3),
    EventKind.MATCH: (41, 5),
    EventKind.LEAK: (34, 4),
    EventKind.BURST: (34, 6),
    EventKind.HOLIDAY: (24, 24),
    EventKind.HEAT_WAVE: (8, 60),
    EventKind.DUST_STORM: (34, 5),
    EventKind.ROAD_CLOSURE: (31, 12),
}


def event(kind: EventKind, district: str | None = DISTRICT) -> CityEvent:
    first, hours = TIMES[kind]
    return CityEvent(
        kind, MONDAY + first * HOUR + 77 * S, MONDAY + (first + hours) * HOUR, EVENTS[kind].usual, district
    )


def changed(kind: EventKind, district: str | None) -> dict[tuple[str, str], np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    world = World(7, CITY, [event(kind, district)])
    found = {}
    for device in DEVICES:
        for metric, column in world.truth(device.id, AT).items():
            differs = column != BASE[device.id][metric]
            if differs.any():
                found[device.id, metric] = differs
    return found


@pytest.mark.parametrize("kind", EventKind)
def test_an_event_changes_what_it_says_it_touches_in_its_district_and_time_only(kind: EventKind) -> None:
    here = {device.id for device in DEVICES if device.district == DISTRICT}
    on = (event(kind).start <= AT) & (event(kind).end > AT)
    found = changed(kind, DISTRICT)

    assert {metric for _, metric in found} == set(EVENTS[kind].metrics)
    assert {device for device, _ in found} <= here
    for (_, metric), differs in found.items():
        assert not differs[~on & (event(kind).end > AT)].any()
        assert metric == "energy" or not differs[~on].any()  # the counter that starts at midnight


@pytest.mark.parametrize("kind", EventKind)
def test_an_event_of_usual_size_stands_out_of_the_noise_where_it_says_so(kind: EventKind) -> None:
    world = World(7, CITY, [event(kind)])
    largest: dict[str, float] = {}
    for device in DEVICES:
        if device.district == DISTRICT:
            for metric, column in world.truth(device.id, AT).items():
                usual = BASE[device.id][metric]
                tool = INSTRUMENTS[metric]
                noise = tool.absolute + tool.relative * np.abs(usual) + 10.0**-tool.decimals / 4
                share = float((np.abs(column - usual) / noise).max())
                largest[metric] = max(largest.get(metric, 0.0), share)

    assert EVENTS[kind].plain
    assert set(EVENTS[kind].plain) <= set(EVENTS[kind].metrics)
    assert all(largest[metric] > 3 for metric in EVENTS[kind].plain), largest


@pytest.mark.parametrize("kind", [EventKind.INVERSION, EventKind.OUTAGE, EventKind.LEAK])
def test_an_event_without_a_district_is_everywhere(kind: EventKind) -> None:
    districts = {device.id: device.district for device in DEVICES}

    assert {districts[device] for device, _ in changed(kind, None)} == set(districts.values())


@pytest.mark.parametrize("kind", EventKind)
def test_an_event_comes_and_goes_without_a_step(kind: EventKind) -> None:
    one = event(kind)
    seconds = np.arange(one.start // S - 900, one.end // S + 900, 60).astype(np.float64)
    strength = one.strength(seconds)

    assert strength.max() == one.size
    assert strength[0] == strength[-1] == 0.0
    assert np.abs(np.diff(strength)).max() <= one.size * 60 * 1.6 / min(EVENTS[kind].ramp_seconds, 300)
    assert not strength[(seconds < one.start / S) | (seconds >= one.end / S)].any()


def test_the_lights_go_out_and_the_meters_stand_still() -> None:
    world = World(7, CITY, [event(EventKind.OUTAGE)])
    midst = np.array([MONDAY + 42 * HOUR + HOUR // 2])
    here = [device for device in DEVICES if device.district == DISTRICT]

    for device in here:
        values = world.values(device.id, midst)
        if device.kind in {"energy", "meter", "light"}:
            assert values["power"] == [0.0]
        if device.kind == "light":
            assert [values["lamp"][0], values["dimming"][0]] == [0.0, 0.0]
        if device.kind == "energy":
            assert values["voltage"] < [1.0]
    assert any(BASE[d.id]["lamp"].max() == 1.0 for d in here if d.kind == "light")


def test_a_leak_is_carried_by_the_wind() -> None:
    """A street sensor downwind of the plant gets much more than one upwind, at the same time."""
    first, hours = TIMES[EventKind.LEAK]
    midst = np.array([MONDAY + first * HOUR + hours * HOUR // 2])
    world = World(7, CITY, [event(EventKind.LEAK)])
    more = [
        (world.truth(d.id, midst)["pm25"] - BARE.truth(d.id, midst)["pm25"])[0]
        for d in DEVICES
        if d.kind in {"air", "air_station"} and d.district == DISTRICT
    ]

    assert max(more) > 4 * min(more) > 0


def test_a_closed_road_is_empty_and_the_others_are_fuller() -> None:
    world = World(7, CITY, [event(EventKind.ROAD_CLOSURE)])
    midst = np.array([MONDAY + 37 * HOUR])
    ratios = [
        (world.truth(d.id, midst)["flow"] / BARE.truth(d.id, midst)["flow"])[0]
        for d in DEVICES
        if d.kind == "traffic" and d.district == DISTRICT
    ]

    assert min(ratios) < 0.3
    assert max(ratios) > 1.2


@pytest.mark.parametrize(
    ("seconds", "size", "message"),
    [
        pytest.param(1799, 1.0, "events: inversion: lasts less than 1800 seconds", id="too short"),
        pytest.param(7200, 0.0, "events: inversion: size 0: above 0 and at most 4 expected", id="no size"),
        pytest.param(7200, 4.1, "events: inversion: size 4.1: above 0 and at most 4 expected", id="too large"),
        pytest.param(7200, float("nan"), "events: inversion: size nan: above 0 and at most 4 expected", id="NaN"),
    ],
)
def test_an_impossible_event_is_refused(seconds: int, size: float, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        CityEvent(EventKind.INVERSION, MONDAY, MONDAY + seconds * S, size)

    assert str(caught.value) == message


def test_an_event_in_no_district_of_the_world_is_refused() -> None:
    wrong = CityEvent(EventKind.FLOOD, MONDAY, MONDAY + HOUR, 10.0, "atlantis")

    with pytest.raises(SettingsError, match="events: flood: district 'atlantis' is not one of altyn-yol, bagly"):
        World(7, CITY, [wrong])
