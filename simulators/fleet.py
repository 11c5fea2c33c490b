"""This module is the fleet: it keeps many virtual devices connected and tells how their readings fare.

A few tasks serve all devices: `fleet-tend` looks once a second after keep-alives and broken connections, and
`fleet-connect-<n>` open connections, a bounded number at a time, each until the broker has answered. Sockets are
served by the event loop itself.

A broker that is away is waited for, and one that refuses is asked again: a fleet outlives restarts. But when nothing
has ever connected for `give_up_seconds`, or nothing moves for `stall_seconds`, the fleet says why and gives up. Until
one device has been connected only a few knock: two thousand wrong passwords help nobody.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import structlog

from core.errors import SettingsError, Unavailable
from simulators.device import Broker, Link, Numbers, VirtualDevice
from simulators.wire import wire_format

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from core.clock import Clock
    from simulators.messages import WireFormat
    from simulators.settings import SimulatorSettings

__all__ = ["Fleet", "Progress", "drive"]

_log = structlog.get_logger()
_TEND_SECONDS = 1.0
_TELL_SECONDS = 0.5
_TENDS_PER_KEEPALIVE = 10


@dataclass(frozen=True, slots=True)
class Progress:
    """How a run stands. Readings objects, not messages, are counted; `done` of `total` is about the phase.

    `phase` is `connect`, `backfill`, `live`, `settle`, `finished`, `replay` or `stopped`; `total` is 0 where there is
    no end. A scenario counts seconds of the world's time; `now` is that time (ns UTC), `speed` how fast it went lately.
    """

    phase: str
    done: int
    total: int
    connected: int
    devices: int
    numbers: Numbers = field(default_factory=Numbers)
    outstanding: int = 0
    stored: int = 0
    faults: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    now: int = 0
    speed: float = 1.0


class Fleet:
    """Virtual devices of one process, on the running event loop. Use `serve` as a task, then `stop`."""

    def __init__(
        self,
        names: Iterable[str],
        credentials: Mapping[str, str],
        *,
        broker: Broker,
        settings: SimulatorSettings,
        clock: Clock,
        rng: random.Random,
        wire: WireFormat | None = None,
        now_ns: Callable[[], int] | None = None,
        persistent: bool = True,
    ) -> None:
        """Make the devices; nothing is connected yet.

        *wire* is what they speak (default: our JSON), *now_ns* the time that they live in (default: the clock's),
        *persistent* whether the broker shall keep their sessions.

        Raises:
            SettingsError: a device has no password while others have.
        """
        self.numbers = Numbers()
        self.moved = asyncio.Event()
        speaker = wire or wire_format("json", (), 0)
        self._broker = broker
        self._settings = settings
        self._clock = clock
        self._rng = rng
        known = list(names)
        for name in known:
            if credentials and name not in credentials:
                raise SettingsError("credentials", f"device {name!r} has none")
        self.devices: dict[str, VirtualDevice] = {
            name: VirtualDevice(
                name,
                credentials.get(name),
                broker=broker,
                settings=settings,
                loop=asyncio.get_running_loop(),
                numbers=self.numbers,
                on_progress=self.moved.set,
                wire=speaker,
                now_ns=now_ns or clock.now_ns,
                persistent=persistent,
            )
            for name in known
        }
        self._waiting: asyncio.Queue[VirtualDevice] = asyncio.Queue(max(1, len(self.devices)))
        self._refusal_logged = ""
        self._reached = False

    @property
    def connected(self) -> int:
        """Return how many devices have a CONNACK and no broken socket."""
        return sum(device.link is Link.UP for device in self.devices.values())

    @property
    def outstanding(self) -> int:
        """Return how many messages have no ack yet, but for devices that are away on purpose."""
        return self.numbers.outstanding

    @property
    def stored(self) -> int:
        """Return how many messages wait in the devices, but for those."""
        return self.numbers.stored

    def progress(self, phase: str, done: int, total: int, faults: tuple[str, ...] = ()) -> Progress:
        """Return the figures of this moment."""
        return Progress(
            phase,
            done,
            total,
            self.connected,
            len(self.devices),
            self.numbers,
            self.outstanding,
            self.stored + self.numbers.held,
            faults,
        )

    async def serve(self) -> None:
        """Connect all devices and keep them connected, until cancelled."""
        with ThreadPoolExecutor(self._settings.connect_parallel, "connect") as threads:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tend(), name="fleet-tend")
                for n in range(self._settings.connect_parallel):
                    group.create_task(self._connect(threads), name=f"fleet-connect-{n}")

    async def reach(self, count: int) -> None:
        """Wait until *count* devices are connected.

        Raises:
            Unavailable: for `give_up_seconds` no further device got a connection; the text says why.
        """
        await self._progressing(lambda: self.connected, lambda: self.connected >= count, self._settings.give_up_seconds)

    async def settle(self, outstanding: int) -> None:
        """Wait until at most *outstanding* messages are stored or on their way.

        Devices that are away on purpose are not waited for.

        Raises:
            Unavailable: nothing was acked and nothing connected for `stall_seconds`; the text says why.
        """
        if self.outstanding + self.stored > outstanding:
            await self._progressing(
                lambda: (self.numbers.acked, self.numbers.messages, self.connected),
                lambda: self.outstanding + self.stored <= outstanding,
                self._settings.stall_seconds,
            )

    async def _progressing(self, figure: Callable[[], object], done: Callable[[], bool], seconds: float) -> None:
        """Wait until *done*, as long as *figure* changes at least every so many *seconds*."""
        last, since = figure(), self._clock.monotonic()
        while not done():
            await self.movement(1.0)
            if figure() != last:
                last, since = figure(), self._clock.monotonic()
            elif self._clock.monotonic() - since > seconds:
                raise Unavailable(self._broker.address, f"nothing moved for {seconds:g} s; {self._complaint()}")

    def _complaint(self) -> str:
        missing = len(self.devices) - self.connected
        waiting = self.outstanding + self.stored
        facts = [f"{missing} of {len(self.devices)} devices are not connected"] if missing else []
        facts += [f"{waiting} messages wait for an acknowledgement"] if waiting else []
        facts += [f"the last refusal was: {self.numbers.refusal}"] if self.numbers.refusal else []
        return "; ".join(facts)

    async def movement(self, seconds: float) -> None:
        """Wait until something was acked or a connection changed, *seconds* at most."""
        self.moved.clear()
        try:
            async with asyncio.timeout(seconds):
                await self.moved.wait()
        except TimeoutError:
            return

    async def stop(self) -> None:
        """Say goodbye: the last acks are awaited for `stop_seconds`, then everything is closed."""
        for device in self.devices.values():
            if device.link is Link.UP:
                device.say_farewell()
        try:
            async with asyncio.timeout(self._settings.stop_seconds):
                while any(d.outstanding + d.stored for d in self.devices.values() if d.link is Link.UP):
                    await self.movement(0.1)
        except TimeoutError:
            pass
        if self.outstanding + self.stored:
            _log.warning("devices stopped with messages left", outstanding=self.outstanding, stored=self.stored)
        for device in self.devices.values():
            device.disconnect()

    async def _tend(self) -> None:
        pause = self._settings.keepalive_seconds / _TENDS_PER_KEEPALIVE
        while True:
            now = self._clock.monotonic()
            self._reached = self._reached or self.connected > 0
            knocking = None if self._reached else self._settings.connect_parallel
            for device in islice(self.devices.values(), knocking):
                if device.link is Link.DOWN:
                    if now >= device.retry_at and not device.away:
                        device.prepare()
                        device.retry_at = now + self._backoff(device.failures)
                        device.failures += 1
                        self._waiting.put_nowait(device)
                elif now >= device.tend_at:
                    device.tend_at = now + pause
                    device.tend()
            self._tell_refusal()
            await self._clock.sleep(min(_TEND_SECONDS, self._settings.reconnect_min_seconds))

    async def _connect(self, threads: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            device = await self._waiting.get()
            attempt = loop.run_in_executor(threads, device.connect)
            try:
                await asyncio.shield(attempt)
            except asyncio.CancelledError:  # the thread cannot be stopped: it ends by its timeout
                await asyncio.wait({attempt})
                attempt.exception()
                device.cut()
                raise
            except OSError as error:
                self._refused(device, str(error))
                continue
            if device.away:  # it left meanwhile
                device.cut()
            else:
                await self._greet(device)

    async def _greet(self, device: VirtualDevice) -> None:
        """Wait until the broker has answered *device*, so that no more than `connect_parallel` ask at once."""
        answered = asyncio.Event()
        device.on_greeted = answered.set
        device.attach()
        try:
            async with asyncio.timeout(self._settings.connect_timeout_seconds):
                while device.link is Link.GREETING:
                    await answered.wait()
        except TimeoutError:
            self._refused(device, f"no CONNACK within {self._settings.connect_timeout_seconds:g} s")
            device.cut()
        finally:
            device.on_greeted = None

    def _refused(self, device: VirtualDevice, reason: str) -> None:
        device.link = Link.DOWN
        self.numbers.refusals += 1
        self.numbers.refusal = f"{device.name}: {reason}"

    def _backoff(self, failures: int) -> float:
        longest: float = min(
            self._settings.reconnect_max_seconds, self._settings.reconnect_min_seconds * 2 ** min(failures, 12)
        )
        return longest * self._rng.uniform(0.5, 1.0)

    def _tell_refusal(self) -> None:
        if self.numbers.refusal and not self._refusal_logged:
            _log.warning("devices are refused", refusals=self.numbers.refusals, last=self.numbers.refusal)
        if self.numbers.refusal != self._refusal_logged:
            self._refusal_logged = self.numbers.refusal


async def drive(
    fleet: Fleet, work: Coroutine[None, None, None], *, stop: asyncio.Event, clock: Clock, tell: Callable[[], object]
) -> None:
    """Run *work* with *fleet* connected until it ends or *stop* is set; say how it goes about twice a second.

    An error of *work* ends everything and is raised in an `ExceptionGroup`; the devices are closed in any case.
    """

    async def telling() -> None:
        while True:
            tell()
            await clock.sleep(_TELL_SECONDS)

    async with asyncio.TaskGroup() as group:
        helpers = [
            group.create_task(fleet.serve(), name="fleet-serve"),
            group.create_task(telling(), name="fleet-tell"),
        ]
        working = group.create_task(work, name="fleet-work")
        stopped = group.create_task(stop.wait(), name="fleet-stop")
        try:
            await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            working.cancel()
            stopped.cancel()
            await fleet.stop()
            for task in helpers:
                task.cancel()
