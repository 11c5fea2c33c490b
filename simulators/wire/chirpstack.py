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

from simulators.noise import key
from simulators.wire.lora import BANDWIDTH, PORT, Frame, NetworkServer, Reception, eui, identity
from simulators.wire.values import iso_ns, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.city import Device
    from simulators.messages import WireFormat

__all__ = ["STATUS_EVERY", "speak"]

STATUS_EVERY = 48
"""Frames between two `status` events; a guess, ChirpStack asks devices once a day by default."""


def speak(devices: Sequence[Device], seed: int) -> WireFormat:
    """Return a speaker of ChirpStack v4 events."""
    return NetworkServer(devices, seed, card=_card, join=_join, events=_events)


@dataclass(frozen=True, slots=True)
class _Card:
    """What every event of a device has."""

    seed: int
    name: str
    topic: str
    info: msgspec.Raw
    address: str


def _card(device: Device, seed: int) -> _Card:
    application = str(identity(seed, "application", device.kind))
    number = eui(seed, device.id)
    info = {
        "tenantId": str(identity(seed, "tenant")),
        "tenantName": "city",
        "applicationId": application,
        "applicationName": f"city-{device.kind}",
        "deviceProfileId": str(identity(seed, "profile", device.kind)),
        "deviceProfileName": device.kind,
        "deviceName": device.id,
        "devEui": number,
        # deviceClassEnabled is CLASS_A, the default
        "tags": {"device": device.id, "kind": device.kind, "district": device.district},
    }
    return _Card(
        seed=seed,
        name=device.id,
        topic=f"application/{application}/device/{number}/event",
        info=msgspec.Raw(to_json(info)),
        address=f"{0x26000000 | key(seed, device.id, 'address') & 0xFFFFFF:08x}",
    )


def _join(card: _Card, at: int) -> dict[str, Any]:
    return _event(card, "join", at) | {"devAddr": card.address, "regionConfigId": "eu868"}


def _events(card: _Card, frame: Frame) -> Iterator[tuple[str, dict[str, Any]]]:
    if frame.counter % STATUS_EVERY == 0:
        yield "status", _status(card, frame)
    yield "up", _up(card, frame)


def _event(card: _Card, what: object, at: int) -> dict[str, Any]:
    return {
        "deduplicationId": str(identity(card.seed, card.name, what)),
        "time": iso_ns(at),
        "deviceInfo": card.info,
    }


def _up(card: _Card, frame: Frame) -> dict[str, Any]:
    at = iso_ns(frame.heard_at)
    return _event(card, frame.report.seq, frame.heard_at) | {
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
            "modulation": {"lora": {"bandwidth": BANDWIDTH, "spreadingFactor": frame.spreading, "codeRate": "CR_4_5"}},
        },
        "regionConfigId": "eu868",
    }


def _status(card: _Card, frame: Frame) -> dict[str, Any]:
    battery = frame.report.battery
    # margin over what the spreading factor needs: -7.5 dB at SF 7, 2.5 dB less for each one more
    margin = round(frame.receptions[0].snr + 7.5 + 2.5 * (frame.spreading - 7))
    return _event(card, f"{frame.report.seq}/status", frame.heard_at) | {
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
