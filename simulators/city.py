"""This module runs the demo city: its past first, packed and fast, then the present without a hole.

The past ends where the run began; by the time it is published some seconds have gone by, and the live slots of those
seconds are sent at once. So every device's readings go on without a gap.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

import structlog

from simulators.faults import FaultPlan, demo_plan
from simulators.fleet import Fleet, drive
from simulators.labels import fault_label
from simulators.layout import demo_city
from simulators.reports import ALWAYS, Grid
from simulators.script import Script
from simulators.world import World

if TYPE_CHECKING:
    import asyncio
    import random
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from core.clock import Clock
    from simulators.device import Broker
    from simulators.fleet import Progress
    from simulators.settings import SimulatorSettings

__all__ = ["CityRun", "run_city"]

_log = structlog.get_logger()
_S = 1_000_000_000
_AHEAD = 12  # slots computed at once: one numpy call costs the same for 1 and for 12


async def run_city(
    *,
    settings: SimulatorSettings,
    broker: Broker,
    credentials: Mapping[str, str],
    clock: Clock,
    rng: random.Random,
    stop: asyncio.Event,
    labels: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Progress:
    """Publish the demo city of `settings.seed` until *stop* is set; return the last figures.

    *credentials* are {device: password} of all devices of `demo_city`, empty for a broker that asks nobody. Labels of
    faults are appended to *labels* when they begin. *progress* is called about twice a second.

    Raises:
        SettingsError: a device has no credential.
    """
    run = CityRun(settings=settings, broker=broker, credentials=credentials, clock=clock, rng=rng, labels=labels)

    def tell() -> None:
        if progress is not None:
            progress(run.progress())

    await drive(run.fleet, run.publish(), stop=stop, clock=clock, tell=tell)
    run.phase = "stopped"
    tell()
    return run.progress()


class CityRun:
    """One run of the demo city: world, plan and fleet together."""

    def __init__(
        self,
        *,
        settings: SimulatorSettings,
        broker: Broker,
        credentials: Mapping[str, str],
        clock: Clock,
        rng: random.Random,
        labels: Path | None,
    ) -> None:
        _, self._devices = demo_city(settings.seed)
        self._settings = settings
        self._clock = clock
        self._labels = labels
        self._world = World(settings.seed, self._devices)
        self._plan = FaultPlan()
        self._labelled = 0
        self._total = 0
        self._said = dict.fromkeys(self._world.devices, 0)  # slots of the past
        self.phase = "connect"
        self.fleet = Fleet(self._world.devices, credentials, broker=broker, settings=settings, clock=clock, rng=rng)

    def progress(self) -> Progress:
        """Return the figures of this moment."""
        active = tuple(f"{f.kind} {f.device} {f.metric}" for f in self._plan.active(self._clock.now_ns()))
        return self.fleet.progress(self.phase, self.fleet.numbers.acked, self._total, active)

    async def publish(self) -> None:
        """Publish the past, then the present, until cancelled."""
        await self.fleet.reach(1)
        began = self._clock.now_ns()
        await self._past(began)
        went_live = self._clock.now_ns()
        self._total = 0
        self.phase = "live"
        if self._settings.faults:
            self._plan = demo_plan(
                self._devices,
                self._settings.seed,
                went_live,
                first=self._settings.first_fault_seconds,
                gap=self._settings.fault_gap_seconds,
                count=self._settings.fault_count,
            )
        _log.info("city is live", devices=len(self._devices), backfilled=self.fleet.numbers.acked)
        await self._present(began)

    async def _past(self, began: int) -> None:
        s = self._settings
        start = began - int(s.backfill_days * 86_400 * _S)
        pack, scripts = s.backfill_pack, {}
        for name in self._world.devices:
            grid = Grid(s.seed, name, s.backfill_step_seconds)
            run = range(grid.first_after(start), grid.first_after(began))
            scripts[name] = Script(
                self._world, self._plan, grid, run, stretch=pack, first=pack - run.start % pack, pack=pack
            )
            self._said[name] = len(run)
        self._total = sum(self._said.values())
        self.phase = "backfill"
        while scripts:
            for name, script in list(scripts.items()):
                if script.due is None:
                    del scripts[name]
                else:
                    await self.fleet.settle(s.backfill_window - 1)
                    self.fleet.devices[name].say(script.say())
        await self.fleet.settle(0)

    async def _present(self, began: int) -> None:
        s = self._settings
        scripts = {}
        for name in self._world.devices:
            grid = Grid(s.seed, name, s.interval_seconds, s.jitter_seconds)
            run = range(grid.first_after(began), ALWAYS.stop)
            scripts[name] = Script(self._world, self._plan, grid, run, stretch=_AHEAD, seq=self._said[name])
        due = [(at, name) for name, script in scripts.items() if (at := script.due) is not None]
        heapq.heapify(due)
        while due:
            now = self._clock.now_ns()
            self._label(now)
            while due and due[0][0] <= now:
                at, name = due[0]
                emission = scripts[name].say()
                if now - at > s.catch_up_seconds * _S:
                    self.fleet.numbers.skipped += 1
                else:
                    self.fleet.devices[name].say(emission)
                following = scripts[name].due
                if following is None:
                    heapq.heappop(due)
                else:
                    heapq.heapreplace(due, (following, name))
            wait = (due[0][0] - self._clock.now_ns()) / _S if due else 0.0
            await self._clock.sleep(min(max(wait, 0.02), 1.0))  # 20 ms: devices that are due together go together

    def _label(self, now: int) -> None:
        """Write the labels of faults that have begun."""
        begun = [fault for fault in self._plan.faults[self._labelled :] if fault.start <= now]
        if begun and self._labels is not None:
            with self._labels.open("ab") as file:
                file.writelines(
                    fault_label(fault, self._world.devices[fault.device], self._settings.seed).encode()
                    for fault in begun
                )
        self._labelled += len(begun)
