"""This module is the log entry: all that one group commit of the gateway makes true, as one blob.

Readings, tallies, quarantined messages and device states travel together, so one durable append decides all of
them and everything downstream (ledger, series, alerts) is a replayable consequence of the log. An entry without
readings is a heartbeat: it carries log time on, so that silence can be judged without reading a clock.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from core.admission import DeviceStatus, Quarantined, Tally
from core.batch import ReadingBatch
from core.errors import MalformedPayload

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Books", "LogEntry"]

_VERSION = 1


class _Wire(msgspec.Struct, array_like=True):
    version: int
    logged: int
    batch: dict[str, Any]
    tallies: list[Tally]
    quarantined: list[Quarantined]
    statuses: list[DeviceStatus]


class _BooksWire(msgspec.Struct, array_like=True):
    version: int
    logged: int
    batch: msgspec.Raw
    tallies: list[msgspec.Raw]
    quarantined: list[Quarantined]
    statuses: list[DeviceStatus]


_W = TypeVar("_W", _Wire, _BooksWire)

_decode = msgspec.msgpack.Decoder(_Wire).decode
_decode_books = msgspec.msgpack.Decoder(_BooksWire).decode
_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One group commit. `logged` is log time (int64 ns UTC), which never goes back from entry to entry."""

    logged: int
    batch: ReadingBatch = field(default_factory=ReadingBatch.empty)
    tallies: tuple[Tally, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    statuses: tuple[DeviceStatus, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the entry as a CRC-32 (4 bytes, little endian) and a msgpack array."""
        body = _encode(
            _Wire(
                _VERSION,
                self.logged,
                self.batch.to_columns(),
                list(self.tallies),
                list(self.quarantined),
                list(self.statuses),
            )
        )
        return zlib.crc32(body).to_bytes(4, "little") + body

    @classmethod
    def from_bytes(cls, data: bytes) -> LogEntry:
        """Read what `to_bytes` wrote.

        Raises:
            MalformedPayload: reason `bad_entry`: cut short, altered, or of another version.
        """
        wire = _checked(data, _decode)
        batch = ReadingBatch.from_columns(wire.batch)
        return cls(wire.logged, batch, tuple(wire.tallies), tuple(wire.quarantined), tuple(wire.statuses))


@dataclass(frozen=True, slots=True)
class Books:
    """What the ledger needs of an entry. `tallies` are as encoded: equal ones are equal bytes, so they can be counted.

    Most tallies of a busy minute are equal (one message of a device, accepted); to decode each of them costs three
    times as much as to count them first.
    """

    tallies: list[bytes]
    quarantined: list[Quarantined]
    statuses: list[DeviceStatus]

    @classmethod
    def from_bytes(cls, data: bytes) -> Books:
        """Read what `LogEntry.to_bytes` wrote, but not its readings.

        Raises:
            MalformedPayload: as `LogEntry.from_bytes`.
        """
        wire = _checked(data, _decode_books)
        return cls(list(map(bytes, wire.tallies)), wire.quarantined, wire.statuses)


def _checked(data: bytes, decode: Callable[[bytes], _W]) -> _W:
    if len(data) < 5 or zlib.crc32(data[4:]) != int.from_bytes(data[:4], "little"):
        raise MalformedPayload("bad_entry", f"log entry of {len(data)} bytes: checksum does not match")
    try:
        wire = decode(data[4:])
    except msgspec.MsgspecError as error:
        raise MalformedPayload("bad_entry", f"not a log entry: {error}") from error
    if wire.version != _VERSION:
        raise MalformedPayload("bad_entry", f"log entry version {wire.version}: {_VERSION} expected")
    return wire
