"""This module writes Sparkplug B payloads: the few messages of its protobuf schema that a device sends, byte for byte.

    Payload  1 timestamp  2 metrics*  3 seq
    Metric   1 name  2 alias  3 timestamp  4 datatype  5 is_historical  7 is_null  9 properties
             11 long_value  13 double_value  14 boolean_value  15 string_value
    PropertySet  1 keys*  2 values*          PropertyValue  1 type  8 string_value

Sixty lines stand here for a generated module and a runtime; the tests read them with Google's runtime.
Source: Sparkplug 3.0.0, chapter 6; protobuf encoding, https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["DataType", "Metric", "payload"]

_UINT64 = (1 << 64) - 1


class DataType(enum.IntEnum):
    """The datatypes that devices here use, by their number in Sparkplug."""

    INT64 = 4
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: `value` None is sent as null, `at` is ns UTC, `unit` becomes the property `engUnit`.

    Births have a name and a datatype; data has an alias alone.
    """

    value: float | bool | str | None
    at: int
    name: str | None = None
    alias: int | None = None
    datatype: DataType | None = None
    historical: bool = False
    unit: str = ""


def payload(at: int, seq: int | None, metrics: Iterable[Metric] = ()) -> bytes:
    """Return the bytes of a payload sent *at* (ns UTC); *seq* is None for an NDEATH."""
    parts = [_number(1, _milliseconds(at)), *(_bytes(2, _metric(metric)) for metric in metrics)]
    if seq is not None:
        parts.append(_number(3, seq))
    return b"".join(parts)


def _metric(metric: Metric) -> bytes:
    parts = []
    if metric.name is not None:
        parts.append(_bytes(1, metric.name.encode()))
    if metric.alias is not None:
        parts.append(_number(2, metric.alias))
    parts.append(_number(3, _milliseconds(metric.at)))
    if metric.datatype is not None:
        parts.append(_number(4, metric.datatype))
    if metric.historical:
        parts.append(_number(5, 1))
    if metric.value is None:
        parts.append(_number(7, 1))
    if metric.unit:
        text = _number(1, DataType.STRING) + _bytes(8, metric.unit.encode())
        parts.append(_bytes(9, _bytes(1, b"engUnit") + _bytes(2, text)))
    if metric.value is not None:
        parts.append(_value(metric.value))
    return b"".join(parts)


def _value(value: float | bool | str) -> bytes:  # noqa: FBT001 - a switch is one of the values
    match value:
        case bool():
            return _number(14, value)
        case int():
            return _number(11, value)
        case str():
            return _bytes(15, value.encode())
        case _:
            return _varint(13 << 3 | 1) + struct.pack("<d", value)


def _milliseconds(at: int) -> int:
    return max(at // 1_000_000, 0)  # times are unsigned: a clock before 1970 cannot say so


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value & _UINT64)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
