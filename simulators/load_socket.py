"""This module is one connection of the load mode: it writes while it may, books acks, and says when all is answered.

    opening --CONNACK--> open --begin--> publishing --time, count, finish--> draining --all answered--> done
       any of them: closed by the broker, silent for too long, or not MQTT --> done, with `broken` saying why

Acks come by the thousand in one read. They are booked as columns; other packets are few and parsed one by one.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import numpy as np

from core.errors import MalformedPayload
from core.mqtt import Connack, Kind, Pingresp, Version, disconnect, parse, pingreq

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from core.clock import Clock
    from simulators.load import Load
    from simulators.load_packets import Lap

__all__ = ["Latencies", "LoadSocket"]

_IDS = 65_535
_PING_SECONDS = 20.0
_BURSTS = 8  # batches that one socket writes before the others have their turn
_FIRST_WINDOW = 64
_LEAST_WINDOW = 8
_ANSWERS = frozenset(kind << 4 for kind in (Kind.CONNACK, Kind.PUBACK, Kind.PINGRESP))
_ACK = np.array([Kind.PUBACK << 4, 2], np.uint8)


class Latencies:
    """How long answers took, in bins 2 % wide from 10 µs on: percentiles of any number of them in 8 kB."""

    _LOW = 1e-5
    _STEP = math.log(1.02)
    _BINS = 1000  # the last one ends at an hour

    def __init__(self) -> None:
        self._counts = np.zeros(self._BINS, np.int64)

    def add(self, seconds: NDArray[np.float64]) -> None:
        """Count float64[N] *seconds*."""
        bins = np.log(np.maximum(seconds, self._LOW) / self._LOW) / self._STEP
        self._counts += np.bincount(np.minimum(bins.astype(np.int64), self._BINS - 1), minlength=self._BINS)

    def percentile(self, percent: float) -> float | None:
        """Return the seconds, to 2 %, that *percent* of the answers did not exceed; None without answers."""
        total = int(self._counts.sum())
        if not total:
            return None
        place = int(np.searchsorted(np.cumsum(self._counts), max(1, math.ceil(total * percent / 100))))
        return float(self._LOW * math.exp((place + 1) * self._STEP))


class LoadSocket(asyncio.Protocol):
    """One connection, of MQTT 3.1.1.

    Attributes:
        sent: publishes handed to the transport.
        acked: those that have a PUBACK.
        waits: how often nothing could be written because the window or the buffer was full.
        broken: why the connection was lost; empty while all is well.
        done_at: when everything was answered or the connection was lost, monotonic seconds.
    """

    def __init__(
        self, laps: Sequence[Lap], load: Load, *, rate: float, quota: float, clock: Clock, latencies: Latencies
    ) -> None:
        """Make a connection that publishes *rate* messages a second (0: no limit), *quota* in all."""
        self.sent = self.acked = self.waits = 0
        self.broken = ""
        self.done_at: float | None = None
        self._laps = laps
        self._load = load
        self._rate = rate
        self._quota = quota
        self._clock = clock
        self._latencies = latencies
        self._answer: asyncio.Future[Connack | None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._paused = self._blocked = self._draining = self._scheduled = False
        self._began = self._end = self._next_ping = math.inf  # monotonic seconds
        self._heard = 0.0
        self._pings = 0  # without an answer
        self._lap = self._place = self._last_ms = 0
        self._window: float = min(load.window, _FIRST_WINDOW)
        self._shrunk_at = -math.inf
        self._sent_at = np.full(_IDS + 1, np.nan)  # by packet id, monotonic seconds; NaN: not on its way

    @property
    def outstanding(self) -> int:
        """Return how many publishes wait for their PUBACK."""
        return self.sent - self.acked if self._load.qos else 0

    # -- what asyncio calls ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_connection promises
        transport.set_write_buffer_limits(high=self._load.buffer_bytes)
        self._transport = transport

    def pause_writing(self) -> None:
        """Stop: the buffer is full."""
        self._paused = True
        self.waits += 1

    def resume_writing(self) -> None:
        """Go on."""
        self._paused = False
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is gone, and why."""
        self._transport = None
        self._lose(f"closed by the broker{f' ({exc})' if exc else ''}")

    def data_received(self, data: bytes) -> None:
        """Book what the broker answers, and use the room that this gives."""
        self._heard = self._clock.monotonic()
        before = self.acked
        try:
            self._rest = self._read(self._rest + data)
        except MalformedPayload as error:
            self._lose(str(error), error)
            return
        # a broker that writes each ack by itself would wake us for each: at full speed let them gather until the tick
        if not self._rate and 0 < self.acked - before < self._load.batch and self._transport is not None:
            self._transport.pause_reading()
        self._pump()

    # -- what the driver calls ---------------------------------------------------------------------------------------

    async def greet(self, packet: bytes) -> Connack | None:
        """Send CONNECT; return the answer, None if the connection was closed instead.

        Raises:
            MalformedPayload: what came is not MQTT.
        """
        self._send(packet)
        return await self._answer

    def begin(self, now: float, end: float) -> None:
        """Publish from *now* until *end* (monotonic seconds)."""
        self._began, self._end, self._heard, self._next_ping = now, end, now, now + _PING_SECONDS
        self._pump()

    def finish(self) -> None:
        """Publish no more; be done when all is answered."""
        if not self._draining:
            self._draining = True
            self._ping()

    def tend(self) -> None:
        """Do what time asks for; to be called every few milliseconds."""
        now = self._clock.monotonic()
        if self._transport is not None:
            self._transport.resume_reading()
        if (self.outstanding or self._pings) and now - self._heard > self._load.drain_seconds:
            self._lose(f"no answer for {self._load.drain_seconds:g} s")
        elif now >= self._next_ping:
            self._next_ping = now + _PING_SECONDS
            self._ping()
        self._pump()

    def close(self) -> None:
        """Say goodbye."""
        if self._transport is not None:
            self.done_at = self.done_at or self._clock.monotonic()
            self._transport.write(disconnect(Version.V311))
            self._transport.close()

    # -- sending -----------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Write what may be written."""
        if self.done_at is not None or self._began == math.inf:
            return
        now = self._clock.monotonic()
        for _ in range(_BURSTS):
            if not self._draining and (now >= self._end or self.sent >= self._quota):
                self.finish()
            if self._draining or self._paused:
                break
            count = self._room(now)
            if not count:
                break
            self._write(count, now)
        else:
            self._soon()
        if self._draining and not self._pings and not self.outstanding:
            self.done_at = now

    def _soon(self) -> None:
        """Go on when the other sockets had their turn."""

        def again() -> None:
            self._scheduled = False
            self._pump()

        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(again)

    def _room(self, now: float) -> int:
        """Return how many messages may go now, in one write."""
        count = min(self._quota - self.sent, self._load.batch, len(self._laps[self._lap]) - self._place)
        if self._rate:
            count = min(count, math.floor((now - self._began) * self._rate) + 1 - self.sent)
        if count <= 0 or not self._load.qos:
            return max(int(count), 0)
        first = self.sent % _IDS + 1
        count = int(min(count, int(self._window) - self.outstanding, _IDS + 1 - first))
        # an id that is on its way is not used again, however late its ack is
        blocked = count <= 0 or not bool(np.isnan(self._sent_at[first : first + count]).all())
        self.waits += blocked and not self._blocked
        self._blocked = blocked
        return 0 if blocked else count

    def _write(self, count: int, now: float) -> None:
        lap = self._laps[self._lap]
        if self._place == 0:
            # readings of one device differ in time, however fast the laps follow
            self._last_ms = max(self._clock.now_ns() // 1_000_000, self._last_ms + 1)
            lap.stamp(self._last_ms)
        first = self.sent % _IDS + 1
        self._send(lap.take(self._place, np.arange(first, first + count)))
        if self._load.qos:
            self._sent_at[first : first + count] = now
        self.sent += count
        self._place += count
        if self._place == len(lap):
            self._place, self._lap = 0, (self._lap + 1) % len(self._laps)

    def _ping(self) -> None:
        self._send(pingreq())
        self._pings += 1

    def _send(self, packets: bytes) -> None:
        if not self.outstanding and not self._pings:
            self._heard = self._clock.monotonic()  # nothing was asked until now: silence begins here
        if self._transport is not None:
            self._transport.write(packets)

    # -- receiving ---------------------------------------------------------------------------------------------------

    def _read(self, data: bytes) -> bytes:
        """Book the whole packets of *data*; return the rest, which is shorter than 129 bytes."""
        at = 0
        while True:
            rows = np.frombuffer(data, np.uint8, (len(data) - at) // 4 * 4, at).reshape(-1, 4)
            plain = (rows[:, :2] == _ACK).all(axis=1)
            count = len(rows) if plain.all() else int(plain.argmin())
            if count:
                self._book(rows[:count, 2].astype(np.int64) << 8 | rows[:count, 3])
                at += 4 * count
            if at + 2 > len(data):
                return data[at:]
            if data[at] not in _ANSWERS or data[at + 1] > 0x7F:
                raise MalformedPayload("bad_packet", f"0x{data[at : at + 2].hex()} is no answer to what we send")
            stop = at + 2 + data[at + 1]
            if stop > len(data):
                return data[at:]
            self._receive(data[at], data[at + 2 : stop])
            at = stop

    def _receive(self, first: int, body: bytes) -> None:
        match parse(first, body, Version.V311):
            case Connack() as welcome if not self._answer.done():
                self._answer.set_result(welcome)
            case Pingresp() if self._pings:
                self._pings -= 1
            case other:
                raise MalformedPayload("bad_packet", f"a {type(other).__name__} that nobody asked for")

    def _book(self, ids: NDArray[np.int64]) -> None:
        sent_at = self._sent_at[ids]
        if np.isnan(sent_at).any():
            raise MalformedPayload("bad_packet", "an ack for a message that is not on its way")
        self._sent_at[ids] = np.nan
        took = self._heard - sent_at
        self._latencies.add(took)
        self.acked += len(ids)
        if took.mean() <= self._load.ack_seconds:
            self._window = min(self._load.window, self._window + len(ids) / 4)  # a quarter more with each round trip
        elif sent_at.min() >= self._shrunk_at:  # once a round trip: what was sent before tells nothing new
            self._window = max(min(self._load.window, _LEAST_WINDOW), self._window / 2)
            self._shrunk_at = self._heard

    def _lose(self, why: str, error: MalformedPayload | None = None) -> None:
        if not self._answer.done():
            self._answer.set_exception(error) if error else self._answer.set_result(None)
        elif self.done_at is None:
            self.broken = f"{why} after {self.sent} messages, {self.outstanding} of them unacknowledged"
        self.done_at = self.done_at or self._clock.monotonic()
        if self._transport is not None:
            self._transport.abort()
