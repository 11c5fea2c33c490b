"""This script measures the whole path on real processes: what a reading costs, and how long until it is stored.

Behind one mosquitto, 2,500 devices with 4 metrics each (10,000 series) publish one JSON object of 4 values at a time:

    cost      CPU seconds of gateway and processor (store, sealing and alerts included) per million readings
    delay     from publish to readable by another process in the series store, under that load
    memory    resident per role, with all 10,000 series known

The API runs beside, so that its memory and its share of the live feed are seen too. Series are made before the clock
starts. The journal is sealed every 100,000 rows here, so that sealing is in the figures.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from backends.catalog import CatalogSettings, open_catalog
from backends.series import SeriesSettings, open_reader
from bench._harness import arguments, cpu_seconds, free_port, report, resident_bytes, started, wait_for_port
from core.city import Device
from core.mqtt import Version, connect, publish

if TYPE_CHECKING:
    import argparse

DEVICES, METRICS = 2_500, ("pm25", "pm10", "no2", "o3")
RATE = 2_500  # messages a second, each of 4 readings
ROLES = {"gateway": "gateway", "processor": "process", "api": "serve"}


class Publisher:
    """One connection that publishes for all devices, each message with a time of its own."""

    def __init__(self, port: int, name: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(connect(name, version=Version.V311, keepalive=0))
        self._socket.recv(4)
        self._sent = self._acked = 0
        threading.Thread(target=self._count_acks, daemon=True).start()

    def _count_acks(self) -> None:
        while data := self._socket.recv(1 << 16):
            self._acked += len(data)

    def send(self, messages: list[tuple[str, bytes]]) -> None:
        """Publish *messages* with QoS 1."""
        out = []
        for topic, payload in messages:
            self._sent += 1
            out.append(publish(topic, payload, version=Version.V311, qos=1, packet_id=self._sent % 65_535 + 1))
        self._socket.sendall(b"".join(out))

    def settle(self) -> None:
        """Wait until all is acknowledged."""
        while self._acked < 4 * self._sent:
            time.sleep(0.01)


def message(i: int, at_ms: int) -> tuple[str, bytes]:
    values = ", ".join(f'"{m}": {20 + (i * 37 + k * 11) % 1000 / 97:.2f}' for k, m in enumerate(METRICS))
    payload = f'{{"ts": {at_ms}, "values": {{{values}}}, "seq": {i}}}'
    return f"devices/air-{i % DEVICES:05d}/readings", payload.encode()


def publish_at_rate(publisher: Publisher, n: int, offset: int) -> float:
    began, sent = time.perf_counter(), 0
    while sent < n:
        due = min(n, int((time.perf_counter() - began) * RATE))
        if due > sent:
            now = time.time_ns() // 1_000_000
            publisher.send([message(offset + i, now) for i in range(sent, due)])
            sent = due
        time.sleep(0.002)
    publisher.settle()
    return time.perf_counter() - began


def measure_delays(port: int, data: Path, series: int, stop: threading.Event, delays: list[float]) -> None:
    """Publish a marked reading again and again, and see when another process can read it."""
    publisher = Publisher(port, "bench-marker")
    reader = open_reader(data / "series", SeriesSettings())
    while not stop.is_set():
        began, at = time.perf_counter(), time.time_ns() // 1_000_000
        publisher.send([("devices/marker/readings", f'{{"ts": {at}, "values": {{"pm25": 1}}}}'.encode())])
        while not len(reader.readings(series, at * 1_000_000, at * 1_000_000 + 1, 1)) and not stop.is_set():
            time.sleep(0.005)
        if not stop.is_set():
            delays.append(time.perf_counter() - began)
        stop.wait(0.25)
    reader.close()


def run(options: argparse.Namespace) -> None:
    seconds = 15 if options.quick else 60
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        conf = Path(folder) / "mosquitto.conf"
        conf.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\n"
            "max_inflight_messages 20000\nmax_queued_messages 1000000\n"
        )
        env = {name: value for name, value in os.environ.items() if not name.startswith("URBANPULSE_")} | {
            "URBANPULSE_DATA_DIR": str(data),
            "URBANPULSE_MQTT__URL": f"mqtt://127.0.0.1:{port}",
            "URBANPULSE_API__PORT": str(free_port()),
            "URBANPULSE_SERIES__SEAL_ROWS": "100000",
        }
        data.mkdir()
        catalog = open_catalog(f"sqlite:///{data / 'catalog.sqlite'}", CatalogSettings())
        names = [f"air-{i:05d}" for i in range(DEVICES)]
        for i, name in enumerate(names):
            catalog.registry.add_device(Device(name, "air", f"district-{i % 20:02d}"), "no-embedded-broker")
        catalog.registry.add_device(Device("marker", "air", "district-00"), "no-embedded-broker")
        catalog.registry.allocate([(name, m) for name in names for m in METRICS])
        marker = catalog.registry.allocate([("marker", "pm25")])[0].id
        catalog.close()
        with started(["mosquitto", "-c", str(conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            wait_for_port(port)
            _measure(env, data, port, marker, seconds, options, Path(folder))


def _measure(
    env: dict[str, str], data: Path, port: int, marker: int, seconds: int, options: argparse.Namespace, folder: Path
) -> None:
    children = {}
    logs = {role: (folder / f"{role}.log").open("w") for role in ROLES}
    try:
        for role, verb in ROLES.items():
            children[role] = subprocess.Popen(
                [sys.executable, "-m", "urbanpulse", verb], env=env, stdout=logs[role], stderr=subprocess.STDOUT
            )
        wait_for_port(int(env["URBANPULSE_API__PORT"]), seconds=60)
        while "connected to the broker" not in (folder / "gateway.log").read_text():
            time.sleep(0.05)
        publisher = Publisher(port, "bench-publisher")
        publish_at_rate(publisher, DEVICES, 0)  # every series once: caches, slots and files are there
        time.sleep(2)
        delays: list[float] = []
        stop = threading.Event()
        marking = threading.Thread(target=measure_delays, args=(port, data, marker, stop, delays))
        marking.start()
        before = {role: cpu_seconds(child.pid) for role, child in children.items()}
        n = RATE * seconds
        took = publish_at_rate(publisher, n, DEVICES)
        stop.set()
        marking.join()
        reader = open_reader(data / "series", SeriesSettings())
        expected = (n + DEVICES) * len(METRICS)
        deadline = time.monotonic() + 60
        while reader.count() < expected and time.monotonic() < deadline:
            time.sleep(0.2)
        stored = reader.count()
        reader.close()
        after = {role: cpu_seconds(child.pid) for role, child in children.items()}
        memory = {role: resident_bytes(child.pid) / 1e6 for role, child in children.items()}
    finally:
        for child in children.values():
            child.terminate()
        for child in children.values():
            child.wait(20)
        for log in logs.values():
            log.close()
    readings = n * len(METRICS)
    cost = {role: (after[role] - before[role]) / readings * 1e6 for role in ROLES}
    delays.sort()
    p50, p95 = (delays[int(len(delays) * q)] * 1000 for q in (0.5, 0.95)) if delays else (float("nan"),) * 2
    figures = {
        "readings": readings,
        "readings_per_second": readings / took,
        "missing": expected - stored if stored < expected else 0,
        "cpu_seconds_per_million": cost["gateway"] + cost["processor"],
        **{f"cpu_seconds_per_million_{role}": value for role, value in cost.items()},
        "publish_to_stored_ms_p50": p50,
        "publish_to_stored_ms_p95": p95,
        **{f"resident_mb_{role}": value for role, value in memory.items()},
        "series": DEVICES * len(METRICS),
    }
    rows: list[tuple[object, ...]] = [(role, cost[role], memory[role]) for role in ROLES]
    rows.append(("gateway + processor", figures["cpu_seconds_per_million"], ""))
    title = (
        f"{readings:,} readings at {readings / took:,.0f}/s, {figures['missing']} missing; "
        f"publish to stored p50 {p50:.0f} ms, p95 {p95:.0f} ms"
    )
    report(title, ("role", "CPU s per million readings", "resident MB"), rows, figures, as_json=options.json)
    if figures["missing"]:
        print(json.dumps({"missing": figures["missing"]}), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    run(arguments(__doc__ or "").parse_args())
