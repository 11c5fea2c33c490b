"""This module counts what a plain city asks of its operator: alerts an hour, through the whole pipeline, offline.

    python -m bench.scoreboard.load [--devices 2000] [--weeks 4] [--seed 1] [--json]

Nothing goes wrong in this city, so every alert is one too many. In their first fortnight series are young and have to
be stranger; so it takes four weeks to see what an operator will have to live with. A few hours are in memory at a time.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bench.scoreboard.offline import DAY, START, OfflineCity
from core.alerts import EventKind
from simulators.faults import FaultPlan
from simulators.layout import city
from simulators.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.alerts import AlertEvent

__all__ = ["Load", "Week", "operator_load"]

_TEN_MINUTES = 600_000_000_000
_AT_ONCE = 6 * 3_600_000_000_000
_MANY = 10  # alerts in ten minutes that EEMUA 191 calls a flood


@dataclass(frozen=True, slots=True)
class Week:
    """What one week asked.

    Attributes:
        per_hour: alerts an hour.
        told_per_hour: those that stand alone or founded an incident: what goes to a webhook.
        busy: share of ten-minute periods above ten alerts, %.
        most: alerts in the busiest ten minutes.
        codes: alerts by code.
        causes: alerts by what was said to be behind them, at last.
    """

    per_hour: float
    told_per_hour: float
    busy: float
    most: int
    codes: dict[str, int]
    causes: dict[str, int]


@dataclass(frozen=True, slots=True)
class Load:
    """The weeks one after the other; the first one begins with nothing learned."""

    devices: int
    series: int
    interval: int
    weeks: tuple[Week, ...]


def operator_load(
    seed: int,
    *,
    devices: int = 2000,
    weeks: int = 4,
    interval: int = 300,
    days: int = 7,
    say: Callable[[str], None] = lambda _: None,
) -> Load:
    """Return what the plain city of *seed* asks of its operator; *say* is told after each day.

    *interval* is how often each device reports, seconds; a week has *days* days.
    """
    world = World(seed, city(seed, devices).devices)
    offline = OfflineCity(world)
    found = []
    for week in range(weeks):
        begin = START + week * days * DAY
        events: list[AlertEvent] = []
        for at in range(begin, begin + days * DAY, _AT_ONCE):
            events += offline.feed(world, FaultPlan(), at, at + _AT_ONCE, interval)
            if (at + _AT_ONCE - START) % DAY == 0:
                raised = sum(event.kind is EventKind.RAISED for event in events)
                say(f"load: day {(at + _AT_ONCE - START) // DAY} of {weeks * days}, {raised} alerts this week")
        found.append(_week(events, days))
    return Load(devices, len(offline.series), interval, tuple(found))


def _week(events: list[AlertEvent], days: int) -> Week:
    raised = [event for event in events if event.kind is EventKind.RAISED]
    periods = Counter(event.at // _TEN_MINUTES for event in raised)
    facts = {event.alert: event.evidence for event in events if event.evidence is not None}
    told = sum(facts[event.alert].incident in {"", event.alert} for event in raised)
    return Week(
        per_hour=len(raised) / (24 * days),
        told_per_hour=told / (24 * days),
        busy=100 * sum(count > _MANY for count in periods.values()) / (144 * days),
        most=max(periods.values(), default=0),
        codes=dict(Counter(event.evidence.code for event in raised if event.evidence).most_common()),
        causes=dict(Counter(facts[event.alert].classification or "not said" for event in raised).most_common()),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=2000)
    parser.add_argument("--weeks", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--interval", type=int, default=300, help="seconds between the reports of a device")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if min(options.devices, options.weeks, options.interval) < 1:
        parser.error("--devices, --weeks and --interval: 1 at least expected")
    load = operator_load(
        options.seed, devices=options.devices, weeks=options.weeks, interval=options.interval,
        say=lambda text: print(text, file=sys.stderr, flush=True),
    )  # fmt: skip
    if options.json:
        print(json.dumps(asdict(load)))
        return
    print(f"{load.devices} devices, {load.series} series, a report every {load.interval} s")
    for number, week in enumerate(load.weeks, 1):
        print(
            f"week {number}: {week.per_hour:.2f} alerts an hour, {week.told_per_hour:.2f} told; "
            f"ten-minute periods above {_MANY}: {week.busy:.2f} %, at most {week.most}; {week.causes}; {week.codes}"
        )


if __name__ == "__main__":
    main()
