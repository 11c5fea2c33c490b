"""This module is the alphabet of MQTT: variable lengths, strings, and the properties of version 5.

Sizes and codes are those of the OASIS standards "MQTT Version 3.1.1" (2014) and "MQTT Version 5.0" (2019); the table
`PROPERTIES` is section 2.2.2.2 of the latter. Everything malformed raises `MalformedPayload` with reason `bad_packet`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from core.errors import MalformedPayload

__all__ = [
    "MAX_LENGTH",
    "PROPERTIES",
    "Properties",
    "bad",
    "encode_length",
    "encode_properties",
    "encode_text",
    "parse_properties",
    "take_bytes",
    "take_length",
    "take_text",
    "take_u16",
]

Properties = dict[str, Any]
"""Properties by name: int, str, bytes; `user_property` is a list of (name, value)."""

MAX_LENGTH = 268_435_455
"""The largest remaining length that four bytes can tell."""


class _Property(NamedTuple):
    name: str
    kind: str


PROPERTIES: dict[int, _Property] = {
    code: _Property(name, kind)
    for code, name, kind in (
        (0x01, "payload_format_indicator", "u8"),
        (0x02, "message_expiry_interval", "u32"),
        (0x03, "content_type", "text"),
        (0x08, "response_topic", "text"),
        (0x09, "correlation_data", "bytes"),
        (0x0B, "subscription_identifier", "length"),
        (0x11, "session_expiry_interval", "u32"),
        (0x12, "assigned_client_identifier", "text"),
        (0x13, "server_keep_alive", "u16"),
        (0x15, "authentication_method", "text"),
        (0x16, "authentication_data", "bytes"),
        (0x17, "request_problem_information", "u8"),
        (0x18, "will_delay_interval", "u32"),
        (0x19, "request_response_information", "u8"),
        (0x1A, "response_information", "text"),
        (0x1C, "server_reference", "text"),
        (0x1F, "reason_string", "text"),
        (0x21, "receive_maximum", "u16"),
        (0x22, "topic_alias_maximum", "u16"),
        (0x23, "topic_alias", "u16"),
        (0x24, "maximum_qos", "u8"),
        (0x25, "retain_available", "u8"),
        (0x26, "user_property", "pair"),
        (0x27, "maximum_packet_size", "u32"),
        (0x28, "wildcard_subscription_available", "u8"),
        (0x29, "subscription_identifier_available", "u8"),
        (0x2A, "shared_subscription_available", "u8"),
    )
}
_CODES = {p.name: (code, p.kind) for code, p in PROPERTIES.items()}
_WIDTH = {"u8": 1, "u16": 2, "u32": 4}
_REPEATS = frozenset({"user_property", "subscription_identifier"})


def bad(detail: str) -> MalformedPayload:
    """Return the one error of this package, saying *detail*."""
    return MalformedPayload("bad_packet", detail)


def encode_length(length: int) -> bytes:
    """Return *length* as 1 to 4 bytes of 7 bits, lowest first.

    >>> encode_length(321).hex()
    'c102'
    """
    if not 0 <= length <= MAX_LENGTH:
        raise bad(f"length {length}: 0 to {MAX_LENGTH} expected")
    out = bytearray()
    while True:
        length, low = length >> 7, length & 0x7F
        if not length:
            out.append(low)
            return bytes(out)
        out.append(low | 0x80)


def encode_text(text: str | bytes) -> bytes:
    """Return *text* (UTF-8 if str) behind its length in two bytes."""
    raw = text.encode() if isinstance(text, str) else text
    if len(raw) > 0xFFFF:
        raise bad(f"text of {len(raw)} bytes: at most 65535")
    return len(raw).to_bytes(2, "big") + raw


def _encode_value(kind: str, value: Any) -> bytes:
    match kind:
        case "text" | "bytes":
            return encode_text(value)
        case "length":
            return encode_length(value)
        case "pair":
            return encode_text(value[0]) + encode_text(value[1])
        case _:
            return int(value).to_bytes(_WIDTH[kind], "big")


def encode_properties(properties: Properties) -> bytes:
    """Return *properties* behind their length, in the order given."""
    out = bytearray()
    for name, value in properties.items():
        code, kind = _CODES[name]
        for item in value if name in _REPEATS else (value,):
            out.append(code)
            out += _encode_value(kind, item)
    return encode_length(len(out)) + bytes(out)


def take_u16(data: bytes, at: int, end: int, what: str) -> tuple[int, int]:
    """Return the 16-bit number at *at* and where it ends; *what* names it in the error."""
    if at + 2 > end:
        raise bad(f"{what}: cut short")
    return data[at] << 8 | data[at + 1], at + 2


def take_length(data: bytes, at: int, end: int, what: str) -> tuple[int, int]:
    """Return the variable length at *at* and where it ends."""
    length = 0
    for shift in (0, 7, 14, 21):
        if at >= end:
            raise bad(f"{what}: cut short")
        byte = data[at]
        at += 1
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            return length, at
    raise bad(f"{what}: a length of more than four bytes")


def take_bytes(data: bytes, at: int, end: int, what: str) -> tuple[bytes, int]:
    """Return the bytes behind the 16-bit length at *at* and where they end."""
    size, at = take_u16(data, at, end, what)
    if at + size > end:
        raise bad(f"{what}: {size} bytes announced, {end - at} there")
    return data[at : at + size], at + size


def take_text(data: bytes, at: int, end: int, what: str) -> tuple[str, int]:
    """Return the UTF-8 text at *at* and where it ends."""
    raw, at = take_bytes(data, at, end, what)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise bad(f"{what}: not UTF-8") from error
    if "\0" in text:
        raise bad(f"{what}: holds a NUL")
    return text, at


def _take_value(kind: str, data: bytes, at: int, end: int, what: str) -> tuple[Any, int]:
    match kind:
        case "text":
            return take_text(data, at, end, what)
        case "bytes":
            return take_bytes(data, at, end, what)
        case "length":
            return take_length(data, at, end, what)
        case "pair":
            name, at = take_text(data, at, end, what)
            value, at = take_text(data, at, end, what)
            return (name, value), at
        case _:
            width = _WIDTH[kind]
            if at + width > end:
                raise bad(f"{what}: cut short")
            return int.from_bytes(data[at : at + width], "big"), at + width


def parse_properties(data: bytes, at: int, end: int, what: str) -> tuple[Properties, int]:
    """Return the properties at *at* (their length first) and where they end.

    Raises:
        MalformedPayload: one is unknown, given twice, or cut short.
    """
    size, at = take_length(data, at, end, f"{what} properties")
    stop = at + size
    if stop > end:
        raise bad(f"{what} properties: {size} bytes announced, {end - at} there")
    found: Properties = {}
    while at < stop:
        known = PROPERTIES.get(data[at])
        if known is None:
            raise bad(f"{what}: unknown property 0x{data[at]:02x}")
        value, at = _take_value(known.kind, data, at + 1, stop, f"{what} {known.name}")
        if known.name in _REPEATS:
            found.setdefault(known.name, []).append(value)
        elif known.name in found:
            raise bad(f"{what}: {known.name} given twice")
        else:
            found[known.name] = value
    return found, at
