"""This module is the verbs that make, check and restore backups."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from urbanpulse.commands.common import AsJson, Config, show
from urbanpulse.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["backup", "progress_bar", "restore"]


@contextmanager
def progress_bar(what: str, *, hidden: bool, unit: str = "bytes") -> Iterator[Callable[[int, int], None]]:
    """Yield what shows (done, all), in bytes or another unit, on a terminal, and nothing anywhere else."""
    console = Console(stderr=True)
    amount = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn(what), BarColumn(), amount, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=hidden or not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def backup(
    out: Annotated[
        Path, typer.Argument(help="Folder of the backup: new, or one of before, which is brought up to now.")
    ],
    *,
    check: Annotated[bool, typer.Option("--check", help="Make none; check the one that is there.")] = False,
    without_secrets: Annotated[
        bool, typer.Option("--without-secrets", help="Leave out secrets and certificates.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Copy everything that this installation keeps, while it runs; a second time copies only what is new.

    Exit status 1: damaged parts were left out, or --check found damage.
    """
    if check:
        _check(out, as_json=as_json)
        return
    from urbanpulse.backup import make_backup
    from urbanpulse.clock import SystemClock

    console = Console(stderr=True)
    with console.status("backup") as status:
        made = make_backup(
            load_settings(config),
            out,
            with_secrets=not without_secrets,
            now_ns=SystemClock().now_ns(),
            tell=lambda what: status.update(f"copying {what}"),
        )
    facts = {
        "backup": str(out),
        "generation": made.manifest.generation,
        "files": len(made.manifest.files),
        "bytes_copied": made.copied,
        "bytes_reused": made.reused,
        "log_through": made.manifest.log_through,
        "left_out": list(made.manifest.left_out),
        "damaged": list(made.damaged),
    }
    show(facts, as_json=as_json)
    if made.damaged:
        raise typer.Exit(1)


def _check(folder: Path, *, as_json: bool) -> None:
    from urbanpulse.restoring import check_backup

    with progress_bar("checking", hidden=as_json) as progress:
        damaged = check_backup(folder, progress=progress)
    show({"backup": str(folder), "ok": not damaged, "damaged": damaged}, as_json=as_json)
    if damaged:
        raise typer.Exit(1)


def restore(
    folder: Annotated[Path, typer.Argument(help="Folder of the backup.")],
    *,
    to: Annotated[Path, typer.Option("--to", help="New data folder; must not exist, or be empty.")],
    as_json: AsJson = False,
) -> None:
    """Put a backup into a new data folder, checking every byte. Start the roles there with `data_dir` set to it."""
    from urbanpulse.restoring import restore_backup

    with progress_bar("restoring", hidden=as_json) as progress:
        manifest = restore_backup(folder, to, progress=progress)
    facts = {
        "data_dir": str(to.resolve()),
        "made": manifest.made,
        "files": len(manifest.files),
        "log_through": manifest.log_through,
        "left_out": list(manifest.left_out),
    }
    show(facts, as_json=as_json)
