"""This module is the nouns about Grafana: checking the dashboards that come along, and pushing them."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import SettingsError
from urbanpulse.commands.common import Config

if TYPE_CHECKING:
    from urbanpulse.grafana.annotations import Note

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


@grafana_app.command("push")
def grafana_push(
    *,
    url: Annotated[str, typer.Option(help="The Grafana, such as http://127.0.0.1:3000.")],
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token of a service account; or URBANPULSE_GRAFANA_TOKEN.")
    ] = None,
    folder: Annotated[str, typer.Option(help="Folder for the dashboards, created if need be.")] = "urbanpulse",
    influx_url: Annotated[
        str, typer.Option(help="InfluxDB as Grafana reaches it; without it `series.url`.", show_default=False)
    ] = "",
    prometheus_url: Annotated[
        str,
        typer.Option(help="Prometheus with the platform's metrics, as Grafana reaches it.", show_default=False),
    ] = "",
    annotations: Annotated[bool, typer.Option("--annotations", help="Note alerts too.")] = False,
    api: Annotated[str, typer.Option(help="The urbanpulse API that alerts come from.")] = "http://127.0.0.1:8080",
    key: Annotated[str, typer.Option(envvar="URBANPULSE_KEY", help="API key for --api.", show_default=False)] = "",
    most: Annotated[int, typer.Option(min=1, max=10_000, help="Newest alerts that are noted.")] = 1000,
    config: Config = None,
) -> None:
    r"""Bring folder, data sources, dashboards and alerts into a running Grafana; again it changes nothing.

    Needs grafana-client in an environment of its own: pip install 'urbanpulse\[grafana]'.
    """
    from urbanpulse.grafana import pushing
    from urbanpulse.grafana.files import GrafanaFiles, read_dashboard
    from urbanpulse.grafana.sources import influx_sources, prometheus_source
    from urbanpulse.grafana.target import Grafana
    from urbanpulse.settings import load_settings

    series = load_settings(config).series
    influx_url = influx_url or (series.url if "://" in series.url else "")
    sources = influx_sources(influx_url, series.influx) if influx_url else []
    if prometheus_url:
        sources.append(prometheus_source(prometheus_url))
    boards = [read_dashboard(path) for path in GrafanaFiles.shipped().dashboards()]
    with Grafana(url, _token(token_file)) as grafana:
        typer.echo(f"{grafana.url}: Grafana {grafana.version()}".rstrip())
        for line in pushing.push_dashboards(grafana, boards, folder):
            typer.echo(line)
        for line in pushing.push_data_sources(grafana, sources):
            typer.echo(line)
        if not influx_url:
            typer.echo(
                "data source urbanpulse readings: left as it is: neither --influx-url nor series.url names an InfluxDB"
            )
        if annotations:
            for line in pushing.push_alerts(grafana, _notes(api, key, most)):
                typer.echo(line)


def _token(file: Path | None) -> str:
    name = "URBANPULSE_GRAFANA_TOKEN"
    if file is None:
        token = os.environ.get(name, "").strip()
    else:
        name = str(file)
        try:
            token = file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError("token-file", f"{file}: cannot be read: {error}") from error
    if not token:
        raise SettingsError("token", f"{name} is empty: give the token of a service account (--token-file)")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise SettingsError("token", f"{name} does not hold one token")
    return token


def _notes(api: str, key: str, most: int) -> list[Note]:
    from urbanpulse.grafana.annotations import note_of
    from urbanpulse.scoring_api import Api

    with Api(api, key=key) as city:
        return [note_of(item) for item in islice(city.alerts(at_once=most), most)]
