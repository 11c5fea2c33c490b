"""This module is the verb of those who need the simulated city's map: it prints or writes the city as GeoJSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from core.errors import SettingsError

__all__ = ["city"]


def city(
    *,
    seed: Annotated[int, typer.Option(help="Which city.")] = 7,
    devices: Annotated[int, typer.Option(help="How many devices stand in it.")] = 2000,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; default: print it.")] = None,
) -> None:
    """Write the simulated city as GeoJSON: districts, roads, sites and devices."""
    from simulators.layout import city as lay_out

    found = lay_out(seed, devices)
    text = json.dumps(found.geojson(), ensure_ascii=False) + "\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError("--out", f"{out}: {error.strerror}") from error
    typer.echo(
        f"{out}: {len(found.districts)} districts, {len(found.roads)} roads, {len(found.sites)} sites, "
        f"{len(found.devices)} devices"
    )
