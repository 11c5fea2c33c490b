"""This module is what may go over a wire: finite numbers, switches, texts, and times.

A device with changed firmware reports texts, switches or objects where numbers were; every format says them as well as
it can. What no format may say is a number that is not finite: such a value is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from core.city import Device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulators.messages import Report

__all__ = ["Scalar", "device_of", "finite", "iso_ms", "iso_ns", "scalars", "to_json"]

Scalar = float | bool | str

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

to_json = msgspec.json.Encoder().encode


def device_of(devices: Sequence[Device]) -> Mapping[str, Device]:
    """Return *devices* by their ids; one that is asked for and missing (an intruder) is of no kind and district."""
    return _Places({device.id: device for device in devices})


class _Places(dict[str, Device]):
    def __missing__(self, name: str) -> Device:
        return Device(name, "generic", "unknown")


def finite(values: Mapping[str, object]) -> dict[str, Any]:
    """Return *values* as JSON can say them, without those that are numbers but not finite."""
    plain = ((metric, value, _plain(value)) for metric, value in values.items())
    return {_text(metric): said for metric, value, said in plain if said is not None or value is None}


def scalars(report: Report) -> dict[str, Scalar]:
    """Return what *report* says, battery and signal included, as numbers, switches and texts.

    An object or a list becomes its JSON; what is null is left out.
    """
    own = {"battery": report.battery, "rssi": report.rssi}
    return {
        metric: value if isinstance(value, bool | str) else float(value) if isinstance(value, int | float)
        else to_json(value).decode()
        for metric, value in finite(own | dict(report.values)).items()
        if value is not None
    }  # fmt: skip


def iso_ms(at: int) -> str:
    """Return *at* (ns UTC) in RFC 3339 with three decimals.

    >>> iso_ms(1_500_000_000_123_456_789)
    '2017-07-14T02:40:00.123Z'
    """
    return (_EPOCH + timedelta(milliseconds=at // 1_000_000)).isoformat(timespec="milliseconds")[:-6] + "Z"


def iso_ns(at: int) -> str:
    """Return *at* (ns UTC) in RFC 3339 with nine decimals.

    >>> iso_ns(1_500_000_000_123_456_789)
    '2017-07-14T02:40:00.123456789Z'
    """
    seconds, nanoseconds = divmod(at, 1_000_000_000)
    return f"{(_EPOCH + timedelta(seconds=seconds)).isoformat()[:-6]}.{nanoseconds:09d}Z"


def _plain(value: object) -> Any:  # noqa: PLR0911 - one return for each kind of value
    match value:
        case None | bool():
            return value
        case float():
            return float(value) if math.isfinite(value) else None
        case int():
            return value if -(1 << 63) <= value < 1 << 63 else _big(value)
        case str():
            return _text(value)
        case Mapping():
            return {_text(str(key)): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case np.generic():
            return _plain(value.item())
        case _:
            return _text(str(value))


def _big(value: int) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


def _text(value: str) -> str:
    return value if value.isascii() else value.encode("utf-8", "replace").decode()  # half a surrogate pair is no UTF-8
