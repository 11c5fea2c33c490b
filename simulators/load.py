"""This module is the load mode: many devices over few sockets, as fast as the broker takes it or at a given rate.

Each socket is an asyncio Protocol that writes packets from its laps as far as three things allow: the pace, the window
of unacknowledged messages, and the transport's buffer. It stops by time or by count, then sends PINGREQ: a broker works
through a connection in order, so PINGRESP says that it has read everything, of QoS 0 too.

It measures a broker; it is no fleet. Nothing is sent again, and a broken connection is told and not opened again.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import MalformedPayload, SettingsError, Unavailable
from core.mqtt import Connack, Version, connect
from simulators.load_packets import Lap
from simulators.load_socket import Latencies, LoadSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.clock import Clock
    from simulators.device import Broker
    from simulators.load_pool import Pool

__all__ = ["Load", "LoadFigures", "drive_load"]

_TICK_SECONDS = 0.005
_TELL_SECONDS = 0.5
_REFUSALS = {  # MQTT 3.1.1, table 3.1
    1: "it does not speak MQTT 3.1.1",
    2: "it does not take this client id",
    3: "the server is unavailable",
    4: "wrong user name or password",
    5: "not authorised",
}


@dataclass(frozen=True, slots=True)
class Load:
    """What to do to the broker.

    Attributes:
        sockets: connections; the devices are dealt to them in turn.
        qos: 0 or 1.
        rate: messages a second over all sockets; 0 is as fast as the broker takes them.
        seconds: how long; 0 for no end.
        messages: how many over all sockets; 0 for no end.
        window: messages of QoS 1 on their way without an ack, on each socket, at most.
        ack_seconds: acks that take longer let the window shrink: a broker that must store what it has not yet
            acknowledged is then loaded to its limit, and not until it gives up.
        batch: messages in one write.
        buffer_bytes: what the transport of one socket may hold; above that the socket waits.
        connect_seconds: how long to wait for TCP, TLS and CONNACK together.
        drain_seconds: how long to wait for an answer before a socket is given up.
    """

    sockets: int = 4
    qos: int = 1
    rate: float = 0.0
    seconds: float = 10.0
    messages: int = 0
    window: int = 2000
    ack_seconds: float = 0.25
    batch: int = 500
    buffer_bytes: int = 256 * 1024
    connect_seconds: float = 10.0
    drain_seconds: float = 10.0

    def __post_init__(self) -> None:
        limits: tuple[tuple[str, float, float], ...] = (
            ("sockets", 1, 1000),
            ("qos", 0, 1),
            ("rate", 0, 1e9),
            ("seconds", 0, 1e9),
            ("messages", 0, 1e12),
            ("window", 1, 65_535),  # packet ids are 16 bit, and 0 is none
            ("ack_seconds", 0.001, 1e6),
            ("batch", 1, 65_535),
            ("buffer_bytes", 1, 1 << 30),
            ("connect_seconds", 0.001, 1e6),
            ("drain_seconds", 0.001, 1e6),
        )
        for name, low, high in limits:
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingsError(name, f"{value:g}: {low:g} to {high:g} expected")
        if not self.seconds and not self.messages:
            raise SettingsError("seconds", "neither seconds nor messages say when the load ends")


@dataclass(frozen=True, slots=True)
class LoadFigures:
    """How a run stands or has ended.

    `seconds` runs from the first publish to the broker's last answer, `cpu_seconds` is this process's over the same
    time. `waits` counts how often a socket had to wait for the broker, because its window or its buffer was full.
    `broken` says for each socket that was lost why.
    """

    qos: int
    published: int
    acked: int
    seconds: float
    cpu_seconds: float
    latencies: Latencies
    waits: int
    broken: tuple[str, ...]

    @property
    def rate(self) -> float:
        """Return publishes a second."""
        return self.published / self.seconds if self.seconds > 0 else 0.0

    @property
    def unacked(self) -> int:
        """Return how many publishes of QoS 1 have no ack."""
        return self.published - self.acked if self.qos else 0

    @property
    def cpu_seconds_per_million(self) -> float | None:
        """Return CPU seconds of this process per million publishes; None before the first."""
        return self.cpu_seconds / self.published * 1e6 if self.published else None


async def drive_load(
    pool: Pool,
    load: Load,
    *,
    broker: Broker,
    name: str,
    username: str | None = None,
    password: str | None = None,
    clock: Clock,
    cpu: Callable[[], float],
    stop: asyncio.Event,
    progress: Callable[[LoadFigures], None] | None = None,
) -> LoadFigures:
    """Load *broker* until the end that *load* names, or until *stop* is set; return what became of it.

    The client ids are *name* and a number. *cpu* returns the CPU seconds of this process. *progress* is called about
    twice a second.

    Raises:
        SettingsError: the broker refuses us for what we are; the text says why.
        Unavailable: nobody is there, or all connections broke.
    """
    if load.sockets > pool.devices:
        raise SettingsError("sockets", f"{load.sockets} for {pool.devices} devices: each socket needs one at least")
    latencies = Latencies()
    sockets = [
        LoadSocket(
            [
                Lap([message for said in lap[n :: load.sockets] for message in said], at, qos=load.qos)
                for lap, at in zip(pool.laps, pool.at_ms, strict=True)
            ],
            load,
            rate=load.rate / load.sockets,
            # the first sockets take what does not divide evenly
            quota=(load.messages + load.sockets - 1 - n) // load.sockets if load.messages else math.inf,
            clock=clock,
            latencies=latencies,
        )
        for n in range(load.sockets)
    ]
    try:
        for n, socket in enumerate(sockets):
            packet = connect(
                f"{name}-{n}",
                version=Version.V311,
                keepalive=60,
                username=username,
                password=None if password is None else password.encode(),
            )
            await _open(socket, packet, broker, load.connect_seconds)
        return await _run(sockets, load, latencies, clock=clock, cpu=cpu, stop=stop, progress=progress)
    finally:
        for socket in sockets:
            socket.close()


async def _open(socket: LoadSocket, packet: bytes, broker: Broker, seconds: float) -> None:
    where = f"{broker.host}:{broker.port}"
    try:
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().create_connection(lambda: socket, broker.host, broker.port, ssl=broker.tls)
            answer = await socket.greet(packet)
    except TimeoutError as error:
        raise Unavailable("broker", f"{where} does not answer within {seconds:g} s") from error
    except OSError as error:
        raise Unavailable("broker", f"{where}: {error}") from error
    except MalformedPayload as error:
        raise Unavailable("broker", f"{where} does not speak MQTT: {error}") from error
    if not isinstance(answer, Connack):
        raise Unavailable("broker", f"{where} closed the connection without a word")
    if answer.code:
        why = _REFUSALS.get(answer.code, f"return code {answer.code}")
        raise SettingsError("broker", f"{where} refuses the connection: {why}")


async def _run(
    sockets: Sequence[LoadSocket],
    load: Load,
    latencies: Latencies,
    *,
    clock: Clock,
    cpu: Callable[[], float],
    stop: asyncio.Event,
    progress: Callable[[LoadFigures], None] | None,
) -> LoadFigures:
    began, cpu_began = clock.monotonic(), cpu()

    def figures(now: float) -> LoadFigures:
        return LoadFigures(
            qos=load.qos,
            published=sum(socket.sent for socket in sockets),
            acked=sum(socket.acked for socket in sockets),
            seconds=now - began,
            cpu_seconds=cpu() - cpu_began,
            latencies=latencies,
            waits=sum(socket.waits for socket in sockets),
            broken=tuple(f"socket {n}: {socket.broken}" for n, socket in enumerate(sockets) if socket.broken),
        )

    for socket in sockets:
        socket.begin(began, began + load.seconds if load.seconds else math.inf)
    next_tell = began + _TELL_SECONDS
    while not all(socket.done_at is not None for socket in sockets):
        await clock.sleep(_TICK_SECONDS)
        for socket in sockets:
            if stop.is_set():
                socket.finish()
            socket.tend()
        if progress is not None and clock.monotonic() >= next_tell:
            next_tell = clock.monotonic() + _TELL_SECONDS
            progress(figures(clock.monotonic()))
    return figures(max(socket.done_at or began for socket in sockets))
