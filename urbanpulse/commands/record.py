"""This module is the verb of those who want to see again what devices said: record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from urbanpulse.commands.common import AsJson, Config

__all__ = ["record"]


def record(
    out: Annotated[Path, typer.Argument(help="New file, *.jsonl or *.jsonl.gz.", show_default=False)],
    *,
    config: Config = None,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter", help="Topic filter; may be given several times. Default: devices/#", show_default=False
        ),
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="End after this time.", show_default=False)] = None,
    max_messages: Annotated[int | None, typer.Option(min=1, help="End after so many.", show_default=False)] = None,
    broker: Annotated[
        str, typer.Option(help="mqtt[s]://[user:password@]host[:port] instead of the settings' broker.")
    ] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Record what passes the broker into a file that `simulate --replay` plays again. Ctrl-C ends it."""
    from urbanpulse.logs import configure_logs
    from urbanpulse.recording import record_to
    from urbanpulse.settings import load_settings

    settings = load_settings(config)
    configure_logs("recorder", settings.logging.level)
    record_to(
        settings,
        out,
        filters=filters or ["devices/#"],
        seconds=seconds,
        max_messages=max_messages,
        broker=broker,
        overwrite=overwrite,
        as_json=as_json,
    )
