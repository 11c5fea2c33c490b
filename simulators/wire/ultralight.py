"""This module speaks Ultralight 2.0 on `/ul/<api key>/<device>/attrs`; the leading slash is part of the topic.

A report is a group `<time>|<metric>|<value>|…`, several are joined by `#`. An api key belongs to a service group:
here one for each kind of device. Ultralight has no escapes, so `|`, `#` and control characters within a text become
`_`; an empty text is said as `""`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from simulators.noise import key
from simulators.wire.damage import GROUPS
from simulators.wire.plain import PlainFormat
from simulators.wire.values import Scalar, device_of, iso_ms, scalars

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.city import Device
    from simulators.messages import Report, WireFormat

__all__ = ["api_key", "speak"]

_RESERVED = re.compile(r"[|#\x00-\x1f\x7f]")


def speak(devices: Sequence[Device], seed: int) -> WireFormat:
    """Return a speaker of Ultralight 2.0."""
    return PlainFormat(
        device_of(devices), lambda device: f"/ul/{api_key(device, seed)}/{device.id}/attrs", _payload, GROUPS
    )


def api_key(device: Device, seed: int) -> str:
    """Return the key of the service group that *device* is in."""
    return f"{key(seed, 'ultralight', device.kind):016x}"


def _payload(_device: Device, reports: tuple[Report, ...]) -> bytes | None:
    groups = [(report.at, scalars(report)) for report in reports]
    return "#".join(_group(at, values) for at, values in groups if values).encode() or None


def _group(at: int, values: dict[str, Scalar]) -> str:
    pairs = (f"{_RESERVED.sub('_', metric)}|{_say(value)}" for metric, value in values.items())
    return "|".join((iso_ms(at), *pairs))


def _say(value: Scalar) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _RESERVED.sub("_", value) or '""'
        case _:
            return repr(value)
