"""This module wires `simulate --fast OUT`: a simulated city's readings and labels straight to files, no broker."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TimeRemainingColumn
from rich.text import Text

from core.clock import from_ns
from core.errors import SettingsError
from simulators.fast import FastRun, part_of
from simulators.fast_files import FastFolder
from simulators.layout import city
from simulators.pace import default_start
from simulators.scenarios import load_scenario, read_scenario
from simulators.wire import wire_format
from simulators.world import World
from urbanpulse import __version__
from urbanpulse.clock import SystemClock
from urbanpulse.roles.common import stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from rich.progress import Task

    from simulators.capture import Capture
    from simulators.messages import WireFormat
    from urbanpulse.settings import Settings

__all__ = ["run_fast"]

_TELL_EVERY = 1000  # messages


async def run_fast(
    settings: Settings,
    out: Path,
    *,
    scenario: str | None = None,
    seed: int | None = None,
    hours: float | None = None,
    devices: int | None = None,
    interval_seconds: float | None = None,
    start: int | None = None,
    part: tuple[int, int] = (1, 1),
    wire: str | None = None,
    force: bool = False,
    as_json: bool = False,
) -> None:
    """Write the readings and labels of one run to the folder *out*; nothing is connected to.

    None means: as the scenario says (the plain week `normal` where none is named). *start* is ns UTC, by default the
    latest local midnight such that the run has ended by now. *part* (k, n) writes the k-th of n parts of the city,
    1 <= k <= n; all of them may be written to one folder. *wire* names a wire format: then the encoded messages are
    written in place of Parquet. *force* replaces what an earlier run has written to *out*.

    Raises:
        Conflict: *out* holds something else.
        SettingsError: an option or the scenario is impossible, or the disk is full.
    """
    stop, clock = stop_on_signals(), SystemClock()
    seed = settings.simulator.seed if seed is None else seed
    file = read_scenario(scenario or "normal")
    if start is None:
        start = default_start(clock.now_ns(), file.hours if hours is None else hours, math.inf)
    place = city(seed, file.devices if devices is None else devices)
    played = load_scenario(file, place, seed, start, hours, interval_seconds)
    world = World(seed, place.devices, played.events)
    jitter = settings.simulator.jitter_seconds
    labels = b"".join(label.encode() for label in played.labels)
    facts = {
        "version": __version__,
        "seed": seed,
        "scenario": played.name,
        "start": f"{from_ns(played.start):%Y-%m-%dT%H:%M:%S.%fZ}",
        "hours": played.hours,
        "interval_seconds": played.interval_seconds,
        "jitter_seconds": jitter,
        "devices": len(place.devices),
        "format": wire or "parquet",
        "labels": len(played.labels),
        "labels_sha256": hashlib.sha256(labels).hexdigest(),
    }
    job = _Job(
        run=FastRun(world, played.plan, played.start, played.end, played.interval_seconds, jitter),
        folder=FastFolder(out, facts, part=part),
        devices=sorted(part_of([device.id for device in place.devices], part)),  # as true devices are dealt
        wire=wire_format(wire, place.devices, seed) if wire else None,
        stop=stop,
    )
    job.folder.claim(force=force)
    job.folder.write("labels.jsonl", labels)
    job.folder.write("city.geojson", json.dumps(place.geojson(), ensure_ascii=False).encode() + b"\n")
    began, cpu = clock.monotonic(), time.process_time()
    with _bar(quiet=as_json) as bar:
        task = bar.add_task("", total=job.run.slots(job.devices), said=0, began=began, clock=clock)
        counts = await asyncio.to_thread(job.write, lambda slots, said: bar.update(task, advance=slots, said=said))
    seconds, cpu = clock.monotonic() - began, time.process_time() - cpu
    if counts is None:
        raise SettingsError("fast", f"stopped; what is in {out} is incomplete")
    job.folder.finish(counts)
    _summarise({**facts, "part": job.folder.part, **counts}, seconds, cpu, job.folder, as_json=as_json)
    for note in played.notes:
        Console(stderr=True).print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)


def _summarise(facts: dict[str, Any], seconds: float, cpu: float, folder: FastFolder, *, as_json: bool) -> None:
    thing = "readings" if "readings" in facts else "messages"
    facts |= {"seconds": seconds, "cpu_seconds": cpu, "bytes": folder.size()}
    facts[f"{thing}_per_second"] = facts[thing] / max(seconds, 1e-9)
    facts[f"{thing}_per_cpu_second"] = facts[thing] / max(cpu, 1e-9)
    if as_json:
        sys.stdout.write(json.dumps(facts) + "\n")
        return
    Console().print(
        f"{facts[thing]:,} {thing} and {facts['labels']:,} labels in {seconds:,.1f} s:"
        f" {facts[f'{thing}_per_second']:,.0f}/s, {facts[f'{thing}_per_cpu_second']:,.0f} per CPU second."
        f" {folder.path} has {facts['bytes'] / 1e6:,.1f} MB.",
        highlight=False,
        soft_wrap=True,
    )


@dataclass(frozen=True, slots=True)
class _Job:
    """What one process writes."""

    run: FastRun
    folder: FastFolder
    devices: Sequence[str]
    wire: WireFormat | None
    stop: asyncio.Event

    def write(self, tell: Callable[[int, int], None]) -> dict[str, int] | None:
        """Write everything; return the counts, None if stopped. *tell* gets the new slots, and all that was said."""
        try:
            return {"messages": self._messages(tell, self.wire)} if self.wire else self._readings(tell)
        except _Stopped:
            return None

    def _readings(self, tell: Callable[[int, int], None]) -> dict[str, int]:
        with self.folder.readings(self.devices) as writer:
            for device in self.devices:
                for columns in self.run.columns(device):
                    writer.add(columns)
                    if self.stop.is_set():
                        raise _Stopped
                tell(self.run.slots([device]), writer.rows)
        return {"readings": writer.rows, "files": writer.files}

    def _messages(self, tell: Callable[[int, int], None], wire: WireFormat) -> int:
        def watched() -> Iterator[Capture]:
            for count, capture in enumerate(self.run.captures(self.devices, wire), 1):
                yield capture
                if count % _TELL_EVERY == 0:
                    tell(_TELL_EVERY, count)
                    if self.stop.is_set():
                        raise _Stopped

        return self.folder.write_messages(watched(), started=self.run.start)


class _Stopped(Exception):  # noqa: N818 - nothing went wrong
    """Somebody has pressed Ctrl-C."""


class _Rate(ProgressColumn):
    """How many readings or messages a second there were so far."""

    def render(self, task: Task) -> Text:
        seconds = task.fields["clock"].monotonic() - task.fields["began"]
        return Text(f"{task.fields['said']:,} at {task.fields['said'] / max(seconds, 0.01):,.0f}/s")


def _bar(*, quiet: bool) -> Progress:
    return Progress(
        BarColumn(None), TaskProgressColumn(), _Rate(), TimeRemainingColumn(),
        console=Console(stderr=True), disable=quiet, transient=True,
    )  # fmt: skip
