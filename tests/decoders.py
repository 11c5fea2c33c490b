"""Independent decoders of the wire formats: none of them shares a line with the simulator.

    json        the standard library
    senml       the package `senml`
    chirpstack  ChirpStack's own classes (`chirpstack-api`), strict: an unknown field is an error
    ttn         Google's protobuf runtime on The Things Stack's schema (tests/schemas.py), strict
    sparkplug   Google's protobuf runtime on the standard's schema, and a host that keeps aliases and counts numbers
    ultralight  this module, after the IoT agent's manual
    line        the package `line-protocol-parser`

Each takes the messages of one or several devices in order and returns `Heard` in the order of the payloads.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import line_protocol_parser
import msgspec
from chirpstack_api import integration
from google.protobuf import json_format
from senml.senml import SenMLDocument

from tests.schemas import APPLICATION_UP, PAYLOAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from simulators.messages import Message

__all__ = ["DECODERS", "Heard", "SparkplugHost", "parse_chirpstack", "parse_ttn", "paths"]


@dataclass(frozen=True, slots=True)
class Heard:
    """One value: `at` ms since the epoch by the device's clock, `unit` where the format carries one."""

    device: str
    metric: str
    at: int
    value: Any
    unit: str | None = None


def _json(messages: Iterable[Message]) -> list[Heard]:
    heard = []
    for message in messages:
        start, device, what = message.topic.split("/")
        assert start == "devices"
        if what == "status":
            assert message.payload in {b"online", b"offline"}
            continue
        assert what == "readings"
        body = json.loads(message.payload.decode(), parse_constant=_no_constant)
        for item in body if isinstance(body, list) else [body]:
            assert item.keys() == {"ts", "values", "seq"}
            heard += [Heard(device, metric, item["ts"], value) for metric, value in item["values"].items()]
    return heard


def _senml(messages: Iterable[Message]) -> list[Heard]:
    heard = []
    for message in messages:
        start, device = message.topic.split("/")
        assert start == "senml"
        document = SenMLDocument.from_json(json.loads(message.payload.decode(), parse_constant=_no_constant))
        for record in (one.to_absolute(document.base) for one in document.measurements):
            urn, metric = record.name.rsplit(":", 1)
            assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*", record.name)  # RFC 8428, 4.5.1
            assert urn == f"urn:dev:os:32473-{device}"
            heard.append(Heard(device, metric, round(record.time * 1000), record.value, record.unit))
    return heard


def parse_chirpstack(message: Message) -> Any:
    """Return the event that *message* is, in ChirpStack's class for it."""
    start, application, device, eui, event, kind = message.topic.split("/")
    assert (start, device, event) == ("application", "device", "event")
    parsers = {"up": integration.UplinkEvent, "join": integration.JoinEvent, "status": integration.StatusEvent}
    parsed = json_format.Parse(message.payload, parsers[kind]())
    assert (parsed.device_info.application_id, parsed.device_info.dev_eui) == (application, eui)
    return parsed


def _chirpstack(messages: Iterable[Message]) -> list[Heard]:
    heard = []
    for message in messages:
        event = parse_chirpstack(message)
        if isinstance(event, integration.UplinkEvent):
            heard += _lorawan(event.device_info.device_name, event.data, json_format.MessageToDict(event.object))
    return heard


def parse_ttn(message: Message) -> Any:
    """Return the message of The Things Stack that *message* is."""
    version, application, devices, device, kind = message.topic.split("/")
    parsed = json_format.Parse(message.payload, APPLICATION_UP())
    ids = parsed.end_device_ids
    assert (version, devices, device) == ("v3", "devices", ids.device_id)
    assert application.split("@")[0] == ids.application_ids.application_id
    assert kind == {"uplink_message": "up", "join_accept": "join"}[parsed.WhichOneof("up")]
    return parsed


def _ttn(messages: Iterable[Message]) -> list[Heard]:
    heard = []
    for message in messages:
        uplink = parse_ttn(message).uplink_message
        if uplink.f_port:
            decoded = json_format.MessageToDict(uplink.decoded_payload)
            heard += _lorawan(uplink.attributes["device"], uplink.frm_payload, decoded)
    return heard


def _lorawan(device: str, payload: bytes, decoded: dict[str, Any]) -> list[Heard]:
    frame = msgspec.msgpack.decode(payload)
    at = datetime.fromisoformat(decoded.pop("time"))
    # the decoded half is protobuf's, whose numbers are doubles
    assert decoded == {name: float(v) if type(v) is int else v for name, v in frame["v"].items()}
    assert round(at.timestamp() * 1000) == frame["t"]
    return [Heard(device, metric, frame["t"], value) for metric, value in frame["v"].items()]


@dataclass
class SparkplugHost:
    """A host application: knows the aliases of each edge node's birth, and that each number follows the one before."""

    aliases: dict[str, dict[int, tuple[str | None, str, int, str]]] = field(default_factory=dict)
    seq: dict[str, int] = field(default_factory=dict)
    sessions: dict[str, int] = field(default_factory=dict)
    births: list[str] = field(default_factory=list)
    deaths: list[tuple[str, int]] = field(default_factory=list)
    historical: list[tuple[str, int]] = field(default_factory=list)
    retold: list[Heard] = field(default_factory=list)

    def hear(self, message: Message) -> list[Heard]:
        """Return the device values of a DDATA; the rest of what *message* says is kept and checked."""
        space, group, kind, node, *device = message.topic.split("/")
        payload = PAYLOAD.FromString(message.payload)
        key = f"{group}/{node}"
        assert space == "spBv1.0"
        assert not message.retain
        assert message.qos == (1 if kind == "NDEATH" else 0)
        assert bool(device) == (kind[0] == "D")
        assert payload.HasField("timestamp")
        if kind == "NDEATH":
            assert not payload.HasField("seq")
            (death,) = payload.metrics
            assert (death.name, death.datatype) == ("bdSeq", 4)
            self.deaths.append((key, death.long_value))
            return []
        assert 0 <= payload.seq <= 255
        if kind == "NBIRTH":
            named = {metric.name: metric for metric in payload.metrics}
            assert named["Node Control/Rebirth"].boolean_value is False
            assert not named["Node Control/Rebirth"].HasField("alias")
            self.sessions[key] = named["bdSeq"].long_value
            self.aliases[key] = {}
            assert payload.seq == 0
        else:
            assert payload.seq == (self.seq[key] + 1) % 256
        self.seq[key] = payload.seq
        if kind.endswith("BIRTH"):
            self._born(key, device[0] if device else None, payload)
            self.births.append(message.topic)
            return []
        assert kind.endswith("DATA") or not payload.metrics
        return [one for metric in payload.metrics for one in self._told(key, device, metric)]

    def _born(self, key: str, device: str | None, payload: Any) -> None:
        known = {alias: names for alias, names in self.aliases[key].items() if names[0] != device}
        for metric in payload.metrics:
            assert metric.name
            assert metric.datatype
            assert metric.timestamp
            assert metric.is_null == (metric.WhichOneof("value") is None)
            if metric.name != "Node Control/Rebirth":
                assert metric.HasField("alias")
                assert metric.alias not in known
                unit = dict(zip(metric.properties.keys, metric.properties.values, strict=True)).get("engUnit")
                text = unit.string_value if unit else ""
                known[metric.alias] = (device, metric.name, metric.datatype, text)
                if device and not metric.is_null:
                    self.retold.append(Heard(device, metric.name, metric.timestamp, _value(metric), text))
        self.aliases[key] = known

    def _told(self, key: str, device: list[str], metric: Any) -> list[Heard]:
        assert not metric.name
        assert not metric.HasField("datatype")
        owner, name, datatype, unit = self.aliases[key][metric.alias]
        assert owner == (device[0] if device else None)
        fields = {4: "long_value", 10: "double_value", 11: "boolean_value", 12: "string_value"}
        assert metric.WhichOneof("value") == fields[datatype]
        if owner is None:
            return []
        if metric.is_historical:
            self.historical.append((name, metric.timestamp))
        return [Heard(owner, name, metric.timestamp, _value(metric), unit)]


def _value(metric: Any) -> Any:
    return getattr(metric, metric.WhichOneof("value"))


def _sparkplug(messages: Iterable[Message]) -> list[Heard]:
    host = SparkplugHost()
    return [one for message in messages for one in host.hear(message)]


def _ultralight(messages: Iterable[Message]) -> list[Heard]:
    heard = []
    for message in messages:
        nothing, start, _key, device, what = message.topic.split("/")
        assert (nothing, start, what) == ("", "ul", "attrs")
        for group in message.payload.decode().split("#"):
            time, *pairs = group.split("|")
            assert len(pairs) % 2 == 0
            at = round(datetime.fromisoformat(time).timestamp() * 1000)
            heard += [Heard(device, *_pair(pair, at)) for pair in zip(pairs[::2], pairs[1::2], strict=True)]
    return heard


def _pair(pair: tuple[str, str], at: int) -> tuple[str, int, Any]:
    name, text = pair
    try:
        return name, at, json.loads(text, parse_constant=str)  # the agent's `explicit` cast of JSON literals
    except json.JSONDecodeError:
        return name, at, text


def _line(messages: Iterable[Message]) -> list[Heard]:
    heard = []
    for message in messages:
        start, device, kind = message.topic.split("/")
        assert start == "telegraf"
        for text in message.payload.decode().split("\n"):
            line = line_protocol_parser.parse_line(text)
            assert (line["measurement"], line["tags"]["device"]) == (kind, device)
            assert line["time"] % 1_000_000 == 0
            assert not any(type(value) is int for value in line["fields"].values())
            at = line["time"] // 1_000_000
            heard += [Heard(device, metric, at, value) for metric, value in line["fields"].items()]
    return heard


def _no_constant(text: str) -> Any:
    raise AssertionError(f"{text} is no JSON")


def paths(value: Any, where: str = "") -> set[str]:
    """Return the names of all fields in a JSON *value*."""
    if isinstance(value, dict):
        return {where}.union(*(paths(item, f"{where}.{name}") for name, item in value.items()))
    if isinstance(value, list):
        return {where}.union(*(paths(item, f"{where}[{number}]") for number, item in enumerate(value)))
    return {where}


DECODERS: dict[str, Callable[[Iterable[Message]], list[Heard]]] = {
    "json": _json,
    "senml": _senml,
    "chirpstack": _chirpstack,
    "ttn": _ttn,
    "sparkplug": _sparkplug,
    "ultralight": _ultralight,
    "line": _line,
}
