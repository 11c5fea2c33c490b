"""This module is the nouns about the series store: creating what it lives in."""

from __future__ import annotations

import typer

from urbanpulse.commands.common import Config
from urbanpulse.commands.series_files import series_export, series_verify
from urbanpulse.settings import load_settings

__all__ = ["series_app"]

series_app = typer.Typer(no_args_is_help=True, help="Look after the store of readings.")


@series_app.callback()
def series() -> None:
    """Look after the store of readings."""


@series_app.command("init")
def series_init(config: Config = None) -> None:
    """Create the databases or buckets that `series.url` needs, or change how long they keep readings."""
    from backends.series import create_store

    settings = load_settings(config)
    for line in create_store(settings.data_dir.resolve() / "series", settings.series):
        typer.echo(line)


@series_app.command("health")
def series_health(config: Config = None) -> None:
    """Ask the store how it is; exit status 1 if it is not well."""
    from urbanpulse.stores import series_health as ask

    health = ask(load_settings(config))
    version = f" {health.version}" if health.version else ""
    typer.echo(f"{'ok' if health.ok else 'not well'}: {health.flavour}{version}: {health.text}")
    if not health.ok:
        raise typer.Exit(1)


series_app.command("verify")(series_verify)
series_app.command("export")(series_export)
