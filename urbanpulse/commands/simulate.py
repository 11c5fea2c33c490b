"""This module is the verb of engineers who test: simulate a city, a scenario, a load; replay a recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from urbanpulse.commands.common import AsJson, Config, run_role

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from urbanpulse.settings import Settings

__all__ = ["simulate"]

_RUN, _FAST, _LOAD, _REPLAY = "Scenario", "Files instead of a broker", "Load", "Replay"


def simulate(
    *,
    config: Config = None,
    scenario: Annotated[
        str | None,
        typer.Option(help="Name of a scenario or a TOML file; without: the demo city.", rich_help_panel=_RUN),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same bytes.", rich_help_panel=_RUN)] = None,
    hours: Annotated[
        float | None,
        typer.Option(help="How long, by the city's time; default: as the scenario says.", rich_help_panel=_RUN),
    ] = None,
    speed: Annotated[
        str | None,
        typer.Option(
            help="Times real time: 600x, 0.5; default 1. Replays: default as fast as acknowledged.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    wire: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="json, senml, chirpstack, ttn, sparkplug, ultralight or line; default json.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    devices: Annotated[int | None, typer.Option(min=1, help="How many devices.", rich_help_panel=_RUN)] = None,
    interval: Annotated[
        float | None, typer.Option(help="Seconds between two reports of a device.", rich_help_panel=_RUN)
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="When the city's time begins (RFC 3339); default: now, or when faster than life the last midnight "
            "that lets the run end by now.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    part: Annotated[
        str | None, typer.Option(help="K/N: play every N-th device, from the K-th on.", rich_help_panel=_RUN)
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="File for the truth; default: labels.jsonl in the data folder.", rich_help_panel=_RUN),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option(help="mqtt://user:password@host:port of another broker, mqtts:// for TLS.", rich_help_panel=_RUN),
    ] = None,
    credentials: Annotated[
        Path | None, typer.Option(help="JSON file {device: secret} for that broker.", rich_help_panel=_RUN)
    ] = None,
    fast: Annotated[
        Path | None, typer.Option(help="Write readings and labels to this folder.", rich_help_panel=_FAST)
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an earlier run there.", rich_help_panel=_FAST)
    ] = False,
    load: Annotated[
        bool, typer.Option("--load", help="Many devices over few sockets, as fast as they can.", rich_help_panel=_LOAD)
    ] = False,
    rate: Annotated[
        float | None, typer.Option(help="Messages a second; default: no limit.", rich_help_panel=_LOAD)
    ] = None,
    sockets: Annotated[int | None, typer.Option(min=1, help="Connections; default 4.", rich_help_panel=_LOAD)] = None,
    seconds: Annotated[float | None, typer.Option(help="How long; default 10.", rich_help_panel=_LOAD)] = None,
    qos: Annotated[int | None, typer.Option(min=0, max=1, help="QoS; default 1.", rich_help_panel=_LOAD)] = None,
    replay: Annotated[
        list[Path] | None,
        typer.Option("--replay", help="Publish this recording (may be given again).", rich_help_panel=_REPLAY),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Device to replay as; made if unknown.", rich_help_panel=_REPLAY)
    ] = None,
    metric: Annotated[str | None, typer.Option(help="Metric of the replayed values.", rich_help_panel=_REPLAY)] = None,
    shift: Annotated[
        bool, typer.Option("--shift", help="Move the recording so that it ends now.", rich_help_panel=_REPLAY)
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Pass over bad rows instead of stopping.", rich_help_panel=_REPLAY)
    ] = False,
    backfill: Annotated[bool, typer.Option(help="Publish the demo city's past first.")] = True,
    as_json: AsJson = False,
) -> None:
    """Publish a simulated city with real MQTT clients: live, as a scenario with labels, as a load, or a recording."""
    from urbanpulse.simulation_options import ScenarioOptions, check_options, parse_part, parse_speed, parse_start

    way = check_options(
        {
            "scenario": scenario, "seed": seed, "hours": hours, "speed": speed, "format": wire, "devices": devices,
            "interval": interval, "start": start, "part": part, "labels": labels, "broker": broker,
            "credentials": credentials, "fast": fast, "force": force, "load": load, "rate": rate, "sockets": sockets,
            "seconds": seconds, "qos": qos, "replay": replay or None, "device": device, "metric": metric,
            "shift": shift, "skip-bad": skip_bad, "no-backfill": not backfill,
        }
    )  # fmt: skip
    factor = None if speed is None or (way == "replay" and speed.strip() == "0") else parse_speed(speed)
    begin = None if start is None else parse_start(start)
    share = (1, 1) if part is None else parse_part(part)

    def work(settings: Settings) -> Coroutine[Any, Any, None]:
        from urbanpulse.simulation import at_broker, run_scenario_simulation, run_simulation, seeded

        settings = seeded(at_broker(settings, broker), seed)
        if way == "replay":
            from urbanpulse.replaying import replay_files

            return replay_files(
                settings,
                replay or [],
                device=device or "",
                metric=metric or "",
                speed=factor or 0.0,
                shift=shift,
                skip_bad=skip_bad,
                elsewhere=broker is not None,
                credentials=credentials,
                as_json=as_json,
            )
        match way:
            case "load":
                from urbanpulse.simulation_load import run_load

                return run_load(
                    settings,
                    seed=seed,
                    devices=1000 if devices is None else devices,
                    rate=rate or 0.0,
                    sockets=sockets or 4,
                    seconds=10.0 if seconds is None else seconds,
                    qos=1 if qos is None else qos,
                    wire=wire or "json",
                    credentials=credentials,
                    elsewhere=broker is not None,
                    as_json=as_json,
                )
            case "fast":
                from urbanpulse.simulation_fast import run_fast

                return run_fast(
                    settings,
                    fast or Path(),
                    scenario=scenario,
                    seed=seed,
                    hours=hours,
                    devices=devices,
                    interval_seconds=interval,
                    start=begin,
                    part=share,
                    wire=wire,
                    force=force,
                    as_json=as_json,
                )
            case "scenario":
                return run_scenario_simulation(
                    settings,
                    ScenarioOptions(
                        scenario=scenario or "",
                        speed=factor or 1.0,
                        wire=wire or "json",
                        hours=hours,
                        devices=devices,
                        interval_seconds=interval,
                        start=begin,
                        part=share,
                        labels=labels,
                        elsewhere=broker is not None,
                        credentials=credentials,
                    ),
                    as_json=as_json,
                )
            case _:
                return run_simulation(
                    settings, backfill=backfill, interval_seconds=interval, labels=labels, as_json=as_json
                )

    run_role("simulator", config, work)
