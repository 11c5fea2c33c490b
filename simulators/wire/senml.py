"""This module speaks SenML (RFC 8428, application/senml+json) on `senml/<device>`.

RFC 8428 names no MQTT topic; one level that is the device is the plainest. The base name is a device URN of RFC 9039,
`urn:dev:os:32473-<device>:` (32473 is the enterprise number for examples), so a resolved name ends in `:<metric>`.

Units are those of the IANA registry, the secondary ones of RFC 8798 included (1 mg/m³ = 1 ug/l). A metric whose unit
the registry does not know (bar, vehicles an hour) has no `u`. A base unit would lend such a metric a unit that it
does not have, so there is one only where every record has a unit.

Times are seconds with three decimals: a base time and offsets. RFC 8428 reads a time below 2^28 s (July 1978) as
relative to now, and so it will read a device whose clock fell back to 1970.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from core.metrics import metric as metric_of
from simulators.wire.plain import PlainFormat
from simulators.wire.values import Scalar, device_of, scalars, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.city import Device
    from simulators.messages import Report, WireFormat

__all__ = ["UNITS", "base_name", "speak", "topic", "unit_of"]

UNITS: dict[str, str] = {
    "µg/m³": "ug/m3", "mg/m³": "ug/l", "mg/l": "mg/l", "µg/l": "ug/l", "ppm": "ppm", "ppb": "ppb",
    "°C": "Cel", "K": "K", "hPa": "hPa", "Pa": "Pa", "m/s": "m/s", "km/h": "km/h", "mm/h": "mm/h", "°": "deg",
    "mm": "mm", "cm": "cm", "m": "m", "km": "km", "m²": "m2", "m³": "m3", "m³/s": "m3/s", "l": "l", "l/s": "l/s",
    "kg": "kg", "g": "g", "s": "s", "ms": "ms", "min": "min", "h": "h", "1/s": "1/s", "1/min": "1/min",
    "%": "/100", "dB": "dB", "dBm": "dBm", "pH": "pH", "S/m": "S/m", "lx": "lx", "lm": "lm", "W/m²": "W/m2",
    "V": "V", "mV": "mV", "A": "A", "mA": "mA", "Hz": "Hz", "W": "W", "kW": "kW", "VA": "VA", "kVA": "kVA",
    "var": "var", "kvar": "kvar", "Wh": "Wh", "kWh": "kWh", "J": "J", "N": "N",
}  # fmt: skip
"""Units of `core.metrics` in the IANA SenML registry (units and secondary units, as of March 2025)."""

_NOT_NAME = re.compile(r"[^A-Za-z0-9\-:./_]")


def speak(devices: Sequence[Device], seed: int) -> WireFormat:  # noqa: ARG001 - nothing here is random
    """Return a speaker of SenML."""
    return PlainFormat(device_of(devices), topic, _payload)


def topic(device: Device) -> str:
    """Return where *device* writes its packs."""
    return f"senml/{device.id}"


def base_name(device: Device) -> str:
    """Return the URN that stands before every name of *device*."""
    return f"urn:dev:os:32473-{device.id}:"


def unit_of(metric: str) -> str | None:
    """Return the registered unit of *metric*, None where there is none."""
    if metric == "battery":
        return "%EL"
    unit = metric_of(metric).unit
    return "%RH" if unit == "%" and "humidity" in metric else UNITS.get(unit)


def _payload(device: Device, reports: tuple[Report, ...]) -> bytes | None:
    said = [(report.at // 1_000_000, metric, value) for report in reports for metric, value in scalars(report).items()]
    if not said:
        return None
    base = said[0][0]
    units = [unit_of(metric) if _is_number(value) else None for _, metric, value in said]
    common = None if None in units else Counter(units).most_common(1)[0][0]
    records = [
        _record(metric, value, at - base, None if unit == common else unit)
        for (at, metric, value), unit in zip(said, units, strict=True)
    ]
    head = {"bn": base_name(device), "bt": base / 1000} | ({"bu": common} if common else {})
    return to_json([head | records[0], *records[1:]])


def _record(metric: str, value: Scalar, milliseconds: int, unit: str | None) -> dict[str, Any]:
    record: dict[str, Any] = {"n": _NOT_NAME.sub("_", metric)}
    if unit is not None:
        record["u"] = unit
    if milliseconds:
        record["t"] = milliseconds / 1000
    record["vb" if isinstance(value, bool) else "vs" if isinstance(value, str) else "v"] = value
    return record


def _is_number(value: Scalar) -> bool:
    return isinstance(value, float)
