"""This module is what every command shares: its options, how a role is run, how facts are printed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from core.errors import UrbanpulseError
from urbanpulse.logs import configure_logs
from urbanpulse.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["AsJson", "Config", "run_role", "show", "show_all"]

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="URBANPULSE_CONFIG", help="TOML file with settings.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def run_role(role: str, config: Path | None, start: Callable[[Settings], Coroutine[Any, Any, None]]) -> None:
    """Run *start* as the process of *role*, with the settings of *config*."""
    settings = load_settings(config)
    configure_logs(role, settings.logging.level)
    try:
        asyncio.run(start(settings))
    except BaseExceptionGroup as group:
        raise _one_of_ours(group) or group from group


def _one_of_ours(error: BaseException) -> UrbanpulseError | None:
    """Return the first error of ours within *error* if there are no others: one line says it all."""
    if not isinstance(error, BaseExceptionGroup):
        return error if isinstance(error, UrbanpulseError) else None
    found = [_one_of_ours(one) for one in error.exceptions]
    return found[0] if all(found) else None


def show(facts: dict[str, Any], *, as_json: bool) -> None:
    """Print *facts* as one JSON object, or a line each."""
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        for name, value in facts.items():
            typer.echo(f"{name}: {value}")


def show_all(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    """Print *rows* as one JSON array, or as a table."""
    if as_json:
        typer.echo(json.dumps(rows))
        return
    table = Table(*(rows[0] if rows else ("nothing here",)))
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    Console().print(table)
