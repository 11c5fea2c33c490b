"""Tests of the series store of an installation: what it refuses is kept, and what the command line says of it."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from backends.series import InfluxSettings, SeriesSettings
from core.batch import ReadingBatch
from core.city import Device
from core.clock import ManualClock
from core.ports import RejectedReading
from processors.pipeline import NO_BANDS
from processors.spool import SpoolEntry
from tests.influx import influxd
from urbanpulse.cli import app
from urbanpulse.installation import Installation, prepare
from urbanpulse.settings import Settings
from urbanpulse.stores import open_series, open_spool, read_series, series_behind, spool_path, to_quarantine

if TYPE_CHECKING:
    from pathlib import Path

START = 20_000 * 86_400_000_000_000


def installation(folder: Path, **series: object) -> Installation:
    return prepare(Settings(data_dir=folder / "data", series=SeriesSettings(**series)))


def test_refused_readings_stand_in_quarantine_once_in_a_form_that_can_be_published_again(tmp_path: Path) -> None:
    with closing(installation(tmp_path).open_catalog()) as catalog:
        catalog.registry.add_device(Device("box-1", "air", "north"), "hash")
        [series] = catalog.registry.allocate([("box-1", "pm25")])
        keep = to_quarantine(catalog, ManualClock(), most=2)
        old = RejectedReading(series.id, START, 1.0, "first")
        known = RejectedReading(series.id, START + 5, 12.5, "field type conflict")
        unknown = RejectedReading(999, START, 2.0, "its series is not registered")

        keep(7, [old, known, unknown])
        keep(7, [known])

        newest, older = catalog.ledger.quarantine(10)
        assert (newest.device, newest.reason) == ("-", "bad_value")
        assert (older.topic, older.device) == ("devices/box-1/readings", "box-1")
        assert json.loads(older.payload) == {"ts": START + 5, "values": {"pm25": 12.5}}
        assert older.detail == "the series store refused it: field type conflict"


def test_the_embedded_store_has_no_spool_unless_something_waits_from_before(tmp_path: Path) -> None:
    """After a switch from an InfluxDB the embedded store gets what waited; then the spool goes."""
    here, clock = installation(tmp_path), ManualClock(START)
    with closing(here.open_catalog()) as catalog, closing(open_series(here, catalog, clock=clock)) as series:
        assert open_spool(here, series, clock=clock) is None
        assert series_behind(here, clock=clock)() == 0

        there = installation(tmp_path, url="http://127.0.0.1:9")
        spool = open_spool(there, series, clock=clock)
        assert spool is not None
        spool.append([SpoolEntry(7, START - 90 * 10**9, ReadingBatch.empty(), NO_BANDS).to_bytes()])
        spool.close()
        assert series_behind(here, clock=clock)() == 90

        spool = open_spool(here, series, clock=clock)
        assert spool is not None
        spool.commit("series", 1)
        spool.close()
        spool = open_spool(here, series, clock=clock)  # handed over, but not to this store
        assert spool is not None
        spool.close()
        series.write("processor", 7, ReadingBatch.empty())
        assert open_spool(here, series, clock=clock) is None
        assert not spool_path(here).exists()


def run(folder: Path, *words: str, **series: str) -> tuple[int, str]:
    config = folder / "settings.toml"
    lines = [f'{name.replace("__", ".")} = "{value}"' for name, value in series.items()]
    config.write_text(f'data_dir = "{folder / "data"}"\n[series]\n' + "\n".join(lines))
    result = CliRunner().invoke(app, [*words, "--config", str(config)])
    return result.exit_code, result.output if result.exception is None else f"{result.output}{result.exception}"


def test_init_makes_what_is_missing_and_health_tells(tmp_path: Path) -> None:
    with influxd(tmp_path / "server") as url:
        before = run(tmp_path, "series", "health", url=url)
        made = run(tmp_path, "series", "init", url=url, influx__database="town", influx__rollup_database="town_sums")
        after = run(tmp_path, "series", "health", url=url, influx__database="town", influx__rollup_database="town_sums")
    gone = run(tmp_path, "series", "health", url=url)

    assert before[0] == 1
    assert "series.influx.database: 'city': database not found" in before[1]
    assert made == (0, "database town: created, keeps everything\ndatabase town_sums: created, keeps everything\n")
    assert after[0] == 0
    assert after[1].startswith("ok: v1 1.")
    assert gone[0] == 1
    assert "not well" in gone[1]


def test_the_embedded_store_is_made_and_well_too(tmp_path: Path) -> None:
    made = run(tmp_path, "series", "init")
    health = run(tmp_path, "series", "health")

    assert made[0] == 0
    assert "is there" in made[1]
    assert health[0] == 0
    assert "ok: embedded" in health[1]


@pytest.mark.parametrize("words", [("series", "init"), ("series", "health")])
def test_an_address_that_cannot_be_is_named(tmp_path: Path, words: tuple[str, ...]) -> None:
    status, said = run(tmp_path, *words, url="carbon://x")

    assert status == 1
    assert "series.url" in said


def test_roles_open_the_store_that_the_settings_name(tmp_path: Path) -> None:
    """Written by one role under the names of the catalog, read by another."""
    with influxd(tmp_path / "server") as url:
        influx = InfluxSettings(database="a", rollup_database="a")
        assert run(tmp_path, "series", "init", url=url, influx__database="a", influx__rollup_database="a")[0] == 0
        place = installation(tmp_path, url=url, influx=influx)
        with closing(place.open_catalog()) as catalog:
            catalog.registry.add_device(Device("box-1", "air", "north"), "hash")
            [series] = catalog.registry.allocate([("box-1", "pm25")])
            batch = ReadingBatch.of([series.id], [START], [1.5])
            with (
                closing(open_series(place, catalog, clock=ManualClock())) as writer,
                closing(read_series(place, catalog)) as reader,
            ):
                writer.write("log", 1, batch)

                assert reader.latest() == batch
