"""This module is the nouns about Grafana: checking the dashboards that come along, and pushing them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["grafana_app"]

grafana_app = typer.Typer(no_args_is_help=True, help="Dashboards for Grafana.")


@grafana_app.callback()
def grafana() -> None:
    """Dashboards for Grafana."""


@grafana_app.command("check")
def grafana_check(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Dashboards as JSON; without any, those that come with urbanpulse.")
    ] = None,
) -> None:
    """Check that every panel asks for what exists; exit status 1 and a line for each fault if not."""
    from urbanpulse.grafana import GrafanaFiles, check, known_schema
    from urbanpulse.grafana.files import read_dashboard

    shipped = GrafanaFiles.shipped()
    paths = files or shipped.dashboards()
    boards = {path.name if not files else str(path): read_dashboard(path) for path in paths}
    found = check(boards, known_schema(), shipped.data_sources())
    for finding in found:
        typer.echo(str(finding))
    if found:
        raise typer.Exit(1)
    questions = sum(len(panel.get("targets") or ()) for board in boards.values() for panel in board["panels"])
    typer.echo(f"{len(boards)} dashboards, {questions} questions: all in order")
