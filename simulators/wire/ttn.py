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
from typing import TYPE_CHECKING, Any

import msgspec

from simulators.messages import Message
from simulators.noise import key
from simulators.wire.lora import BANDWIDTH, PORT, Frame, Reception, eui, frames, identity, pruned
from simulators.wire.values import device_of, iso_ns, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.city import Device
    from simulators.messages import Emission, WireFormat

__all__ = ["TENANT", "slug", "speak"]

TENANT = "city"

_ID = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,}")
_GAP = re.compile(r"[^a-z0-9]+")


def speak(devices: Sequence[Device], seed: int) -> WireFormat:
    """Return a speaker of The Things Stack's messages."""
    return _TheThingsStack(device_of(devices), seed)


def slug(name: str) -> str:
    """Return the id that the Stack takes for *name*.

    >>> slug("air-01"), slug("Air_01")
    ('air-01', 'air-01-b4e2bb5a')
    """
    if len(name) <= 36 and _ID.fullmatch(name):
        return name
    plain = _GAP.sub("-", name.lower()).strip("-")[:27].strip("-")
    return f"{plain or 'device'}-{key(name) & 0xFFFFFFFF:08x}"


class _TheThingsStack:
    def __init__(self, devices: Mapping[str, Device], seed: int) -> None:
        self._devices = devices
        self._seed = seed
        self._joined: set[str] = set()

    def births(self, device: str, at: int) -> tuple[Message, ...]:
        if device in self._joined:  # the session outlives the connection: the frame counter goes on
            return ()
        self._joined.add(device)
        named = self._devices[device]
        accepted = {"session_key_id": self._session(named), "received_at": iso_ns(at)}
        event = self._event(named, "join", at) | {"join_accept": accepted}
        return (Message(self._topic(named, "join"), to_json(pruned(event))),)

    def encode(self, emission: Emission) -> tuple[Message, ...]:
        device = self._devices[emission.device]
        topic = self._topic(device, "up")
        if emission.raw is not None:
            return (Message(topic, emission.raw, retain=emission.retain),)
        return tuple(
            Message(topic, to_json(pruned(self._up(device, frame))), retain=emission.retain)
            for frame in frames(device, emission, self._seed)
        )

    def will(self, device: str, at: int) -> Message | None:  # noqa: ARG002 - the port's
        return None

    def farewell(self, device: str, at: int) -> tuple[Message, ...]:  # noqa: ARG002 - the port's
        return ()

    def _topic(self, device: Device, event: str) -> str:
        return f"v3/{slug(f'city-{device.kind}')}@{TENANT}/devices/{slug(device.id)}/{event}"

    def _session(self, device: Device) -> str:
        return b64encode(identity(self._seed, device.id, "session").bytes).decode()

    def _event(self, device: Device, name: object, at: int) -> dict[str, Any]:
        correlation = b32encode(identity(self._seed, device.id, name).bytes).decode().rstrip("=")
        return {
            "end_device_ids": {
                "device_id": slug(device.id),
                "application_ids": {"application_id": slug(f"city-{device.kind}")},
                "dev_eui": eui(self._seed, device.id).upper(),
                "join_eui": eui(self._seed, "join", device.kind).upper(),
                "dev_addr": f"{0x26000000 | key(self._seed, device.id, 'address') & 0xFFFFFF:08X}",
            },
            "correlation_ids": [f"as:up:{correlation}"],
            "received_at": iso_ns(at),
        }

    def _up(self, device: Device, frame: Frame) -> dict[str, Any]:
        at = iso_ns(frame.heard_at)
        uplink: dict[str, Any] = {
            "session_key_id": self._session(device),
            "f_port": PORT,
            "f_cnt": frame.counter,
            "frm_payload": b64encode(frame.payload).decode(),
            "decoded_payload": msgspec.Raw(to_json(frame.decoded)),
            "rx_metadata": [_reception(frame, reception) for reception in frame.receptions],
            "settings": {
                "data_rate": {
                    "lora": {"bandwidth": BANDWIDTH, "spreading_factor": frame.spreading, "coding_rate": "4/5"}
                },
                "frequency": str(frame.frequency),
                "timestamp": frame.receptions[0].clock_us,
                "time": at,
            },
            "received_at": at,
            "confirmed": False,
            "consumed_airtime": f"{frame.airtime_ns / 1e9:.6f}s",
            "version_ids": {
                "brand_id": "urbanpulse", "model_id": slug(device.kind), "hardware_version": "1.0",
                "firmware_version": "1.0", "band_id": "EU_863_870",
            },
            "network_ids": {"net_id": "000013", "tenant_id": TENANT, "cluster_id": "eu1"},
            "attributes": {"device": device.id, "kind": device.kind, "district": device.district},
        }  # fmt: skip
        if device.lat is not None:
            place = {"latitude": device.lat, "longitude": device.lon, "source": "SOURCE_REGISTRY"}
            uplink["locations"] = {"user": place}
        if frame.report.battery is not None:
            uplink["last_battery_percentage"] = {
                "f_cnt": frame.counter, "value": frame.report.battery, "received_at": at,
            }  # fmt: skip
        return self._event(device, frame.report.seq, frame.heard_at) | {"uplink_message": uplink}


def _reception(frame: Frame, reception: Reception) -> dict[str, Any]:
    gateway = reception.gateway
    place = {} if gateway.lat is None else {"latitude": gateway.lat, "longitude": gateway.lon, "altitude": 18}
    return {
        "gateway_ids": {"gateway_id": gateway.name, "eui": gateway.eui.upper()},
        "time": iso_ns(frame.heard_at),
        "timestamp": reception.clock_us,
        "rssi": reception.rssi,
        "channel_rssi": reception.rssi,
        "snr": reception.snr,
        "location": place | ({"source": "SOURCE_REGISTRY"} if place else {}),
        "uplink_token": b64encode(f"{gateway.name}/{reception.clock_us}".encode()).decode(),
        "channel_index": frame.channel,
        "received_at": iso_ns(frame.heard_at),
    }
