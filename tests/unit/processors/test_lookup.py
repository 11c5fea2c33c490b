"""What is remembered of series and devices, and what is noticed when it changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.city import Device, Series
from core.errors import Unavailable
from processors.lookup import DeviceWatch, SeriesLookup
from tests.contracts.fakes import MemoryRegistry

AIR, NOISE = Device("air-1", "air", "north", interval_seconds=600), Device("noise-1", "noise", "north")


@pytest.fixture
def registry() -> MemoryRegistry:
    """Return a registry of two devices with a series each."""
    found = MemoryRegistry([AIR, NOISE])
    found.allocate([("air-1", "pm25"), ("noise-1", "noise")])
    return found


def test_the_first_look_tells_all_intervals_and_a_later_one_what_is_new(registry: MemoryRegistry) -> None:
    watch = DeviceWatch(registry)

    assert watch.look() == {"air-1": 600, "noise-1": None}
    assert watch.look() == {}
    registry.put(replace(NOISE, interval_seconds=5))
    registry.put(Device("noise-2", "noise", "south"))
    assert watch.look() == {"noise-1": 5, "noise-2": None}
    registry.put(replace(AIR, interval_seconds=None))
    assert watch.look() == {"air-1": None}
    registry.drop("air-1")
    assert watch.look() == {}


def test_what_a_look_did_not_find_because_the_registry_was_away_the_next_one_finds(
    registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> list[Device]:
        raise Unavailable("catalog", "away")

    watch = DeviceWatch(registry)
    watch.look()
    registry.put(replace(NOISE, interval_seconds=5))
    with monkeypatch.context() as torn:
        torn.setattr(registry, "devices", away)
        with pytest.raises(Unavailable, match="away"):
            watch.look()

    assert watch.look() == {"noise-1": 5}


def test_only_series_that_are_known_and_whose_interval_differs_are_renewed(registry: MemoryRegistry) -> None:
    lookup = SeriesLookup(registry)
    lookup.ensure([0])

    assert lookup.renew({"air-1": 600, "noise-1": None, "noise-2": 5}) == []
    assert lookup.renew({"air-1": 60}) == [Series(0, "air-1", "pm25", "north", 60)]
    assert lookup.renew({"air-1": 60}) == []
    assert lookup.get(0).interval_seconds == 60
    assert lookup.renew({"air-1": None}) == [Series(0, "air-1", "pm25", "north")]


def test_a_new_series_hides_no_change_of_those_that_are_known(registry: MemoryRegistry) -> None:
    lookup = SeriesLookup(registry)
    lookup.ensure([0, 1])
    registry.put(replace(AIR, interval_seconds=60))
    new = registry.allocate([("air-1", "no2")])[0]

    lookup.ensure([new.id])

    assert (lookup.get(0).interval_seconds, lookup.get(new.id).interval_seconds) == (600, 60)
    assert lookup.renew({"air-1": 60}) == [Series(0, "air-1", "pm25", "north", 60)]
