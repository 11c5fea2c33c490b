"""Fakes of the ports, real brokers on free ports, and a clock that really ticks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import socket
import subprocess
import sysconfig
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry

import gateway
from core.city import Device, Series
from core.entry import LogEntry
from core.errors import NotFound, Unavailable
from gateway.settings import GatewaySettings, MqttSettings
from tests.stack import free_port
from urbanpulse.clock import SystemClock

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from core.admission import DeviceStatus, Quarantined, Tally


@dataclass
class FakeLog:
    """A log in memory. *failures* answers the next appends with an error; *gate*, if set, makes them wait."""

    entries: list[bytes] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    gate: threading.Event | None = None
    before_append: Callable[[], None] | None = None
    cursors: dict[str, int] = field(default_factory=dict)
    attempts: int = 0
    trimmed_ns: int = 0
    unacknowledged: bool = False

    def append(self, entries: Sequence[bytes]) -> int:
        self.attempts += 1
        if self.before_append is not None:
            self.before_append()
        if self.gate is not None:
            self.gate.wait(10)
        if self.failures:
            raise Unavailable("log", self.failures.pop(0))
        self.entries.extend(entries)
        if self.unacknowledged and any(len(LogEntry.from_bytes(blob).batch) for blob in entries):
            raise Unavailable("log", "the disk answered too late")  # worse than the port allows: stored, yet refused
        return len(self.entries)

    def head(self) -> int:
        return len(self.entries)

    def tail(self, limit: int) -> list[tuple[int, bytes]]:
        return list(enumerate(self.entries, 1))[-limit:] if limit else []

    def trim(self, now_ns: int) -> int:
        self.trimmed_ns = now_ns
        return 0

    def read(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        return list(enumerate(self.entries, 1))[after : after + limit]

    def cursor(self, consumer: str) -> int:
        return self.cursors.setdefault(consumer, 0)

    def commit(self, consumer: str, position: int) -> None:
        self.cursors[consumer] = max(position, self.cursors.get(consumer, 0))

    def decoded(self) -> list[LogEntry]:
        return [LogEntry.from_bytes(blob) for blob in self.entries]

    def rows(self) -> list[tuple[int, int, float]]:
        """Return (series, measured, value) of all readings, in order."""
        out = []
        for entry in self.decoded():
            b = entry.batch
            out += list(zip(b.series.tolist(), b.measured.tolist(), b.value.tolist(), strict=True))
        return out

    def tallies(self) -> dict[tuple[str, str, str], int]:
        """Return {(device, outcome, reason): messages}."""
        sums: dict[tuple[str, str, str], int] = {}
        for entry in self.decoded():
            for t in entry.tallies:
                if t.messages:
                    key = (t.device, str(t.outcome), str(t.reason))
                    sums[key] = sums.get(key, 0) + t.messages
        return sums

    def received(self) -> int:
        return sum(t.received for entry in self.decoded() for t in entry.tallies)


@dataclass
class FakeRegistry:
    """Devices and series in memory."""

    known: dict[str, Device] = field(default_factory=dict)
    allocated: dict[tuple[str, str], Series] = field(default_factory=dict)
    changes: int = 1
    failures: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, *devices: str) -> FakeRegistry:
        return cls({name: Device(name, "air", "centre") for name in devices})

    def add(self, device: str) -> None:
        self.known[device] = Device(device, "air", "centre")
        self.changes += 1

    def remove(self, device: str) -> None:
        del self.known[device]
        self.changes += 1

    def revision(self) -> int:
        return self.changes

    def districts(self) -> list[Any]:
        return []

    def devices(self) -> list[Device]:
        return [self.known[name] for name in sorted(self.known)]

    def series(self) -> list[Series]:
        return sorted(self.allocated.values(), key=lambda s: s.id)

    def allocate(self, pairs: Sequence[tuple[str, str]]) -> list[Series]:
        if self.failures:
            raise Unavailable("catalog", self.failures.pop(0))
        for device, _ in pairs:
            if device not in self.known:
                raise NotFound(f"device {device!r}")
        for device, metric in pairs:
            if (device, metric) not in self.allocated:
                self.allocated[device, metric] = Series(len(self.allocated), device, metric, "centre")
                self.changes += 1
        return [self.allocated[pair] for pair in pairs]


@dataclass
class FakeLedger:
    """A ledger book in memory; *failures* answers the next bookings with an error."""

    at: int = 0
    tallies: list[Tally] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    statuses: list[DeviceStatus] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    bookings: int = 0

    def position(self, source: str) -> int:
        assert source == "ledger"
        return self.at

    def book(
        self,
        source: str,
        position: int,
        tallies: Sequence[Tally],
        quarantined: Sequence[Quarantined],
        statuses: Sequence[DeviceStatus],
    ) -> None:
        assert source == "ledger"
        if self.failures:
            raise Unavailable("catalog", self.failures.pop(0))
        if position <= self.at:
            return
        self.at = position
        self.bookings += 1
        self.tallies += tallies
        self.quarantined += quarantined
        self.statuses += statuses


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the broker ended at once"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError(f"no broker on port {port}")


@contextlib.contextmanager
def started(command: list[str], port: int, log_file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a broker until the block ends."""
    with log_file.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_for_port(port, process)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:  # mosquitto 2.0.11 forgets a SIGTERM that comes before its loop
            process.kill()
            process.wait()


def mosquitto(tmp_path: Path, port: int, *lines: str) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """Run Debian's mosquitto on *port* with more configuration *lines*."""
    conf = tmp_path / f"mosquitto-{port}.conf"
    body = [f"listener {port} 127.0.0.1", "max_inflight_messages 0", "max_queued_messages 0", *lines]
    if not any(line.startswith(("allow_anonymous", "require_certificate")) for line in lines):
        body.append("allow_anonymous true")
    if os.geteuid() == 0:
        body.append("user root")  # it would change to a user who may not read the test's files
    conf.write_text("\n".join(body) + "\n")
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    assert program, "Debian's mosquitto is needed"
    return started([program, "-c", str(conf)], port, tmp_path / f"mosquitto-{port}.log")


def nats(
    tmp_path: Path, port: int, *, ack_wait: str = "1s"
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """Run the nats-server that the product embeds, with MQTT on *port*."""
    conf = tmp_path / f"nats-{port}.conf"
    conf.write_text(
        f'server_name: t{port}\nlisten: "127.0.0.1:{free_port()}"\n'
        f'jetstream {{ store_dir: "{tmp_path / f"js-{port}"}" }}\n'
        f'mqtt {{ listen: "127.0.0.1:{port}", ack_wait: "{ack_wait}", max_ack_pending: 10000 }}\n'
    )
    program = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(program) if program.exists() else shutil.which("nats-server")
    assert found, "nats-server is needed"
    return started([found, "-c", str(conf)], port, tmp_path / f"nats-{port}.log")


async def eventually(check: Callable[[], object], *, seconds: float = 60) -> None:
    """Wait until *check* is true."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.02)


@dataclass
class Running:
    """A gateway under test."""

    log: FakeLog
    registry: FakeRegistry
    ledger: FakeLedger
    ready: asyncio.Event
    stop: asyncio.Event
    metrics: CollectorRegistry


@contextlib.asynccontextmanager
async def running(
    mqtt: MqttSettings,
    *,
    log: FakeLog | None = None,
    registry: FakeRegistry | None = None,
    ledger: FakeLedger | None = None,
    settings: GatewaySettings | None = None,
    wait: bool = True,
) -> AsyncIterator[Running]:
    """Run the whole gateway on fakes until the block ends."""
    it = Running(
        log or FakeLog(),
        registry or FakeRegistry.of("air-01"),
        ledger or FakeLedger(),
        asyncio.Event(),
        asyncio.Event(),
        CollectorRegistry(),
    )
    task = asyncio.create_task(
        gateway.run(
            settings=settings or GatewaySettings(ledger_seconds=0.1, registry_poll_seconds=0.1),
            mqtt=mqtt,
            log_appender=it.log,
            log_consumer=it.log,
            registry=it.registry,
            ledger=it.ledger,
            clock=SystemClock(),
            rng=random.Random(1),
            stop=it.stop,
            metrics=it.metrics,
            on_ready=it.ready.set,
        ),
        name="gateway under test",
    )
    try:
        if wait:
            await asyncio.wait_for(it.ready.wait(), 15)
        yield it
    finally:
        it.stop.set()
        await asyncio.wait_for(task, 15)


@pytest.fixture
def port() -> int:
    return free_port()
