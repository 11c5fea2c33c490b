"""This module is the verb that says how good the alerts are: labels in, a score out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from urbanpulse.commands.common import AsJson

__all__ = ["score"]


def score(
    labels: Annotated[Path, typer.Argument(help="Labels that `urbanpulse simulate --labels` wrote, as JSON lines.")],
    *,
    api: Annotated[str, typer.Option(help="Take the alerts of the urbanpulse at this address.")] = "",
    alerts: Annotated[
        Path | None, typer.Option(help="Take the alerts of this file: JSON as the API answers, or lines; - is stdin.")
    ] = None,
    key: Annotated[str, typer.Option(envvar="URBANPULSE_KEY", help="API key for --api.", show_default=False)] = "",
    login: Annotated[str, typer.Option(help="Ask for this person's password in place of a key.")] = "",
    start: Annotated[str, typer.Option("--from", help="Beginning of the span, such as 2026-05-28T20:00:00Z.")] = "",
    end: Annotated[str, typer.Option("--to", help="End of the span. Default: that of the labels, widened.")] = "",
    grace: Annotated[str, typer.Option(help="How long after a label's end an alert still counts for it.")] = "10m",
    sensors: Annotated[int | None, typer.Option(min=1, help="Sensors watched. Default: the API's series.")] = None,
    operators: Annotated[int, typer.Option(min=1, help="People who share the alerts.")] = 1,
    retrospective: Annotated[bool, typer.Option(help="Count alerts that late readings caused, too.")] = True,
    most: Annotated[int, typer.Option(min=1, help="Most alerts to take, the newest ones.")] = 100_000,
    html: Annotated[Path | None, typer.Option(help="Write a report with plots to this file.")] = None,
    require: Annotated[
        list[str] | None, typer.Option(help="Exit with 1 unless this holds, such as recall.spike>=0.75; repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score alerts against the labels of a simulated run."""
    from core.errors import SettingsError
    from simulators.scoring_require import Requirement
    from simulators.scoring_result import score_json
    from urbanpulse.score_html import write_html
    from urbanpulse.score_report import print_score
    from urbanpulse.scoring import Asked, Source, make_score, parse_duration, parse_time

    if bool(api) == (alerts is not None):
        raise SettingsError("score", "either --api URL or --alerts FILE expected")
    demands = [Requirement.parse(text) for text in require or ()]
    password = typer.prompt(f"Password of {login}", hide_input=True, err=True) if api and login else ""
    asked = Asked(
        start=parse_time("from", start) if start else None,
        end=parse_time("to", end) if end else None,
        grace_ns=parse_duration("grace", grace),
        sensors=sensors,
        operators=operators,
        retrospective=retrospective,
        most=most,
    )
    made = make_score(labels, Source(api=api, file=alerts, key=key, login=login, password=password), asked)
    for note in made.notes:
        typer.echo(f"note: {note}", err=True)
    if html is not None:
        write_html(made, html)
    if as_json:
        typer.echo(json.dumps({**score_json(made.score), "notes": list(made.notes)}, indent=1, ensure_ascii=False))
    else:
        print_score(made.score)
    unmet = [text for text in (demand.unmet(made.score) for demand in demands) if text]
    for text in unmet:
        typer.echo(f"not met: {text}", err=True)
    if unmet:
        raise typer.Exit(1)
