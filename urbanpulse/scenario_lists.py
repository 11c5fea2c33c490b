"""This module prints scenarios: which there are, what happens when in one, and whether a file holds."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core.errors import SettingsError
from simulators.events import EVENTS
from simulators.faults import KINDS
from simulators.labels import LabelClass
from simulators.layout import city
from simulators.scenarios import load_scenario, read_scenario, scenario_names

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from simulators.labels import Label
    from simulators.scenarios import Scenario

__all__ = ["draw", "show_check", "show_known", "show_one"]

_S = 1_000_000_000
_DRAWN = datetime(2026, 5, 12, 19, tzinfo=UTC)  # a local midnight in spring: any would do


def show_known(*, as_json: bool) -> None:
    """Print all scenarios, kinds of events and kinds of faults, one line each."""
    files = [read_scenario(name) for name in scenario_names()]
    known: dict[str, list[dict[str, Any]]] = {
        "scenarios": [
            {"name": file.name, "hours": file.hours, "devices": file.devices, "what": file.title} for file in files
        ],
        "events": [{"kind": kind.value, "size": facts.unit, "what": facts.text} for kind, facts in EVENTS.items()],
        "faults": [
            {"kind": kind.value, "changes": traits.layer.value, "size": traits.size, "what": traits.text}
            for kind, traits in KINDS.items()
        ],
    }
    if as_json:
        typer.echo(json.dumps(known))
        return
    for title, rows in known.items():
        _print(title, rows)


def show_one(name: str | Path, *, seed: int, devices: int | None, hours: float | None, as_json: bool) -> None:
    """Print what happens when in the scenario *name*, and to whom *seed* lets it happen.

    Raises:
        SettingsError: there is none, or it is impossible.
    """
    file = read_scenario(name)
    town = city(seed, file.devices if devices is None else devices)
    scenario = load_scenario(file, town, seed, 0, hours)
    rows = list(_rows(scenario))
    if as_json:
        facts = {"name": scenario.name, "title": scenario.title, "hours": scenario.hours, "seed": seed}
        facts |= {"interval_seconds": scenario.interval_seconds, "devices": len(town.devices)}
        typer.echo(json.dumps(facts | {"happens": rows, "notes": scenario.notes}))
        return
    head = f"{scenario.name}: {scenario.title}; {scenario.hours:g} h, {len(town.devices)} devices, one report in "
    typer.echo(f"{head}{scenario.interval_seconds:g} s, seed {seed}")
    if rows:
        _print("", [{name: value for name, value in row.items() if name != "class"} for row in rows])
    else:
        typer.echo("nothing happens, nothing goes wrong")
    for note in scenario.notes:
        typer.echo(f"note: {note}")


def show_check(path: Path, *, seed: int, devices: int | None, hours: float | None, as_json: bool) -> None:
    """Say whether the file at *path* holds, in a city of this seed and size.

    Raises:
        SettingsError: it does not; the text names file and line.
    """
    file = read_scenario(path)
    scenario = load_scenario(file, city(seed, devices or file.devices), seed, 0, hours)
    facts = {"events": len(scenario.events), "faults": len(scenario.plan.faults), "notes": scenario.notes}
    if as_json:
        typer.echo(json.dumps(facts))
        return
    typer.echo(f"{path}: {facts['events']} events and {facts['faults']} faults in {scenario.hours:g} h")
    for note in scenario.notes:
        typer.echo(f"note: {note}")


def draw(folder: Path, *, seed: int) -> None:
    """Draw every kind of fault and event into *folder*.

    Raises:
        SettingsError: nothing can be written there.
    """
    from urbanpulse.scenario_plots import draw_all  # noqa: PLC0415 - loads matplotlib

    try:
        for path in draw_all(folder, seed=seed, start=_DRAWN):
            typer.echo(path)
    except OSError as error:
        raise SettingsError("plot", f"{folder}: {error.strerror or error}") from error


def _rows(scenario: Scenario) -> Iterable[dict[str, Any]]:
    """Yield a row for each event, and one for all equal faults that begin together."""

    def key(label: Label) -> tuple[Any, ...]:
        return label.start, label.end, label.kind, label.what, label.metric or "", label.size

    for (start, end, kind, what, metric, size), group in groupby(sorted(scenario.labels, key=key), key):
        labels = list(group)
        districts = {label.district for label in labels}
        who = f"{len(labels)} devices" if len(labels) > 1 else labels[0].device or ""
        where = districts.pop() if len(districts) == 1 else "several"
        yield {
            "begins": _clock(start - scenario.start),
            "lasts": _clock(end - start),
            "class": kind.value,
            "what": what,
            "who": who if kind is LabelClass.FAULT else "the city",
            "metric": metric,
            "district": where or "all",
            "size": size or None,
        }


def _clock(ns: int) -> str:
    """Return a time as a scenario file writes it; seconds are whole.

    >>> _clock(95_400_000_000_000)
    '1d2h30m'
    """
    rest, text = ns // _S, ""
    for letter, seconds in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, seconds)
        text += f"{count}{letter}" if count else ""
    return text or "0s"


def _print(title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(escape(_text(value)) for value in row.values()))
    Console().print(table)


def _text(value: object) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
