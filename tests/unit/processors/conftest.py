"""A processor on stores in memory: everything that a run needs, a log to feed it, and ways to make it fail."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

import processors
from core.batch import ReadingBatch
from core.city import Device
from core.entry import LogEntry
from processors import NotifySettings, ProcessorSettings
from tests.contracts.fakes import MemoryJournal, MemoryLog, MemoryRegistry
from tests.contracts.series_fake import MemorySeriesStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.alerts import AlertEvent
    from core.live import LiveFrame
    from core.ports import OutboxItem

START = 1_767_225_600_000_000_000
SECOND = 1_000_000_000
DEVICES = tuple(Device(f"air-{i}", "air", "north" if i < 3 else "south") for i in range(6))


class Crash(Exception):  # noqa: N818 - it is what happens, not what is wrong
    """Stands for kill -9: nothing catches it."""


class QuickClock:
    """The real clock, but nobody waits for long."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.001))

    def pause(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.001))


class MemorySnapshots:
    """`Snapshots`: the newest two."""

    def __init__(self) -> None:
        self.kept: list[tuple[int, bytes]] = []

    def save(self, position: int, state: bytes) -> None:
        self.kept = [(position, state), *self.kept][:2]

    def load(self) -> list[tuple[int, bytes]]:
        return list(self.kept)


class MemoryOutbox:
    """`Outbox` of nothing, for runs that are not about notices."""

    def due(self, now_ns: int, limit: int) -> list[OutboxItem]:  # noqa: ARG002 - the port's names
        return []

    def sent(self, item: str, now_ns: int) -> None: ...

    def failed(self, item: str, retry_ns: int, error: str) -> None: ...

    def given_up(self, item: str, now_ns: int, error: str) -> None: ...

    def pending(self) -> int:
        return 0


class Frames:
    """`LivePublisher` that keeps what it got."""

    def __init__(self) -> None:
        self.got: list[LiveFrame] = []

    async def publish(self, frame: LiveFrame) -> None:
        self.got.append(frame)


class Failing:
    """A port with one method in front of which, or behind which, something happens."""

    def __init__(self, port: Any, before: Callable[[str], None], after: Callable[[str], None], *names: str) -> None:
        self._port = port
        self._before = before
        self._after = after
        self._names = names

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._port, name)
        if name not in self._names:
            return inner

        def call(*args: Any) -> Any:
            self._before(name)
            answer = inner(*args)
            self._after(name)
            return answer

        return call


@dataclass
class House:
    """All stores of a city; `run` starts a processor on them and stops it when it has read the log."""

    log: MemoryLog
    registry: MemoryRegistry
    series: MemorySeriesStore = field(default_factory=MemorySeriesStore)
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    snapshots: MemorySnapshots = field(default_factory=MemorySnapshots)
    frames: Frames = field(default_factory=Frames)
    new_frames: Callable[[], Frames] = Frames
    spool: MemoryLog | None = None
    metrics: CollectorRegistry = field(default_factory=CollectorRegistry)
    settings: ProcessorSettings = field(
        default_factory=lambda: ProcessorSettings(
            poll_seconds=0.001, cycle_seconds=0, cycle_entries=7, snapshot_entries=25, live_seconds=0.05
        )
    )

    async def run(
        self,
        *,
        before: Callable[[str], None] = lambda _: None,
        after: Callable[[str], None] = lambda _: None,
        until: Callable[[], bool] | None = None,
    ) -> None:
        self.metrics = CollectorRegistry()
        self.frames = self.new_frames()
        stop = asyncio.Event()

        def has_read_everything() -> bool:
            return self.shown("city_processor_position") == self.log.head()

        async def watch() -> None:
            deadline = time.monotonic() + 60
            while not (until or has_read_everything)():
                assert time.monotonic() < deadline, "the processor did not get there"
                await asyncio.sleep(0.002)
            stop.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(watch())
            group.create_task(
                processors.run(
                    settings=self.settings,
                    notify=NotifySettings(),
                    log=Failing(self.log, before, after, "commit", "read"),
                    registry=Failing(self.registry, before, after, "series"),
                    series=Failing(self.series, before, after, "write"),
                    spool=self.spool and Failing(self.spool, before, after, "append", "trim"),
                    journal=Failing(self.journal, before, after, "record"),
                    outbox=MemoryOutbox(),
                    live=self.frames,
                    senders={},
                    snapshots=Failing(self.snapshots, before, after, "save"),
                    clock=QuickClock(),
                    rng=random.Random(1),
                    stop=stop,
                    metrics=self.metrics,
                )
            )

    def shown(self, name: str, **labels: str) -> float | None:
        return self.metrics.get_sample_value(name, labels)

    def readings(self) -> int:
        """Return how many readings were written; the log of these tests is older than the store's retention."""
        return len(self.series._rows)

    def stored(self) -> tuple[dict[str, AlertEvent], dict[Any, Any], dict[Any, Any]]:
        return dict(self.journal.events), dict(self.series._rows), dict(self.series._bands)


def fill(log: MemoryLog, series: Sequence[int], entries: int, *, seed: int = 3) -> None:
    """Append *entries* in which readings come and go, limits are crossed and devices fall silent."""
    rng = np.random.default_rng(seed)
    ids = np.array(series, np.int32)
    blobs = []
    for k in range(entries):
        logged = START + k * 5 * SECOND
        rows = ids if k < entries / 2 else ids[:-4]  # the last devices fall silent
        value = 30 + rng.normal(0, 2, len(rows)) + 100 * (k % 60 > 40)
        blobs.append(LogEntry(logged, ReadingBatch.of(rows, np.full(len(rows), logged), value)).to_bytes())
    log.append(blobs)


@pytest.fixture
def empty_house() -> House:
    """Return a house whose series are known and whose log is empty."""
    registry = MemoryRegistry(DEVICES)
    registry.allocate([(device.id, metric) for device in DEVICES for metric in ("pm25", "noise")])
    return House(MemoryLog(QuickClock()), registry)


@pytest.fixture
def house(empty_house: House) -> House:
    """Return a house with a log of 100 entries."""
    fill(empty_house.log, [series.id for series in empty_house.registry.series()], 100)
    return empty_house
