"""This module replays captures: topics, bytes, QoS and retain flag go out as they were recorded.

A device's own topics go out through that device's client, with its credentials: a broker that lets devices write only
below their own name is none the wiser. What the platform itself or the broker had said is left out.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from core.city import NAME
from core.errors import MalformedPayload, SettingsError
from core.topics import ReadingsTopic, parse_device_topic
from simulators.capture import read_capture
from simulators.messages import Message
from simulators.recorded_rows import time_ns
from simulators.replay import Pace, Replayed, drive_replay, fleet_of, ts_of, window_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from simulators.capture import Capture
    from simulators.fleet import Fleet
    from simulators.messages import Emission
    from simulators.replay import Stage

__all__ = ["CaptureOverview", "look_at_captures", "owner_of", "run_capture_replay"]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class CaptureOverview:
    """What is in captures.

    Attributes:
        messages: those that can be played.
        first: time of the first one, ns UTC.
        last: time of the last one.
        devices: whose own topics occur.
        foreign: messages on other topics.
        foreign_topic: the first of those topics.
        left_out: messages on topics that only a platform or a broker writes (`urbanpulse/…`, `$…`).
        bad: lines that were passed over.
    """

    messages: int
    first: int
    last: int
    devices: tuple[str, ...]
    foreign: int
    foreign_topic: str
    left_out: int
    bad: int


def owner_of(topic: str) -> str | None:
    """Return the device that writes below its own name there, `""` if it is a foreign topic, None if nobody should.

    >>> owner_of("devices/air-01/readings"), owner_of("application/7/up"), owner_of("$SYS/uptime")
    ('air-01', '', None)
    """
    if topic.startswith(("$", "urbanpulse/")) or topic == "urbanpulse":
        return None
    head, _, rest = topic.partition("/")
    device, below, _ = rest.partition("/")
    return device if head == "devices" and below and NAME.fullmatch(device) else ""


def look_at_captures(
    files: Sequence[Path], *, device: str = "", max_devices: int = 2000, skip_bad: bool = False
) -> CaptureOverview:
    """Read captures once; see `CaptureOverview`. With *device* only what is below its name counts.

    Raises:
        MalformedPayload: a bad line, named by file and line, or nothing to play.
        SettingsError: a file cannot be read, or there are too many devices.
    """
    devices: dict[str, None] = {}
    bad: list[int] = [0]
    messages = foreign = left_out = 0
    foreign_topic = ""
    first, last = 1 << 63, 0

    def count(_: MalformedPayload) -> None:
        bad[0] += 1

    for path in files:
        for capture in read_capture(path, on_bad=count if skip_bad else None):
            owner = owner_of(capture.topic)
            if device and owner != device:
                continue
            if owner is None:
                left_out += 1
                continue
            if owner:
                devices[owner] = None
                if len(devices) > max_devices:
                    raise SettingsError("simulator.replay_devices", f"more than {max_devices} devices in {path}")
            else:
                foreign += 1
                foreign_topic = foreign_topic or capture.topic
            messages += 1
            first, last = min(first, capture.at), max(last, capture.at)
    if not messages:
        whose = f" of device {device!r}" if device else ""
        raise MalformedPayload("bad_shape", f"{files[0]}: no messages{whose} in it that can be played")
    return CaptureOverview(messages, first, last, tuple(devices), foreign, foreign_topic, left_out, bad[0])


async def run_capture_replay(
    files: Sequence[Path],
    overview: CaptureOverview,
    stage: Stage,
    *,
    device: str = "",
    foreign_user: str = "urbanpulse-replay",
    shift_ns: int = 0,
) -> Replayed:
    """Publish the messages of captures: topics, bytes, QoS and retain flag as they were.

    What is below a device's own name goes out through that device's client, everything else through one client called
    *foreign_user*. *shift_ns* moves the times inside readings of ours; other payloads stay, and are counted.

    Raises:
        SettingsError: a device, or *foreign_user*, has no credential.
        Unavailable: the broker lets nobody in, or does not acknowledge.
    """
    result = Replayed()
    names = (*overview.devices, *([foreign_user] if overview.foreign else []))
    fleet = fleet_of(stage, names, _Silent())
    messages = heapq.merge(*(read_capture(path, on_bad=_ignore, on_cut=_ignore) for path in files), key=_at)
    work = _repeat(fleet, messages, stage, device, foreign_user, shift_ns, result)
    await drive_replay(fleet, work, stage, overview.messages, result)
    return result


async def _repeat(
    fleet: Fleet,
    captures: Iterator[Capture],
    stage: Stage,
    device: str,
    foreign_user: str,
    shift_ns: int,
    result: Replayed,
) -> None:
    await fleet.reach(len(fleet.devices))
    pace, window = Pace(stage, result), window_of(stage.settings)
    for capture in captures:
        owner = owner_of(capture.topic)
        if owner is None or (device and owner != device):
            continue
        payload = capture.payload
        if shift_ns:
            moved = _shifted(capture, shift_ns)
            result.unshifted += moved is None
            payload = payload if moved is None else moved
        await pace.until(capture.at)
        await fleet.settle(window)
        fleet.devices[owner or foreign_user].send(Message(capture.topic, payload, capture.qos, capture.retain))
        result.sent += 1
    await fleet.settle(0)


class _Silent:
    """What a replaying client says of itself: nothing, the capture has it all."""

    def births(self, device: str, at: int) -> tuple[Message, ...]:  # noqa: ARG002 - the signature is WireFormat's
        return ()

    def encode(self, emission: Emission) -> tuple[Message, ...]:  # noqa: ARG002 - the same
        return ()

    def will(self, device: str, at: int) -> Message | None:  # noqa: ARG002 - the same
        return None

    def farewell(self, device: str, at: int) -> tuple[Message, ...]:  # noqa: ARG002 - the same
        return ()


def _shifted(capture: Capture, shift_ns: int) -> bytes | None:
    """Return the payload of a readings message of ours with its times moved, None if it is none or has no times."""
    try:
        if not isinstance(parse_device_topic(capture.topic), ReadingsTopic):
            return None
        said = _decode(capture.payload)
        items = said if isinstance(said, list) else [said]
        for item in items:
            item["ts"] = ts_of(time_ns(item["ts"]) + shift_ns)
    except (MalformedPayload, msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError, KeyError):
        return None
    return _encode(said)


def _at(capture: Capture) -> int:
    return capture.at


def _ignore(_: object) -> None:
    """Pass over what was told of when the captures were looked at."""
