"""This module speaks Influx line protocol on `telegraf/<device>/<kind>`, where Telegraf's MQTT output writes.

A report is one line: the device's kind is the measurement, device and district are tags, the metrics are fields, the
time is in nanoseconds. Numbers are always floats, so that no field becomes an integer by its first value. Texts are
strings (control characters become spaces), switches are booleans: a server that knows the field as a float refuses
them, as it would for a real device.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from simulators.wire.damage import LINES
from simulators.wire.plain import PlainFormat
from simulators.wire.values import Scalar, device_of, scalars

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.city import Device
    from simulators.messages import Report, WireFormat

__all__ = ["speak", "topic"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NOT_KEY = re.compile(r"[\x00-\x1f\x7f\\]")  # a backslash at a key's end would escape what follows
_KEY = re.compile(r"([,= ])")


def speak(devices: Sequence[Device], seed: int) -> WireFormat:  # noqa: ARG001 - nothing here is random
    """Return a speaker of line protocol."""
    return PlainFormat(device_of(devices), topic, _payload, LINES)


def topic(device: Device) -> str:
    """Return where *device* writes its lines."""
    return f"telegraf/{device.id}/{device.kind}"


def _payload(device: Device, reports: tuple[Report, ...]) -> bytes | None:
    head = f"{_key(device.kind)},device={_key(device.id)},district={_key(device.district)}"
    lines = [
        f"{head} {','.join(f'{_key(metric)}={_field(value)}' for metric, value in values.items())} {report.at}"
        for report in reports
        if (values := scalars(report))
    ]
    return "\n".join(lines).encode() or None


def _key(text: str) -> str:
    return _KEY.sub(r"\\\1", _NOT_KEY.sub("_", text))


def _field(value: Scalar) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            text = _CONTROL.sub(" ", value).replace("\\", "\\\\").replace('"', '\\"')
            return f'"{text}"'
        case _:
            return repr(value)
