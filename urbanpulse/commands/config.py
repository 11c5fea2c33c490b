"""This module is the verbs about the settings and the program itself."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from urbanpulse import __version__
from urbanpulse.commands.common import AsJson, Config
from urbanpulse.settings import describe_settings, load_settings, settings_table, shown

__all__ = ["check_config", "print_config", "version"]


def check_config(config: Config = None) -> None:
    """Read the settings and say whether they hold."""
    from urbanpulse.stores import check_series

    check_series(load_settings(config))
    typer.echo("settings are fine")


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


def version() -> None:
    """Print the version."""
    typer.echo(__version__)
