"""This module is scenarios: what happens in the city, and what goes wrong with its devices, as a TOML file tells it.

A scenario says when and how much; the seed picks who. Times are offsets from the run's start, so the same file plays
at any time of the year.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from simulators.faults import FaultPlan
    from simulators.labels import Label

__all__ = ["Outage", "Scenario", "ScenarioFile", "load_scenario", "read_scenario", "scenario_names"]


@dataclass(frozen=True, slots=True)
class Outage:
    """Devices whose connection is down from `start` until `end` (ns UTC); what they keep back is in the plan already.

    A fleet of true devices may cut their connections, so that last wills are seen; messages do not hang on it.
    """

    devices: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run: when, how fast devices report, what happens and what goes wrong.

    Attributes:
        name: of the scenario; the file's stem.
        title: one line for people.
        hours: how long the run is.
        interval_seconds: how often each device reports.
        seed: picked who is hit.
        start: of the run, ns UTC.
        events: `CityEvent`s for `World(seed, devices, events)`.
        plan: all faults, for `emissions`.
        outages: connections that are down.
        labels: of all faults and events, in order of their begin.
    """

    name: str
    title: str
    hours: float
    interval_seconds: float
    seed: int
    start: int
    events: tuple[CityEvent, ...]
    plan: FaultPlan
    outages: tuple[Outage, ...]
    labels: tuple[Label, ...]

    @property
    def end(self) -> int:
        """Return the first moment after the run, ns UTC."""
        return self.start + round(self.hours * 3_600_000) * 1_000_000


def scenario_names() -> list[str]:
    """Return the names of the scenarios that come with the program, sorted."""
    raise NotImplementedError


def read_scenario(name_or_path: str) -> ScenarioFile:
    """Read a scenario and check all that can be checked without a city: `.title`, `.hours`, `.devices` (how many).

    `ScenarioFile.resolve(city, seed, start, hours)` makes a `Scenario` of it.

    Raises:
        SettingsError: no such scenario or file, or what it says is impossible; the text names file, line and the
            nearest known name.
    """
    raise NotImplementedError


def load_scenario(name_or_path: str, city: City, seed: int, start: int, hours: float | None = None) -> Scenario:
    """Return the scenario as it takes place in *city* from *start* (ns UTC) on; *hours* None: as long as it says.

    Raises:
        SettingsError: see `read_scenario`; also for districts, devices and metrics that *city* has not.
    """
    raise NotImplementedError
