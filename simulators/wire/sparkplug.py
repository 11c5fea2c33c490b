"""This module speaks Sparkplug B 3.0: `spBv1.0/<district>/<type>/edge-<device>[/<device>]`.

Each device hangs on an edge node of its own, `edge-<device>`: sequence numbers and aliases belong to the edge node,
and a device's bytes must hang on no other device. What happens, and what is sent:

    CONNECT       will NDEATH with the next bdSeq
    connected     NBIRTH (seq 0, the will's bdSeq), DBIRTH (every metric known, with its last value or null)
    report        DDATA: aliases, no names; each metric with the time of its measurement
    news          a metric that the last DBIRTH did not have, or whose type has changed: DBIRTH first, then DDATA
    now and then  NDATA with the edge node's uptime
    farewell      DDEATH, NDEATH

A value is historical if its report was numbered before another that the device has told: the older ones of a pack,
and what comes late. Battery and signal are metrics of the device. Birth and data go out at QoS 0, deaths of a node at
QoS 1, as the standard has it; and it wants clean sessions. Who stores messages while offline must store emissions and
encode them when they are sent, or their sequence numbers belong to a session that is over. `births` without a `will`
before it is a rebirth: same bdSeq, seq from 0. The devices take no commands.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from core.metrics import KINDS
from core.metrics import metric as metric_of
from simulators.messages import Message
from simulators.wire.damage import PROTOBUF, mangled
from simulators.wire.sparkplug_payload import DataType, Metric, payload
from simulators.wire.values import Scalar, device_of, scalars

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.city import Device
    from simulators.messages import Emission, Report, WireFormat

__all__ = ["NODE_DATA_EVERY", "speak"]

NODE_DATA_EVERY = 32
"""DDATA messages between two NDATA; a guess, real nodes differ."""

_UPTIME = "Properties/Uptime"
_UPTIME_ALIAS = 1
_FIRST_ALIAS = 2


def speak(devices: Sequence[Device], seed: int) -> WireFormat:  # noqa: ARG001 - nothing here is random
    """Return a speaker of Sparkplug B."""
    return _Sparkplug(device_of(devices))


@dataclass(slots=True)
class _Tag:
    """A metric of a device: its alias stays, its type is the last birth's, its value the newest that was told."""

    alias: int
    datatype: DataType
    at: int
    value: Scalar | None = None


@dataclass(slots=True)
class _Node:
    """An edge node with its one device."""

    group: str
    device: str
    tags: dict[str, _Tag] = field(default_factory=dict)
    death: int = -1  # bdSeq of the session
    seq: int = -1
    born_at: int | None = None
    newest: int = -1  # the highest number among the reports that were told
    told: int = 0  # DDATA since the birth

    def topic(self, kind: str) -> str:
        node = f"spBv1.0/{self.group}/{kind}/edge-{self.device}"
        return node if kind[0] == "N" else f"{node}/{self.device}"

    def say(self, kind: str, at: int, metrics: Sequence[Metric] = (), *, retain: bool = False) -> Message:
        """Return a message of *kind* with the next sequence number."""
        self.seq = (self.seq + 1) & 0xFF
        return Message(self.topic(kind), payload(at, self.seq, metrics), qos=0, retain=retain)

    def last_words(self, at: int) -> Message:
        death = Metric(self.death, at, name="bdSeq", datatype=DataType.INT64)
        return Message(self.topic("NDEATH"), payload(at, None, (death,)))

    def birth(self, at: int) -> tuple[Message, Message]:
        self.death = max(self.death, 0)
        self.seq, self.born_at, self.told = -1, at, 0
        metrics = (
            Metric(self.death, at, name="bdSeq", alias=0, datatype=DataType.INT64),
            Metric(False, at, name="Node Control/Rebirth", datatype=DataType.BOOLEAN),  # the standard: never an alias
            Metric(0, at, name=_UPTIME, alias=_UPTIME_ALIAS, datatype=DataType.INT64, unit="s"),
        )
        return self.say("NBIRTH", at, metrics), self.device_birth(at)

    def device_birth(self, at: int) -> Message:
        metrics = [
            Metric(
                tag.value,
                at if tag.value is None else tag.at,
                name=name,
                alias=tag.alias,
                datatype=tag.datatype,
                unit=metric_of(name).unit,
            )
            for name, tag in self.tags.items()
        ]
        return self.say("DBIRTH", at, metrics)

    def learn(self, values: Mapping[str, Scalar], at: int) -> bool:
        """Return whether *values* need a new birth, and make their tags ready for it."""
        news = False
        for name, value in values.items():
            tag, datatype = self.tags.get(name), _datatype(value)
            if tag is None:
                self.tags[name] = _Tag(_FIRST_ALIAS + len(self.tags), datatype, at)
            elif tag.datatype is not datatype:
                tag.datatype, tag.value = datatype, None
            else:
                continue
            news = True
        return news

    def data(self, report: Report, values: Mapping[str, Scalar], newest: int) -> list[Metric]:
        """Return the metrics of one report and remember them; *newest* is the highest number told or about to be."""
        historical = report.seq < newest
        metrics = []
        for name, value in values.items():
            tag = self.tags[name]
            metrics.append(Metric(value, report.at, alias=tag.alias, historical=historical))
            if tag.value is None or report.seq >= self.newest:
                tag.value, tag.at = value, report.at
        self.newest = max(self.newest, report.seq)
        return metrics


class _Sparkplug:
    def __init__(self, devices: Mapping[str, Device]) -> None:
        self._devices = devices
        self._nodes: dict[str, _Node] = {}

    def births(self, device: str, at: int) -> tuple[Message, ...]:
        return self._node(device).birth(at)

    def encode(self, emission: Emission) -> tuple[Message, ...]:
        node, due = self._node(emission.device), emission.due
        messages: list[Message] = []
        if node.born_at is None:
            for report in emission.reports:
                node.learn(scalars(report), report.at)
            messages += node.birth(due)
        newest = max([node.newest, *(report.seq for report in emission.reports)])
        metrics: list[Metric] = []
        for report in emission.reports:
            values = scalars(report)
            if node.learn(values, report.at):
                if metrics:
                    messages.append(node.say("DDATA", due, metrics, retain=emission.retain))
                messages.append(node.device_birth(due))
                metrics = []
            metrics += node.data(report, values, newest)
        if metrics:
            messages.append(node.say("DDATA", due, metrics, retain=emission.retain))
            node.told += 1
            if node.told % NODE_DATA_EVERY == 0:
                uptime = max(due - (node.born_at or 0), 0) // 1_000_000_000
                messages.append(node.say("NDATA", due, (Metric(uptime, due, alias=_UPTIME_ALIAS),)))
        if emission.damage is not None:  # of what the node believes to have told: a receiver sees a gap in the numbers
            return tuple(
                replace(said, payload=mangled(PROTOBUF, said.payload, emission.damage))
                if "/DDATA/" in said.topic
                else said
                for said in messages
            )
        return tuple(messages)

    def will(self, device: str, at: int) -> Message | None:
        node = self._node(device)
        node.death = (node.death + 1) & 0xFF
        node.born_at = None
        return node.last_words(at)

    def farewell(self, device: str, at: int) -> tuple[Message, ...]:
        node = self._node(device)
        if node.born_at is None:
            return ()
        last = (node.say("DDEATH", at), node.last_words(at))
        node.born_at = None
        return last

    def _node(self, name: str) -> _Node:
        node = self._nodes.get(name)
        if node is None:
            device = self._devices[name]
            node = self._nodes[name] = _Node(device.district, name)
            node.learn(dict.fromkeys((*KINDS.get(device.kind, ()), "battery", "rssi"), 0.0), 0)
        return node


def _datatype(value: Scalar) -> DataType:
    match value:
        case bool():
            return DataType.BOOLEAN
        case str():
            return DataType.STRING
        case _:
            return DataType.DOUBLE
