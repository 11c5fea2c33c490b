"""This module is our JSON: readings as an object, a list of objects, or a bare number on a metric's own topic.

    devices/<device>/readings            {"ts": …, "values": {"pm25": 12.1, …}, "seq": 7, "device": "air-01"}, or a list
    devices/<device>/readings/<metric>   12.1

`ts` may be left out (time of receipt). As text it is RFC 3339 with up to nine decimals; as a number it is time since
the epoch, and its magnitude tells the unit:

    below 1e11   seconds (up to the year 5138; decimals allowed)
    below 1e14   milliseconds
    below 1e17   microseconds
    else         nanoseconds

The decoders are msgspec's typed ones: they build only what is used and skip unknown keys. They are fast and terse; when
one fails, `explain` goes through the payload once more, slowly, to name the field for a person.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from core.admission import Reason
from core.errors import MalformedPayload

__all__ = ["UNDECODABLE", "Item", "check_depth", "decode_items", "decode_number", "explain", "time_ns"]


class Item(msgspec.Struct, gc=False):
    """Values that were true at one time. `ts` as it came; `device`, if given, must be the topic's."""

    values: dict[str, float]
    ts: int | float | str | None = None
    device: str | None = None
    seq: int | None = None


decode_items = msgspec.json.Decoder(Item | list[Item]).decode
"""Return an `Item` or a list of them; raises one of `UNDECODABLE`."""

decode_number = msgspec.json.Decoder(float).decode
"""Return the bare number that a payload is; raises one of `UNDECODABLE`."""

UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What the decoders raise on bad payloads."""

# an unterminated string runs to the end, so that no quote is scanned from twice
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = np.zeros(256, np.int8)
_STEP[list(b"[{")] = 1
_STEP[list(b"]}")] = -1

_RFC3339 = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_NS = (1 << 63) - 1


def check_depth(payload: bytes, max_depth: int) -> None:
    """Pass *payload* if its brackets, those in strings left out, are nested at most *max_depth* deep.

    Raises:
        MalformedPayload: reason `too_deep`.
    """
    if payload.count(b"[") + payload.count(b"{") <= max_depth:
        return
    brackets = _STRING.sub(b"", payload).translate(None, _NOT_BRACKETS)
    depth = int(np.cumsum(_STEP[np.frombuffer(brackets, np.uint8)], dtype=np.int64).max(initial=0))
    if depth > max_depth:
        raise MalformedPayload(Reason.TOO_DEEP, f"nested {depth} deep: at most {max_depth}")


def time_ns(ts: float | str) -> int:
    """Return nanoseconds since the epoch of *ts*; see the module for the forms.

    Raises:
        ValueError: not a time, or beyond what int64 nanoseconds can tell; the text says what was expected.
    """
    if isinstance(ts, str):
        return _text_ns(ts)
    size = abs(ts)
    factor = 1_000_000_000 if size < 1e11 else 1_000_000 if size < 1e14 else 1000 if size < 1e17 else 1
    # as written: in binary a quarter of a second may come out as .249999872
    ns = ts * factor if isinstance(ts, int) else int(Decimal(repr(ts)) * factor)
    if not -_MAX_NS <= ns <= _MAX_NS:
        raise ValueError("a time after 2262")
    return ns


def _text_ns(text: str) -> int:
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("expected a time in RFC 3339 or since the epoch")
    date, clock, fraction, zone = match.groups()
    at = datetime.fromisoformat(f"{date}T{clock}{'+00:00' if zone in 'Zz' else zone}") - _EPOCH
    ns = (at.days * 86_400 + at.seconds) * 1_000_000_000
    return ns + int(fraction.ljust(9, "0")) if fraction else ns


def explain(payload: bytes, error: Exception, *, is_number: bool) -> MalformedPayload:
    """Return why *payload* could not be decoded, naming the first field that is wrong; *error* is the decoder's."""
    try:
        value = msgspec.json.decode(payload)
    except msgspec.ValidationError:
        return MalformedPayload(Reason.BAD_VALUE, "a number is out of range")
    except UNDECODABLE as why:
        # many a library writes NaN and Infinity, which are no JSON: say where, if that is all that is wrong
        try:
            value = json.loads(payload)
        except (ValueError, RecursionError):
            return MalformedPayload(Reason.NOT_JSON, _not_json(payload, why))
    try:
        _check_number("payload", value) if is_number else _check_message(value)
    except MalformedPayload as found:
        # `json` reads halves of surrogate pairs, which no text that is kept or sent may have
        return MalformedPayload(found.reason, found.detail.encode(errors="replace").decode())
    return MalformedPayload(Reason.BAD_SHAPE, str(error))


def _not_json(payload: bytes, error: Exception) -> str:
    if not payload:
        return "empty payload"
    return f"not JSON: {error}".removesuffix(".")


def _check_message(value: Any) -> None:
    if not isinstance(value, list):
        _check_item("", value)
        return
    for index, item in enumerate(value):
        _check_item(f"[{index}]", item)


def _check_item(where: str, item: Any) -> None:
    here = f"{where}: " if where else ""
    dot = f"{where}." if where else ""
    if not isinstance(item, dict):
        raise MalformedPayload(Reason.BAD_SHAPE, f"{here}expected an object, got {_show(item)}")
    if "values" not in item:
        raise MalformedPayload(Reason.BAD_SHAPE, f"{here}no 'values'")
    values = item["values"]
    if not isinstance(values, dict):
        raise MalformedPayload(Reason.BAD_SHAPE, f"{dot}values: expected an object, got {_show(values)}")
    for name, value in values.items():
        _check_number(f"{dot}values.{name[:80]}", value)
    ts = item.get("ts")
    if ts is not None and (isinstance(ts, bool) or not isinstance(ts, int | float | str)):
        raise MalformedPayload(Reason.BAD_TIME, f"{dot}ts: expected a time, got {_show(ts)}")
    device = item.get("device")
    if device is not None and not isinstance(device, str):
        raise MalformedPayload(Reason.BAD_SHAPE, f"{dot}device: expected a text, got {_show(device)}")
    seq = item.get("seq")
    if seq is not None and (isinstance(seq, bool) or not isinstance(seq, int)):
        raise MalformedPayload(Reason.BAD_SHAPE, f"{dot}seq: expected a whole number, got {_show(seq)}")


def _check_number(where: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MalformedPayload(Reason.BAD_VALUE, f"{where}: expected a number, got {_show(value)}")
    try:
        is_finite = math.isfinite(value)
    except OverflowError:  # a whole number of more than 308 digits
        raise MalformedPayload(Reason.BAD_VALUE, f"{where}: a number is out of range") from None
    if not is_finite:
        raise MalformedPayload(Reason.BAD_VALUE, f"{where}: expected a finite number, got {value}")


def _show(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case dict():
            return "an object"
        case list():
            return "a list"
        case str():
            return repr(value[:40])
        case _:
            return str(value)[:40]
