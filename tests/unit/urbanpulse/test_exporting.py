"""Tests of exports: every reading once, with its names, in a bounded number of pieces; errors say what is wrong."""

from __future__ import annotations

import csv
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pytest
from typer.testing import CliRunner

from backends.series import EmbeddedSeriesWriter
from core.batch import ReadingBatch
from core.city import Device
from core.errors import Conflict, NotFound, SettingsError
from urbanpulse import exporting
from urbanpulse.cli import app
from urbanpulse.exporting import COLUMNS, Wanted, export
from urbanpulse.installation import prepare
from urbanpulse.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND
ROWS = 1000


@pytest.fixture
def city(tmp_path: Path) -> Settings:
    """Return an installation with two devices in two districts, three series, ROWS readings each."""
    settings = Settings(data_dir=tmp_path / "data")
    installation = prepare(settings)
    with closing(installation.open_catalog()) as catalog:
        for name, district in (("air-1", "north"), ("air-2", "south")):
            catalog.registry.add_device(Device(name, "air", district), "hash")
        series = catalog.registry.allocate([("air-1", "pm25"), ("air-1", "no2"), ("air-2", "pm25")])
    with closing(EmbeddedSeriesWriter(tmp_path / "data" / "series", settings.series)) as writer:
        for position, one in enumerate(series, start=1):
            measured = START + np.arange(ROWS) * SECOND + 123_456_789
            batch = ReadingBatch.of(
                [one.id] * ROWS, measured, np.arange(ROWS) / 4 + position, received=measured + 5, quality=[3] * ROWS
            )
            writer.write("log", position, batch)
    return settings


@pytest.mark.parametrize("piece", [pytest.param(1, id="rows one by one"), pytest.param(333, id="pieces"), 10_000])
def test_every_reading_is_exported_once_in_whatever_pieces(
    city: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(exporting, "_PIECE", piece)
    told: list[tuple[int, int]] = []
    wanted = Wanted(metrics=frozenset({"pm25"}), start=START, end=START + 100 * SECOND)

    rows = export(city, tmp_path / "out.parquet", wanted, progress=lambda *at: told.append(at))

    found = duckdb.execute("SELECT * FROM read_parquet(?)", [str(tmp_path / "out.parquet")]).fetchnumpy()
    assert tuple(found) == COLUMNS
    assert rows == len(found["value"]) == 200
    assert found["device"].tolist() == ["air-1"] * 100 + ["air-2"] * 100
    assert set(zip(found["metric"].tolist(), found["district"].tolist(), strict=True)) == {
        ("pm25", "north"),
        ("pm25", "south"),
    }
    expected = START + 123_456_789 + np.arange(100) * SECOND
    np.testing.assert_array_equal(found["measured"].astype(np.int64), np.tile(expected, 2))
    np.testing.assert_array_equal(found["received"].astype(np.int64), np.tile(expected + 5, 2))
    np.testing.assert_array_equal(found["value"][:100], np.arange(100) / 4 + 1)
    assert set(found["quality"].tolist()) == {3}
    assert told == [(1, 2), (2, 2)]
    assert {path.name for path in tmp_path.iterdir()} == {"data", "out.parquet"}


def test_a_csv_says_the_same_in_text(city: Settings, tmp_path: Path) -> None:
    out = tmp_path / "it's.csv"

    assert export(city, out, Wanted(devices=frozenset({"air-2"}))) == ROWS

    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    moment = datetime.fromtimestamp(START // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    assert rows[0] == {
        "device": "air-2",
        "metric": "pm25",
        "district": "south",
        "measured": f"{moment}.123456789Z",
        "received": f"{moment}.123456794Z",
        "value": "3.0",
        "quality": "3",
    }
    assert len(rows) == ROWS


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_a_span_without_readings_gives_a_file_with_columns_and_no_rows(
    city: Settings, tmp_path: Path, name: str
) -> None:
    assert export(city, tmp_path / name, Wanted(end=1)) == 0

    found = duckdb.execute(f"SELECT * FROM '{tmp_path / name}'").fetchnumpy()  # noqa: S608
    assert tuple(found) == COLUMNS
    assert len(found["value"]) == 0


def test_an_existing_file_is_replaced_only_when_asked_to(city: Settings, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("mine")

    with pytest.raises(Conflict, match=r"out\.csv: exists already"):
        export(city, out, Wanted())
    assert out.read_text() == "mine"

    assert export(city, out, Wanted(), replace=True) == 3 * ROWS


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        pytest.param({"devices": frozenset({"air-9"})}, "device air-9", id="unknown device"),
        pytest.param({"metrics": frozenset({"pm25", "so2"})}, "metric so2", id="unknown metric"),
        pytest.param({"districts": frozenset({"west"})}, "district west", id="unknown district"),
        pytest.param(
            {"devices": frozenset({"air-2"}), "metrics": frozenset({"no2"})}, "no device", id="nothing in common"
        ),
    ],
)
def test_what_nobody_knows_is_named(
    city: Settings, tmp_path: Path, wanted: dict[str, frozenset[str]], text: str
) -> None:
    with pytest.raises(NotFound, match=text):
        export(city, tmp_path / "out.csv", Wanted(**wanted))  # type: ignore[arg-type]

    assert not (tmp_path / "out.csv").exists()


def test_a_strange_suffix_and_a_missing_folder_are_refused(city: Settings, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"out\.xlsx: a name that ends in \.parquet or \.csv"):
        export(city, tmp_path / "out.xlsx", Wanted())
    with pytest.raises(NotFound, match="no such folder"):
        export(city, tmp_path / "there" / "out.csv", Wanted())
    with pytest.raises(SettingsError, match="is not after --from"):
        Wanted(start=5, end=5)


def test_the_command_line_reads_moments_with_and_without_a_zone(
    city: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("URBANPULSE_DATA_DIR", str(city.data_dir))
    first = datetime.fromtimestamp(START // SECOND + 10, UTC)
    verb = ["series", "export", str(tmp_path / "out.csv"), "--device", "air-1", "--metric", "no2", "--json"]

    until = first.replace(tzinfo=None, microsecond=500_000).isoformat()
    result = CliRunner().invoke(app, [*verb, "--from", first.isoformat(), "--to", until])

    assert result.exit_code == 0, result.output
    assert '"rows": 1' in result.stdout
    wrong = CliRunner().invoke(app, [*verb, "--from", "yesterday"])
    assert wrong.exit_code == 2


def test_verify_names_damage_and_exits_with_1(city: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("URBANPULSE_DATA_DIR", str(city.data_dir))
    folder = city.data_dir / "series"
    sealing = city.series.model_copy(update={"seal_rows": 1})
    with closing(EmbeddedSeriesWriter(folder, sealing)) as writer:
        writer.maintain(START)
    assert CliRunner().invoke(app, ["series", "verify"]).exit_code == 0

    (path,) = (folder / "parts").rglob("*.parquet")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)

    told = CliRunner().invoke(app, ["series", "verify"])
    assert told.exit_code == 1
    assert f"file {path.relative_to(folder).as_posix()}" in told.output
    assert f"rows {3 * ROWS}" in told.output
    mended = CliRunner().invoke(app, ["series", "verify", "--repair"])
    assert "moved to damaged/" in mended.output
    assert CliRunner().invoke(app, ["series", "verify"]).exit_code == 0
