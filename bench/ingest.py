"""This script measures what it costs to take in a message: the whole gateway beside `mosquitto_sub` and paho.

Behind one mosquitto, for each rate, each consumer in turn gets the same messages of QoS 1 from a publisher process that
paces packets encoded beforehand:

    gateway         receive, decode, admit, append durably to the SQLite log, acknowledge; the ledger booked beside
    mosquitto_sub   Debian's C client, output to /dev/null: receives and acknowledges, and that is all
    paho            Python's client with `manual_ack`: receives, counts, acknowledges

Figures are CPU seconds of the consumer process (all threads) per million messages, from /proc. A message has about
120 bytes of payload: a time, a value, and keys that nobody asked for, as devices send them. The consumers take turns;
what else the machine does moves all figures, so several rounds are run and medians are printed: those of the figures,
and for the ratio the median of the ratios within a round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import logging

import structlog
from prometheus_client import CollectorRegistry

import gateway
from backends.catalog import CatalogSettings, open_catalog
from backends.log import LogSettings, SqliteLog
from bench._harness import arguments, cpu_seconds, free_port, report, resident_bytes, started, wait_for_port
from bench._publisher import DEVICES, device
from core.city import Device
from gateway import GatewaySettings, MqttSettings
from urbanpulse.clock import SystemClock

RATES = (5_000, 25_000)
CONSUMERS = ("gateway", "mosquitto_sub", "paho")


# -- the child processes ---------------------------------------------------------------------------------------------


def run_gateway(port: int, folder: Path) -> None:
    """Run the gateway on the real log and catalog in *folder*."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    clock = SystemClock()
    log = SqliteLog(folder / "log.sqlite", LogSettings(), clock=clock)
    catalog = open_catalog(f"sqlite:///{folder / 'catalog.sqlite'}", CatalogSettings())
    registry = CollectorRegistry()

    async def main() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await gateway.run(
            settings=GatewaySettings(),
            mqtt=MqttSettings(url=f"mqtt://127.0.0.1:{port}", session_expiry_seconds=0),
            log_appender=log,
            log_consumer=log,
            registry=catalog.registry,
            ledger=catalog.ledger,
            clock=clock,
            rng=random.Random(),
            stop=stop,
            metrics=registry,
            on_ready=lambda: print("ready", flush=True),
        )

    try:
        if os.environ.get("BENCH_PROFILE"):
            import cProfile  # noqa: PLC0415 - only when asked for

            profile = cProfile.Profile()
            profile.runcall(asyncio.run, main())
            profile.dump_stats(os.environ["BENCH_PROFILE"])
        else:
            asyncio.run(main())
    finally:
        log.close()
        catalog.close()


def run_paho(port: int) -> None:
    """Count and acknowledge with paho, and print the count so far on every line read from stdin."""
    import paho.mqtt.client as paho  # noqa: PLC0415 - in this process alone
    from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415 - the same

    count = 0

    def on_message(client: paho.Client, _user: Any, message: paho.MQTTMessage) -> None:
        nonlocal count
        count += 1
        client.ack(message.mid, message.qos)

    client = paho.Client(CallbackAPIVersion.VERSION2, "bench-paho", manual_ack=True)
    client.on_message = on_message
    client.on_connect = lambda c, *_: c.subscribe("devices/#", 1)
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.connect("127.0.0.1", port, 60)
    client.loop_start()
    for _ in sys.stdin:
        print(count, flush=True)


# -- one measurement -------------------------------------------------------------------------------------------------


def prepare(folder: Path) -> None:
    """Create the catalog with its devices."""
    catalog = open_catalog(f"sqlite:///{folder / 'catalog.sqlite'}", CatalogSettings())
    try:
        for i in range(DEVICES):
            catalog.registry.add_device(Device(device(i), "noise", "centre"), "-")
    finally:
        catalog.close()


def publish_now(port: int, n: int, rate: int, start_ms: int) -> float:
    """Run the publisher; return how long it took."""
    publisher = str(Path(__file__).with_name("_publisher.py"))
    command = [sys.executable, publisher, f"{port}", f"{n}", f"{rate}", f"{start_ms}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)["seconds"])


def booked(folder: Path) -> int:
    """Return the messages that the ledger says were accepted."""
    catalog = open_catalog(f"sqlite:///{folder / 'catalog.sqlite'}", CatalogSettings())
    try:
        return sum(row.accepted for row in catalog.ledger.ledger())
    finally:
        catalog.close()


def measure_gateway(port: int, folder: Path, n: int, rate: int, start_ms: int) -> dict[str, float]:
    before = booked(folder)
    with started([sys.executable, __file__, "--role", "gateway", f"{port}", str(folder)], stdout=subprocess.PIPE) as it:
        assert it.stdout is not None
        assert it.stdout.readline() == "ready\n"
        publish_now(port, DEVICES, 5_000, start_ms - 1)  # the first message of each device makes its series
        time.sleep(1.0)
        cpu = cpu_seconds(it.pid)
        seconds = publish_now(port, n, rate, start_ms)
        time.sleep(0.5)
        cpu = cpu_seconds(it.pid) - cpu
        resident = resident_bytes(it.pid)
    count = booked(folder) - before
    assert count == n + DEVICES, f"{count} messages accepted, {n + DEVICES} sent"
    return {"cpu_seconds_per_million": cpu / n * 1e6, "rate": n / seconds, "resident_mb": resident / 1e6}


def measure_mosquitto_sub(port: int, n: int, rate: int, start_ms: int) -> dict[str, float]:
    command = ["mosquitto_sub", "-p", f"{port}", "-q", "1", "-t", "devices/#"]
    with started(command, stdout=subprocess.DEVNULL) as it:
        time.sleep(0.5)  # it has no way to say that it is subscribed
        cpu = cpu_seconds(it.pid)
        seconds = publish_now(port, n, rate, start_ms)
        time.sleep(0.5)
        cpu = cpu_seconds(it.pid) - cpu
        resident = resident_bytes(it.pid)
    return {"cpu_seconds_per_million": cpu / n * 1e6, "rate": n / seconds, "resident_mb": resident / 1e6}


def measure_paho(port: int, n: int, rate: int, start_ms: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--role", "paho", f"{port}"]
    with started(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as it:
        assert it.stdin is not None
        assert it.stdout is not None
        assert it.stdout.readline() == "ready\n"
        began = time.perf_counter()
        cpu = cpu_seconds(it.pid)
        publish_now(port, n, rate, start_ms)
        it.stdin.write("\n")
        it.stdin.flush()
        count = int(it.stdout.readline())  # at a high rate it is behind: what it has done counts
        cpu = cpu_seconds(it.pid) - cpu
        seconds = time.perf_counter() - began
        resident = resident_bytes(it.pid)
        it.stdin.close()
    return {"cpu_seconds_per_million": cpu / count * 1e6, "rate": count / seconds, "resident_mb": resident / 1e6}


def measure(consumer: str, port: int, folder: Path, n: int, rate: int) -> dict[str, float]:
    start_ms = time.time_ns() // 1_000_000 - 100_000
    match consumer:
        case "gateway":
            return measure_gateway(port, folder, n, rate, start_ms)
        case "mosquitto_sub":
            return measure_mosquitto_sub(port, n, rate, start_ms)
        case _:
            return measure_paho(port, n, rate, start_ms)


def median(rounds: list[dict[str, dict[str, float]]], consumer: str) -> dict[str, float]:
    """Return the median of each figure of *consumer*, and of its ratio to `mosquitto_sub` in the same round."""
    figures = {name: statistics.median(r[consumer][name] for r in rounds) for name in rounds[0][consumer]}
    cost = "cpu_seconds_per_million"
    return figures | {"ratio": statistics.median(r[consumer][cost] / r["mosquitto_sub"][cost] for r in rounds)}


def main() -> None:
    if sys.argv[1:2] == ["--role"]:
        role, at, *rest = sys.argv[2:]
        match role:
            case "gateway":
                run_gateway(int(at), Path(rest[0]))
            case _:
                run_paho(int(at))
        return
    parser = arguments(__doc__ or "")
    parser.add_argument("--seconds", type=float, default=0, help="length of one measurement; default 6, quick 2.5")
    parser.add_argument("--rounds", type=int, default=0, help="measurements of each; default 5, quick 1")
    parser.add_argument("--without-paho", action="store_true", help="leave paho out")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    options = parser.parse_args()
    seconds = options.seconds or (2.5 if options.quick else 6)
    rounds = options.rounds or (1 if options.quick else 5)
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    assert program, "Debian's mosquitto is needed"
    port = free_port()
    figures: dict[str, Any] = {"devices": DEVICES, "seconds": seconds, "rounds": rounds, "rates": {}}
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        conf = folder / "mosquitto.conf"
        conf.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\n"
            "max_inflight_messages 20000\nmax_queued_messages 10000000\n",
            encoding="ascii",
        )
        prepare(folder)
        with started([program, "-c", str(conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            wait_for_port(port)
            for rate in RATES:
                n = int(rate * seconds)
                consumers = [c for c in CONSUMERS if c != "paho" or not options.without_paho]
                measured = [{c: measure(c, port, folder, n, rate) for c in consumers} for _ in range(rounds)]
                found = {c: median(measured, c) for c in consumers}
                figures["rates"][str(rate)] = {
                    "consumers": found,
                    "rounds": measured,
                    "ratio_to_mosquitto_sub": found["gateway"]["ratio"],
                }
                rows += [
                    [c, rate, f["rate"], f["cpu_seconds_per_million"], f["ratio"], f["resident_mb"]]
                    for c, f in found.items()
                ]
    figures["ratio_to_mosquitto_sub"] = max(r["ratio_to_mosquitto_sub"] for r in figures["rates"].values())
    columns = ("consumer", "offered/s", "received/s", "CPU s per million", "ratio to mosquitto_sub", "RSS MB")
    report("Taking in QoS 1 messages behind mosquitto", columns, rows, figures, as_json=options.json)


if __name__ == "__main__":
    main()
