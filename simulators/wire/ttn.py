"""This module speaks The Things Stack v3: `v3/<application>@<tenant>/devices/<device>/up` and `/join`, JSON.

The messages are ApplicationUp of the Stack's API: empty fields are left out, EUIs are upper-case hex, the frequency
is a text (a 64-bit number in proto3 JSON), the airtime a duration like "0.056576s". `join` comes once, as the birth.
There is no last will: the Stack, not the device, talks to the broker.

A device id of the Stack is 3 to 36 of a-z, 0-9 and single dashes; a name that is none is changed and gets a few
digits of its hash. `attributes.device` always tells the device's own name.
"""

from __future__ import annotations

import re
from base64 import b32encode, b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from simulators.noise import key
from simulators.wire.lora import BANDWIDTH, PORT, Frame, NetworkServer, Reception, eui, identity, pruned
from simulators.wire.values import iso_ns, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.city import Device
    from simulators.messages import WireFormat

__all__ = ["TENANT", "slug", "speak"]

TENANT = "city"

_ID = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,}")
_GAP = re.compile(r"[^a-z0-9]+")


def speak(devices: Sequence[Device], seed: int) -> WireFormat:
    """Return a speaker of The Things Stack's messages."""
    return NetworkServer(devices, seed, card=_card, join=_join, events=_events)


def slug(name: str) -> str:
    """Return the id that the Stack takes for *name*.

    >>> slug("air-01"), slug("Air_01")
    ('air-01', 'air-01-b4e2bb5a')
    """
    if len(name) <= 36 and _ID.fullmatch(name):
        return name
    plain = _GAP.sub("-", name.lower()).strip("-")[:27].strip("-")
    return f"{plain or 'device'}-{key(name) & 0xFFFFFFFF:08x}"


@dataclass(frozen=True, slots=True)
class _Card:
    """What every message of a device has: `ids` beside the uplink, `facts` within it."""

    seed: int
    name: str
    topic: str
    session: str
    ids: msgspec.Raw
    facts: dict[str, msgspec.Raw]


def _card(device: Device, seed: int) -> _Card:
    kind = device.kind.replace("_", "-")
    application = slug(f"city-{kind}")
    ids = {
        "device_id": slug(device.id),
        "application_ids": {"application_id": application},
        "dev_eui": eui(seed, device.id).upper(),
        "join_eui": eui(seed, "join", device.kind).upper(),
        "dev_addr": f"{0x26000000 | key(seed, device.id, 'address') & 0xFFFFFF:08X}",
    }
    facts: dict[str, dict[str, Any]] = {
        "version_ids": {
            "brand_id": "urbanpulse", "model_id": slug(kind), "hardware_version": "1.0",
            "firmware_version": "1.0", "band_id": "EU_863_870",
        },
        "network_ids": {"net_id": "000013", "tenant_id": TENANT, "cluster_id": "eu1"},
        "attributes": {"device": device.id, "kind": device.kind, "district": device.district},
    }  # fmt: skip
    if device.lat is not None:
        place = {"latitude": device.lat, "longitude": device.lon, "source": "SOURCE_REGISTRY"}
        facts["locations"] = {"user": pruned(place)}
    return _Card(
        seed=seed,
        name=device.id,
        topic=f"v3/{application}@{TENANT}/devices/{slug(device.id)}",
        session=b64encode(identity(seed, device.id, "session").bytes).decode(),
        ids=msgspec.Raw(to_json(ids)),
        facts={name: msgspec.Raw(to_json(fact)) for name, fact in facts.items()},
    )


def _join(card: _Card, at: int) -> dict[str, Any]:
    accepted = {"session_key_id": card.session, "received_at": iso_ns(at)}
    return _event(card, "join", iso_ns(at)) | {"join_accept": accepted}


def _events(card: _Card, frame: Frame) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "up", _up(card, frame)


def _event(card: _Card, what: object, at: str) -> dict[str, Any]:
    correlation = b32encode(identity(card.seed, card.name, what).bytes).decode().rstrip("=")
    return {"end_device_ids": card.ids, "correlation_ids": [f"as:up:{correlation}"], "received_at": at}


def _up(card: _Card, frame: Frame) -> dict[str, Any]:
    at = iso_ns(frame.heard_at)
    uplink: dict[str, Any] = {
        "session_key_id": card.session,
        "f_port": PORT,
        "f_cnt": frame.counter,
        "frm_payload": b64encode(frame.payload).decode(),
        "decoded_payload": msgspec.Raw(to_json(frame.decoded)),
        "rx_metadata": [_reception(frame, reception, at) for reception in frame.receptions],
        "settings": {
            "data_rate": {"lora": {"bandwidth": BANDWIDTH, "spreading_factor": frame.spreading, "coding_rate": "4/5"}},
            "frequency": str(frame.frequency),
            "timestamp": frame.receptions[0].clock_us,
            "time": at,
        },
        "received_at": at,
        "confirmed": False,
        "consumed_airtime": f"{frame.airtime_ns / 1e9:.6f}s",
        **card.facts,
    }
    battery = frame.report.battery
    if battery is not None:
        uplink["last_battery_percentage"] = {"f_cnt": frame.counter, "value": battery, "received_at": at}
    return _event(card, frame.report.seq, at) | {"uplink_message": uplink}


def _reception(frame: Frame, reception: Reception, at: str) -> dict[str, Any]:
    gateway = reception.gateway
    place = {} if gateway.lat is None else {"latitude": gateway.lat, "longitude": gateway.lon, "altitude": 18}
    return {
        "gateway_ids": {"gateway_id": gateway.name, "eui": gateway.eui.upper()},
        "time": at,
        "timestamp": reception.clock_us,
        "rssi": reception.rssi,
        "channel_rssi": reception.rssi,
        "snr": reception.snr,
        "location": place | ({"source": "SOURCE_REGISTRY"} if place else {}),
        "uplink_token": b64encode(f"{gateway.name}/{reception.clock_us}".encode()).decode(),
        "channel_index": frame.channel,
        "received_at": at,
    }
