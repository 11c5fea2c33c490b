"""This module is the catalog's tables, in words that SQLite and PostgreSQL both understand.

Times are int64 ns UTC, days are days since 1970-01-01. `alert` is a cache: the fold of `alert_event`, with the
columns that lists filter by. Ledger and alert rows name devices without a foreign key: they outlive devices, and the
ledger's "-" stands for devices that nobody registered.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

__all__ = [
    "account",
    "alert",
    "alert_event",
    "api_key",
    "counter",
    "device",
    "device_status",
    "district",
    "ledger",
    "ledger_reason",
    "metadata",
    "outbox",
    "position",
    "quarantine",
    "series",
    "series_block",
    "session",
]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_NAME = String(64)
_ID = String(36)
# SQLite counts by itself only in a column that is exactly INTEGER PRIMARY KEY
_SERIAL = BigInteger().with_variant(Integer, "sqlite")

counter = Table(
    "counter",
    metadata,
    Column("name", _NAME, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
position = Table(
    "position",
    metadata,
    Column("book", _NAME, primary_key=True),
    Column("source", _NAME, primary_key=True),
    Column("position", BigInteger, nullable=False),
)

district = Table(
    "district",
    metadata,
    Column("id", _NAME, primary_key=True),
    Column("name", Text, nullable=False),
    Column("outline", Text, nullable=False),
)
device = Table(
    "device",
    metadata,
    Column("id", _NAME, primary_key=True),
    Column("kind", _NAME, nullable=False),
    Column("district", _NAME, ForeignKey("district.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("lat", Float),
    Column("lon", Float),
    Column("interval_seconds", Float),
    Column("secret_hash", Text, nullable=False),
    Column("removed", Boolean, nullable=False),
)
series_block = Table(
    "series_block",
    metadata,
    Column("first", Integer, primary_key=True, autoincrement=False),
    Column("district", _NAME, ForeignKey("district.id"), nullable=False, index=True),
    Column("used", Integer, nullable=False),
)
series = Table(
    "series",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("device", _NAME, ForeignKey("device.id"), nullable=False),
    Column("metric", _NAME, nullable=False),
    Column("district", _NAME, ForeignKey("district.id"), nullable=False),
    UniqueConstraint("device", "metric"),
)

ledger = Table(
    "ledger",
    metadata,
    Column("device", _NAME, primary_key=True),
    Column("day", Integer, primary_key=True),
    *(
        Column(name, BigInteger, nullable=False)
        for name in ("received", "accepted", "duplicate", "late", "quarantined", "refused", "readings")
    ),
    Index(None, "day"),
)
ledger_reason = Table(
    "ledger_reason",
    metadata,
    Column("device", _NAME, primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("reason", _NAME, primary_key=True),
    Column("messages", BigInteger, nullable=False),
)
quarantine = Table(
    "quarantine",
    metadata,
    Column("id", _SERIAL, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("topic", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("device", Text, nullable=False),
    Column("reason", _NAME, nullable=False),
    Column("detail", Text, nullable=False),
    Index(None, "id", "size"),
)
device_status = Table(
    "device_status",
    metadata,
    Column("device", _NAME, primary_key=True),
    Column("online", Boolean, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("said", BigInteger, nullable=False),
)

alert = Table(
    "alert",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("state", _NAME, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("version", Integer, nullable=False),
    Column("district", _NAME, nullable=False),
    Column("device", _NAME, nullable=False),
    Column("retrospective", Boolean, nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("incident", _ID, nullable=False, server_default=""),
    Index(None, "active", "district", "opened_at"),
    Index(None, "active", "opened_at"),
    Index(None, "device", "opened_at"),
    Index(None, "incident", "active", "opened_at"),
    Index(None, "opened_at"),
)
alert_event = Table(
    "alert_event",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("alert", _ID, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("kind", _NAME, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("recorded", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("evidence", Text),
    Column("comment", Text, nullable=False),
    UniqueConstraint("alert", "seq"),
)
outbox = Table(
    "outbox",
    metadata,
    Column("seq", _SERIAL, primary_key=True),
    Column("id", _ID, nullable=False, unique=True),
    Column("channel", _NAME, nullable=False),
    Column("alert", _ID, nullable=False),
    Column("topic", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("state", _NAME, nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("finished", BigInteger),
    Index(None, "state", "due"),
    Index(None, "alert", "channel", "state", "seq"),
)

account = Table(
    "account",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", _NAME, nullable=False),
    Column("password_hash", Text, nullable=False),
)
api_key = Table(
    "api_key",
    metadata,
    Column("id", _SERIAL, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", _NAME, nullable=False),
    Column("token_hash", Text, nullable=False, unique=True),
    Column("created", BigInteger, nullable=False),
    Column("revoked", BigInteger),
    Index(
        "uq_api_key_in_force",
        "name",
        unique=True,
        sqlite_where=text("revoked IS NULL"),
        postgresql_where=text("revoked IS NULL"),
    ),
)
session = Table(
    "session",
    metadata,
    Column("token_hash", Text, primary_key=True),
    Column("account", Text, ForeignKey("account.name"), nullable=False),
    Column("expires", BigInteger, nullable=False),
    Index(None, "account", "expires"),
)
