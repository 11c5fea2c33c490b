"""This module is the truth to score by: labels of faults and city events, as JSON lines on a side channel.

    {"class": "fault", "what": "spike", "device": "air-001", "metric": "pm25", "district": "merkez",
     "metrics": ["pm25"], "from": "2026-05-28T20:26:40.000Z", "to": "2026-05-28T20:28:40.000Z", "size": 180.0,
     "seed": 7}

A fault touches what its device measures in [from, to) by true time; metric `*` is all of the device. An event has
neither device nor metric; district null is the whole city; `metrics` are those that it moves. What `size` tells hangs
on `what` (`simulators.faults.KINDS`, the docs). The platform must never see these lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import msgspec

from core.clock import from_ns, to_ns
from core.errors import MalformedPayload
from core.metrics import KINDS
from simulators.faults import ALL

if TYPE_CHECKING:
    from pathlib import Path

    from core.city import Device
    from simulators.events import CityEvent
    from simulators.faults import Fault

__all__ = ["Label", "LabelClass", "event_label", "fault_label", "read_labels"]


class LabelClass(StrEnum):
    """Whether a device is wrong, or the city is strange: two things that a detector must not confuse."""

    FAULT = "fault"
    EVENT = "event"


@dataclass(frozen=True, slots=True)
class Label:
    """One fault or event that was really there.

    Attributes:
        kind: fault or event; `class` in the file.
        what: kind of the fault or of the event.
        device: whose fault it is; None for an event.
        metric: the wrong one, `*` for all of the device; None for an event.
        district: the device's, or where the event is; None for the whole city.
        metrics: all that are touched.
        start: first moment, int64 ns UTC, true time; `from` in the file.
        end: first moment after it; `to` in the file.
        size: how much; see `what`.
        seed: of the run.
    """

    kind: LabelClass
    what: str
    device: str | None
    metric: str | None
    district: str | None
    metrics: tuple[str, ...]
    start: int
    end: int
    size: float
    seed: int

    def encode(self) -> bytes:
        """Return the label as one JSON line.

        Times are rounded up to milliseconds: readings lie on whole ones, so no reading changes sides.
        """
        line = {
            "class": self.kind,
            "what": self.what,
            "device": self.device,
            "metric": self.metric,
            "district": self.district,
            "metrics": self.metrics,
            "from": _iso(self.start),
            "to": _iso(self.end),
            "size": self.size,
            "seed": self.seed,
        }
        return msgspec.json.encode(line) + b"\n"


def fault_label(fault: Fault, device: Device, seed: int) -> Label:
    """Return the label of *fault*, which *device* has in a run of *seed*."""
    return Label(
        kind=LabelClass.FAULT,
        what=fault.kind,
        device=device.id,
        metric=fault.metric,
        district=device.district,
        metrics=KINDS.get(device.kind, ()) if fault.metric == ALL else (fault.metric,),
        start=fault.start,
        end=fault.end,
        size=fault.size,
        seed=seed,
    )


def event_label(event: CityEvent, seed: int) -> Label:
    """Return the label of *event* in a run of *seed*."""
    return Label(
        kind=LabelClass.EVENT,
        what=event.kind,
        device=None,
        metric=None,
        district=event.district,
        metrics=event.metrics,
        start=event.start,
        end=event.end,
        size=event.size,
        seed=seed,
    )


class _Line(msgspec.Struct, forbid_unknown_fields=True, rename={"kind": "class", "start": "from", "end": "to"}):
    """A label as it stands in the file."""

    kind: LabelClass
    what: Annotated[str, msgspec.Meta(min_length=1)]
    device: str | None
    metric: str | None
    district: str | None
    metrics: tuple[str, ...]
    start: Annotated[datetime, msgspec.Meta(tz=True)]
    end: Annotated[datetime, msgspec.Meta(tz=True)]
    size: float
    seed: int


_decode = msgspec.json.Decoder(_Line).decode


def read_labels(path: Path) -> list[Label]:
    """Return the labels in *path*, in the order of the file; empty lines are passed over.

    Raises:
        MalformedPayload: reason `bad_label`; the text names file, line and what is wrong there.
        OSError: the file cannot be read.
    """
    labels = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if line.strip():
            try:
                labels.append(_label(line))
            except ValueError as error:
                raise MalformedPayload("bad_label", f"{path}:{number}: {error}") from error
    return labels


def _label(line: bytes) -> Label:
    """Return the label that *line* tells.

    Raises:
        ValueError: it tells none; the text says why.
    """
    told = _decode(line)  # msgspec's errors are ValueErrors and name the key
    if told.kind is LabelClass.FAULT and not (told.device and told.metric):
        raise ValueError("a fault needs a device and a metric")
    if told.kind is LabelClass.EVENT and (told.device is not None or told.metric is not None):
        raise ValueError("an event has neither device nor metric: both are null")
    start, end = to_ns(told.start), to_ns(told.end)
    if end <= start:
        raise ValueError("it ends before it begins: to is not after from")
    return Label(
        told.kind, told.what, told.device, told.metric, told.district, told.metrics, start, end, told.size, told.seed
    )


def _iso(ns: int) -> str:
    return from_ns(-(-ns // 1_000_000) * 1_000_000).isoformat(timespec="milliseconds").replace("+00:00", "Z")
