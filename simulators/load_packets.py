"""This module is the packets of the load mode: encoded once, sent again and again with a new id and a new time.

A *lap* is one message of every device, one packet behind the other in one array of bytes. Before packets leave, their
packet ids are written over by numpy, and once a lap the time: so a message costs some dozen nanoseconds and no object.

The time is found in the bytes by itself. A template's time is known to the millisecond, and formats write it in one of
few ways, all of fixed width (`_WRITINGS`). A format that writes it in none of these sends what was encoded.
Counters inside a payload repeat after the last lap.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from core.mqtt import Version, publish

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from simulators.messages import Message

__all__ = ["Lap"]


class Lap:
    """One message of every device, ready to leave."""

    def __init__(self, messages: Sequence[Message], at_ms: int, *, qos: int) -> None:
        """Encode *messages*, whose payloads tell the time *at_ms* (ms UTC), for MQTT 3.1.1 with *qos* 0 or 1."""
        packets = [
            publish(m.topic, m.payload, version=Version.V311, qos=qos, packet_id=qos, retain=m.retain) for m in messages
        ]
        self._bytes = np.frombuffer(bytearray(b"".join(packets)), np.uint8)
        self._starts = np.cumsum([0, *map(len, packets)])
        payloads = np.array([len(m.payload) for m in messages], np.int64)
        self._ids = self._starts[1:] - payloads - 2 if qos else None
        self._at_ms = at_ms
        self._stamps = [(write, *_found(packets, payloads, self._starts, write(at_ms))) for write in _WRITINGS]

    def __len__(self) -> int:
        return len(self._starts) - 1

    def stamp(self, at_ms: int) -> None:
        """Let all packets tell the time *at_ms*; where that would change their length they keep the old one."""
        for write, places, used in self._stamps:
            old, new = np.frombuffer(write(self._at_ms), np.uint8), np.frombuffer(write(at_ms), np.uint8)
            if used and len(old) == len(new):
                for offset in np.flatnonzero(old != new):  # most often the last few digits
                    self._bytes[places + offset] = new[offset]
        self._at_ms = at_ms

    def take(self, first: int, ids: NDArray[np.int64]) -> bytes:
        """Return the packets from number *first* on, one for each of int64[N] *ids*, which are their packet ids."""
        if self._ids is not None:
            places = self._ids[first : first + len(ids)]
            self._bytes[places] = ids >> 8
            self._bytes[places + 1] = ids & 0xFF
        return self._bytes[self._starts[first] : self._starts[first + len(ids)]].tobytes()


def _found(
    packets: Sequence[bytes], payloads: NDArray[np.int64], starts: NDArray[np.int64], text: bytes
) -> tuple[NDArray[np.int64], bool]:
    """Return where in the lap *text* begins within a payload, and whether it does at all."""
    places = []
    for packet, size, start in zip(packets, payloads.tolist(), starts.tolist(), strict=False):
        at = packet.find(text, len(packet) - size)
        while at >= 0:
            places.append(start + at)
            at = packet.find(text, at + len(text))
    return np.array(places, np.int64), bool(places)


def _millis(at_ms: int) -> bytes:
    """Our JSON; with six more digits, line protocol."""
    return b"%d" % at_ms


def _seconds(at_ms: int) -> bytes:
    """SenML."""
    return b"%d.%03d" % divmod(at_ms, 1000)


def _iso(at_ms: int) -> bytes:
    """ChirpStack, TTN, Ultralight."""
    seconds, millis = divmod(at_ms, 1000)
    return datetime.fromtimestamp(seconds, UTC).strftime(f"%Y-%m-%dT%H:%M:%S.{millis:03d}").encode()


def _varint(at_ms: int) -> bytes:
    """Sparkplug's protobuf: seven bits a byte, lowest first; six bytes until the year 2109."""
    out = bytearray()
    while at_ms > 0x7F:
        out.append(at_ms & 0x7F | 0x80)
        at_ms >>= 7
    return bytes((*out, at_ms))


_WRITINGS: tuple[Callable[[int], bytes], ...] = (_millis, _seconds, _iso, _varint)
