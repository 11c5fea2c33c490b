"""This module is the command line: it puts the verbs and nouns of `commands` together.

Exit status: 0 done, 1 refused (the text says why), 2 used wrongly.
"""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.markup import escape

from core.errors import UrbanpulseError
from urbanpulse.commands import (
    admin,
    backup,
    certs,
    city,
    config,
    detect,
    grafana,
    record,
    roles,
    scenarios,
    score,
    series,
    simulate,
)
from urbanpulse.logs import configure_logs

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="An open smart-city telemetry platform. `urbanpulse up --demo` shows a live city.",
)
for verb in (
    *(roles.up, roles.broker, roles.gateway, roles.process, roles.serve, roles.state_hash),
    *(record.record, simulate.simulate, scenarios.scenarios, score.score, detect.detect, city.city),
    *(backup.backup, backup.restore),
    *(config.check_config, config.print_config, config.version),
):
    app.command()(verb)
for noun, commands in (
    *(("device", admin.device_app), ("key", admin.key_app), ("user", admin.user_app)),
    *(("certs", certs.certs_app), ("series", series.series_app), ("grafana", grafana.grafana_app)),
):
    app.add_typer(commands, name=noun)


def main() -> None:
    """Run the command line; errors of ours become one line and exit status 1."""
    configure_logs("cli", "warning")  # of verbs that are no role: what they print is for people and scripts
    try:
        app()
    except UrbanpulseError as error:
        _refuse(str(error))
    except OSError as error:
        if error.filename is None or error.strerror is None:
            raise
        _refuse(f"{error.filename}: {error.strerror}")  # a file or folder that cannot be used is for its owner to mend


def _refuse(text: str) -> None:
    Console(stderr=True).print(f"[bold red]error:[/] {escape(text)}", highlight=False, soft_wrap=True)
    sys.exit(1)
