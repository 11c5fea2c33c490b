"""This module speaks the events of ChirpStack v4: `application/<application>/device/<DevEUI>/event/<event>`, JSON.

Events are proto3 JSON as ChirpStack writes it: what is at its default is left out, so the first frame has no `fCnt`
and data rate 0 no `dr`. `join` comes once, as the birth; `up` for each report; `status`, with battery and link
margin, before every 48th. ChirpStack's MQTT integration knows no last will for a device.

A device is `deviceInfo.deviceName` (and the tag `device`); an application is one for each kind of device.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from simulators.messages import Message
from simulators.noise import key
from simulators.wire.lora import BANDWIDTH, PORT, Frame, Radio, Reception, eui, identity, pruned
from simulators.wire.values import device_of, iso_ns, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.city import Device
    from simulators.messages import Emission, WireFormat

__all__ = ["STATUS_EVERY", "speak"]

STATUS_EVERY = 48
"""Frames between two `status` events; a guess, ChirpStack asks devices once a day by default."""


def speak(devices: Sequence[Device], seed: int) -> WireFormat:
    """Return a speaker of ChirpStack v4 events."""
    return _ChirpStack(device_of(devices), seed)


@dataclass(frozen=True, slots=True)
class _Card:
    """What every event of a device has."""

    name: str
    topic: str
    info: msgspec.Raw
    address: str


class _ChirpStack:
    def __init__(self, devices: Mapping[str, Device], seed: int) -> None:
        self._devices = devices
        self._seed = seed
        self._radio = Radio(seed)
        self._cards: dict[str, _Card] = {}
        self._joined: set[str] = set()

    def births(self, device: str, at: int) -> tuple[Message, ...]:
        if device in self._joined:  # the session outlives the connection: the frame counter goes on
            return ()
        self._joined.add(device)
        card = self._card(device)
        event = self._event(card, "join", at) | {"devAddr": card.address, "regionConfigId": "eu868"}
        return (Message(f"{card.topic}/join", to_json(event)),)

    def encode(self, emission: Emission) -> tuple[Message, ...]:
        card = self._card(emission.device)
        topic = f"{card.topic}/up"
        if emission.raw is not None:
            return (Message(topic, emission.raw, retain=emission.retain),)
        messages = []
        for frame in self._radio.frames(self._devices[emission.device], emission):
            if frame.counter % STATUS_EVERY == 0:
                messages.append(Message(f"{card.topic}/status", to_json(pruned(self._status(card, frame)))))
            messages.append(Message(topic, to_json(pruned(self._up(card, frame))), retain=emission.retain))
        return tuple(messages)

    def will(self, device: str, at: int) -> Message | None:  # noqa: ARG002 - the port's
        return None

    def farewell(self, device: str, at: int) -> tuple[Message, ...]:  # noqa: ARG002 - the port's
        return ()

    def _card(self, name: str) -> _Card:
        card = self._cards.get(name)
        if card is None:
            card = self._cards[name] = self._new_card(self._devices[name])
        return card

    def _new_card(self, device: Device) -> _Card:
        application = str(identity(self._seed, "application", device.kind))
        number = eui(self._seed, device.id)
        info = {
            "tenantId": str(identity(self._seed, "tenant")),
            "tenantName": "city",
            "applicationId": application,
            "applicationName": f"city-{device.kind}",
            "deviceProfileId": str(identity(self._seed, "profile", device.kind)),
            "deviceProfileName": device.kind,
            "deviceName": device.id,
            "devEui": number,
            # deviceClassEnabled is CLASS_A, the default
            "tags": {"device": device.id, "kind": device.kind, "district": device.district},
        }
        return _Card(
            name=device.id,
            topic=f"application/{application}/device/{number}/event",
            info=msgspec.Raw(to_json(info)),
            address=f"{0x26000000 | key(self._seed, device.id, 'address') & 0xFFFFFF:08x}",
        )

    def _event(self, card: _Card, what: object, at: int) -> dict[str, Any]:
        return {
            "deduplicationId": str(identity(self._seed, card.name, what)),
            "time": iso_ns(at),
            "deviceInfo": card.info,
        }

    def _up(self, card: _Card, frame: Frame) -> dict[str, Any]:
        at = iso_ns(frame.heard_at)
        return self._event(card, frame.report.seq, frame.heard_at) | {
            "devAddr": card.address,
            "adr": True,
            "dr": 12 - frame.spreading,
            "fCnt": frame.counter,
            "fPort": PORT,
            "confirmed": False,
            "data": b64encode(frame.payload).decode(),
            "object": msgspec.Raw(to_json(frame.decoded)),
            "rxInfo": [_reception(frame, reception, at) for reception in frame.receptions],
            "txInfo": {
                "frequency": frame.frequency,
                "modulation": {
                    "lora": {"bandwidth": BANDWIDTH, "spreadingFactor": frame.spreading, "codeRate": "CR_4_5"}
                },
            },
            "regionConfigId": "eu868",
        }

    def _status(self, card: _Card, frame: Frame) -> dict[str, Any]:
        battery = frame.report.battery
        # margin over what the spreading factor needs: -7.5 dB at SF 7, 2.5 dB less for each one more
        margin = round(frame.receptions[0].snr + 7.5 + 2.5 * (frame.spreading - 7))
        return self._event(card, f"{frame.report.seq}/status", frame.heard_at) | {
            "margin": min(margin, 31),
            "externalPowerSource": battery is None,
            "batteryLevel": battery or 0.0,
        }


def _reception(frame: Frame, reception: Reception, at: str) -> dict[str, Any]:
    gateway = reception.gateway
    place = {} if gateway.lat is None else {"latitude": gateway.lat, "longitude": gateway.lon, "altitude": 18.0}
    return {
        "gatewayId": gateway.eui,
        "uplinkId": reception.ticket,
        "gwTime": at,
        "nsTime": at,
        "rssi": reception.rssi,
        "snr": reception.snr,
        "channel": frame.channel,
        "rfChain": 1,
        "location": place,
        "context": b64encode(reception.clock_us.to_bytes(4, "big")).decode(),
        "metadata": {"region_config_id": "eu868", "region_common_name": "EU868"},
        "crcStatus": "CRC_OK",
    }
