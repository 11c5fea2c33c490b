"""Scenarios: what happens in the city, and what goes wrong with its devices, as TOML files tell it.

A scenario says when and how much; the seed picks who. Times are offsets from the run's start, so the same file plays at
any time of the year.

    *.toml -- file (keys, types) -- check (in any city) -- scenario (in this city, from this moment on)
"""

from simulators.scenarios.file import ScenarioFile, parse_scenario
from simulators.scenarios.scenario import Outage, Scenario, Town, load_scenario
from simulators.scenarios.shipped import read_scenario, scenario_names

__all__ = [
    "Outage",
    "Scenario",
    "ScenarioFile",
    "Town",
    "load_scenario",
    "parse_scenario",
    "read_scenario",
    "scenario_names",
]
