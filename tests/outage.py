"""This module is an outage: real roles under load while their InfluxDB is stopped, started, killed and started again.

Every reading can be computed from its place: device, metric and time say its value. So what is in the store at the end
is compared with what was published, one by one, and nothing needs to be written down.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from core.city import Device
from core.topics import readings_topic
from processors.spool import SpoolEntry
from tests.influx import influxd
from tests.stack import Stack, free_port, until
from urbanpulse.demo import register_devices
from urbanpulse.installation import prepare
from urbanpulse.settings import load_settings
from urbanpulse.stores import read_series

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from urbanpulse.installation import Installation

__all__ = ["METRICS", "Plan", "run_outage"]

METRICS = ("load_a", "load_b", "load_c", "load_d")
TIMES = 25  # a message holds 25 times of four metrics: 100 readings
READINGS = TIMES * len(METRICS)
ALARM = "outage-alarm"  # a device that asks for an alert while the server is away


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens. Counts are of readings published: at *outage* the server stops, at *back* it is started again.

    With *kills*, the server is killed with -9 while the processor catches up, and the processor once while the server
    is away and once while it catches up. What is published are *metrics*: four.
    """

    readings: int
    outage: int
    back: int
    rate: int
    devices: int = 20
    kills: bool = True
    metrics: tuple[str, ...] = METRICS


@dataclass
class Watch:
    """What was seen from outside while it happened: ages of the newest reading in the API, and memory, over time."""

    ages: list[tuple[float, float]] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)

    def oldest(self, *, without: Sequence[tuple[float, float]] = ()) -> float:
        """Return the greatest age, seconds, outside of the spans *without*."""
        return max(age for at, age in self.ages if not any(a <= at <= b for a, b in without))

    def growth_mib(self, since: float) -> float:
        """Return by how much memory was above its greatest value before *since*, MiB."""
        before = max(kib for at, kib in self.memory if at <= since)
        return (max(kib for _, kib in self.memory) - before) / 1024


def run_outage(folder: Path, plan: Plan) -> dict[str, Any]:
    """Run *plan* in *folder*; return figures. Everything that must be equal is asserted here."""
    port = free_port()
    settings = {"SERIES__URL": f"http://127.0.0.1:{port}", "PROCESSOR__SNAPSHOT_SECONDS": "2"}
    with Stack(folder / "city", **settings) as stack, ExitStack() as servers:
        servers.enter_context(influxd(folder / "server", port=port))
        stack.command("series", "init")
        installation = _installation(stack)
        devices = [Device(_name(n), "generic", "north") for n in range(plan.devices)]
        secrets = register_devices(installation, "outage", [*devices, Device(ALARM, "air", "north")])
        stack.start_all()
        publisher = Publisher(stack.broker_port, installation.services["load"], plan)
        watch, stop = Watch(), threading.Event()
        watcher = threading.Thread(target=_watch, args=(stack, watch, stop), name="watch")
        publisher.start()
        watcher.start()
        try:
            figures = _happen(stack, plan, publisher, watch, servers, folder / "server", port, secrets[ALARM])
        finally:
            publisher.end()
            stop.set()
            watcher.join()
        assert (publisher.acked, publisher.refused) == (publisher.messages, 0)
        messages = publisher.messages + 1
        total = until(lambda: _booked(stack, messages), "the ledger to have every message")
        assert (total["accepted"] + total["late"], total["quarantined"]) == (messages, 0), total
        until(lambda: _behind(stack) == 0, "the store to have everything")
        figures |= {"published": publisher.messages * READINGS, **_compare(installation, publisher, plan)}
    return figures


def _happen(
    stack: Stack,
    plan: Plan,
    publisher: Publisher,
    watch: Watch,
    servers: ExitStack,
    folder: Path,
    port: int,
    secret: str,
) -> dict[str, Any]:
    kills: list[tuple[float, float]] = []
    until(lambda: publisher.readings >= plan.outage, "the load before the outage", seconds=3600)
    until(lambda: watch.ages and watch.memory, "the watch to have seen something")
    away_since = time.monotonic()
    servers.close()
    if plan.kills:
        half = (plan.outage + plan.back) // 2
        until(lambda: publisher.readings >= half, "half of the outage", seconds=3600)
        kills.append(_kill_processor(stack, watch))
    alarm = json.dumps({"ts": time.time_ns() // 1_000_000, "values": {"pm25": 5000.0}})
    assert stack.publish(ALARM, secret, readings_topic(ALARM), alarm).returncode == 0
    until(lambda: [a for a in stack.items("/api/v1/alerts") if a["device"] == ALARM], "an alert while it is away")
    until(lambda: stack.get("/readyz", check=False)[1]["status"] == "degraded", "the API to say so")
    until(lambda: publisher.readings >= plan.back, "the outage", seconds=3600)
    spooled = (stack.data / "spool.sqlite").stat().st_size
    assert "Traceback" not in stack.log("processor")
    back_at = time.monotonic()
    if plan.kills:
        with influxd(folder, port=port, kill=True):
            begun = _forwarded(stack)
            until(lambda: _forwarded(stack) > begun, "catching up to begin")
        with influxd(folder, port=port, kill=True):
            begun = _forwarded(stack)
            until(lambda: _forwarded(stack) > begun, "catching up to go on")
            kills.append(_kill_processor(stack, watch))
    servers.enter_context(influxd(folder, port=port))
    until(lambda: publisher.readings >= plan.readings, "the whole load", seconds=3600)
    until(lambda: _behind(stack) == 0, "the store to catch up", seconds=600)
    caught_up = time.monotonic()
    return {
        "outage_seconds": round(back_at - away_since, 1),
        "behind_seconds_after": round(caught_up - back_at, 1),
        "spool_megabytes": round(spooled / 1e6, 1),
        "live_age_seconds": round(watch.oldest(without=kills), 2),
        "live_age_percentiles": {
            f"p{p}": round(float(np.percentile([a for _, a in watch.ages], p)), 2) for p in (50, 99)
        },
        "live_age_seconds_with_kills_of_the_processor": round(watch.oldest(), 2),
        "memory_growth_mib": round(watch.growth_mib(away_since), 1),
        "live_view_back_seconds": [round(b - a, 1) for a, b in kills],
    }


class Publisher(threading.Thread):
    """All devices over one connection, QoS 1, as fast as the plan says."""

    def __init__(self, port: int, password: str, plan: Plan) -> None:
        super().__init__(name="publisher")
        self._plan = plan
        self._end = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, "outage-load")
        self._client.username_pw_set("load", password)
        self._client.on_publish = self._on_publish
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self.acked = 0
        self.refused = 0
        self.messages = 0
        self.firsts: list[list[int]] = [[] for _ in range(plan.devices)]  # ms of the first time of each message

    @property
    def readings(self) -> int:
        """Return how many readings were published so far."""
        return self.messages * READINGS

    def run(self) -> None:
        """Publish until told to end: each message covers the time since the one before of its device."""
        each = self._plan.devices * READINGS / self._plan.rate  # seconds between two messages of a device
        step = max(int(each * 1000 / TIMES), 1)
        began, last = time.monotonic(), [0] * self._plan.devices
        while not self._end.is_set():
            n = self.messages % self._plan.devices
            ahead = began + self.messages * READINGS / self._plan.rate - time.monotonic()
            if ahead > 0 and self._end.wait(ahead):
                break
            first = max(time.time_ns() // 1_000_000 - step * (TIMES - 1), last[n] + step)
            at = [first + k * step for k in range(TIMES)]
            last[n] = at[-1]
            rows = [{"ts": t, "values": {m: value(n, k, t) for k, m in enumerate(self._plan.metrics)}} for t in at]
            self._client.publish(readings_topic(_name(n)), json.dumps(rows), qos=1)
            self.firsts[n].append(first)
            self.messages += 1
            while self.messages - self.acked > 500 and not self._end.wait(0.01):
                pass
        deadline = time.monotonic() + 120
        while self.acked < self.messages and time.monotonic() < deadline:
            time.sleep(0.02)
        self._client.disconnect()
        self._client.loop_stop()

    def times(self, device: int) -> NDArray[np.int64]:
        """Return the measured times of all readings of a metric of *device*, ns, ascending."""
        each = self._plan.devices * READINGS / self._plan.rate
        step = max(int(each * 1000 / TIMES), 1)
        firsts = np.array(self.firsts[device], np.int64)
        return ((firsts[:, None] + np.arange(TIMES) * step) * 1_000_000).ravel()

    def end(self) -> None:
        """Stop, and wait until the broker has acknowledged everything, or for a minute."""
        self._end.set()
        self.join()

    def _on_publish(self, _client: Client, _userdata: Any, _mid: int, reason: Any, _properties: Any) -> None:
        self.acked += 1
        self.refused += reason.is_failure


def value(device: int, metric: int, ms: int) -> float:
    """Return the value of a reading; its time and place make it unlike its neighbours'."""
    return device * 10 + metric + ms % 1000 / 1000


def _name(n: int) -> str:
    return f"outage-{n:02d}"


def _installation(stack: Stack) -> Installation:
    config = stack.folder / "outage.toml"
    lines = [f'data_dir = "{stack.data}"', "[series]", f'url = "{stack.env["URBANPULSE_SERIES__URL"]}"']
    config.write_text("\n".join(lines) + "\n")
    return prepare(load_settings(config))


def _kill_processor(stack: Stack, watch: Watch) -> tuple[float, float]:
    """Kill it with -9 and start it again; return the span in which the live view could not go on."""
    since, said = time.monotonic(), len(stack.log("processor"))
    stack.kill("processor")
    stack.start("processor")
    until(lambda: "state restored" in stack.log("processor")[said:], "the processor to restore its state")
    restored = time.monotonic()
    until(lambda: any(at > restored + 0.5 and age < 2 for at, age in watch.ages[-5:]), "the live view")
    return since, time.monotonic()


def _behind(stack: Stack) -> int:
    """Return how many positions of the log the newest entry of the spool is ahead of the store."""
    time.sleep(0.2)
    with closing(sqlite3.connect(f"file:{stack.data}/spool.sqlite?mode=ro", uri=True)) as db:
        row = db.execute("SELECT body FROM entries ORDER BY position DESC LIMIT 1").fetchone()
    return SpoolEntry.from_bytes(row[0]).position - _forwarded(stack) if row else 0


def _forwarded(stack: Stack) -> int:
    """Return the position of the log up to which the server has everything."""
    with closing(sqlite3.connect(f"file:{stack.data}/series/influx.sqlite?mode=ro", uri=True)) as db:
        row = db.execute("SELECT position FROM position WHERE source = 'processor'").fetchone()
    return int(row[0]) if row else 0


def _booked(stack: Stack, messages: int) -> Any:
    total = stack.get("/api/v1/ledger")[1]["total"]
    return total if total["accepted"] + total["late"] >= messages else None  # a repetition is received, too


def _compare(installation: Installation, publisher: Publisher, plan: Plan) -> dict[str, int]:
    """Compare what the server has with what was published, both ways."""
    found = {"stored": 0, "lost": 0, "altered": 0, "twice": 0, "invented": 0}
    with closing(installation.open_catalog()) as catalog, closing(read_series(installation, catalog)) as reader:
        known = {(series.device, series.metric): series.id for series in catalog.registry.series()}
        assert len(known) == len(publisher.firsts) * len(METRICS) + 1
        deadline = time.monotonic() + 120
        while reader.count() < publisher.messages * READINGS + 1 and time.monotonic() < deadline:
            time.sleep(0.5)  # if it never comes, the figures say so
        for n in range(len(publisher.firsts)):
            expected = publisher.times(n)
            for k, metric in enumerate(plan.metrics):
                batch = reader.readings(known[_name(n), metric], 0, 1 << 62, 100_000_000)
                values = np.array([value(n, k, ms) for ms in (batch.measured // 1_000_000).tolist()])
                found["stored"] += len(batch)
                found["twice"] += len(batch) - len(np.unique(batch.measured))
                found["lost"] += len(np.setdiff1d(expected, batch.measured))
                found["invented"] += len(np.setdiff1d(batch.measured, expected))
                found["altered"] += int((values != batch.value).sum())
        assert reader.readings(known[ALARM, "pm25"], 0, 1 << 62, 10).value.tolist() == [5000.0]
        found["counted"] = reader.count() - 1
    return found


def _watch(stack: Stack, watch: Watch, stop: threading.Event) -> None:
    while not stop.wait(0.25):
        items = stack.get("/api/v1/latest?device=outage-00", check=False)[1]
        process = stack.roles.get("processor")
        now = time.monotonic()
        if items and items["items"]:
            newest = max(datetime.fromisoformat(item["measured"]).timestamp() for item in items["items"])
            watch.ages.append((now, time.time() - newest))
        if process is not None and process.poll() is None:
            watch.memory.append((now, _memory_kib(process.pid)))


def _memory_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)
