"""This module is one run of `urbanpulse detect`: files in groups, judged together, written, summed up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from difflib import get_close_matches
from heapq import nlargest
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from core.clock import from_ns
from core.errors import SettingsError
from core.metrics import KINDS, METRICS
from urbanpulse.detect_files import read_series, targets_of, write_verdicts
from urbanpulse.detecting import REASONS, judge_series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from urbanpulse.detect_files import Recorded, Target
    from urbanpulse.detecting import Verdicts

__all__ = ["Found", "Summary", "detect", "metric_of_kind", "print_summary"]

_GROUP_FILES = 256
_GROUP_READINGS = 2_000_000  # about 100 MB; one file that is longer makes a group of its own
_WORST = 5
_FILES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Found:
    """What is told of one file. `unordered` rows came after a later one, `repeated` ones have a time that was there."""

    file: str
    metric: str
    readings: int
    alerts: int
    reasons: dict[str, int]
    missing: int
    bad: int
    unordered: int
    repeated: int


@dataclass(frozen=True, slots=True)
class Worst:
    """One alert among the strongest of a run."""

    severity: float
    file: str
    row: int
    at: str
    value: float
    reason: str
    expected: float | None


@dataclass(slots=True)
class Summary:
    """What is told of a run: by file, and its strongest alerts."""

    files: list[Found] = field(default_factory=list)
    worst: list[Worst] = field(default_factory=list)

    def total(self, name: str) -> int:
        """Return the sum of one number over all files."""
        return sum(getattr(found, name) for found in self.files)

    def reasons(self) -> dict[str, int]:
        """Return how many alerts there are by reason, most first."""
        counts: Counter[str] = Counter()
        for found in self.files:
            counts.update(found.reasons)
        return dict(counts.most_common())

    def add(self, target: Target, recorded: Recorded, metric: str, verdicts: Verdicts) -> None:
        """Take the verdicts of one file in."""
        usable = recorded.measured[np.isfinite(recorded.value)]
        later = np.maximum.accumulate(usable[:-1]) if len(usable) else usable
        self.files.append(
            Found(
                target.name,
                metric,
                len(verdicts),
                len(verdicts.alerts),
                verdicts.reasons(),
                recorded.missing,
                recorded.bad,
                int(np.count_nonzero(usable[1:] < later)),
                len(usable) - len(np.unique(usable)),
            )
        )
        alerts = verdicts.alerts
        strongest = alerts[np.argsort(-verdicts.severity[alerts], kind="stable")[:_WORST]]
        here = [
            Worst(
                float(verdicts.severity[row]),
                target.name,
                row + 1,
                from_ns(int(recorded.measured[row])).isoformat().replace("+00:00", "Z"),
                float(recorded.value[row]),
                REASONS[verdicts.reason[row]],
                None if np.isnan(verdicts.expected[row]) else float(verdicts.expected[row]),
            )
            for row in strongest.tolist()
        ]
        self.worst = nlargest(_WORST, [*self.worst, *here], key=lambda each: each.severity)

    def facts(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        names = ("readings", "alerts", "missing", "bad", "unordered", "repeated")
        return {
            "files": [{name: getattr(found, name) for name in Found.__slots__} for found in self.files],
            **{name: self.total(name) for name in names},
            "reasons": self.reasons(),
            "worst": [{name: getattr(each, name) for name in Worst.__slots__} for each in self.worst],
        }


def metric_of_kind(kind: str, metric: str) -> str:
    """Return which metric is meant by a *kind* of device and, if need be, a *metric*.

    Raises:
        SettingsError: there is no such kind, it does not measure that, or it measures several things.
    """
    if not kind or kind in METRICS:
        return metric or kind
    if kind not in KINDS:
        near = get_close_matches(kind, [*KINDS, *METRICS], n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(KINDS)}"
        raise SettingsError("kind", f"no kind of device is called {kind!r}{hint}")
    measured = KINDS[kind]
    if metric and metric not in measured and measured:
        raise SettingsError("metric", f"{kind} measures {', '.join(measured)}, not {metric}")
    if not metric and len(measured) > 1:
        raise SettingsError("kind", f"{kind} measures {', '.join(measured)}: say which with --metric")
    return metric or (measured[0] if measured else "")


def detect(
    paths: Sequence[Path],
    out: Path,
    *,
    metric: str = "",
    skip_bad: bool = False,
    force: bool = False,
    plot: bool = False,
    quiet: bool = False,
) -> Summary:
    """Judge every series in *paths* and write what is said of each reading below *out*.

    A file is written when it is done, whole or not at all. *metric* is what all of them are, if they do not say it.

    Raises:
        MalformedPayload: a row that cannot be read, unless *skip_bad*.
        SettingsError: a path, a name, or a folder that cannot be.
        Conflict: an output is there already, unless *force*.
    """
    targets = targets_of(paths, out, force=force, plot=plot)
    try:
        out.mkdir(parents=True, exist_ok=True)  # said before the work, not after it
    except OSError as error:
        raise SettingsError("out", f"{out}: {error.strerror}") from error
    summary = Summary()
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"), BarColumn(None), TaskProgressColumn(), TimeRemainingColumn(),
        console=console, disable=quiet or not console.is_terminal, transient=True,
    ) as progress:  # fmt: skip
        bar = progress.add_task("", total=sum(target.source.stat().st_size for target in targets))
        for group in _groups(
            targets, metric, skip_bad=skip_bad, say=lambda text: progress.update(bar, description=text)
        ):
            size = sum(target.source.stat().st_size for target, _ in group)
            share = size / max(sum(len(recorded.value) for _, recorded in group), 1)
            metrics = [metric or recorded.metric for _, recorded in group]
            found = judge_series(
                [(recorded.measured, recorded.value) for _, recorded in group],
                metrics,
                tell=lambda readings, share=share: progress.advance(bar, readings * share),  # type: ignore[misc]
            )
            for (target, recorded), name, verdicts in zip(group, metrics, found, strict=True):
                write_verdicts(target, verdicts, metric=metric)
                if plot:
                    from urbanpulse.detect_plots import draw  # noqa: PLC0415 - matplotlib is heavy

                    draw(target.picture, recorded, verdicts, title=target.name, metric=name)
                summary.add(target, recorded, name, verdicts)
    return summary


def _groups(
    targets: Sequence[Target], metric: str, *, skip_bad: bool, say: Callable[[str], None]
) -> Iterator[list[tuple[Target, Recorded]]]:
    """Yield the files that are judged together: many at once are fast, too many do not fit."""
    group: list[tuple[Target, Recorded]] = []
    readings = 0
    for target in targets:
        say(target.name[-40:])
        recorded = read_series(target.source, metric=metric, skip_bad=skip_bad)
        if group and (len(group) == _GROUP_FILES or readings + len(recorded.value) > _GROUP_READINGS):
            yield group
            group, readings = [], 0
        group.append((target, recorded))
        readings += len(recorded.value)
    if group:
        yield group


def print_summary(summary: Summary, out: Path, console: Console | None = None) -> None:
    """Print what was found: files with the most alerts, reasons, the strongest alerts, and what was odd."""
    console = console or Console()
    files = sorted(summary.files, key=lambda found: (-found.alerts, found.file))
    table = _table(("file", "readings", "alerts", "reasons"), right={"readings", "alerts"})
    for found in files[:_FILES_SHOWN]:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in found.reasons.items())
        table.add_row(Text(found.file), f"{found.readings:,}", f"{found.alerts:,}", reasons)
    if len(files) > _FILES_SHOWN:
        rest = files[_FILES_SHOWN:]
        table.add_row(
            f"{len(rest):,} others", f"{sum(f.readings for f in rest):,}", f"{sum(f.alerts for f in rest):,}", ""
        )
    if len(files) > 1:
        everywhere = ", ".join(f"{reason} {count:,}" for reason, count in summary.reasons().items())
        table.add_section()
        table.add_row("all", f"{summary.total('readings'):,}", f"{summary.total('alerts'):,}", everywhere)
    console.print(table)
    if summary.worst:
        worst = _table(("severity", "file", "row", "time", "value", "expected", "reason"), right={"severity", "row"})
        for each in summary.worst:
            expected = "" if each.expected is None else f"{each.expected:.6g}"
            worst.add_row(
                f"{each.severity:.2f}", Text(each.file), f"{each.row:,}", each.at, f"{each.value:.6g}", expected,
                each.reason,
            )  # fmt: skip
        console.print(worst)
    for name, text in (
        ("missing", "have no number: severity 0"),
        ("bad", "could not be read: severity 0"),
        ("unordered", "stand after a later one: judged in order of time, written in the order of their file"),
        ("repeated", "have a time that was there already: compared, not learned from"),
    ):
        odd = [found for found in files if getattr(found, name)]
        if odd:
            where = odd[0].file if len(odd) == 1 else f"{len(odd):,} files"
            console.print(Text(f"{summary.total(name):,} rows of {where} {text}"))
    console.print(Text(f"{len(files):,} {'file' if len(files) == 1 else 'files'} written to {out}"))


def _table(columns: Sequence[str], *, right: set[str]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table
