"""Tests of backups at rest: what is in them, what is taken over, what is refused, and what damage looks like."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from backends.copying import copy_database
from backends.filelock import exclusive, hold, is_held
from backends.log import LogSettings, SqliteLog
from backends.log.copying import copy_log
from backends.series import EmbeddedSeriesReader, EmbeddedSeriesWriter
from backends.series.journal import HOLD
from backends.snapshots import FileSnapshots
from core.batch import ReadingBatch
from core.clock import ManualClock
from core.errors import Conflict, MalformedPayload, NotFound, Unavailable
from urbanpulse import backup as backups
from urbanpulse.backup import Made, make_backup
from urbanpulse.backup_manifest import read_manifest
from urbanpulse.cli import app
from urbanpulse.installation import prepare
from urbanpulse.restoring import check_backup, restore_backup
from urbanpulse.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY = 86_400_000_000_000
START = 20_000 * DAY


@pytest.fixture
def city(tmp_path: Path) -> Settings:
    """Return an installation at rest: 5 entries in the log, 300 readings in three parts, one in the journal."""
    settings = Settings(data_dir=tmp_path / "data")
    installation = prepare(settings)
    with closing(SqliteLog(settings.data_dir / "log.sqlite", settings.log, clock=ManualClock())) as log:
        log.append([b"entry"] * 5)
        log.commit("processor", 2)
    write(settings, days=3)
    FileSnapshots(installation.folder / "snapshots").save(3, b"state")
    (installation.folder / "certs").mkdir()
    (installation.folder / "certs" / "ca.key").write_text("key")
    (installation.folder / "certs" / "ca.key").chmod(0o600)
    store = installation.folder / "broker" / "store" / "streams"
    (store / "obs").mkdir(parents=True)
    (store / "obs" / "o.dat").write_bytes(b"consumer")
    (store / "1.blk").write_bytes(b"messages")
    return settings


def write(settings: Settings, *, days: int) -> None:
    limits = settings.series.model_copy(update={"seal_rows": 1, "merge_seconds": 1e9})
    with closing(EmbeddedSeriesWriter(settings.data_dir / "series", limits)) as writer:
        position = writer.position("processor")
        for day in range(position, position + days):
            batch = ReadingBatch.of([1] * 100, [START + day * DAY + n for n in range(100)], [1.0] * 100)
            writer.write("processor", day + 1, batch)
            writer.maintain(START)
        writer.write("processor", position + days + 1, ReadingBatch.of([1], [START - 1 - position], [2.0]))


def back_up(settings: Settings, out: Path, *, with_secrets: bool = True) -> Made:
    return make_backup(settings, out, now_ns=START, with_secrets=with_secrets)


def count(data: Path) -> int:
    with closing(EmbeddedSeriesReader(data / "series", Settings().series)) as reader:
        return reader.count()


def test_a_backup_comes_back_as_it_was_with_modes_and_positions(city: Settings, tmp_path: Path) -> None:
    made = back_up(city, tmp_path / "backup")

    assert check_backup(tmp_path / "backup") == []
    manifest = restore_backup(tmp_path / "backup", tmp_path / "new")
    assert manifest == made.manifest
    assert manifest.log_through == 5
    assert manifest.positions == {"snapshot": 3, "series:processor": 4}
    assert manifest.left_out == ()
    assert count(tmp_path / "new") == 301
    with closing(SqliteLog(tmp_path / "new" / "log.sqlite", LogSettings(), clock=ManualClock())) as log:
        assert (log.head(), log.cursor("processor")) == (5, 2)
    kept = {"secrets/services.json": 0o600, "certs/ca.key": 0o600, "broker/store/streams/1.blk": None}
    for path, mode in kept.items():
        assert (tmp_path / "new" / path).read_bytes() == (city.data_dir / path).read_bytes()
        assert mode is None or (tmp_path / "new" / path).stat().st_mode & 0o777 == mode
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0
    with closing(prepare(Settings(data_dir=tmp_path / "new")).open_catalog()) as catalog:
        assert catalog.accounts.user("operator") is not None


def test_a_second_backup_takes_over_parts_and_forgets_what_is_gone(city: Settings, tmp_path: Path) -> None:
    first = back_up(city, tmp_path / "backup")
    write(city, days=1)

    second = back_up(city, tmp_path / "backup")

    parts = {kept.stored for kept in first.manifest.files if kept.stored.startswith("parts/")}
    assert parts < {kept.stored for kept in second.manifest.files}
    assert second.reused == sum(kept.bytes for kept in first.manifest.files if kept.stored in parts)
    assert [path.name for path in (tmp_path / "backup").glob("state-*")] == ["state-2"]
    for path in (city.data_dir / "series" / "parts").rglob("*.parquet"):
        path.unlink()
    (city.data_dir / "series" / "journal.sqlite").unlink()
    write(city, days=1)
    back_up(city, tmp_path / "backup")
    assert len(list((tmp_path / "backup" / "parts").rglob("*.parquet"))) == 1
    assert check_backup(tmp_path / "backup") == []


def test_parts_are_linked_within_a_file_system_and_copied_beyond(
    city: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(city, tmp_path / "linked")
    monkeypatch.setattr(os, "link", no_links)
    back_up(city, tmp_path / "copied")

    for name, links in (("linked", 2), ("copied", 1)):
        for path in (tmp_path / name / "parts").rglob("*.parquet"):
            assert path.stat().st_nlink == links
        assert check_backup(tmp_path / name) == []


def no_links(*_: object) -> None:
    raise OSError(18, "Invalid cross-device link")


def test_without_secrets_none_are_there_and_it_says_so(city: Settings, tmp_path: Path) -> None:
    made = back_up(city, tmp_path / "backup", with_secrets=False)

    assert made.manifest.left_out == ("secrets and certificates",)
    assert not {"secrets", "certs"} & {kept.path.split("/")[0] for kept in made.manifest.files}


def test_what_lies_elsewhere_is_named(city: Settings, tmp_path: Path) -> None:
    away = Settings(
        data_dir=city.data_dir,
        mqtt={"url": "mqtt://broker.example"},
        series={"url": "http://influx.example:8086"},
        catalog={"url": "postgresql+psycopg://city@db.example/city"},
    )

    made = back_up(away, tmp_path / "backup")

    told = " · ".join(made.manifest.left_out)
    assert "mqtt://broker.example:1883" in told
    assert "InfluxDB" in told
    assert "PostgreSQL" in told
    assert "catalog.sqlite" not in {kept.path for kept in made.manifest.files}


def test_what_waits_for_an_influxdb_is_there(city: Settings, tmp_path: Path) -> None:
    with closing(SqliteLog(city.data_dir / "spool.sqlite", city.log, clock=ManualClock())) as spool:
        spool.append([b"judged"] * 3)
        spool.commit("series", 1)

    back_up(city, tmp_path / "backup")
    restore_backup(tmp_path / "backup", tmp_path / "new")

    with closing(SqliteLog(tmp_path / "new" / "spool.sqlite", city.log, clock=ManualClock())) as spool:
        assert spool.read(spool.cursor("series"), 9) == [(2, b"judged"), (3, b"judged")]


def test_the_log_is_cut_where_the_stores_may_be(
    city: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries appended after the catalog was copied may name series that it does not know."""
    copy = copy_database

    def slow(source: Path, target: Path, *, busy_seconds: float) -> None:
        copy(source, target, busy_seconds=busy_seconds)
        if source.name == "catalog.sqlite":
            with closing(SqliteLog(city.data_dir / "log.sqlite", city.log, clock=ManualClock())) as log:
                log.append([b"later"] * 3)

    monkeypatch.setattr(backups, "copy_database", slow)

    made = back_up(city, tmp_path / "backup")

    assert made.manifest.log_through == 5
    with sqlite3.connect(tmp_path / "backup" / "state-1" / "log.sqlite") as db:
        assert db.execute("SELECT max(position) FROM entries").fetchone() == (5,)
    db.close()


def test_nothing_is_trimmed_or_swept_while_a_backup_is_made(
    city: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    copy = copy_log

    def look(path: Path, target: Path, through: int, *, busy_seconds: float) -> None:
        seen.append((is_held(city.data_dir / "log.sqlite"), is_held(city.data_dir / "series" / HOLD)))
        eager = city.log.model_copy(update={"retention_hours": 0})
        with closing(SqliteLog(city.data_dir / "log.sqlite", eager, clock=ManualClock())) as log:
            assert log.trim(1 << 62) == 0
        copy(path, target, through, busy_seconds=busy_seconds)

    monkeypatch.setattr(backups, "copy_log", look)
    back_up(city, tmp_path / "backup")

    assert seen == [(True, True)]
    assert not is_held(city.data_dir / "log.sqlite")
    with hold(city.data_dir / "log.sqlite"), hold(city.data_dir / "log.sqlite"):
        assert is_held(city.data_dir / "log.sqlite")


def test_a_damaged_part_is_named_and_left_out_and_the_rest_is_kept(
    city: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = min((city.data_dir / "series" / "parts").rglob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    monkeypatch.setenv("URBANPULSE_DATA_DIR", str(city.data_dir))

    result = CliRunner().invoke(app, ["backup", str(tmp_path / "backup"), "--json"])

    assert result.exit_code == 1
    (damaged,) = json.loads(result.stdout)["damaged"]
    assert damaged.startswith(f"series/{path.relative_to(city.data_dir / 'series').as_posix()}: ")
    assert check_backup(tmp_path / "backup") == []


@pytest.mark.parametrize(
    ("where", "text"),
    [
        pytest.param("data/backup", "cannot lie in the data folder", id="inside"),
        pytest.param(".", "nor around it", id="around"),
        pytest.param("mine", "neither empty nor a backup", id="something else"),
    ],
)
def test_a_backup_into_the_wrong_place_is_refused(city: Settings, tmp_path: Path, where: str, text: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")

    with pytest.raises(Conflict, match=text):
        back_up(city, tmp_path / where)

    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_two_backups_into_one_folder_at_a_time_and_none_of_nothing_are_refused(
    city: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFound, match="nothing to back up"):
        back_up(Settings(data_dir=tmp_path / "nowhere"), tmp_path / "backup")
    copy = copy_log

    def again(*args: object, **options: object) -> None:
        with pytest.raises(Conflict, match="another backup is being made"):
            back_up(city, tmp_path / "backup")
        copy(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(backups, "copy_log", again)
    back_up(city, tmp_path / "backup")


@contextmanager
def spoilt(path: Path) -> Iterator[None]:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    yield
    path.write_bytes(content)


def test_damage_in_any_file_of_a_backup_is_found_and_nothing_is_restored(city: Settings, tmp_path: Path) -> None:
    made = back_up(city, tmp_path / "backup")

    for kept in made.manifest.files:
        with spoilt(tmp_path / "backup" / kept.stored):
            assert check_backup(tmp_path / "backup") == [f"{kept.stored} ({kept.path}): SHA-256 differs"]
    stored = tmp_path / "backup" / made.manifest.files[0].stored
    with spoilt(stored), pytest.raises(MalformedPayload, match="SHA-256 differs; nothing was restored"):
        restore_backup(tmp_path / "backup", tmp_path / "new")
    stored.unlink()
    assert check_backup(tmp_path / "backup")[0].endswith("is missing")
    with pytest.raises(MalformedPayload, match="is missing"):
        restore_backup(tmp_path / "backup", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".new*"))


def test_a_damaged_newer_or_absent_manifest_is_refused(city: Settings, tmp_path: Path) -> None:
    back_up(city, tmp_path / "backup")
    file = tmp_path / "backup" / "manifest.json"
    content = file.read_text()

    for wrong, text in (
        (content.replace('"generation": 1', '"generation": 2'), "checksum does not fit"),
        (content.replace('"urbanpulse_backup": 1', '"urbanpulse_backup": 2'), "version 2"),
        (content[:-100], "damaged"),
        ("[]", "damaged"),
    ):
        file.write_text(wrong)
        with pytest.raises(MalformedPayload, match=text):
            restore_backup(tmp_path / "backup", tmp_path / "new")
    with pytest.raises(NotFound, match="no backup is here"):
        read_manifest(tmp_path)


def test_a_manifest_that_leads_out_of_the_folder_is_refused(city: Settings, tmp_path: Path) -> None:
    made = back_up(city, tmp_path / "backup")
    evil = made.manifest.files[0].__class__("../evil", made.manifest.files[0].stored, 1, "", 0o600)
    manifest = made.manifest.__class__(1, "", "", 0, {}, (), (evil,))
    (tmp_path / "backup" / "manifest.json").write_bytes(manifest.to_bytes())

    with pytest.raises(MalformedPayload, match="leads out of the folder"):
        restore_backup(tmp_path / "backup", tmp_path / "new")


def test_a_backup_is_restored_into_a_new_or_empty_folder_only(city: Settings, tmp_path: Path) -> None:
    back_up(city, tmp_path / "backup")
    (tmp_path / "empty").mkdir()
    restore_backup(tmp_path / "backup", tmp_path / "empty")

    with pytest.raises(Conflict, match="is not empty"):
        restore_backup(tmp_path / "backup", tmp_path / "empty")
    with pytest.raises(Conflict, match="is not empty"):
        restore_backup(tmp_path / "backup", city.data_dir)


def test_a_locked_catalog_does_not_stop_a_backup_and_an_unreadable_log_is_told(city: Settings, tmp_path: Path) -> None:
    with exclusive(city.data_dir / "catalog.sqlite", 1):
        back_up(city, tmp_path / "backup")
    for name in ("log.sqlite", "log.sqlite-wal"):
        (city.data_dir / name).write_bytes(b"no database at all, but long enough to be looked at" * 100)

    with pytest.raises(Unavailable, match=r"log\.sqlite"):
        back_up(city, tmp_path / "backup")

    assert read_manifest(tmp_path / "backup").generation == 1
    assert check_backup(tmp_path / "backup") == []
