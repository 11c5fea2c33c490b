"""Tests of the embedded broker with Debian's MQTT clients: topic rights, reload, restart."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from api.auth import hash_device_secret
from urbanpulse.broker import Broker
from urbanpulse.broker_settings import BrokerSettings
from urbanpulse.clock import SystemClock
from urbanpulse.nats_config import SERVICES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="Debian's mosquitto-clients are not installed"),
]

SECRET = "s3cret"
HASH = hash_device_secret(SECRET)


class Bench:
    """A running broker and ways to talk to it."""

    def __init__(self, port: int, devices: dict[str, str], metrics: CollectorRegistry, broker: Broker) -> None:
        self.port, self.devices, self.metrics, self.broker = port, devices, metrics, broker

    async def client(self, tool: str, user: str, *args: str, password: str = SECRET) -> tuple[int, str]:
        child = await asyncio.create_subprocess_exec(
            tool, "-p", str(self.port), "-u", user, "-P", password, *args,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await child.communicate()
        return child.returncode or 0, out.decode()

    def counted(self, name: str) -> float:
        return self.metrics.get_sample_value(name) or 0.0


@pytest.fixture
async def bench(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[Bench]:
    devices, metrics, stop = {"dev1": HASH}, CollectorRegistry(), asyncio.Event()
    settings = BrokerSettings(port=free_port(), reload_seconds=0.1)
    broker = Broker(
        settings,
        folder=tmp_path / "broker",
        services=dict.fromkeys(SERVICES, HASH),
        devices=lambda: dict(devices),
        clock=SystemClock(),
        metrics=metrics,
    )
    running = asyncio.create_task(broker.run(stop), name="broker")
    await until_open(settings.port)
    yield Bench(settings.port, devices, metrics, broker)
    stop.set()
    await running


async def until_open(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                await writer.wait_closed()
                return


async def test_a_device_publishes_below_its_name_and_nowhere_else(bench: Bench) -> None:
    reader = await asyncio.create_subprocess_exec(
        "mosquitto_sub", "-p", str(bench.port), "-u", "gateway", "-P", SECRET,
        "-i", "g", "-c", "-q", "1", "-t", "devices/#", "-v", stdout=subprocess.PIPE,
    )  # fmt: skip
    assert reader.stdout is not None
    await bench.client("mosquitto_pub", "dev1", "-q", "1", "-t", "devices/dev2/readings", "-m", "foreign")
    # retained: a subscription that comes later gets it, too
    await bench.client("mosquitto_pub", "dev1", "-q", "1", "-r", "-t", "devices/dev1/readings", "-m", "own")

    try:
        seen = await asyncio.wait_for(reader.stdout.readline(), 60)
    finally:
        reader.kill()
        await reader.communicate()

    assert seen == b"devices/dev1/readings own\n"
    async with asyncio.timeout(60):
        while not bench.counted("city_broker_violations_total"):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("topic", ["devices/#", "devices/dev2/x", "$MQTT/sub/#", "$MQTT/#", "urbanpulse/#", "#"])
async def test_a_device_reads_nobody_elses_topics(bench: Bench, topic: str) -> None:
    _, seen = await bench.client("mosquitto_sub", "dev1", "-q", "1", "-t", topic, "-W", "60")

    assert "denied" in seen


async def test_a_wrong_password_is_refused_and_counted(bench: Bench) -> None:
    code, _ = await bench.client("mosquitto_pub", "dev1", "-t", "devices/dev1/x", "-m", "x", password="wrong")

    assert code == 5
    async with asyncio.timeout(60):
        while not bench.counted("city_broker_refused_logins_total"):
            await asyncio.sleep(0.02)


async def test_a_new_device_may_connect_soon_and_a_removed_one_no_more(bench: Bench) -> None:
    async def connects(device: str) -> bool:
        return (await bench.client("mosquitto_pub", device, "-t", f"devices/{device}/x", "-m", "x"))[0] == 0

    assert not await connects("dev9")
    bench.devices["dev9"] = HASH
    async with asyncio.timeout(60):
        while not await connects("dev9"):
            await asyncio.sleep(0.1)
    del bench.devices["dev9"]
    async with asyncio.timeout(60):
        while await connects("dev9"):
            await asyncio.sleep(0.1)


async def test_a_broker_that_dies_is_started_again_with_what_it_held(bench: Bench) -> None:
    await bench.client("mosquitto_pub", "dev1", "-q", "1", "-r", "-t", "devices/dev1/status", "-m", "held")
    child = bench.broker._child
    assert child is not None

    child.kill()
    await child.wait()
    async with asyncio.timeout(60):
        while not bench.counted("city_broker_restarts_total"):
            await asyncio.sleep(0.02)
    await until_open(bench.port)
    _, seen = await bench.client("mosquitto_sub", "gateway", "-q", "1", "-t", "devices/#", "-C", "1", "-W", "60")

    assert seen.strip() == "held"
