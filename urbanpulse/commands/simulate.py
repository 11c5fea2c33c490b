"""This module is the verbs of engineers who test: simulate a city, replay a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from urbanpulse.commands.common import AsJson, Config, run_role

__all__ = ["simulate"]


def simulate(
    *,
    config: Config = None,
    replay: Annotated[Path | None, typer.Option("--replay", help="Publish this recorded series (CSV).")] = None,
    device: Annotated[str, typer.Option(help="Device to replay as; made if unknown.")] = "",
    metric: Annotated[str, typer.Option(help="Metric of the replayed values.")] = "",
    speed: Annotated[float, typer.Option(help="Times real time; 0 = as fast as acknowledged.")] = 0.0,
    shift: Annotated[bool, typer.Option(help="Move the recording so that it ends now.")] = False,
    backfill: Annotated[bool, typer.Option(help="Publish the city's past first.")] = True,
    as_json: AsJson = False,
) -> None:
    """Publish a simulated city, or replay a recorded series, with real MQTT clients."""
    if replay is not None:
        from urbanpulse.replaying import replay_files

        run_role(
            "simulator",
            config,
            lambda settings: replay_files(
                settings, [replay], device=device, metric=metric, speed=speed, shift=shift, as_json=as_json
            ),
        )
        return
    from urbanpulse.simulation import run_simulation

    run_role("simulator", config, lambda settings: run_simulation(settings, backfill=backfill, as_json=as_json))
