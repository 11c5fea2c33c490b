"""Live frames and alerts over MQTT keep their promises on every broker that we name."""

from __future__ import annotations

import asyncio
import shutil
import socket
import sysconfig
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from backends.live import MqttAlertPublisher, MqttConnection, MqttLivePublisher, live_frames, live_publisher
from core.alerts import Alert, AlertEvent, AlertState, EventKind, Evidence, Priority
from core.errors import Unavailable
from core.live import LiveFrame
from core.notices import notices_for
from core.topics import LIVE
from urbanpulse.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from core.ports import OutboxItem

BROKERS = {
    "nats": str(Path(sysconfig.get_path("scripts")) / "nats-server"),
    "mosquitto": shutil.which("mosquitto") or "/usr/sbin/mosquitto",
}


@asynccontextmanager
async def running(kind: str, folder: Path, port: int) -> AsyncIterator[MqttConnection]:
    config = folder / "broker.conf"
    if kind == "nats":
        config.write_text(
            f'server_name: "t"\nlisten: "127.0.0.1:-1"\njetstream {{ store_dir: "{folder}" }}\n'
            f'mqtt {{ host: "127.0.0.1", port: {port} }}\n'
        )
    else:
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    child = await asyncio.create_subprocess_exec(
        BROKERS[kind], "-c", str(config), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(60):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    await writer.wait_closed()
                    break
        yield MqttConnection("127.0.0.1", port, timeout_seconds=30)
    finally:
        child.kill()
        await child.wait()


@pytest.fixture(params=sorted(BROKERS))
async def broker(
    request: pytest.FixtureRequest, tmp_path: Path, free_port: Callable[[], int]
) -> AsyncIterator[MqttConnection]:
    if shutil.which(BROKERS[request.param]) is None:
        pytest.skip(f"{request.param} is not installed")
    async with running(request.param, tmp_path, free_port()) as connection:
        yield connection


def frame(n: int) -> LiveFrame:
    return LiveFrame(epoch="e", n=n, sent=n, series=[1], measured=[n], value=[0.5], quality=[0], severity=[0.0])


async def first_frame(publisher: MqttLivePublisher, frames: AsyncIterator[LiveFrame]) -> LiveFrame:
    """Publish until the reader's subscription stands."""
    reading = asyncio.ensure_future(anext(frames))
    n = 0
    async with asyncio.timeout(60):
        while not reading.done():
            n += 1
            await publisher.publish(frame(n))
            await asyncio.wait([reading], timeout=0.05)
    return reading.result()


async def test_frames_arrive_as_they_were_sent(broker: MqttConnection) -> None:
    async with (
        live_publisher(broker, clock=SystemClock()) as publisher,
        aclosing(live_frames(broker, clock=SystemClock())) as frames,
    ):
        seen = await first_frame(publisher, frames)

        assert seen == frame(seen.n)


async def test_both_sides_come_back_when_the_broker_does(tmp_path: Path, free_port: Callable[[], int]) -> None:
    port, clock = free_port(), SystemClock()
    connection = MqttConnection("127.0.0.1", port)
    async with (
        live_publisher(connection, clock=clock) as publisher,
        aclosing(live_frames(connection, clock=clock)) as frames,
    ):
        for _ in range(2):
            async with running("mosquitto", tmp_path, port):
                assert (await first_frame(publisher, frames)).epoch == "e"


async def test_publishing_never_waits_and_only_the_newest_frame_does(free_port: Callable[[], int]) -> None:
    metrics = CollectorRegistry()
    publisher = MqttLivePublisher(MqttConnection("127.0.0.1", free_port()), clock=SystemClock(), registry=metrics)

    for n in range(4):
        await publisher.publish(frame(n))

    assert publisher._waiting == frame(3)
    assert metrics.get_sample_value("city_live_dropped_frames_total") == 3


async def test_a_frame_that_is_none_is_left_out(broker: MqttConnection) -> None:
    async with (
        live_publisher(broker, clock=SystemClock()) as publisher,
        aclosing(live_frames(broker, clock=SystemClock())) as frames,
    ):
        await first_frame(publisher, frames)
        async with broker.open() as client:
            await client.publish(LIVE, b"{}", qos=1)
        await publisher.publish(frame(1000))

        async with asyncio.timeout(60):
            while (await anext(frames)).n != 1000:
                pass


def notice(kind: EventKind, state: AlertState) -> OutboxItem:
    facts = Evidence(code="gap", rule="r", priority=Priority.LOW, district="center", device="a", measured=1)
    alert = Alert("a1", state, 1, facts, facts, 1, 1)
    return notices_for(alert, AlertEvent(id="e", alert="a1", kind=kind, at=1, recorded=1), ["mqtt"])[0]


async def retained(broker: MqttConnection, topic: str) -> bytes | None:
    """Return what a new subscriber finds at *topic*: a marker published after subscribing ends the wait."""
    async with broker.open() as client, asyncio.timeout(60):
        await client.subscribe(topic, qos=1)
        await client.subscribe("marker", qos=1)
        while True:
            await client.publish("marker", b"", qos=1)
            message = await anext(client.messages)
            return bytes(message.payload) if message.topic.matches(topic) else None


async def test_an_active_alert_is_retained_and_a_resolved_one_is_told_and_cleared(broker: MqttConnection) -> None:
    opened, resolved = notice(EventKind.RAISED, AlertState.OPEN), notice(EventKind.RESOLVED, AlertState.RESOLVED)
    async with MqttAlertPublisher(broker) as publisher:
        await publisher.send(opened)
        assert await retained(broker, opened.topic) == opened.body

        async with broker.open() as listener, asyncio.timeout(60):
            await listener.subscribe(opened.topic, qos=1)
            assert bytes((await anext(listener.messages)).payload) == opened.body
            await publisher.send(resolved)
            news = [bytes((await anext(listener.messages)).payload) for _ in range(2)]

        assert news == [resolved.body, b""]
        assert await retained(broker, opened.topic) is None


async def test_an_alert_is_refused_while_the_broker_is_away_and_goes_out_afterwards(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port, item = free_port(), notice(EventKind.RAISED, AlertState.OPEN)
    async with MqttAlertPublisher(MqttConnection("127.0.0.1", port)) as publisher:
        with pytest.raises(Unavailable, match=f"127.0.0.1:{port}"):
            await publisher.send(item)
        async with running("mosquitto", tmp_path, port) as broker:
            await publisher.send(item)
            assert await retained(broker, item.topic) == item.body
        with pytest.raises(Unavailable, match=f"127.0.0.1:{port}"):
            await publisher.send(item)


async def test_a_broker_that_accepts_and_says_nothing_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connection = MqttConnection("127.0.0.1", silent.getsockname()[1], timeout_seconds=0.2)

        with pytest.raises(Unavailable, match="timed out"):
            async with connection.open():
                pass


async def test_stopping_while_it_connects_leaves_nothing_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connection = MqttConnection("127.0.0.1", silent.getsockname()[1], timeout_seconds=0.5)
        publisher = MqttAlertPublisher(connection)
        sending = asyncio.create_task(publisher.send(notice(EventKind.RAISED, AlertState.OPEN)))
        accepted, _ = await asyncio.to_thread(silent.accept)

        sending.cancel()

        with accepted, pytest.raises(asyncio.CancelledError):
            await sending
