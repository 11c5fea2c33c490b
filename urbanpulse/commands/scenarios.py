"""This module is the verb of engineers who choose a scenario: list, show, check and draw what can happen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from urbanpulse.commands.common import AsJson

__all__ = ["scenarios"]


def scenarios(
    name: Annotated[
        str | None, typer.Argument(help="Show what happens when in this scenario (name or TOML file).")
    ] = None,
    *,
    seed: Annotated[int, typer.Option(help="Picks who is hit.")] = 7,
    devices: Annotated[int | None, typer.Option(min=1, help="Size of the city; default: as the scenario says.")] = None,
    hours: Annotated[float | None, typer.Option(help="How long; default: as the scenario says.")] = None,
    check: Annotated[Path | None, typer.Option("--check", help="Say whether this TOML file holds.")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw every kind of fault and event into this folder (SVG).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List scenarios, events and faults; show one, check a file, or draw what each kind looks like."""
    from urbanpulse import scenario_lists

    match (name, check, plot):
        case (None, None, None):
            scenario_lists.show_known(as_json=as_json)
        case (str(), None, None):
            scenario_lists.show_one(name, seed=seed, devices=devices, hours=hours, as_json=as_json)
        case (None, Path(), None):
            scenario_lists.show_check(check, seed=seed, devices=devices, hours=hours, as_json=as_json)
        case (None, None, Path()):
            scenario_lists.draw(plot, seed=seed)
        case _:
            raise typer.BadParameter("a name, --check and --plot do not go together")
