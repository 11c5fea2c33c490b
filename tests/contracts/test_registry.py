"""Every registry keeps the promises of `core.ports.Registry` and `DeviceAdmin`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from backends.catalog import Catalog, CatalogSettings, open_catalog
from core.city import SERIES_BLOCK, Device, District, Series
from core.errors import Conflict, MalformedPayload, NotFound
from tests.contracts.conftest import DATABASES, empty_database, small_catalog
from tests.contracts.fakes import MemoryRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

IMPLEMENTATIONS = ["memory", *DATABASES]
DEVICES = [
    Device("air-1", "air", "center"),
    Device("air-2", "air", "north", interval_seconds=600),
    Device("noise-1", "noise", "center"),
]


def test_the_suite_runs_on_every_registry() -> None:
    assert set(IMPLEMENTATIONS) >= {"memory", "sqlite"}


@pytest.fixture(params=IMPLEMENTATIONS)
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Return a registry that knows DEVICES."""
    if request.param == "memory":
        yield MemoryRegistry(DEVICES)
        return
    with small_catalog(empty_database(request.param, tmp_path, request)) as catalog:
        for device in DEVICES:
            catalog.registry.add_device(device, "hash")
        yield catalog.registry


def test_series_are_dense_within_the_block_of_their_district(registry: Any) -> None:
    got = registry.allocate([("air-1", "pm25"), ("air-2", "pm25"), ("air-1", "no2"), ("noise-1", "laeq")])

    assert [series.id for series in got] == [0, SERIES_BLOCK, 1, 2]
    assert registry.series() == sorted(got, key=lambda series: series.id)
    assert got[1] == Series(SERIES_BLOCK, "air-2", "pm25", "north", 600)


def test_the_same_pair_is_the_same_series_always(registry: Any) -> None:
    first = registry.allocate([("air-1", "pm25")])

    again = registry.allocate([("air-1", "no2"), ("air-1", "pm25"), ("air-1", "pm25")])

    assert again[1] == again[2] == first[0]
    assert len(registry.series()) == 2


def test_a_full_block_is_followed_by_the_next_free_one(registry: Any) -> None:
    registry.allocate([("air-1", f"m{i}") for i in range(SERIES_BLOCK - 1)])
    registry.allocate([("air-2", "pm25")])

    got = registry.allocate([("noise-1", "a"), ("noise-1", "b"), ("air-2", "no2")])

    assert [series.id for series in got] == [SERIES_BLOCK - 1, 2 * SERIES_BLOCK, SERIES_BLOCK + 1]


def test_an_unknown_device_creates_nothing(registry: Any) -> None:
    with pytest.raises(NotFound, match="ghost"):
        registry.allocate([("air-1", "pm25"), ("ghost", "pm25")])

    assert registry.series() == []


def test_the_revision_grows_with_every_change_and_with_nothing_else(registry: Any) -> None:
    start = registry.revision()
    registry.allocate([("air-1", "pm25")])
    allocated = registry.revision()
    registry.allocate([("air-1", "pm25")])

    assert start < allocated == registry.revision()


def test_devices_come_by_id(registry: Any) -> None:
    assert registry.devices() == sorted(DEVICES, key=lambda device: device.id)


def test_a_series_knows_the_interval_that_its_device_declares(registry: Any) -> None:
    made = registry.allocate([("air-2", "pm25"), ("noise-1", "noise")])

    assert [series.interval_seconds for series in made] == [600, None]
    assert sorted(registry.series(), key=lambda series: series.device) == made
    assert registry.allocate([("air-2", "no2")])[0].interval_seconds == 600


# -- administration: the catalog only ----------------------------------------------------------------------------------


def test_a_device_keeps_its_place_and_brings_its_district(catalog: Catalog) -> None:
    device = Device("air-1", "air", "center", "Öňki ýol 5", 37.95, 58.38)

    catalog.registry.add_device(device, "hash")

    assert catalog.registry.devices() == [device]
    assert catalog.registry.districts() == [District("center", "center")]
    assert catalog.registry.credentials() == {"air-1": "hash"}


def test_a_district_can_be_changed(catalog: Catalog) -> None:
    outline = ((58.1, 37.9), (58.2, 37.9), (58.2, 38.0), (58.1, 37.9))
    catalog.registry.put_district(District("center", "Center"))
    revision = catalog.registry.revision()

    catalog.registry.put_district(District("center", "Merkez", outline))

    assert catalog.registry.districts() == [District("center", "Merkez", outline)]
    assert catalog.registry.revision() > revision


def test_a_district_whose_id_cannot_stand_in_a_topic_is_refused(catalog: Catalog) -> None:
    with pytest.raises(MalformedPayload, match="a/b"):
        catalog.registry.put_district(District("a/b", "AB"))


def test_a_metric_whose_id_cannot_stand_in_a_topic_is_refused_and_creates_nothing(catalog: Catalog) -> None:
    catalog.registry.add_device(DEVICES[0], "hash")

    with pytest.raises(MalformedPayload, match="a/b"):
        catalog.registry.allocate([("air-1", "ok"), ("air-1", "a/b")])

    assert catalog.registry.series() == []


@pytest.mark.parametrize("interval", [60, None])
def test_a_device_may_declare_another_interval_and_so_do_its_series(catalog: Catalog, interval: float | None) -> None:
    for device in DEVICES:
        catalog.registry.add_device(device, "hash")
    catalog.registry.allocate([("air-2", "pm25"), ("noise-1", "noise")])
    before = catalog.registry.revision()

    catalog.registry.set_interval("air-2", interval)

    assert catalog.registry.devices() == [DEVICES[0], replace(DEVICES[1], interval_seconds=interval), DEVICES[2]]
    series = catalog.registry.allocate([("air-2", "pm25"), ("air-2", "no2"), ("noise-1", "noise")])
    assert [one.interval_seconds for one in series] == [interval, interval, None]
    assert catalog.registry.revision() > before
    assert catalog.registry.credentials() == {device.id: "hash" for device in DEVICES}


def test_an_interval_of_no_device_or_of_no_sense_changes_nothing(catalog: Catalog) -> None:
    for device in DEVICES:
        catalog.registry.add_device(device, "hash")
    catalog.registry.remove_device("noise-1")
    before = catalog.registry.revision()

    for interval in (0, 0.5, float("nan"), 31 * 86_400 + 1):
        with pytest.raises(MalformedPayload, match=r"air-2: interval .* s: 1 s to 31 days expected"):
            catalog.registry.set_interval("air-2", interval)
    for nobody in ("ghost", "noise-1"):
        with pytest.raises(NotFound, match=f"{nobody}: not registered"):
            catalog.registry.set_interval(nobody, 60)

    assert (catalog.registry.devices(), catalog.registry.revision()) == (DEVICES[:2], before)


def test_a_removed_device_is_gone_but_its_series_and_its_id_stay(catalog: Catalog) -> None:
    catalog.registry.add_device(replace(DEVICES[0], interval_seconds=600), "hash")
    series = catalog.registry.allocate([("air-1", "pm25")])

    catalog.registry.remove_device("air-1")

    assert (catalog.registry.devices(), catalog.registry.credentials()) == ([], {})
    assert catalog.registry.series() == series
    assert series[0].interval_seconds == 600  # what was judged by it is judged by it again
    with pytest.raises(Conflict, match="air-1: the id belonged to a removed device"):
        catalog.registry.add_device(DEVICES[0], "hash")
    with pytest.raises(NotFound, match="air-1"):
        catalog.registry.remove_device("air-1")
    with pytest.raises(NotFound, match="air-1"):
        catalog.registry.allocate([("air-1", "no2")])


def test_an_id_that_is_taken_is_a_conflict(catalog: Catalog) -> None:
    catalog.registry.add_device(DEVICES[0], "hash")

    with pytest.raises(Conflict, match="air-1: the id is taken"):
        catalog.registry.add_device(DEVICES[0], "other")

    assert catalog.registry.credentials() == {"air-1": "hash"}


def test_many_devices_are_registered_together_or_none_of_them(catalog: Catalog) -> None:
    new = [(Device(f"d{i}", "air", "center" if i % 2 else "north"), f"hash {i}") for i in range(501)]
    before = catalog.registry.revision()

    catalog.registry.add_devices(new)

    assert catalog.registry.credentials() == {device.id: secret for device, secret in new}
    assert [district.id for district in catalog.registry.districts()] == ["center", "north"]
    assert catalog.registry.revision() > before
    with pytest.raises(Conflict, match="d500: the id is taken"):
        catalog.registry.add_devices([(Device("other", "air", "south"), "hash"), new[500]])
    assert len(catalog.registry.devices()) == 501
    assert len(catalog.registry.districts()) == 2


def test_more_devices_than_one_query_can_name_are_found(catalog: Catalog) -> None:
    for i in range(501):
        catalog.registry.add_device(Device(f"d{i}", "air", "center"), "hash")

    got = catalog.registry.allocate([(f"d{i}", "pm25") for i in range(501)])

    assert [series.id for series in got] == list(range(501))
    assert catalog.registry.allocate([(f"d{i}", "pm25") for i in range(501)]) == got


ALLOCATE = """
import json, sys
from backends.catalog import CatalogSettings, open_catalog
url, number = sys.argv[1:]
catalog = open_catalog(url, CatalogSettings())
ids = {}
for i in range(40):
    for j in (i, (i * 7 + int(number)) % 40):
        for series in catalog.registry.allocate([("air-1", f"m{j}"), ("air-2", f"m{j}")]):
            assert ids.setdefault(series.device + series.metric, series.id) == series.id
print(json.dumps(ids, sort_keys=True))
catalog.close()
"""


def test_two_processes_get_the_same_series(catalog_url: str, processes: Callable[..., list[str]]) -> None:
    catalog = open_catalog(catalog_url, CatalogSettings())
    for device in DEVICES:
        catalog.registry.add_device(device, "hash")

    one, two = map(json.loads, processes(ALLOCATE, catalog_url))

    assert one == two
    assert sorted(one.values()) == [*range(40), *range(SERIES_BLOCK, SERIES_BLOCK + 40)]
    catalog.close()


OPEN = """
import sys
from backends.catalog import CatalogSettings, open_catalog
catalog = open_catalog(sys.argv[1], CatalogSettings())
print(catalog.registry.revision())
catalog.close()
"""


def test_four_processes_may_create_the_catalog_at_once(catalog_url: str, processes: Callable[..., list[str]]) -> None:
    assert processes(OPEN, catalog_url, n=4) == ["0\n"] * 4
