"""This module is the verb that asks the detector what it would have said of recorded series."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from urbanpulse.commands.common import AsJson

__all__ = ["detect"]


def detect(
    files: Annotated[
        list[Path], typer.Argument(help="CSV files with the columns timestamp,value, one series each; or folders.")
    ],
    *,
    out: Annotated[Path, typer.Option(help="Folder to write to, under the same names; not where the files are.")],
    kind: Annotated[
        str, typer.Option(help="Kind of device, such as noise; gives the limits of what it measures.")
    ] = "",
    metric: Annotated[str, typer.Option(help="What is measured, such as pm25; or the column to take.")] = "",
    plot: Annotated[bool, typer.Option("--plot", help="Draw a picture of each series beside its file.")] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Count rows that cannot be read, and go on.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over what an earlier run has written.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what the platform would have said of recorded series, reading by reading."""
    from urbanpulse.detect_run import detect as run
    from urbanpulse.detect_run import metric_of_kind, print_summary

    summary = run(
        files, out, metric=metric_of_kind(kind, metric), skip_bad=skip_bad, force=force, plot=plot, quiet=as_json
    )
    if as_json:
        typer.echo(json.dumps(summary.facts(), ensure_ascii=False, allow_nan=False))
    else:
        print_summary(summary, out)
