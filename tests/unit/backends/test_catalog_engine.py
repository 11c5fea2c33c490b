"""The catalog opens, migrates and fails as it says."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

import backends.catalog
from backends.catalog import CatalogSettings, open_catalog, tables
from backends.catalog.engine import HEAD
from core.city import Device, Series
from core.errors import SettingsError, Unavailable

AIR = Device("air-1", "air", "center")


def url(folder: Path) -> str:
    return f"sqlite:///{folder}/catalog.sqlite"


def test_the_migrations_make_exactly_the_tables(tmp_path: Path) -> None:
    catalog = open_catalog(url(tmp_path), CatalogSettings())
    with catalog.store.read() as db:
        context = MigrationContext.configure(db, opts={"compare_type": True})

        assert compare_metadata(context, tables.metadata) == []
    catalog.close()


def test_the_code_knows_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(backends.catalog.__file__).with_name("migrations")))

    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_the_file_is_durable_and_private(tmp_path: Path) -> None:
    catalog = open_catalog(url(tmp_path), CatalogSettings())
    with catalog.store.write() as db:
        found = [
            db.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    catalog.close()

    assert found == ["wal", 2, 1]
    assert (tmp_path / "catalog.sqlite").stat().st_mode & 0o777 == 0o600


def test_the_words_of_a_failed_statement_tell_no_secret(tmp_path: Path) -> None:
    catalog = open_catalog(url(tmp_path), CatalogSettings())
    with pytest.raises(IntegrityError) as failed, catalog.store.write() as db:
        db.execute(text("INSERT INTO alembic_version VALUES (:secret)"), {"secret": HEAD})
    catalog.close()

    assert "INSERT INTO alembic_version" in str(failed.value)
    assert HEAD not in str(failed.value)


def test_a_catalog_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    open_catalog(url(tmp_path), CatalogSettings()).close()
    with sqlite3.connect(tmp_path / "catalog.sqlite") as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    db.close()

    with pytest.raises(SettingsError, match=f"version 9999, {HEAD} is the newest known"):
        open_catalog(url(tmp_path), CatalogSettings())


def test_a_catalog_of_the_first_version_is_brought_up_to_date_with_what_is_in_it(tmp_path: Path) -> None:
    open_catalog(url(tmp_path), CatalogSettings()).close()
    with sqlite3.connect(tmp_path / "catalog.sqlite") as db:
        db.execute("DROP INDEX ix_alert_incident_active_opened_at")
        db.execute("ALTER TABLE alert DROP COLUMN incident")
        db.execute("ALTER TABLE device DROP COLUMN interval_seconds")
        db.execute("INSERT INTO district VALUES ('center', 'center', '[]')")
        db.execute("INSERT INTO device VALUES ('air-1', 'air', 'center', '', NULL, NULL, 'hash', 0)")
        db.execute("INSERT INTO series VALUES (0, 'air-1', 'pm25', 'center')")
        db.execute("UPDATE alembic_version SET version_num = '0001'")
    db.close()

    catalog = open_catalog(url(tmp_path), CatalogSettings())

    assert catalog.registry.devices() == [AIR]
    assert catalog.registry.series() == [Series(0, "air-1", "pm25", "center")]
    catalog.close()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        pytest.param("nonsense", "Could not parse", id="not a URL"),
        pytest.param("sqlite://", "several processes share", id="in memory"),
        pytest.param("nodb://x/y", "nodb", id="no such database"),
    ],
)
def test_a_wrong_url_names_the_setting(bad: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"catalog.url: .*{message}"):
        open_catalog(bad, CatalogSettings())


def test_a_file_that_is_no_database_is_a_wrong_setting_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").write_bytes(b"something else, long enough to be looked at" * 100)

    with pytest.raises(SettingsError, match=r"catalog\.sqlite: file is not a database"):
        open_catalog(url(tmp_path), CatalogSettings())

    assert (tmp_path / "catalog.sqlite").read_bytes().startswith(b"something else")


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(Unavailable, match="file"):
        open_catalog(url(tmp_path / "file" / "below"), CatalogSettings())


def test_a_locked_database_is_unavailable_and_works_again_afterwards(tmp_path: Path) -> None:
    catalog = open_catalog(url(tmp_path), CatalogSettings(busy_timeout_seconds=0.05))
    other = sqlite3.connect(tmp_path / "catalog.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(Unavailable, match="catalog: database is locked"):
        catalog.registry.add_device(AIR, "hash")
    assert catalog.registry.devices() == []
    other.execute("ROLLBACK")
    other.close()
    catalog.registry.add_device(AIR, "hash")

    assert catalog.registry.devices() == [AIR]
    catalog.close()


def test_a_writer_that_never_ends_is_waited_for_only_so_long(tmp_path: Path) -> None:
    patient, hasty = (open_catalog(url(tmp_path), CatalogSettings(busy_timeout_seconds=s)) for s in (5, 0.05))

    with patient.store.write(), pytest.raises(Unavailable, match=r"locked by another process for 0\.05 s"):
        hasty.registry.add_device(AIR, "hash")

    hasty.registry.add_device(AIR, "hash")
    for catalog in (patient, hasty):
        assert catalog.registry.devices() == [AIR]
        catalog.close()


def test_a_full_disk_is_unavailable_and_changes_nothing(tmp_path: Path) -> None:
    catalog = open_catalog(url(tmp_path), CatalogSettings(connections=1))
    with catalog.store.read() as db:
        pages = db.exec_driver_sql("PRAGMA page_count").scalar()
        db.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(Unavailable, match="full"):
        catalog.registry.add_device(Device("air-1", "air", "center", "n" * 100_000), "hash")
    assert (catalog.registry.devices(), catalog.registry.revision()) == ([], 0)
    with catalog.store.read() as db:
        db.exec_driver_sql("PRAGMA max_page_count = 1000000")
    catalog.registry.add_device(AIR, "hash")

    assert catalog.registry.devices() == [AIR]
    catalog.close()


def test_more_callers_than_connections_wait_and_then_hear_that_it_is_busy(tmp_path: Path) -> None:
    catalog = open_catalog(url(tmp_path), CatalogSettings(connections=1, busy_timeout_seconds=0.05))

    with catalog.store.read(), pytest.raises(Unavailable, match="catalog: QueuePool limit"):
        catalog.registry.devices()

    catalog.close()
