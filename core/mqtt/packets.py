"""This module is the MQTT packets: those a client sends, as bytes, and those it gets, as values.

Only the client's side: CONNECT, SUBSCRIBE, PINGREQ are built and never parsed; CONNACK, SUBACK, PINGRESP are parsed and
never built; PUBLISH, its acknowledgements and DISCONNECT go both ways. A parsed packet is complete: `parse` is given
exactly the bytes after the fixed header. What a packet says beyond its standard is an error, never guessed at.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from core.mqtt.wire import (
    Properties,
    bad,
    encode_length,
    encode_properties,
    encode_text,
    parse_properties,
    take_u16,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Ack",
    "Connack",
    "Disconnect",
    "Kind",
    "Packet",
    "Pingresp",
    "Properties",
    "Publish",
    "Suback",
    "Version",
    "Will",
    "ack",
    "acks",
    "connect",
    "disconnect",
    "parse",
    "parse_publish",
    "pingreq",
    "publish",
    "subscribe",
]


class Version(IntEnum):
    """The protocol level in CONNECT."""

    V311 = 4
    V5 = 5


class Kind(IntEnum):
    """The packet type: upper half of the first byte."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes for a client that vanishes."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Connack:
    """The broker's answer to CONNECT; `code` 0 means welcome (3.1.1: return code, 5: reason code)."""

    session_present: bool
    code: int
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Publish:
    """A message. `topic` is raw UTF-8; `packet_id` is 0 for QoS 0.

    `unread` counts the bytes behind the packet id that the reader skipped, because the packet is over-long.
    """

    topic: bytes
    payload: bytes
    qos: int = 0
    packet_id: int = 0
    retain: bool = False
    dup: bool = False
    properties: Properties = field(default_factory=dict)
    unread: int = 0


@dataclass(frozen=True, slots=True)
class Ack:
    """PUBACK, PUBREC, PUBREL or PUBCOMP, told apart by `kind`."""

    kind: Kind
    packet_id: int
    code: int = 0
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Suback:
    """The broker's answer to SUBSCRIBE: per filter the granted QoS, or 0x80 and above for no."""

    packet_id: int
    codes: tuple[int, ...]
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pingresp:
    """The broker is alive."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The broker is closing the connection and says why (version 5 only)."""

    code: int = 0
    properties: Properties = field(default_factory=dict)


Packet = Connack | Publish | Ack | Suback | Pingresp | Disconnect


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + encode_length(len(body)) + body


def connect(
    client_id: str,
    *,
    version: Version,
    keepalive: int = 60,
    clean_start: bool = True,
    username: str | None = None,
    password: bytes | None = None,
    will: Will | None = None,
    properties: Properties | None = None,
) -> bytes:
    """Return CONNECT; *keepalive* in seconds. *properties* (version 5): session expiry, receive maximum."""
    flags = 0x02 if clean_start else 0
    if will is not None:
        flags |= 0x04 | will.qos << 3 | will.retain << 5
    flags |= (password is not None) << 6 | (username is not None) << 7
    body = encode_text("MQTT") + bytes((version, flags)) + keepalive.to_bytes(2, "big")
    if version is Version.V5:
        body += encode_properties(properties or {})
    body += encode_text(client_id)
    if will is not None:
        body += (b"\0" if version is Version.V5 else b"") + encode_text(will.topic) + encode_text(will.payload)
    if username is not None:
        body += encode_text(username)
    if password is not None:
        body += encode_text(password)
    return _packet(Kind.CONNECT << 4, body)


def subscribe(packet_id: int, filters: Sequence[tuple[str, int]], *, version: Version) -> bytes:
    """Return SUBSCRIBE for *filters*, pairs of topic filter and QoS (version 5: subscription options)."""
    body = packet_id.to_bytes(2, "big") + (b"\0" if version is Version.V5 else b"")
    for topic_filter, options in filters:
        body += encode_text(topic_filter) + bytes((options,))
    return _packet(Kind.SUBSCRIBE << 4 | 2, body)


def publish(
    topic: str | bytes,
    payload: bytes,
    *,
    version: Version,
    qos: int = 0,
    packet_id: int = 0,
    retain: bool = False,
    dup: bool = False,
    properties: Properties | None = None,
) -> bytes:
    """Return PUBLISH; *packet_id* is sent for QoS 1 and 2 only."""
    body = encode_text(topic)
    if qos:
        body += packet_id.to_bytes(2, "big")
    if version is Version.V5:
        body += encode_properties(properties or {})
    return _packet(Kind.PUBLISH << 4 | dup << 3 | qos << 1 | retain, body + payload)


def ack(kind: Kind, packet_id: int) -> bytes:
    """Return PUBACK, PUBREC, PUBREL or PUBCOMP of success: the same four bytes in both versions."""
    return bytes((kind << 4 | (2 if kind is Kind.PUBREL else 0), 2)) + packet_id.to_bytes(2, "big")


def acks(kind: Kind, packet_ids: Sequence[bytes]) -> bytes:
    """Return one acknowledgement after another for *packet_ids*, each as the two bytes that came in."""
    if not packet_ids:
        return b""
    head = bytes((kind << 4 | (2 if kind is Kind.PUBREL else 0), 2))
    return head + head.join(packet_ids)


def pingreq() -> bytes:
    """Return PINGREQ."""
    return b"\xc0\x00"


def disconnect(version: Version, code: int = 0) -> bytes:
    """Return DISCONNECT; *code* (version 5) 0x04 asks for the will to be sent all the same."""
    return _packet(Kind.DISCONNECT << 4, bytes((code,)) if version is Version.V5 and code else b"")


def parse(first: int, body: bytes, version: Version) -> Packet:
    """Return the packet whose fixed header starts with byte *first* and whose remaining bytes are *body*.

    Raises:
        MalformedPayload: reason `bad_packet`; the text names packet and field.
    """
    kind = first >> 4
    if kind == Kind.PUBLISH:
        return parse_publish(first, body, version)
    flags = 2 if kind == Kind.PUBREL else 0
    if kind == 0 or first & 0x0F != flags:
        raise bad(f"packet type {kind} with flags {first & 15}: not MQTT")
    match Kind(kind):
        case Kind.CONNACK:
            return _parse_connack(body, version)
        case Kind.PUBACK | Kind.PUBREC | Kind.PUBREL | Kind.PUBCOMP as which:
            return _parse_ack(which, body, version)
        case Kind.SUBACK:
            return _parse_suback(body, version)
        case Kind.PINGRESP:
            if body:
                raise bad(f"PINGRESP: {len(body)} bytes too many")
            return Pingresp()
        case Kind.DISCONNECT if version is Version.V5:
            code, properties = _tail("DISCONNECT", body, 0)
            return Disconnect(code, properties)
        case other:
            raise bad(f"{other.name}: a broker does not send that in MQTT {'5' if version is Version.V5 else '3.1.1'}")


def parse_publish(first: int, body: bytes, version: Version) -> Publish:
    """Return the PUBLISH packet whose fixed header starts with byte *first*; see `parse`."""
    qos, end = first >> 1 & 3, len(body)
    if qos == 3:
        raise bad("PUBLISH: QoS 3")
    size, at = take_u16(body, 0, end, "PUBLISH topic")
    if at + size > end:
        raise bad(f"PUBLISH topic: {size} bytes announced, {end - at} there")
    topic, at = body[at : at + size], at + size
    if not topic:
        raise bad("PUBLISH topic: empty, and no topic alias was agreed")
    packet_id = 0
    if qos:
        packet_id, at = take_u16(body, at, end, "PUBLISH packet id")
        if not packet_id:
            raise bad("PUBLISH packet id: 0")
    properties: Properties = {}
    if version is Version.V5:
        properties, at = parse_properties(body, at, end, "PUBLISH")
        if "topic_alias" in properties:
            raise bad("PUBLISH topic_alias: none was agreed")
    return Publish(topic, body[at:], qos, packet_id, bool(first & 1), bool(first & 8), properties)


def _parse_connack(body: bytes, version: Version) -> Connack:
    if len(body) < 2:
        raise bad("CONNACK: cut short")
    if body[0] > 1:
        raise bad(f"CONNACK flags: 0x{body[0]:02x}")
    # a broker that cannot speak version 5 answers in 3.1.1's form: two bytes, no properties
    if version is Version.V5 and len(body) > 2:
        properties, at = parse_properties(body, 2, len(body), "CONNACK")
    else:
        properties, at = {}, 2
    if at != len(body):
        raise bad(f"CONNACK: {len(body) - at} bytes too many")
    return Connack(bool(body[0]), body[1], properties)


def _parse_ack(kind: Kind, body: bytes, version: Version) -> Ack:
    packet_id, at = take_u16(body, 0, len(body), f"{kind.name} packet id")
    if not packet_id:
        raise bad(f"{kind.name} packet id: 0")
    if version is Version.V5:
        code, properties = _tail(kind.name, body, at)
        return Ack(kind, packet_id, code, properties)
    if len(body) > at:
        raise bad(f"{kind.name}: {len(body) - at} bytes too many")
    return Ack(kind, packet_id)


def _tail(what: str, body: bytes, at: int) -> tuple[int, Properties]:
    # version 5: reason code and properties may both be left out, or the properties alone
    if at == len(body):
        return 0, {}
    code = body[at]
    if at + 1 == len(body):
        return code, {}
    properties, end = parse_properties(body, at + 1, len(body), what)
    if end != len(body):
        raise bad(f"{what}: {len(body) - end} bytes too many")
    return code, properties


def _parse_suback(body: bytes, version: Version) -> Suback:
    packet_id, at = take_u16(body, 0, len(body), "SUBACK packet id")
    properties: Properties = {}
    if version is Version.V5:
        properties, at = parse_properties(body, at, len(body), "SUBACK")
    if at == len(body):
        raise bad("SUBACK: no codes")
    return Suback(packet_id, tuple(body[at:]), properties)
