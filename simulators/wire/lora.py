"""This module is what ChirpStack and The Things Stack have in common: LoRaWAN devices, gateways and radio (EU868).

A report is one uplink: a device that catches up sends its reports frame by frame, and the last of them is heard when
the emission is due. The frame counter is the report's `seq`, so a frame that is sent again keeps its number and is
known as the same.

The frame's payload (port 10) is a MessagePack map, `{"t": <ms since the epoch>, "v": {<metric>: <value>, …}}`:
complete without the network's times, and exact. The network's codec makes a flat object of it, `{"time": <RFC 3339>,
<metric>: <value>, …}`. Battery is a value among the others; the signal is the gateways' to tell.

Gateways stand in a grid of 0.02° (2 km). One to three of them hear a frame: the nearest as well as the report says,
the others worse. Which ones, and every number the radio makes up, are hashes of (seed, device, seq).
"""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

from simulators.messages import Message
from simulators.noise import key
from simulators.wire.damage import JSON, mangled
from simulators.wire.values import device_of, finite, iso_ms, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from core.city import Device
    from simulators.messages import Emission, Report

__all__ = [
    "BANDWIDTH",
    "PORT",
    "Frame",
    "Gateway",
    "NetworkServer",
    "Radio",
    "Reception",
    "airtime_ns",
    "eui",
    "identity",
    "pruned",
]

PORT = 10
BANDWIDTH = 125_000

_FREQUENCIES = tuple(867_100_000 + 200_000 * n for n in range(8))
_FRAME_LIMIT = {7: 242, 8: 242, 9: 115, 10: 51}  # bytes of payload by spreading factor, RP002-1.0.4 table 10
_CELL = 0.02  # degrees
_NEIGHBOURS = ((0, 0), (0, 1), (1, 0), (1, 1), (0, -1), (-1, 0), (-1, -1), (1, -1), (-1, 1))
_SPACE = uuid.UUID("6f0a1f0e-6c3a-5f6b-9a35-1c7b1b0e8d4c")  # made up once, for uuid5

_pack = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class Gateway:
    """A receiver of the network; its place is degrees, None where the device has none."""

    name: str
    eui: str
    lat: float | None
    lon: float | None


@dataclass(frozen=True, slots=True)
class Reception:
    """One gateway's hearing of a frame: dBm, dB, and numbers that the gateway counts by."""

    gateway: Gateway
    rssi: int
    snr: float
    ticket: int
    clock_us: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One uplink: `heard_at` is ns UTC at the gateways, `decoded` what the network's codec makes of `payload`."""

    report: Report
    heard_at: int
    counter: int
    payload: bytes
    decoded: dict[str, Any]
    spreading: int
    channel: int
    airtime_ns: int
    receptions: tuple[Reception, ...]

    @property
    def frequency(self) -> int:
        """Return the channel's frequency in Hz."""
        return _FREQUENCIES[self.channel]


class Radio:
    """The air between devices and gateways under one *seed*; remembers which gateways are near a device."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._near: dict[str, tuple[Gateway, ...]] = {}

    def frames(self, device: Device, emission: Emission) -> list[Frame]:
        """Return the uplinks of *emission*, first sent first; a report of which nothing can be said has none."""
        near = self._near.get(device.id)
        if near is None:
            near = self._near[device.id] = tuple(_gateway(device, place, self._seed) for place in range(3))
        sent: list[Frame] = []
        heard_at = emission.due
        for report in reversed(emission.reports):
            own = {} if report.battery is None else {"battery": report.battery}
            values = finite(own | dict(report.values))
            if values:
                luck = key(self._seed, device.id, report.seq, "radio")
                sent.append(_frame(report, values, heard_at, luck, near))
                heard_at -= sent[-1].airtime_ns
        return sent[::-1]


class Card(Protocol):
    """What all messages of a device have in common."""

    @property
    def topic(self) -> str:
        """Return the topic above those of its events."""
        ...


_Card = TypeVar("_Card", bound=Card)


class NetworkServer(Generic[_Card]):
    """A format in which a network server speaks for its devices: a message is an event, on a topic named after it.

    A device joins once: its session outlives the connection, and the frame counter goes on. There is no last will:
    the server, not the device, talks to the broker.
    """

    def __init__(
        self,
        devices: Sequence[Device],
        seed: int,
        *,
        card: Callable[[Device, int], _Card],
        join: Callable[[_Card, int], dict[str, Any]],
        events: Callable[[_Card, Frame], Iterable[tuple[str, dict[str, Any]]]],
    ) -> None:
        """Speak for *devices*: *card* of device and seed, *join* at ns UTC, *events* of a frame, `up` last."""
        self._devices = device_of(devices)
        self._seed = seed
        self._radio = Radio(seed)
        self._new_card, self._join, self._events = card, join, events
        self._cards: dict[str, _Card] = {}
        self._joined: set[str] = set()

    def births(self, device: str, at: int) -> tuple[Message, ...]:
        """Return the `join` of *device*, the first time."""
        if device in self._joined:
            return ()
        self._joined.add(device)
        card = self._card(device)
        return (Message(f"{card.topic}/join", to_json(self._join(card, at))),)

    def encode(self, emission: Emission) -> tuple[Message, ...]:
        """Return the events of the frames of *emission*; what is mangled or retained is each `up`."""
        card = self._card(emission.device)
        messages = []
        for frame in self._radio.frames(self._devices[emission.device], emission):
            for name, event in self._events(card, frame):
                payload, is_up = to_json(pruned(event)), name == "up"
                if is_up and emission.damage is not None:
                    payload = mangled(JSON, payload, emission.damage)
                messages.append(Message(f"{card.topic}/{name}", payload, retain=emission.retain and is_up))
        return tuple(messages)

    def will(self, device: str, at: int) -> Message | None:  # noqa: ARG002 - the port's
        """Return None."""
        return None

    def farewell(self, device: str, at: int) -> tuple[Message, ...]:  # noqa: ARG002 - the port's
        """Return nothing."""
        return ()

    def _card(self, name: str) -> _Card:
        card = self._cards.get(name)
        if card is None:
            card = self._cards[name] = self._new_card(self._devices[name], self._seed)
        return card


def _frame(report: Report, values: dict[str, Any], heard_at: int, luck: int, near: tuple[Gateway, ...]) -> Frame:
    payload = _pack({"t": report.at // 1_000_000, "v": values})
    rssi = round(report.rssi) if report.rssi is not None else -70 - luck % 40
    spreading = 7 + (rssi < -108) + (rssi < -114) + (rssi < -118)
    while len(payload) > _FRAME_LIMIT[spreading] and spreading > 7:  # what does not fit is sent faster
        spreading -= 1
    return Frame(
        report=report,
        heard_at=heard_at,
        counter=report.seq & 0xFFFFFFFF,
        payload=payload,
        decoded={"time": iso_ms(report.at), **values},
        spreading=spreading,
        channel=luck >> 8 & 7,
        airtime_ns=airtime_ns(len(payload) + 13, spreading),
        receptions=_receptions(luck, rssi, heard_at, near),
    )


def _receptions(luck: int, rssi: int, heard_at: int, near: tuple[Gateway, ...]) -> tuple[Reception, ...]:
    lot = luck >> 12 & 0xFF
    level = rssi
    heard = []
    for place in range(1 + (lot < 140) + (lot < 40)):
        if place:
            level = max(level - 3 - (luck >> (20 + 4 * place) & 7), -139)
        gateway = near[place]
        heard.append(
            Reception(
                gateway,
                rssi=level,
                # a noise floor of -117 dBm in 125 kHz; LoRa receivers tell quarters of a dB and not above 14
                snr=min(max(level + 117, -20), 13) + (luck >> (32 + 2 * place) & 3) / 4,
                ticket=(luck >> 16) + place & 0xFFFF,
                clock_us=(heard_at // 1000 + int(gateway.eui[-6:], 16)) & 0xFFFFFFFF,
            )
        )
    return tuple(heard)


def _gateway(device: Device, place: int, seed: int) -> Gateway:
    if device.lat is None or device.lon is None:
        where: tuple[object, ...] = (device.district, place)
        lat = lon = None
    else:
        row = math.floor(device.lat / _CELL) + _NEIGHBOURS[place][0]
        column = math.floor(device.lon / _CELL) + _NEIGHBOURS[place][1]
        where = (row, column)
        lat, lon = round((row + 0.5) * _CELL, 6), round((column + 0.5) * _CELL, 6)
    number = eui(seed, "gateway", *where)
    return Gateway(f"gateway-{number[-8:]}", number, lat, lon)


def airtime_ns(size: int, spreading: int) -> int:
    """Return how long a frame of *size* bytes, header and MIC included, is on the air at 125 kHz and coding rate 4/5.

    Source: Semtech AN1200.13, explicit header, CRC on, preamble of 8, low data rate optimisation from SF 11.

    >>> airtime_ns(22, 7)
    56576000
    """
    symbol_ns = (1 << spreading) * 1_000_000_000 // BANDWIDTH
    optimised = 2 * (spreading >= 11)
    blocks = max(math.ceil((8 * size - 4 * spreading + 44) / (4 * (spreading - optimised))), 0)
    return symbol_ns * (12 * 4 + 1) // 4 + symbol_ns * (8 + 5 * blocks)


def eui(*parts: object) -> str:
    """Return the EUI-64 of what *parts* name, locally administered, as 16 hex digits."""
    return f"fe{key(*parts, 'eui') & (1 << 56) - 1:014x}"


def identity(*parts: object) -> uuid.UUID:
    """Return the id of what *parts* name; equal parts have equal ids."""
    return uuid.uuid5(_SPACE, "/".join(map(str, parts)))


def pruned(message: dict[str, Any]) -> dict[str, Any]:
    """Return *message* as proto3 JSON: fields at their default (0, false, empty) are not written.

    What `msgspec.Raw` holds is written as it is: a codec's own object, where a zero is a value.
    """
    kept = {}
    for name, value in message.items():
        if isinstance(value, dict):
            value = pruned(value)  # noqa: PLW2901 - the same thing, pruned
        elif isinstance(value, list):
            value = [pruned(item) if isinstance(item, dict) else item for item in value]  # noqa: PLW2901
        if value or isinstance(value, msgspec.Raw):
            kept[name] = value
    return kept
