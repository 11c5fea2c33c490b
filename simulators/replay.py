"""This module replays what was recorded: readings as those of devices of ours, captures as the bytes that they were.

Everything goes out through the fleet's devices, each with its own connection. In replayed time a message leaves when
(its time - the first one's) / speed has passed, or as soon after as there is room: nothing is dropped to be punctual.
"""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from core.errors import SettingsError, UrbanpulseError
from core.topics import readings_topic
from simulators.fleet import Fleet, drive
from simulators.messages import Message

if TYPE_CHECKING:
    import asyncio
    import random
    from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence

    from core.clock import Clock
    from simulators.device import Broker
    from simulators.fleet import Progress
    from simulators.messages import WireFormat
    from simulators.recorded_rows import Sample
    from simulators.recordings import Overview, Recording
    from simulators.settings import SimulatorSettings

__all__ = ["Pace", "Replayed", "Stage", "drive_replay", "fleet_of", "run_replay", "ts_of", "window_of"]

_S = 1_000_000_000
_BEYOND_DOUBT_NS = 10**17  # before March 1973 a number of nanoseconds would be read as one of microseconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a replay plays, and how fast.

    Attributes:
        settings: windows and patience of the fleet.
        broker: where to.
        credentials: passwords by device; empty = none are needed, or the broker's login is everyone's.
        clock: to wait with.
        rng: spreads reconnects.
        stop: ends it early.
        speed: times the recorded speed; None = packed and as fast as acks come.
        progress: gets the figures about twice a second.
    """

    settings: SimulatorSettings
    broker: Broker
    credentials: Mapping[str, str]
    clock: Clock
    rng: random.Random
    stop: asyncio.Event
    speed: float | None = None
    progress: Callable[[Progress], None] | None = None

    def __post_init__(self) -> None:
        """Check the speed.

        Raises:
            SettingsError: *speed* is not above 0.
        """
        if self.speed is not None and not (self.speed > 0 and math.isfinite(self.speed)):
            raise SettingsError("speed", f"{self.speed}: a number above 0 expected")


@dataclass(slots=True)
class Replayed:
    """What was played.

    Attributes:
        sent: readings, or messages of a capture, that were handed to the fleet.
        disordered: samples or messages that came after later ones: they were sent when they were found.
        unshifted: messages whose times were to be shifted and stayed, because they are not our JSON.
        progress: the fleet's figures at the end.
    """

    sent: int = 0
    disordered: int = 0
    unshifted: int = 0
    progress: Progress | None = None


async def run_replay(recording: Recording, overview: Overview, stage: Stage, *, shift_ns: int = 0) -> Replayed:
    """Publish *recording* as our JSON, all its times moved by *shift_ns*; return when all is acknowledged, or stopped.

    *overview* is what `recording.look()` gave. With its own times a recording from the past is late.

    Raises:
        MalformedPayload: a row went bad since.
        SettingsError: a device has no credential.
        Unavailable: the broker lets nobody in, or does not acknowledge.
    """
    result = Replayed()
    fleet = fleet_of(stage, overview.devices, None)
    work = _publish(fleet, recording.samples(), stage, shift_ns, result)
    await drive_replay(fleet, work, stage, overview.readings, result)
    return result


@dataclass(slots=True)
class Pace:
    """Waits until a recorded time has come, and counts what comes too late for that."""

    stage: Stage
    result: Replayed
    _first: int | None = None
    _last: int = -(1 << 63)
    _started: float = 0.0

    async def until(self, at: int) -> None:
        """Wait until *at* (recorded time, ns) has come."""
        if at < self._last:
            self.result.disordered += 1
        self._last = max(self._last, at)
        if self.stage.speed is None:
            return
        if self._first is None:
            self._first, self._started = at, self.stage.clock.monotonic()
        wait = (at - self._first) / _S / self.stage.speed - (self.stage.clock.monotonic() - self._started)
        if wait > 0:
            await self.stage.clock.sleep(wait)


@dataclass(slots=True)
class _Packer:
    """Gathers the samples of each device and sends them as one message each."""

    fleet: Fleet
    window: int
    _seq: dict[str, int] = field(default_factory=dict)
    _held: dict[str, list[Sample]] = field(default_factory=dict)
    held: int = 0

    def add(self, sample: Sample) -> int:
        """Hold *sample*; return how many its device holds."""
        held = self._held.setdefault(sample.device, [])
        held.append(sample)
        self.held += 1
        return len(held)

    async def send(self, device: str, shift_ns: int) -> None:
        """Send what *device* holds when there is room."""
        samples = self._held.pop(device)
        self.held -= len(samples)
        seq = self._seq.get(device, 0)
        self._seq[device] = seq + len(samples)
        said = [
            {"ts": ts_of(sample.at + shift_ns), "values": sample.values, "seq": seq + n}
            for n, sample in enumerate(samples)
        ]
        await self.fleet.settle(self.window)
        message = Message(readings_topic(device), _encode(said[0] if len(said) == 1 else said))
        self.fleet.devices[device].send(message, sum(len(sample.values) for sample in samples))

    async def send_all(self, shift_ns: int) -> None:
        """Send what all devices hold."""
        for device in list(self._held):
            await self.send(device, shift_ns)


async def _publish(
    fleet: Fleet, samples: Generator[Sample, None, None], stage: Stage, shift_ns: int, result: Replayed
) -> None:
    await fleet.reach(len(fleet.devices))
    settings, pace = stage.settings, Pace(stage, result)
    packer = _Packer(fleet, window_of(settings))
    size = settings.backfill_pack if stage.speed is None else 1
    with closing(samples):
        for sample in samples:
            await pace.until(sample.at)
            result.sent += len(sample.values)
            if packer.add(sample) >= size:
                await packer.send(sample.device, shift_ns)
            elif packer.held >= settings.replay_window_rows:
                await packer.send_all(shift_ns)
    await packer.send_all(shift_ns)
    await fleet.settle(0)


def fleet_of(stage: Stage, names: Sequence[str], wire: WireFormat | None) -> Fleet:
    """Return a fleet of *names* that speaks *wire* (None: our words), its sessions forgotten at the end."""
    return Fleet(
        names,
        stage.credentials,
        broker=stage.broker,
        settings=stage.settings,
        clock=stage.clock,
        rng=stage.rng,
        wire=wire,
        persistent=False,
    )


async def drive_replay(
    fleet: Fleet, work: Coroutine[None, None, None], stage: Stage, total: int, result: Replayed
) -> None:
    """Run *work* with *fleet* connected, of *total* readings or messages; an error of ours is raised as it is."""

    def show(phase: str) -> Progress:
        figures = fleet.progress(phase, fleet.numbers.acked + fleet.numbers.unconfirmed, total)
        if stage.progress is not None:
            stage.progress(figures)
        return figures

    try:
        await drive(fleet, work, stop=stage.stop, clock=stage.clock, tell=partial(show, "replay"))
    except* UrbanpulseError as group:
        raise _first(group) from None
    result.progress = show("stopped")


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def window_of(settings: SimulatorSettings) -> int:
    """Return how many messages may wait or be on their way before another one is added: far fewer than are kept."""
    return min(settings.backfill_window, settings.buffer_messages) - 1


def ts_of(at: int) -> int | str:
    """Return a time for our payloads: milliseconds, or finer if need be; text where a number would be unclear."""
    if at < _BEYOND_DOUBT_NS:
        return f"{_EPOCH + timedelta(microseconds=at // 1000):%Y-%m-%dT%H:%M:%S.%f}Z"
    return at if at % 1_000_000 else at // 1_000_000
