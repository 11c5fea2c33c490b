"""This module is the catalog's connections: read and write transactions, and the migration at opening.

All writers take their turn: a file lock and `BEGIN IMMEDIATE` with SQLite, one advisory lock in PostgreSQL. So what
a write transaction has read stays true until it commits, and no code above needs a retry.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, nullcontext
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, exc, inspect, make_url, select, text
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.pool import QueuePool

from backends.catalog import tables
from backends.filelock import creating, exclusive
from core.errors import SettingsError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from backends.catalog.settings import CatalogSettings

__all__ = ["HEAD", "Store", "count", "counted", "in_chunks", "move", "open_store", "position", "upsert"]

HEAD = "0003"
"""The migration that this code was written for."""

_IN_CHUNK = 500
_WRITES = "urbanpulse_writes"
_PG_LOCK = 0x75726261  # "urba": any constant that nobody else on that database uses


class Store:
    """An open database; safe from any thread, one transaction per `with`."""

    def __init__(self, engine: Engine, timeout_seconds: float) -> None:
        self._timeout = timeout_seconds
        is_sqlite = engine.dialect.name == "sqlite"
        # one snapshot per read transaction: SQLite's way, on request PostgreSQL's
        self._readers = engine if is_sqlite else engine.execution_options(isolation_level="REPEATABLE READ")
        self._writers = engine.execution_options(**{_WRITES: True})

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Run a read transaction: it sees one moment and blocks nobody.

        Raises:
            Unavailable: the database is away, locked or full.
        """
        with _translated(), self._readers.begin() as db:
            yield db

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Run a write transaction; it is alone, and all or nothing.

        Raises:
            Unavailable: the database is away, locked or full; nothing was written.
        """
        with _translated(), self._turn(), self._writers.begin() as db:
            yield db

    def _turn(self) -> AbstractContextManager[None]:
        file = self._writers.url.database if self._writers.dialect.name == "sqlite" else None
        return exclusive(Path(file), self._timeout) if file else nullcontext()

    def close(self) -> None:
        """Release all connections."""
        self._readers.dispose()


def open_store(url: str, settings: CatalogSettings) -> Store:
    """Open the database at the SQLAlchemy *url*, bringing its tables up to date.

    Raises:
        SettingsError: the URL is wrong, its driver is not installed, or the catalog was written by a newer version.
        Unavailable: the database is away.
    """
    try:
        parsed = make_url(url)
        is_sqlite = parsed.get_backend_name() == "sqlite"
        if is_sqlite and not parsed.database:
            raise SettingsError("catalog.url", "sqlite:///<file> expected: several processes share the catalog")
        # "timeout" is for SQLite's busy handler; PostgreSQL waits for its advisory lock instead
        options: dict[str, Any] = {"connect_args": {"timeout": settings.busy_timeout_seconds}} if is_sqlite else {}
        engine = create_engine(
            parsed,
            poolclass=QueuePool,
            pool_size=settings.connections,
            max_overflow=0,
            pool_timeout=settings.busy_timeout_seconds,
            hide_parameters=True,  # a statement that fails goes into the log: hashes of secrets must not
            **options,
        )
    except (exc.ArgumentError, exc.NoSuchModuleError, ImportError) as error:
        raise SettingsError("catalog.url", str(error)) from error
    if is_sqlite:
        event.listen(engine, "connect", _on_sqlite_connect)
    event.listen(engine, "begin", _on_begin)
    store = Store(engine, settings.busy_timeout_seconds)
    try:
        if is_sqlite:
            _use_wal(engine, settings.busy_timeout_seconds)
        _migrate(store)
    except BaseException as error:
        store.close()
        if isinstance(error, Unavailable) and "not a database" in error.detail:
            raise SettingsError("catalog.url", f"{parsed.database}: {error.detail}") from error
        raise
    return store


def upsert(
    db: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, add: Sequence[str] = (), put: Sequence[str] = ()
) -> None:
    """Insert *rows* of equal keys; where the primary key exists, add the columns *add* and replace the columns *put*.

    Hands the rows to the driver as they are (numbers, text, booleans): SQLAlchemy's own way costs three times as much
    a row, and the ledger books every device every few seconds.
    """
    if not rows:
        return
    statement = postgresql_insert(table) if db.dialect.name == "postgresql" else sqlite_insert(table)
    values: dict[str, Any] = {name: table.c[name] + statement.excluded[name] for name in add}
    values |= {name: statement.excluded[name] for name in put}
    compiled = statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=values).compile(
        dialect=db.dialect, column_keys=list(rows[0])
    )
    if compiled.positiontup is None:
        db.exec_driver_sql(str(compiled), [dict(row) for row in rows])
    else:
        in_order = itemgetter(*compiled.positiontup)
        db.exec_driver_sql(str(compiled), [in_order(row) for row in rows])


def in_chunks(items: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield *items* in pieces that fit an IN (...) of either database."""
    for start in range(0, len(items), _IN_CHUNK):
        yield items[start : start + _IN_CHUNK]


def position(db: Connection, book: str, source: str) -> int:
    """Return the position that *book* has reached in *source*, 0 at first."""
    where = (tables.position.c.book == book) & (tables.position.c.source == source)
    return db.scalar(select(tables.position.c.position).where(where)) or 0


def move(db: Connection, book: str, source: str, to: int) -> None:
    """Note that *book* has reached *to* in *source*."""
    upsert(db, tables.position, [{"book": book, "source": source, "position": to}], put=["position"])


def count(db: Connection, name: str, by: int = 1) -> None:
    """Add *by* to the counter *name*."""
    upsert(db, tables.counter, [{"name": name, "value": by}], add=["value"])


def counted(db: Connection, name: str) -> int:
    """Return the counter *name*."""
    return db.scalar(select(tables.counter.c.value).where(tables.counter.c.name == name)) or 0


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (exc.DBAPIError, exc.TimeoutError, sqlite3.Error, OSError) as error:
        if isinstance(error, exc.IntegrityError | exc.DataError | exc.ProgrammingError):
            raise  # our own mistake: retrying would not help
        raise Unavailable("catalog", str(getattr(error, "orig", None) or error)) from error


def _on_sqlite_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by `_on_begin`, not guessed by the driver
    try:
        for pragma in ("foreign_keys = ON", "synchronous = FULL", "journal_size_limit = 16000000"):
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise


def _on_begin(db: Connection) -> None:
    writes = db.get_execution_options().get(_WRITES, False)
    if db.dialect.name == "sqlite":
        db.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
    elif writes:
        db.execute(text(f"SELECT pg_advisory_xact_lock({_PG_LOCK})"))


def _use_wal(engine: Engine, timeout_seconds: float) -> None:
    with _translated(), creating(Path(engine.url.database or ""), timeout_seconds):
        connection = engine.raw_connection()
        try:
            cursor = connection.cursor()
            if cursor.execute("PRAGMA journal_mode").fetchone() != ("wal",):
                cursor.execute("PRAGMA journal_mode = WAL")
            cursor.close()
        finally:
            connection.close()


def _migrate(store: Store) -> None:
    with store.write() as db:
        if inspect(db).has_table("alembic_version"):
            found = db.scalar(text("SELECT version_num FROM alembic_version"))
            if found == HEAD:
                return
            if found is not None and found > HEAD:
                raise SettingsError("catalog.url", f"catalog version {found}, {HEAD} is the newest known: update")
        # a third of a second and 10 MB that a process with a current catalog does not pay
        from alembic import command  # noqa: PLC0415
        from alembic.config import Config  # noqa: PLC0415

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
        config.attributes["connection"] = db
        command.upgrade(config, "head")
