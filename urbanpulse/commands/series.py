"""This module is the verbs about the series store: creating what it lives in, asking it, copying it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from urbanpulse.commands.backup import progress_bar
from urbanpulse.commands.common import AsJson, Config, show
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


@series_app.command("copy")
def series_copy(
    source: Annotated[
        str, typer.Argument(metavar="FROM", help="embedded, http://…, a TOML file with a section series, or a folder.")
    ],
    target: Annotated[str, typer.Argument(metavar="TO", help="The same. Both have the series of this installation.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what is to be copied.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Copy what TO lacks of the readings of FROM; a copy that was cut short goes on. The processor must be stopped.

    Exit status 1: TO does not have everything in the end.
    """
    from urbanpulse.series_copy import copy_series, place

    settings = load_settings(config)
    with progress_bar("copying", hidden=as_json, unit="readings") as progress:
        copied = copy_series(
            settings, place(settings, source), place(settings, target), dry_run=dry_run, progress=progress
        )
    show(asdict(copied), as_json=as_json)
    if copied.missing and not dry_run:
        typer.echo(
            f"{copied.missing} readings are not in {target}: it refused them, or keeps them for less long", err=True
        )
        raise typer.Exit(1)
    if not dry_run and copied.position is not None and not as_json:
        typer.echo(f"everything is there: set series.url to {target} and start the processor")


series_app.command("verify")(series_verify)
series_app.command("export")(series_export)
