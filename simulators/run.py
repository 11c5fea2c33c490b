"""This module runs a scenario with true devices: its world goes at a speed, its devices say what is due.

    World + plan --> emissions, a stretch of slots at a time --> in order of due --> the device, when its time comes
                                                                                     |-- outage: its connection is down
                                                                                     `-- too many unacknowledged: wait

What a device says hangs on (seed, device, scenario) alone, so speed, parts and broken connections change when it is
said and never what. Nothing is dropped to keep a speed: a run that cannot follow slows down and says so.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from simulators.fleet import Fleet, Progress, drive
from simulators.labels import LabelClass
from simulators.pace import Pace
from simulators.reports import Grid
from simulators.script import Script

if TYPE_CHECKING:
    import asyncio
    import random
    from collections.abc import Callable, Mapping, Sequence

    from core.city import Device
    from core.clock import Clock
    from simulators.device import Broker, Numbers
    from simulators.labels import Label
    from simulators.messages import WireFormat
    from simulators.scenarios import Scenario
    from simulators.settings import SimulatorSettings
    from simulators.world import World

__all__ = ["ScenarioRun", "Summary", "run_scenario"]

_S = 1_000_000_000
_AHEAD = 60_000  # reports computed before they are due, all devices: about 1 KB each
_STRETCH = (16, 256)  # slots computed at once, at least and at most: one numpy call costs the same for 1 and for 16
_TURN = 32  # emissions handed over before the event loop looks at the sockets again
_TICK_SECONDS = 0.02  # what is due together goes together


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of a run.

    Attributes:
        scenario: its name.
        seed: of city and scenario.
        start: of the world's time, ns UTC.
        end: of it, as far as it went.
        finished: whether it went to the end.
        devices: how many there were.
        connect_seconds: real time until all of them were connected.
        seconds: real time that the run took, from the moment at which all were connected.
        speed: wanted, times real time.
        numbers: what became of the reports.
        unsent: reports that were still waiting when the run ended.
        faults: how many of each kind have begun.
        events: the same of city events.
    """

    scenario: str
    seed: int
    start: int
    end: int
    finished: bool
    devices: int
    connect_seconds: float
    seconds: float
    speed: float
    numbers: Numbers
    unsent: int
    faults: Mapping[str, int]
    events: Mapping[str, int]

    @property
    def effective_speed(self) -> float:
        """Return how fast the world went, times real time."""
        return (self.end - self.start) / _S / self.seconds if self.seconds else 0.0

    @property
    def lost(self) -> int:
        """Return how many reports were due and never confirmed by the broker, where it confirms at all."""
        n = self.numbers
        return n.published - n.acked - n.unconfirmed + n.dropped + n.skipped + self.unsent


class ScenarioRun:
    """One run of a scenario: world, scripts and fleet together."""

    def __init__(
        self,
        scenario: Scenario,
        world: World,
        devices: Sequence[Device],
        *,
        speed: float,
        wire: WireFormat,
        persistent: bool,
        settings: SimulatorSettings,
        broker: Broker,
        credentials: Mapping[str, str],
        clock: Clock,
        rng: random.Random,
        labels: Sequence[Label],
        on_label: Callable[[Label], None],
        live: bool = False,
    ) -> None:
        """Make the devices; nothing is connected yet.

        *devices* are those of the city that this process plays, *labels* those that it tells to *on_label* when they
        begin, *world* and *scenario* the whole ones. *persistent* is whether the broker shall keep sessions, *live*
        whether the world's time is ours: it has gone on while the devices connected.

        Raises:
            SettingsError: a device has no password while others have.
        """
        self._scenario = scenario
        self._world = world
        self._settings = settings
        self._clock = clock
        self._speed = speed
        self._live = live
        self._labels = deque(labels)
        self._begun: list[Label] = []
        self._on_label = on_label
        self._said = scenario.start  # the world's time up to which all is said
        self.phase = "connect"
        self._connect_seconds = 0.0
        self.pace = Pace(scenario.start, speed, clock)
        names = [device.id for device in devices]
        self.fleet = Fleet(
            names,
            credentials,
            broker=broker,
            settings=settings,
            clock=clock,
            rng=rng,
            wire=wire,
            now_ns=self.pace.now,
            persistent=persistent,
        )
        ours = set(names)
        self._changes = deque(
            sorted(
                (at, leaves, name)
                for outage in scenario.outages
                for at, leaves in ((outage.start, True), (outage.end, False))
                for name in outage.devices
                if name in ours
            )
        )

    @property
    def pack(self) -> int:
        """Return how many reports of a device go into one message, so that it sends about one a real second."""
        wanted = int(self._speed * self._settings.message_seconds / self._scenario.interval_seconds)
        return max(1, min(wanted, self._settings.backfill_pack))

    def progress(self) -> Progress:
        """Return the figures of this moment."""
        scenario, now = self._scenario, min(self.pace.now(), self._said, self._scenario.end)
        active = [label for label in self._begun if label.start <= now < label.end]
        shown = self.fleet.progress(
            self.phase,
            (now - scenario.start) // _S,
            (scenario.end - scenario.start) // _S,
            tuple(f"{a.what} {a.device} {a.metric}" for a in active if a.kind is LabelClass.FAULT),
        )
        events = tuple(f"{a.what} {a.district or 'whole city'}" for a in active if a.kind is LabelClass.EVENT)
        return replace(shown, now=now, events=events, speed=self.pace.speed_now())

    def summary(self) -> Summary:
        """Return what became of the run until now."""
        begun = {
            kind: dict(sorted(Counter(label.what for label in self._begun if label.kind is kind).items()))
            for kind in LabelClass
        }
        return Summary(
            scenario=self._scenario.name,
            seed=self._scenario.seed,
            start=self._scenario.start,
            end=min(self._said, self._scenario.end),
            finished=self.phase == "finished",
            devices=len(self.fleet.devices),
            connect_seconds=self._connect_seconds,
            seconds=self.pace.elapsed(),
            speed=self._speed,
            numbers=self.fleet.numbers,
            unsent=sum(device.unsent for device in self.fleet.devices.values()),
            faults=begun[LabelClass.FAULT],
            events=begun[LabelClass.EVENT],
        )

    async def play(self) -> None:
        """Connect everybody, then play the scenario to its end, and wait until all is acknowledged.

        Raises:
            Unavailable: the broker lets a device not in, or is away for longer than `stall_seconds`.
        """
        began = self._clock.monotonic()
        scripts = await self._prepare()
        await self.fleet.reach(len(self.fleet.devices))
        self._connect_seconds = self._clock.monotonic() - began
        self.phase = "live"
        self.pace.begin((self._clock.now_ns() - self._scenario.start) / _S if self._live else 0.0)
        await self._play(scripts)
        await self._until(self._scenario.end)
        for device in self.fleet.devices.values():
            device.come_back()
        self.phase = "settle"
        await self.fleet.settle(0)
        self.pace.stop()
        self.phase = "finished"

    async def _prepare(self) -> dict[str, Script]:
        """Compute the first stretch of every device, while they connect."""
        least, most = _STRETCH
        stretch = max(self.pack, least, min(most, _AHEAD // len(self.fleet.devices)))
        scenario, scripts = self._scenario, {}
        for n, name in enumerate(self.fleet.devices):
            grid = Grid(scenario.seed, name, scenario.interval_seconds, self._settings.jitter_seconds)
            scripts[name] = Script(
                self._world,
                scenario.plan,
                grid,
                range(grid.first_after(scenario.start), grid.first_after(scenario.end)),
                pack=self.pack,
                first=1 + n % stretch,  # so that devices take turns
                stretch=stretch,
            )
            _ = scripts[name].due
            await self._clock.sleep(0)
        return scripts

    async def _play(self, scripts: Mapping[str, Script]) -> None:
        due = [(at, name) for name, script in scripts.items() if (at := script.due) is not None]
        heapq.heapify(due)
        turn = 0
        while due:
            at, name = due[0]
            await self._until(at)
            self.fleet.devices[name].say(scripts[name].say())
            following = scripts[name].due
            if following is None:
                heapq.heappop(due)
            else:
                heapq.heapreplace(due, (following, name))
            turn += 1
            if turn % _TURN == 0:
                await self._clock.sleep(0)
            if self.fleet.outstanding + self.fleet.stored > self._settings.backlog_messages:
                await self.fleet.settle(self._settings.backlog_messages * 3 // 4)

    async def _until(self, at: int) -> None:
        """Wait for the world's time *at*, and let happen what happens until then: connections break, labels begin."""
        while self._changes and self._changes[0][0] <= at:
            moment, leaves, name = self._changes.popleft()
            await self._wait(moment)
            device = self.fleet.devices[name]
            if leaves:
                device.leave()
            else:
                device.come_back()
        await self._wait(at)
        self.pace.lag(at)

    async def _wait(self, at: int) -> None:
        while (now := self.pace.now()) < at:
            self._reach(now)
            await self.pace.until(at, 1.0, _TICK_SECONDS)
        self._reach(at)

    def _reach(self, at: int) -> None:
        """All is said until *at*: tell the labels that have begun."""
        self._said = max(self._said, at)
        while self._labels and self._labels[0].start <= at:
            self._begun.append(self._labels.popleft())
            self._on_label(self._begun[-1])


async def run_scenario(
    run: ScenarioRun, *, clock: Clock, stop: asyncio.Event, progress: Callable[[Progress], None]
) -> Summary:
    """Play *run* to its end, or until *stop* is set; *progress* is called about twice a second.

    Raises:
        ExceptionGroup: of an `Unavailable`: the broker lets a device not in, or is away for too long.
    """

    def tell() -> None:
        progress(run.progress())

    await drive(run.fleet, run.play(), stop=stop, clock=clock, tell=tell)
    tell()
    return run.summary()
