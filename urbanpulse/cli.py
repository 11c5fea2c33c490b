"""This module is the command line: verbs for roles, nouns for what an administrator manages.

It parses, calls and prints. Exit status: 0 done, 1 refused (the text says why), 2 used wrongly.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from core.errors import UrbanpulseError
from urbanpulse import __version__
from urbanpulse.logs import configure_logs
from urbanpulse.settings import Settings, describe_settings, load_settings, settings_table, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="An open smart-city telemetry platform. `urbanpulse up --demo` shows a live city.",
)
device_app = typer.Typer(no_args_is_help=True, help="Manage devices and their credentials.")
key_app = typer.Typer(no_args_is_help=True, help="Manage API keys.")
user_app = typer.Typer(no_args_is_help=True, help="Manage people who log in.")
app.add_typer(device_app, name="device")
app.add_typer(key_app, name="key")
app.add_typer(user_app, name="user")

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="URBANPULSE_CONFIG", help="TOML file with settings.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def main() -> None:
    """Run the command line; errors of ours become one line and exit status 1."""
    try:
        app()
    except UrbanpulseError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {error}", highlight=False, soft_wrap=True)
        sys.exit(1)


def _run_role(role: str, config: Path | None, start: Callable[[Settings], Coroutine[Any, Any, None]]) -> None:
    settings = load_settings(config)
    configure_logs(role, settings.logging.level)
    asyncio.run(start(settings))


@app.command()
def up(
    *,
    config: Config = None,
    demo: Annotated[bool, typer.Option("--demo", help="With a simulated city of 200 sensors.")] = False,
) -> None:
    """Run everything on this machine; Ctrl-C stops it."""
    from urbanpulse.up import run_up  # noqa: PLC0415 - a role loads only what it needs

    settings = load_settings(config)
    configure_logs("up", "warning")
    asyncio.run(run_up(settings, config=config, demo=demo))


@app.command()
def broker(config: Config = None) -> None:
    """Run the embedded MQTT broker."""
    from urbanpulse.roles.broker import run_broker  # noqa: PLC0415

    _run_role("broker", config, run_broker)


@app.command()
def gateway(config: Config = None) -> None:
    """Take readings off MQTT, make them durable, acknowledge."""
    from urbanpulse.roles.gateway import run_gateway  # noqa: PLC0415

    _run_role("gateway", config, run_gateway)


@app.command()
def process(config: Config = None) -> None:
    """Judge readings, store them, raise and send alerts."""
    from urbanpulse.roles.processor import run_processor  # noqa: PLC0415

    _run_role("processor", config, run_processor)


@app.command()
def serve(config: Config = None) -> None:
    """Serve the API and the console."""
    from urbanpulse.roles.api import run_api  # noqa: PLC0415

    _run_role("api", config, run_api)


@app.command()
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
    from urbanpulse.simulation import run_simulation  # noqa: PLC0415

    _run_role(
        "simulator",
        config,
        lambda settings: run_simulation(
            settings,
            replay=replay,
            device=device,
            metric=metric,
            speed=speed,
            shift=shift,
            backfill=backfill,
            as_json=as_json,
        ),
    )


@app.command("check-config")
def check_config(config: Config = None) -> None:
    """Read the settings and say whether they hold."""
    load_settings(config)
    typer.echo("settings are fine")


@app.command("print-config")
def print_config(
    config: Config = None,
    *,
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print all settings as the table of the docs.")] = False,
) -> None:
    """Print the settings in force; secrets are hidden."""
    if markdown:
        typer.echo(settings_table())
        return
    settings = load_settings(config)
    content = shown(settings)
    if as_json:
        typer.echo(json.dumps(content, indent=1))
        return
    for name, _, description in describe_settings():
        value: Any = content
        for part in name.split("."):
            value = value[part]
        typer.echo(f"{name} = {json.dumps(value)}  # {description}")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@app.command("state-hash")
def state_hash(config: Config = None, *, as_json: AsJson = False) -> None:
    """Process the whole log afresh, in memory, and compare with the processor's last snapshot."""
    from urbanpulse.audit import compare_state  # noqa: PLC0415

    found = compare_state(load_settings(config))
    _show(found, as_json=as_json)
    if not found["equal"]:
        raise typer.Exit(1)


@device_app.command("add")
def device_add(
    device: Annotated[str, typer.Argument(help="Id: letters, digits, '_' and '-'.")],
    *,
    kind: Annotated[str, typer.Option(help="air, weather, traffic, noise, energy, water, waste or generic.")],
    district: Annotated[str, typer.Option(help="Id of the district; made if unknown.")],
    name: Annotated[str, typer.Option(help="Name for people.")] = "",
    lat: Annotated[float | None, typer.Option(min=-90, max=90, help="Latitude, degrees.")] = None,
    lon: Annotated[float | None, typer.Option(min=-180, max=180, help="Longitude, degrees.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Register a device and print its MQTT credentials, once."""
    from urbanpulse.administration import add_device  # noqa: PLC0415

    _show(
        add_device(load_settings(config), device=device, kind=kind, district=district, name=name, lat=lat, lon=lon),
        as_json=as_json,
    )


@device_app.command("list")
def device_list(config: Config = None, *, as_json: AsJson = False) -> None:
    """List the devices."""
    from urbanpulse.administration import list_devices  # noqa: PLC0415

    _show_all(list_devices(load_settings(config)), as_json=as_json)


@device_app.command("remove")
def device_remove(device: str, config: Config = None) -> None:
    """Remove a device; its readings stay."""
    from urbanpulse.administration import remove_device  # noqa: PLC0415

    remove_device(load_settings(config), device)


@key_app.command("add")
def key_add(
    name: str,
    *,
    role: Annotated[str, typer.Option(help="viewer, operator, engineer or admin.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key and print its token, once."""
    from urbanpulse.administration import add_key  # noqa: PLC0415

    _show(add_key(load_settings(config), name, role), as_json=as_json)


@key_app.command("list")
def key_list(config: Config = None, *, as_json: AsJson = False) -> None:
    """List the API keys."""
    from urbanpulse.administration import list_keys  # noqa: PLC0415

    _show_all(list_keys(load_settings(config)), as_json=as_json)


@key_app.command("revoke")
def key_revoke(name: str, config: Config = None) -> None:
    """Revoke an API key."""
    from urbanpulse.administration import revoke_key  # noqa: PLC0415

    revoke_key(load_settings(config), name)


@user_app.command("add")
def user_add(
    name: str,
    *,
    role: Annotated[str, typer.Option(help="viewer, operator, engineer or admin.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Create a login with a generated password, and print it once."""
    from urbanpulse.administration import add_user  # noqa: PLC0415

    _show(add_user(load_settings(config), name, role), as_json=as_json)


def _show(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        for name, value in facts.items():
            typer.echo(f"{name}: {value}")


def _show_all(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows))
        return
    table = Table(*(rows[0] if rows else ("nothing here",)))
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    Console().print(table)
