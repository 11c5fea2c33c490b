"""Tests of the load mode: what leaves, how it waits for the broker, and what it says when a broker is unkind."""

from __future__ import annotations

import asyncio
import json
import math
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from core.city import Device
from core.clock import ManualClock
from core.errors import SettingsError, Unavailable
from core.mqtt import Kind, PublishRun, Reader, Version, acks
from simulators.device import Broker
from simulators.layout import demo_city
from simulators.load import Load, LoadFigures, drive_load
from simulators.load_packets import Lap
from simulators.load_pool import Pool, fill_pool
from simulators.load_socket import Latencies, LoadSocket
from simulators.messages import Emission, Message, Report
from simulators.wire import FORMATS, wire_format
from simulators.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from urbanpulse.clock import SystemClock

START = 1_767_225_600_000_000_000
CONNACK = b"\x20\x02\x00\x00"
PINGRESP = b"\xd0\x00"


def pool(devices: int = 7, laps: int = 3) -> Pool:
    at_ms = [1_767_225_600_127 + 1000 * lap for lap in range(laps)]
    return Pool(
        [
            [
                [Message(f"devices/d{n}/readings", b'{"ts":%d,"values":{"x":%d},"seq":%d}' % (at, n, lap))]
                for n in range(devices)
            ]
            for lap, at in enumerate(at_ms)
        ],
        at_ms,
    )


async def loaded(
    broker: Broker, load: Load, clock: SystemClock, *, fill: Pool | None = None, **more: Any
) -> LoadFigures:
    return await drive_load(
        fill or pool(),
        load,
        broker=broker,
        name="load",
        clock=clock,
        cpu=time.process_time,
        stop=more.pop("stop", asyncio.Event()),
        **more,
    )


# -- with real brokers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("qos", [0, 1])
async def test_every_message_arrives_once_with_a_time_of_its_own(
    broker: Any, watch: Any, clock: SystemClock, until: Any, qos: int
) -> None:
    watcher = watch(broker.port)
    began = clock.now_ns() // 1_000_000

    figures = await loaded(broker.address, Load(sockets=3, qos=qos, seconds=0, messages=1000, window=50), clock)

    await until(lambda: len(watcher.messages) >= 1000)
    assert (figures.published, figures.acked, figures.unacked) == (1000, 1000 * qos, 0)
    assert figures.broken == ()
    assert len(watcher.messages) == 1000
    for n in range(7):
        said = [json.loads(payload) for payload in watcher.on(f"devices/d{n}/readings")]
        assert {item["values"]["x"] for item in said} == {n}
        assert all(a["ts"] < b["ts"] for a, b in pairwise(said))
        assert said[0]["ts"] >= began
    assert {payload.count(b"{") for _, payload, _ in watcher.messages} == {2}


async def test_time_ends_a_load_and_a_stop_ends_one_without_end(
    start_broker: Any, clock: SystemClock, until: Any
) -> None:
    broker = start_broker("mosquitto").address
    stop = asyncio.Event()
    told: list[LoadFigures] = []

    timed = await loaded(broker, Load(seconds=0.5), clock)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(
            loaded(broker, Load(seconds=1e9, rate=2000), clock, stop=stop, progress=told.append)
        )
        await until(lambda: told and told[-1].published > 0)
        stop.set()

    assert timed.published == timed.acked > 0
    assert running.result().published == running.result().acked >= told[-1].published
    assert timed.latencies.percentile(50) is not None
    assert timed.cpu_seconds_per_million is not None
    assert timed.rate > 0


@pytest.mark.parametrize("wire", FORMATS)
async def test_every_format_is_loaded_from_the_city(start_broker: Any, clock: SystemClock, wire: str) -> None:
    _, devices = demo_city(7)
    some = devices[::20]
    world = World(7, some)
    fill = fill_pool(world, list(world.devices), wire_format(wire, some, 7), start=START, laps=3)

    figures = await loaded(
        start_broker("mosquitto").address, Load(sockets=2, seconds=0, messages=100), clock, fill=fill
    )

    assert figures.published == figures.acked == 100


async def test_a_wrong_password_is_told_as_the_broker_says_it(start_broker: Any, clock: SystemClock) -> None:
    broker = start_broker("nats", password_for={"load": "right"}).address

    with pytest.raises(SettingsError, match=f"{broker.port} refuses the connection: not authorised"):
        await loaded(broker, Load(seconds=1), clock, username="load", password="wrong")
    figures = await loaded(broker, Load(sockets=1, seconds=0, messages=5), clock, username="load", password="right")

    assert figures.acked == 5


# -- with brokers that behave badly ------------------------------------------------------------------------------------


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Callable[..., Awaitable[None]]], Awaitable[Broker]]]:
    """Return a function that opens a server with the given handler."""
    servers: list[asyncio.Server] = []

    async def opening(handle: Callable[..., Awaitable[None]]) -> Broker:
        async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                head = await reader.readexactly(2)
                await reader.readexactly(head[1])  # CONNECT, which is short
                await handle(reader, writer)
                await writer.drain()
                await reader.read(-1) if not writer.is_closing() else None
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        servers.append(await asyncio.start_server(handled, "127.0.0.1", 0))
        return Broker("127.0.0.1", servers[-1].sockets[0].getsockname()[1])

    yield opening
    for server in servers:
        server.close()
        await server.wait_closed()


async def test_nobody_there_is_told(clock: SystemClock, serve: Any) -> None:
    async def nothing(*_: Any) -> None: ...

    silent = await serve(nothing)

    with pytest.raises(Unavailable, match=r"broker: 127.0.0.1:1: .*[Cc]onnect"):
        await loaded(Broker("127.0.0.1", 1), Load(), clock)
    with pytest.raises(Unavailable, match=f"{silent.port} does not answer within 0.05 s"):
        await loaded(silent, Load(connect_seconds=0.05), clock)


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", Unavailable, "does not speak MQTT", id="a web server"),
        pytest.param(b"", Unavailable, "closed the connection without a word", id="a closed door"),
        pytest.param(b"\x20\x02\x00\x03", SettingsError, "the server is unavailable", id="code 3"),
        pytest.param(b"\x20\x02\x00\x04", SettingsError, "wrong user name or password", id="code 4"),
        pytest.param(b"\x20\x02\x00\x63", SettingsError, "return code 99", id="a code of no standard"),
    ],
)
async def test_a_refusal_is_told(
    clock: SystemClock, serve: Any, answer: bytes, error: type[Exception], text: str
) -> None:
    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    broker = await serve(handle)

    with pytest.raises(error, match=text):
        await loaded(broker, Load(), clock)


async def test_a_broker_that_falls_silent_is_given_up(clock: SystemClock, serve: Any) -> None:
    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CONNACK)

    broker = await serve(handle)

    figures = await loaded(broker, Load(sockets=2, seconds=30, window=5, drain_seconds=0.1), clock)

    assert figures.broken == tuple(
        f"socket {n}: no answer for 0.1 s after 5 messages, 5 of them unacknowledged" for n in range(2)
    )
    assert figures.unacked == 10


async def test_a_lost_connection_is_told_and_the_others_go_on(clock: SystemClock, serve: Any) -> None:
    opened = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        is_first = opened == 1
        writer.write(CONNACK)
        stream, run = Reader(Version.V311, max_packet_bytes=1000), PublishRun()
        while data := await reader.read(1 << 16):
            seen = len(run.packet_ids)
            if is_first:
                writer.close()
                return
            pings = data.count(b"\xc0\x00") if data.endswith(b"\xc0\x00") else 0
            stream.feed(data[:-2] if pings else data, run)
            writer.write(acks(Kind.PUBACK, run.packet_ids[seen:]) + PINGRESP * bool(pings))

    broker = await serve(handle)

    figures = await loaded(broker, Load(sockets=2, seconds=0, messages=20), clock)

    assert len(figures.broken) == 1
    assert figures.broken[0].startswith("socket 0: closed by the broker")
    assert figures.acked == 10


# -- one socket, its broker played by the test -------------------------------------------------------------------------


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.pings = 0
        self.closed = False
        self._reader = Reader(Version.V311, max_packet_bytes=1 << 20)
        self.run = PublishRun()

    def write(self, data: Any) -> None:
        if data == b"\xc0\x00":
            self.pings += 1
        else:
            self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None:
        self.closed = True

    abort = close

    def publishes(self) -> list[bytes]:
        """Return the packet ids of what was written since the last call."""
        seen = len(self.run.packet_ids)
        self._reader.feed(bytes(self.written), self.run)
        self.written.clear()
        return self.run.packet_ids[seen:]


def opened(load: Load, *, clock: ManualClock, devices: int = 7, quota: float = math.inf) -> tuple[LoadSocket, Wire]:
    """Return a connected socket and its wire."""
    filled = pool(devices)
    laps = [
        Lap([m for said in lap for m in said], at, qos=load.qos)
        for lap, at in zip(filled.laps, filled.at_ms, strict=True)
    ]
    socket = LoadSocket(laps, load, rate=load.rate, quota=quota, clock=clock, latencies=Latencies())
    wire = Wire()
    socket.connection_made(wire)
    socket.data_received(CONNACK)
    return socket, wire


async def settle() -> None:
    """Let what the socket has put off happen."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_window_is_never_exceeded() -> None:
    clock = ManualClock()
    socket, wire = opened(Load(window=10, seconds=1), clock=clock)

    socket.begin(0, 1)
    await settle()
    first = wire.publishes()
    socket.data_received(acks(Kind.PUBACK, first[:3]))
    await settle()

    assert len(first) == 10
    assert len(wire.publishes()) == 3
    assert (socket.outstanding, socket.acked) == (10, 3)
    assert socket.waits == 2


async def test_the_window_grows_while_acks_are_quick_and_shrinks_once_a_round_trip_when_they_are_slow() -> None:
    clock = ManualClock()
    socket, wire = opened(Load(window=1000, ack_seconds=0.5, seconds=100), clock=clock)
    socket.begin(0, 100)
    outstanding = []
    for seconds in (0.1, 0.4, 0.4, 0.6, 0.7, 0.4):
        await settle()
        ids = wire.publishes()
        outstanding.append(socket.outstanding)
        clock.advance(seconds)
        for at in range(0, len(ids), 10):
            socket.data_received(acks(Kind.PUBACK, ids[at : at + 10]))

    assert outstanding == [64, 80, 100, 125, 62, 31]


async def test_the_window_has_a_least_and_a_most() -> None:
    for seconds, expected in ((0.0, 100), (1.0, 8)):
        clock = ManualClock()
        socket, wire = opened(Load(window=100, seconds=1e6, ack_seconds=0.5), clock=clock)
        socket.begin(0, 1e6)
        for _ in range(20):
            await settle()
            ids = wire.publishes()
            clock.advance(seconds)
            socket.data_received(acks(Kind.PUBACK, ids))
        await settle()
        assert socket.outstanding == expected


async def test_a_packet_id_is_not_used_again_before_its_ack() -> None:
    clock = ManualClock()
    socket, wire = opened(Load(window=65_535, batch=65_535, seconds=1), clock=clock, devices=1000)
    socket.begin(0, 1)
    first, *ids = wire.publishes()
    while ids:  # all but the first are acknowledged
        socket.data_received(acks(Kind.PUBACK, ids))
        await settle()
        ids = wire.publishes()
    sent = socket.sent

    socket.data_received(acks(Kind.PUBACK, [first]))
    await settle()

    assert sent == 65_535
    assert wire.publishes()[0] == first == b"\x00\x01"


async def test_a_full_buffer_stops_the_socket() -> None:
    clock = ManualClock()
    socket, wire = opened(Load(qos=0, seconds=1, batch=5), clock=clock)
    socket.pause_writing()

    socket.begin(0, 1)
    await settle()
    before = socket.sent
    socket.resume_writing()
    clock.advance(1)
    await settle()

    assert before == 0
    assert socket.sent > 0
    assert socket.waits == 1
    assert wire.pings == 1  # and it asks whether all was read


@pytest.mark.parametrize("qos", [0, 1])
async def test_the_pace_is_kept(qos: int) -> None:
    clock = ManualClock()
    socket, _ = opened(Load(qos=qos, rate=100, seconds=10), clock=clock)

    socket.begin(0, 10)
    sent = []
    for _ in range(4):
        sent.append(socket.sent)
        clock.advance(0.05)
        socket.tend()

    assert sent == [1, 6, 11, 16]


async def test_it_is_done_when_all_is_answered() -> None:
    clock = ManualClock()
    socket, wire = opened(Load(seconds=0, messages=5), clock=clock, quota=5)
    socket.begin(0, math.inf)
    ids = wire.publishes()
    clock.advance(0.25)

    socket.data_received(PINGRESP)
    early = socket.done_at
    socket.data_received(acks(Kind.PUBACK, ids))

    assert len(ids) == 5
    assert early is None
    assert socket.done_at == 0.25
    assert socket._latencies.percentile(100) == pytest.approx(0.25, rel=0.02)


async def test_acks_may_be_cut_anywhere() -> None:
    for cut in range(1, 4 * 7 + 2):
        clock = ManualClock()
        socket, wire = opened(Load(seconds=0, messages=7), clock=clock, quota=7)
        socket.begin(0, math.inf)
        stream = acks(Kind.PUBACK, wire.publishes()[:3]) + PINGRESP
        stream += acks(Kind.PUBACK, [n.to_bytes(2, "big") for n in range(4, 8)])

        socket.data_received(stream[:cut])
        socket.data_received(stream[cut:])

        assert (socket.acked, socket.done_at, socket.broken) == (7, 0.0, ""), cut


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        pytest.param(b"\x40\x02\x00\x09", "an ack for a message that is not on its way", id="an ack too many"),
        pytest.param(b"\x40\x03\x00\x01\x00", "PUBACK: 1 bytes too many", id="an ack of version 5"),
        pytest.param(b"\x30\x04\x00\x01aX", "0x3004 is no answer", id="a message"),
        pytest.param(b"\x30\xff\x01", "0x30ff is no answer", id="something long"),
        pytest.param(CONNACK, "a Connack that nobody asked for", id="a second welcome"),
        pytest.param(PINGRESP, "a Pingresp that nobody asked for", id="an echo"),
        pytest.param(b"\xf0\x00", "0xf000 is no answer", id="a packet of version 5"),
        pytest.param(b"\x40\xff", "0x40ff is no answer", id="an endless ack"),
    ],
)
async def test_what_is_not_an_answer_ends_the_connection(answer: bytes, text: str) -> None:
    clock = ManualClock()
    socket, wire = opened(Load(seconds=1, window=2), clock=clock)
    socket.begin(0, 1)

    socket.data_received(answer)

    assert text in socket.broken
    assert socket.broken.endswith("after 2 messages, 2 of them unacknowledged")
    assert wire.closed
    assert socket.done_at is not None


async def test_a_quiet_load_pings_and_is_not_given_up_while_it_has_asked_nothing() -> None:
    clock = ManualClock()
    socket, wire = opened(Load(rate=0.01, seconds=1000, drain_seconds=5), clock=clock)
    socket.begin(0, 1000)
    socket.data_received(acks(Kind.PUBACK, wire.publishes()))

    clock.advance(19)
    socket.tend()
    before = wire.pings
    clock.advance(1)
    socket.tend()
    after = wire.pings
    clock.advance(5.1)
    socket.tend()

    assert (before, after) == (0, 1)
    assert socket.broken.startswith("no answer for 5 s")


# -- laps and limits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", FORMATS)
def test_a_stamped_lap_is_what_the_format_says_at_that_time(wire: str) -> None:
    device = Device("air-001", "air", "merkez", lat=37.95, lon=58.38)
    then, now = START // 1_000_000 + 60_127, START // 1_000_000 + 86_400_916

    def say(at_ms: int) -> list[Message]:
        report = Report(at_ms * 1_000_000, 5, {"pm25": 12.5, "no2": 33.0}, 80.0, -71.0)
        return list(wire_format(wire, [device], 7).encode(Emission(at_ms * 1_000_000, device.id, (report,))))

    lap, wanted = Lap(say(then), then, qos=1), say(now)
    lap.stamp(now)
    run = PublishRun()
    Reader(Version.V311, max_packet_bytes=1 << 20).feed(lap.take(0, np.arange(1, len(lap) + 1)), run)

    assert run.topics == [message.topic.encode() for message in wanted]
    if wire in {"chirpstack", "ttn"}:  # the encrypted frame, and counters of microseconds, stay as they were
        text = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now // 1000))}.916".encode()
        assert all(payload.count(text) >= 2 for payload in run.payloads)
        assert [len(payload) for payload in run.payloads] == [len(message.payload) for message in wanted]
    else:
        assert run.payloads == [message.payload for message in wanted]


def test_percentiles_are_two_per_cent_exact() -> None:
    latencies = Latencies()
    assert latencies.percentile(50) is None

    latencies.add(np.arange(1, 1001) / 1000)

    for percent, seconds in ((50, 0.5), (95, 0.95), (99, 0.99), (100, 1.0)):
        assert latencies.percentile(percent) == pytest.approx(seconds, rel=0.02)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("sockets", 0), ("sockets", 1001), ("qos", 2), ("qos", -1), ("rate", -1), ("seconds", -0.1), ("messages", -1),
        ("window", 0), ("window", 65_536), ("batch", 0), ("batch", 65_536), ("buffer_bytes", 0),
        ("buffer_bytes", (1 << 30) + 1), ("connect_seconds", 0), ("drain_seconds", 0), ("rate", math.nan),
        ("ack_seconds", 0),
    ],
)  # fmt: skip
def test_impossible_loads_are_refused(field: str, wrong: float) -> None:
    with pytest.raises(SettingsError, match=f"^{field}: "):
        Load(**{field: wrong})  # type: ignore[arg-type]


def test_a_load_needs_an_end() -> None:
    with pytest.raises(SettingsError, match="neither seconds nor messages"):
        Load(seconds=0)


async def test_every_socket_needs_a_device(clock: SystemClock) -> None:
    with pytest.raises(SettingsError, match="sockets: 8 for 7 devices"):
        await loaded(Broker("127.0.0.1", 1), Load(sockets=8), clock)
    with pytest.raises(SettingsError, match="at least one device"):
        Pool([[]], [0])
