"""The fleet against real brokers: last wills, acks, storing while offline, and the city's past and present."""

from __future__ import annotations

import asyncio
import json
import math
import random
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from core.errors import SettingsError
from simulators import Broker, Progress, SimulatorSettings, run_city
from simulators.device import Link
from simulators.fleet import Fleet
from simulators.messages import Message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FAST = {"reconnect_min_seconds": 0.05, "reconnect_max_seconds": 0.2, "keepalive_seconds": 5}


@asynccontextmanager
async def serving(names: list[str], broker: Any, clock: Any, **options: Any) -> AsyncIterator[Fleet]:
    credentials = options.pop("credentials", {})
    settings = SimulatorSettings(**{**FAST, **options})
    fleet = Fleet(names, credentials, broker=broker.address, settings=settings, clock=clock, rng=random.Random(1))
    task = asyncio.create_task(fleet.serve(), name="serve")
    try:
        yield fleet
    finally:
        await fleet.stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def message(payload: bytes) -> Message:
    return Message("devices/air-001/readings", payload)


async def test_a_device_says_online_and_its_last_will_says_offline(
    broker: Any, watch: Any, clock: Any, until: Any
) -> None:
    watcher = watch(broker.port)
    async with serving(["air-001", "air-002"], broker, clock, reconnect_min_seconds=30, reconnect_max_seconds=30) as f:
        await until(lambda: f.connected == 2)
        await until(lambda: watcher.on("devices/air-001/status") == [b"online"])
        f.devices["air-001"].retry_at = math.inf  # stay away

        f.devices["air-001"].cut()

        await until(lambda: watcher.on("devices/air-001/status") == [b"online", b"offline"])
        assert watcher.on("devices/air-002/status") == [b"online"]
    late = watch(broker.port)
    await until(lambda: late.on("devices/air-001/status") == [b"offline"])
    assert all(retained for _, _, retained in late.messages)


async def test_an_orderly_stop_says_offline_too(broker: Any, watch: Any, clock: Any, until: Any) -> None:
    watcher = watch(broker.port)

    async with serving(["air-001"], broker, clock) as fleet:
        await until(lambda: fleet.connected == 1 and fleet.outstanding == 0)

    await until(lambda: watcher.on("devices/air-001/status") == [b"online", b"offline"])


async def test_a_device_that_is_cut_while_a_thread_connects_it_stays_down(broker: Any, clock: Any) -> None:
    """The end of a run does not wait for connections that are on their way."""
    settings = SimulatorSettings(**FAST)
    fleet = Fleet(["air-001"], {}, broker=broker.address, settings=settings, clock=clock, rng=random.Random(1))
    device = fleet.devices["air-001"]
    device.prepare()
    await asyncio.to_thread(device.connect)

    await fleet.stop()
    device.attach()

    assert device.link is Link.DOWN


async def test_a_device_that_lost_its_socket_comes_back_and_goes_on(
    broker: Any, watch: Any, clock: Any, until: Any
) -> None:
    watcher = watch(broker.port)
    async with serving(["air-001"], broker, clock) as fleet:
        device = fleet.devices["air-001"]
        await until(lambda: fleet.connected == 1)
        for n in range(20):
            device.send(message(b'{"seq": %d}' % n))
            if n % 5 == 4:
                device.cut()
                await until(lambda: fleet.connected == 1)
        await fleet.settle(0)
        await until(lambda: b'{"seq": 19}' in watcher.on("devices/air-001/readings"))

        assert fleet.numbers.acked == 20
        assert fleet.numbers.reconnects >= 3
        seen = [json.loads(payload)["seq"] for payload in watcher.on("devices/air-001/readings")]
        assert list(dict.fromkeys(seen)) == list(range(20))  # one may come twice, as QoS 1 says, but in order


async def test_what_is_published_while_the_broker_is_away_arrives_later(
    start_broker: Any, watch: Any, clock: Any, until: Any
) -> None:
    broker = start_broker("mosquitto")
    async with serving(["air-001"], broker, clock, device_window=4) as fleet:
        device = fleet.devices["air-001"]
        await until(lambda: fleet.connected == 1 and fleet.outstanding == 0)
        broker.stop()
        await until(lambda: device.link is Link.DOWN)
        device.retry_at = math.inf  # until somebody watches

        for n in range(50):
            device.send(message(b"%d" % n))
        assert (device.stored, fleet.numbers.published, fleet.numbers.acked) == (50, 0, 0)
        broker.start()
        watcher = watch(broker.port)
        device.retry_at = 0
        await fleet.settle(0)

        assert (fleet.numbers.published, fleet.numbers.acked, fleet.numbers.dropped) == (50, 50, 0)
        await until(lambda: len(watcher.on("devices/air-001/readings")) == 50)
        assert watcher.on("devices/air-001/readings") == [b"%d" % n for n in range(50)]


async def test_the_store_of_an_offline_device_ends_at_its_limit(start_broker: Any, clock: Any, until: Any) -> None:
    broker = start_broker("mosquitto")
    broker.stop()
    async with serving(["air-001"], broker, clock, buffer_messages=10) as fleet:
        device = fleet.devices["air-001"]
        for n in range(10):
            device.send(message(b"%d" % n), 2)
        assert (device.stored, fleet.numbers.dropped) == (10, 0)

        device.send(message(b"10"), 2)

        assert (device.stored, fleet.numbers.dropped) == (10, 2)
        await until(lambda: fleet.numbers.refusals > 0)
        assert "Connection refused" in fleet.numbers.refusal


async def test_a_broker_that_refuses_says_why_and_others_go_on(start_broker: Any, clock: Any, until: Any) -> None:
    broker = start_broker("nats", password_for={"air-001": "right", "air-002": "right"})
    passwords = {"air-001": "right", "air-002": "wrong"}

    async with serving(["air-001", "air-002"], broker, clock, credentials=passwords) as fleet:
        await until(lambda: fleet.devices["air-001"].link is Link.UP and fleet.numbers.refusals > 1)

        assert fleet.connected == 1
        assert fleet.numbers.refusal.startswith("air-002: ")
        assert "uthori" in fleet.numbers.refusal


async def test_a_device_without_a_password_among_others_is_named(clock: Any) -> None:
    with pytest.raises(SettingsError, match="credentials: device 'b' has none"):
        Fleet(
            ["a", "b"],
            {"a": "x"},
            broker=Broker("127.0.0.1", 1),
            settings=SimulatorSettings(),
            clock=clock,
            rng=random.Random(1),
        )


async def test_the_city_publishes_its_past_then_its_present_without_a_hole(
    broker: Any, watch: Any, clock: Any, tmp_path: Path, until: Any
) -> None:
    """Every reading is acked, in time order per device; labels are written when faults begin."""
    watcher = watch(broker.port)
    stop, labels = asyncio.Event(), tmp_path / "labels.jsonl"
    shown: list[Progress] = []
    settings = SimulatorSettings(
        **FAST,
        seed=3,
        backfill_days=0.25,
        backfill_pack=20,
        interval_seconds=1.0,
        first_fault_seconds=0.5,
        fault_gap_seconds=1000,
    )

    def show(progress: Progress) -> None:
        shown.append(progress)
        wrong = [earlier.done for earlier in shown if earlier.faults]
        if wrong and progress.done >= wrong[0] + 600:  # three rounds of all devices, with the fault on
            stop.set()

    end = await run_city(
        settings=settings,
        broker=broker.address,
        credentials={},
        clock=clock,
        rng=random.Random(1),
        stop=stop,
        labels=labels,
        progress=show,
    )

    phases = list(dict.fromkeys(progress.phase for progress in shown))
    backfill = [progress for progress in shown if progress.phase == "backfill"]
    assert phases[-2:] == ["live", "stopped"]
    assert all(progress.total == 200 * 72 for progress in backfill)
    assert end.numbers.acked == end.numbers.published == end.done
    assert (end.numbers.rejected, end.numbers.dropped, end.numbers.skipped, end.outstanding) == (0, 0, 0, 0)
    await until(lambda: sum(len(v) for v in _readings(watcher).values()) >= end.done)
    for device, said in _readings(watcher).items():
        assert [item["seq"] for item in said] == list(range(len(said))), device
        times = [item["ts"] for item in said]
        steps = [b - a for a, b in pairwise(times)]
        assert min(steps) > 0, device
        assert max(steps[:71]) <= 300_000, device
        assert max(steps[72:]) <= 2_000, device
    spikes = [item["values"]["pm25"] for item in _readings(watcher)["air-001"] if item["values"]["pm25"] > 150]
    assert spikes
    assert [json.loads(line)["what"] for line in labels.read_text().splitlines()] == ["spike"]


def _readings(watcher: Any) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for topic, payload, _ in list(watcher.messages):
        _, device, kind = topic.split("/")
        if kind == "readings":
            said = json.loads(payload)
            found.setdefault(device, []).extend(said if isinstance(said, list) else [said])
    return found
