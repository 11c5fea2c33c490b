"""The city's map: any size, everything in its place, and GeoJSON that maps can read."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import pytest

from core.errors import SettingsError
from core.metrics import KINDS
from simulators.geojson import is_counter_clockwise
from simulators.geometry import degrees, kilometres
from simulators.layout import KIND_SHARES, City, city, contains, demo_city

SITE_KINDS = {"plant", "soil", "irrigation", "cold_chain", "beds", "water"}


@pytest.fixture(scope="module")
def town() -> City:
    return city(7, 2000)


@pytest.mark.parametrize("devices", [1, 17, 18, 50, 2000, 100_000])
def test_a_city_has_as_many_devices_as_asked_for_and_every_name_once(devices: int) -> None:
    found = city(3, devices).devices

    assert len(found) == len({device.id for device in found}) == devices
    if devices >= len(KIND_SHARES):
        assert {device.kind for device in found} == KIND_SHARES.keys()


def test_there_are_more_than_twelve_kinds_and_core_knows_what_they_report() -> None:
    assert len(KIND_SHARES) > 12
    assert all(KINDS[kind] for kind in KIND_SHARES)


@pytest.mark.parametrize("devices", [0, -1, 100_001])
def test_a_city_of_impossible_size_is_refused(devices: int) -> None:
    with pytest.raises(SettingsError, match=f"devices: {devices}: 1 to 100000 expected"):
        city(7, devices)


def test_kinds_keep_their_shares_at_any_size(town: City) -> None:
    small, large = Counter(d.kind for d in town.devices), Counter(d.kind for d in city(7, 8000).devices)

    for kind in KIND_SHARES:
        assert small[kind] / 2000 == pytest.approx(large[kind] / 8000, abs=0.01)


def test_every_district_has_every_kind_that_is_found_all_over_the_city(town: City) -> None:
    for district in town.districts:
        kinds = {device.kind for device in town.devices if device.district == district.id}
        assert KIND_SHARES.keys() - SITE_KINDS <= kinds


def test_every_device_stands_in_its_district_and_in_no_other(town: City) -> None:
    outlines = {district.id: district.outline for district in town.districts}

    for device in town.devices:
        assert device.lon is not None
        assert device.lat is not None
        assert [name for name, ring in outlines.items() if contains(ring, device.lon, device.lat)] == [device.district]


def test_devices_of_a_site_stand_beside_it(town: City) -> None:
    for kind, site_kind in (("plant", "plant"), ("soil", "farm"), ("beds", "hospital")):
        sites = [kilometres(site.lon, site.lat) for site in town.sites if site.kind == site_kind]
        for device in (d for d in town.devices if d.kind == kind):
            x, y = kilometres(device.lon or 0.0, device.lat or 0.0)
            assert min(max(abs(x - sx), abs(y - sy)) for sx, sy in sites) <= 0.3501


def test_traffic_counters_stand_at_a_road(town: City) -> None:
    def away(x: float, y: float) -> float:
        best = 99.0
        for road in town.roads:
            for (ax, ay), (bx, by) in pairwise(road.line):
                length = (bx - ax) ** 2 + (by - ay) ** 2
                t = min(max(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length, 0.0), 1.0)
                best = min(best, ((x - ax - t * (bx - ax)) ** 2 + (y - ay - t * (by - ay)) ** 2) ** 0.5)
        return best

    for device in [d for d in town.devices if d.kind == "traffic"][::10]:
        assert away(*kilometres(device.lon or 0.0, device.lat or 0.0)) < 0.03


def test_the_same_seed_is_the_same_city_and_another_is_not() -> None:
    assert city(7, 300) == city(7, 300)
    assert city(7, 300).devices != city(8, 300).devices
    assert demo_city(7) == demo_city(7)


def test_sites_of_every_sector_are_on_the_map(town: City) -> None:
    kinds = Counter(site.kind for site in town.sites)

    assert kinds.keys() == {"hospital", "reservoir", "plant", "farm", "depot", "stadium", "corner"}
    assert kinds["corner"] > 50
    assert len({site.id for site in town.sites}) == len(town.sites)


def test_the_map_is_geojson_with_longitude_first_and_rings_counter_clockwise(town: City) -> None:
    found = json.loads(json.dumps(town.geojson()))
    features = found["features"]

    assert found["type"] == "FeatureCollection"
    assert Counter(f["properties"]["layer"] for f in features) == {
        "district": 5,
        "road": len(town.roads),
        "site": len(town.sites),
        "device": 2000,
    }
    assert len({(f["properties"]["layer"], f["id"]) for f in features}) == len(features)
    for feature in features:
        shape = feature["geometry"]
        inner = shape["coordinates"]
        points = {"Point": [inner], "LineString": inner, "Polygon": inner[0]}[shape["type"]]
        assert all(58.2 < lon < 58.6 and 37.8 < lat < 38.1 for lon, lat in points)
        if shape["type"] == "Polygon":
            assert points[0] == points[-1]
            assert is_counter_clockwise(tuple(map(tuple, points)))


def test_degrees_and_kilometres_are_inverse() -> None:
    x, y = kilometres(*degrees(-3.21, 4.56))

    assert x == pytest.approx(-3.21, abs=1e-4)
    assert y == pytest.approx(4.56, abs=1e-4)
