"""This module is the verbs about the files of readings: checking them, exporting them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from urbanpulse.commands.backup import progress_bar
from urbanpulse.commands.common import AsJson, Config, show
from urbanpulse.settings import load_settings

if TYPE_CHECKING:
    from backends.series.verify import Damaged

__all__ = ["series_export", "series_verify"]


def series_verify(
    config: Config = None,
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Move damaged files to series/damaged. The processor must be stopped.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check every file of the embedded store, while it is used; exit status 1 if one is damaged, missing or unknown."""
    from backends.series.verify import repair as mend
    from backends.series.verify import verify
    from core.errors import SettingsError
    from urbanpulse.clock import SystemClock

    settings = load_settings(config)
    if settings.series.url != "embedded":
        raise SettingsError("series.url", "only the files of the embedded store can be verified")
    folder = settings.data_dir.resolve() / "series"
    with progress_bar("verifying", hidden=as_json) as progress:
        report = verify(folder, settings.series, progress=progress)
    facts: dict[str, Any] = {
        "parts": report.parts,
        "readings": report.rows,
        "bytes": report.bytes,
        "unsealed": report.unsealed,
        "readings_in_damaged_parts": report.lost,
    }
    if repair and report.damaged:
        facts["repaired"] = mend(folder, settings.series, SystemClock().now_ns(), report)
    found = [_facts(one) for one in report.damaged]
    if as_json:
        show({**facts, "damaged": found}, as_json=True)
    else:
        show({name: value for name, value in facts.items() if name != "repaired"}, as_json=False)
        for one in found:
            typer.echo(" · ".join(f"{name} {value}" for name, value in one.items()))
        for line in facts.get("repaired", []):
            typer.echo(line)
        typer.echo("damaged: see above" if found else "everything is as it was written")
    if found:
        raise typer.Exit(1)


def _facts(found: Damaged) -> dict[str, Any]:
    """Return what is known about one finding, as plain data."""
    facts: dict[str, Any] = {"what": str(found.what), "file": found.path, "detail": found.detail}
    if found.part:
        part = found.part
        facts |= {"series": f"{part.first}-{part.last}", "from": _text(part.lo), "to": _text(part.hi), "rows": part.n}
    return facts


def _text(ns: int) -> str:
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).isoformat()


def series_export(
    out: Annotated[Path, typer.Argument(help="File to write: NAME.parquet or NAME.csv.")],
    *,
    device: Annotated[list[str] | None, typer.Option(help="Only this device; may be repeated.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Only this metric; may be repeated.")] = None,
    district: Annotated[list[str] | None, typer.Option(help="Only this district; may be repeated.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="First moment, RFC 3339 or a date; without a zone: UTC.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Moment after the last one, as --from.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Write readings to a file: device, metric, district, measured, received, value, quality."""
    from urbanpulse.exporting import Wanted, export

    wanted = Wanted(
        devices=frozenset(device or ()),
        metrics=frozenset(metric or ()),
        districts=frozenset(district or ()),
        start=_moment(start, "--from", 0),
        end=_moment(end, "--to", 1 << 62),
    )
    with progress_bar("exporting", hidden=as_json, unit="series") as progress:
        rows = export(load_settings(config), out, wanted, replace=force, progress=progress)
    show({"file": str(out), "rows": rows}, as_json=as_json)


def _moment(text: str | None, option: str, default: int) -> int:
    """Return nanoseconds since 1970 of a moment in RFC 3339."""
    if text is None:
        return default
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r}: a moment like 2026-11-22T05:00:00Z or a date expected", param_hint=option
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return ((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1000
