"""This script measures the simulator as a source: what a message, a device and a reading cost it.

    load       the load mode against mosquitto, QoS 0 and 1, payloads built beforehand; beside it paho, and at QoS 0
               mosquitto_pub (at QoS 1 its `-l` ends early: of 300,000 lines 37,863 reached the broker, 2.0.11)
    fleet      true devices (one paho client each): connections, memory, and what a publish costs
    fast       a run straight to Parquet, world and faults included; beside it a generator that makes one reading a step
    encode     each wire format: one report to its messages

Costs are CPU seconds of the publishing process (all threads), from /proc: so each publisher is a process of its own,
and the figures hold whatever the broker and the machine do meanwhile. Publishers take turns; several rounds are run,
medians are printed, and a ratio is the median of the ratios within a round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from bench._harness import arguments, free_port, report, resident_bytes, started, wait_for_port
from simulators.device import Broker
from simulators.layout import city
from simulators.load import Load, drive_load
from simulators.load_pool import Pool, fill_pool
from simulators.messages import Emission, Report
from simulators.wire import FORMATS, wire_format
from simulators.world import World
from urbanpulse.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 7
START = 1_767_225_600_000_000_000  # 2026-01-01
PUBLISHERS = {0: ("load", "mosquitto_pub", "paho"), 1: ("load", "paho")}


def filled(devices: int, laps: int) -> Pool:
    """Return the messages of a city, in our JSON."""
    place = city(SEED, devices)
    world = World(SEED, place.devices)
    return fill_pool(world, list(world.devices), wire_format("json", place.devices, SEED), start=START, laps=laps)


# -- the child processes ---------------------------------------------------------------------------------------------


def run_load_child(port: int, qos: int, messages: int, devices: int) -> None:
    """Publish with the load mode, when told to on stdin; print the figures."""
    pool = filled(devices, 16)
    print("ready", flush=True)
    sys.stdin.readline()
    load = Load(sockets=4, qos=qos, seconds=0, messages=messages, drain_seconds=60)
    figures = asyncio.run(
        drive_load(
            pool, load, broker=Broker("127.0.0.1", port), name="bench", clock=SystemClock(), cpu=time.process_time,
            stop=asyncio.Event(),
        )
    )  # fmt: skip
    assert figures.broken == ()
    assert figures.acked == messages * qos
    p99 = figures.latencies.percentile(99)
    print(json.dumps({"cpu": figures.cpu_seconds, "seconds": figures.seconds, "ack_p99_seconds": p99}), flush=True)


def run_paho_child(port: int, qos: int, messages: int, devices: int) -> None:
    """Publish the same with one plain paho client."""
    import paho.mqtt.client as paho  # noqa: PLC0415 - in this process alone
    from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415 - the same

    pool = filled(devices, 16)
    laps = [[(m.topic, m.payload) for said in lap for m in said] for lap in pool.laps]
    flat = [message for lap in laps for message in lap]
    client = paho.Client(CallbackAPIVersion.VERSION2, "bench-paho")
    done = 0

    def on_publish(*_: Any) -> None:
        nonlocal done
        done += 1

    client.on_publish = on_publish
    client.connect("127.0.0.1", port, 60)
    client.loop_start()
    print("ready", flush=True)
    sys.stdin.readline()
    began, cpu = time.perf_counter(), time.process_time()
    for n in range(messages):
        client.publish(*flat[n % len(flat)], qos=qos)
        while n - done > 100:  # more of them wait in paho, which looks through all of them at each ack
            time.sleep(0.0002)
    while done < messages:
        time.sleep(0.001)
    print(json.dumps({"cpu": time.process_time() - cpu, "seconds": time.perf_counter() - began}), flush=True)
    client.disconnect()
    client.loop_stop()


def run_fleet_child(port: int, devices: int, messages: int) -> None:
    """Connect a fleet of true devices, then publish with it; print the figures."""
    from simulators.fleet import Fleet, drive  # noqa: PLC0415 - in this process alone
    from simulators.settings import SimulatorSettings  # noqa: PLC0415 - the same

    names = [device.id for device in city(SEED, devices).devices]

    async def main() -> dict[str, float]:
        clock = SystemClock()
        empty = resident_bytes(os.getpid())
        fleet = Fleet(
            names, {}, broker=Broker("127.0.0.1", port), settings=SimulatorSettings(), clock=clock, rng=random.Random(1)
        )
        told: dict[str, float] = {}

        async def work() -> None:
            await fleet.reach(len(names))
            await fleet.settle(0)
            told["connect_seconds"] = time.perf_counter() - began
            told["connect_cpu"] = time.process_time() - cpu
            told["resident"] = resident_bytes(os.getpid()) - empty
            pool = filled(devices, 8)  # not before: devices would live in the memory that this leaves free
            before, since = time.process_time(), time.perf_counter()
            for n in range(messages):
                lap, place = divmod(n, len(names))
                (message,) = pool.laps[lap % len(pool.laps)][place]
                fleet.devices[names[place]].send(message)
                if place == 0:
                    await fleet.settle(2 * len(names))
            await fleet.settle(0)
            told["publish_cpu"] = time.process_time() - before
            told["publish_seconds"] = time.perf_counter() - since

        began, cpu = time.perf_counter(), time.process_time()
        await drive(fleet, work(), stop=asyncio.Event(), clock=clock, tell=lambda: None)
        assert fleet.numbers.acked == messages, fleet.numbers
        return told

    print(json.dumps(asyncio.run(main())), flush=True)


# -- load --------------------------------------------------------------------------------------------------------------


def publish(publisher: str, port: int, qos: int, messages: int, devices: int) -> dict[str, float]:
    """Let one publisher do its work; return CPU seconds per million and messages a second."""
    if publisher == "mosquitto_pub":
        return publish_lines(port, messages, devices)
    command = [sys.executable, __file__, "--role", publisher, *map(str, (port, qos, messages, devices))]
    with started(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as it:
        assert it.stdin is not None
        assert it.stdout is not None
        assert it.stdout.readline() == "ready\n"
        it.stdin.write("\n")
        it.stdin.flush()
        told = json.loads(it.stdout.readline())
    return {"cpu_seconds_per_million": told["cpu"] / messages * 1e6, "rate": messages / told["seconds"]}


def publish_lines(port: int, messages: int, devices: int) -> dict[str, float]:
    """Let Debian's client publish the same payloads, a line each; it knows one topic only."""
    lines = [m.payload + b"\n" for lap in filled(devices, 4).laps for said in lap for m in said]
    with tempfile.TemporaryFile() as file:
        for first in range(0, messages, len(lines)):
            file.writelines(lines[: messages - first])
        file.seek(0)
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            ["mosquitto_pub", "-p", f"{port}", "-q", "0", "-t", "devices/bench/readings", "-l"],
            stdin=file, check=True, stdout=subprocess.DEVNULL, timeout=600,
        )  # fmt: skip
        seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_seconds_per_million": cpu / messages * 1e6, "rate": messages / seconds}


def measure_load(port: int, options: argparse.Namespace, rows: list[list[object]]) -> dict[str, Any]:
    cost = "cpu_seconds_per_million"
    figures: dict[str, Any] = {}
    for qos, publishers in PUBLISHERS.items():
        rounds = []
        for _ in range(options.rounds):
            counts = {"load": options.messages, "mosquitto_pub": options.messages, "paho": options.messages // 10}
            rounds.append({name: publish(name, port, qos, counts[name], 1000) for name in publishers})
        found: dict[str, Any] = {}
        for name in publishers:
            found[name] = {key: statistics.median(r[name][key] for r in rounds) for key in rounds[0][name]}
            found[name]["ratio"] = statistics.median(r[name][cost] / r["load"][cost] for r in rounds)
            rows.append([f"QoS {qos}: {name}", found[name][cost], found[name]["ratio"], found[name]["rate"]])
        figures[f"qos{qos}"] = found
    return figures


# -- fleet -------------------------------------------------------------------------------------------------------------


def measure_fleet(port: int, options: argparse.Namespace, rows: list[list[object]]) -> dict[str, float]:
    command = [sys.executable, __file__, "--role", "fleet", *map(str, (port, options.fleet, options.fleet_messages))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    told = json.loads(done.stdout)
    figures = {
        "devices": options.fleet,
        "connects_per_second": options.fleet / told["connect_seconds"],
        "cpu_ms_per_connect": told["connect_cpu"] / options.fleet * 1e3,
        "rss_kib_per_device": told["resident"] / options.fleet / 1024,
        "cpu_seconds_per_million": told["publish_cpu"] / options.fleet_messages * 1e6,
        "rate": options.fleet_messages / told["publish_seconds"],
    }
    rows += [[name.replace("_", " "), value] for name, value in figures.items()]
    return figures


# -- fast --------------------------------------------------------------------------------------------------------------


def measure_fast(folder: Path, options: argparse.Namespace, rows: list[list[object]]) -> dict[str, float]:
    """Run `urbanpulse simulate --fast` as a user would; a year of 1,000 devices at ten minutes, or a part of it."""
    hours = options.fast_days * 24
    rounds = []
    for _ in range(options.rounds if options.quick else 1):
        out = folder / "fast"
        command = [sys.executable, "-m", "urbanpulse", "simulate", "--scenario", "normal", "--devices", "1000"]
        command += ["--hours", f"{hours:g}", "--interval", "600", "--start", "2025-01-01T00:00:00Z"]
        command += ["--fast", str(out), "--json"]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, cwd=Path(__file__).resolve().parent.parent
        )
        told = json.loads(done.stdout.splitlines()[-1])
        rounds.append({key: told[key] for key in ("readings", "seconds", "cpu_seconds", "bytes")})
        shutil.rmtree(out)
    readings = rounds[0]["readings"]
    cpu = statistics.median(r["cpu_seconds"] for r in rounds)
    slow = naive_rate(folder / "naive.jsonl", options.naive)
    figures = {
        "days": options.fast_days,
        "readings": readings,
        "readings_per_cpu_second": readings / cpu,
        "readings_per_second": readings / statistics.median(r["seconds"] for r in rounds),
        "bytes_per_reading": rounds[0]["bytes"] / readings,
        "naive_readings_per_cpu_second": slow,
        "ratio_to_naive": readings / cpu / slow,
    }
    rows += [[name.replace("_", " "), value] for name, value in figures.items()]
    return figures


def naive_rate(file: Path, readings: int) -> float:
    """Return the readings per CPU second of a generator as one writes it first: a value and a line at a time."""
    rng = random.Random(SEED)
    cpu = time.process_time()
    with file.open("w", encoding="ascii") as out:
        for n in range(readings):
            at = START // 1_000_000 + n * 600_000
            hour = at / 3_600_000 % 24
            value = 20 + 8 * math.sin((hour - 8) / 24 * 2 * math.pi) + rng.gauss(0, 0.6)
            out.write(json.dumps({"device": "air-001", "metric": "pm25", "ts": at, "value": round(value, 1)}) + "\n")
    return readings / (time.process_time() - cpu)


# -- encode ------------------------------------------------------------------------------------------------------------


def measure_encode(reports: int, rows: list[list[object]]) -> dict[str, float]:
    """Return the microseconds that each format takes for one report of a device."""
    place = city(SEED, 50)
    world = World(SEED, place.devices)
    emissions = []
    slots = max(1, reports // len(place.devices))
    at = START + np.arange(slots) * 60_000_000_000
    for name in world.devices:
        columns = {metric: column.tolist() for metric, column in world.values(name, at).items()}
        for n, ns in enumerate(at.tolist()):
            said = Report(ns, n, {metric: column[n] for metric, column in columns.items()})
            emissions.append(Emission(ns, name, (said,)))
    figures = {}
    for wire in FORMATS:
        speaker = wire_format(wire, place.devices, SEED)
        cpu = time.process_time()
        size = sum(len(message.payload) for emission in emissions for message in speaker.encode(emission))
        figures[wire] = (time.process_time() - cpu) / len(emissions) * 1e6
        rows.append([wire, figures[wire], size / len(emissions)])
    return figures


@contextmanager
def mosquitto(folder: Path) -> Iterator[int]:
    """Run mosquitto in memory; yield its port."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    assert program, "Debian's mosquitto is needed"
    port = free_port()
    conf = folder / "mosquitto.conf"
    conf.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest none\n", encoding="ascii")
    with started([program, "-c", str(conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        wait_for_port(port)
        yield port


COLUMNS = {
    "load": ("publisher", "CPU s per million", "times the load mode", "messages/s"),
    "fleet": ("true devices", ""),
    "fast": ("straight to files", ""),
    "encode": ("format", "µs per report", "bytes"),
}


def measure(what: str, options: argparse.Namespace, rows: list[list[object]]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        match what:
            case "load":
                with mosquitto(folder) as port:
                    return measure_load(port, options, rows)
            case "fleet":
                with mosquitto(folder) as port:
                    return measure_fleet(port, options, rows)
            case "fast":
                return measure_fast(folder, options, rows)
            case _:
                return measure_encode(options.reports, rows)


def run_child(role: str, numbers: list[int]) -> None:
    match role:
        case "load":
            run_load_child(*numbers)
        case "paho":
            run_paho_child(*numbers)
        case _:
            run_fleet_child(*numbers)


def main() -> None:
    if sys.argv[1:2] == ["--role"]:
        run_child(sys.argv[2], [int(text) for text in sys.argv[3:]])
        return
    parser = arguments(__doc__ or "")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--only", choices=COLUMNS, action="append", help="measure only this; may be given again")
    parser.add_argument("--rounds", type=int, default=0, help="measurements of each; default 3, quick 1")
    options = parser.parse_args()
    quick = options.quick
    options.rounds = options.rounds or (1 if quick else 3)
    options.messages = 100_000 if quick else 1_000_000
    options.fleet, options.fleet_messages = (100, 2_000) if quick else (1000, 50_000)
    options.fast_days = 30 if quick else 365
    options.naive = 20_000 if quick else 200_000
    options.reports = 1_000 if quick else 20_000
    figures: dict[str, Any] = {"rounds": options.rounds}
    for what in options.only or COLUMNS:
        rows: list[list[object]] = []
        figures[what] = measure(what, options, rows)
        if not options.json:
            report(f"The simulator: {what}", COLUMNS[what], rows, figures, as_json=False)
    if options.json:
        report("", (), (), figures, as_json=True)


if __name__ == "__main__":
    main()
