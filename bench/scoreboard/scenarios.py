"""This module plays the shipped scenarios through the whole pipeline and scores its alerts: found, false, told apart.

The city has lived through some plain weeks before; each scenario begins with that same memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.scoreboard.offline import DAY, START, OfflineCity, alerts_of
from simulators.faults import FaultPlan
from simulators.layout import city
from simulators.scenarios import load_scenario
from simulators.scoring import score
from simulators.scoring_openings import Opening, Said
from simulators.scoring_result import Terms
from simulators.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.alerts import Alert

__all__ = ["SCENARIOS", "play"]

SCENARIOS = ("faults", "inversion", "flood", "event-night", "substation-outage", "gateway-outage")
_GRACE = 600_000_000_000
_INTERVAL = 300.0


def play(
    seed: int,
    say: Callable[[str], None],
    *,
    names: Sequence[str] = SCENARIOS,
    devices: int = 400,
    warm_days: int = 14,
) -> dict[str, Any]:
    """Return by scenario how its alerts did in the city of *seed*, with reports every five minutes."""
    town = city(seed, devices)
    plain = World(seed, town.devices)
    before = OfflineCity(plain)
    say(f"scenarios: {warm_days} plain days of {devices} devices")
    before.feed(plain, FaultPlan(), START - warm_days * DAY, START, _INTERVAL)
    state = before.pipeline.to_bytes()
    found = {}
    for name in names:
        say(f"scenarios: {name}")
        scenario = load_scenario(name, town, seed, START, interval_seconds=_INTERVAL)
        world = World(seed, town.devices, scenario.events)
        offline = OfflineCity(world)
        offline.restore(state)
        events = offline.feed(world, scenario.plan, scenario.start, scenario.end, _INTERVAL)
        openings = [_opening(alert) for alert in alerts_of(events)]
        terms = Terms(start=scenario.start, end=scenario.end, grace_ns=_GRACE, sensors=len(offline.series))
        result = score(scenario.labels, openings, terms)
        found[name] = {
            "labels": len(scenario.labels),
            "recall": result.recall,
            "kinds": {kind.what: [kind.detected, kind.labels] for kind in result.kinds},
            "alerts": len(openings),
            "false_per_sensor_day": result.false_alarms_per_sensor_day,
            "confusion": result.confusion,
        }
    return found


def _opening(alert: Alert) -> Opening:
    first, last = alert.raised, alert.worst
    said = last.classification or first.classification
    return Opening(
        id=f"{first.device}/{first.metric}/{first.code}/{alert.opened_at}", at=alert.opened_at, device=first.device,
        district=first.district, metric=first.metric, code=first.code, rule=first.rule, priority=first.priority,
        severity=first.severity, retrospective=first.retrospective,
        said=Said(said.value) if said is not None else Said.NOT_SAID,
    )  # fmt: skip
