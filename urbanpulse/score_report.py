"""This module shows a score to people at a terminal, and has the words that the HTML report shares with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from core.clock import from_ns

if TYPE_CHECKING:
    from simulators.labels import Label
    from simulators.scoring_result import Score

__all__ = [
    "ACCEPTABLE_PER_HOUR",
    "ALARMS_HEAD",
    "CODES_HEAD",
    "CODES_HINT",
    "KINDS_HEAD",
    "KINDS_HINT",
    "LONG",
    "MISSES_HEAD",
    "NUMBERS",
    "Row",
    "about",
    "alarm_cells",
    "between",
    "code_cells",
    "confusion_cells",
    "kind_cells",
    "miss_cells",
    "percent",
    "print_score",
    "seconds",
    "summary",
    "when",
]

Row = tuple[str, ...]

KINDS_HEAD: Row = ("kind", "found", "late", "recall", "95 %", "delay", "p90", "again", "precise")
KINDS_HINT = (
    "found: labels with an alert, of all; late: found only after their end; delay: median and p90 from beginning to "
    "first alert; again: further alerts on the same label; precise: alerts on these series that some label explains."
)
CODES_HEAD: Row = ("code", "alerts", "true", "precision", "what was behind it")
CODES_HINT = "true: alerts with this code that some label explains."
MISSES_HEAD: Row = ("kind", "where", "from", "lasts", "size")
ALARMS_HEAD: Row = ("alert", "opened", "code", "severity")
NUMBERS = frozenset({*KINDS_HEAD[1:], *CODES_HEAD[1:4], "lasts", "size"})
LONG = frozenset({CODES_HEAD[4], "where"})
ACCEPTABLE_PER_HOUR = 6  # EEMUA 191, per operator


def print_score(score: Score, console: Console | None = None) -> None:
    """Print *score* as tables; those with nothing in them are left out."""
    out = console or Console()
    for name, text in summary(score):
        out.print(Text.assemble((f"{name}: ", "bold"), text))
    for table in (
        _table("Sensor faults", KINDS_HEAD, kind_cells(score, events=False)),
        _table("City events", KINDS_HEAD, kind_cells(score, events=True)),
        _table("What alerts say", CODES_HEAD, code_cells(score)),
        _table("City or sensor: what there was, and what alerts said", *confusion_cells(score)),
        _table("Worst misses", MISSES_HEAD, miss_cells(score)),
        _table("Worst false alarms", ALARMS_HEAD, alarm_cells(score)),
    ):
        if table.row_count:
            out.print()
            out.print(table)


def summary(score: Score) -> list[tuple[str, str]]:
    """Return the lines that stand above everything, each a name and a sentence."""
    terms, load = score.terms, score.load
    aside = [
        f"; {count} {what}"
        for count, what in (
            (score.outside, "outside the span"),
            (score.of_earlier_labels, "of labels that began before the span"),
            (score.retrospective_left_out, "retrospective, left out"),
        )
        if count
    ]
    rate = load.alerts_per_operator_hour
    verdict = "acceptable up to" if rate <= ACCEPTABLE_PER_HOUR else "more than the acceptable"
    return [
        ("span", f"{when(terms.start)} to {when(terms.end)} UTC, {terms.hours:.4g} h ({terms.span_from})"),
        ("watched", f"{terms.sensors} sensors ({terms.sensors_from}); operators: {terms.operators}"),
        (
            "labels",
            (
                f"{score.detected} of {len(score.judged)} detected: {percent(score.recall)} "
                f"({between(score.recall_interval)} with 95 % confidence)"
            ),
        ),
        (
            "alerts",
            (
                f"{len(score.attributed)} counted, precision {percent(score.precision)}: {score.detected} detections, "
                f"{score.repeats} repeats, {len(score.false_alarms)} false alarms{''.join(aside)}"
            ),
        ),
        (
            "false alarms",
            f"{score.false_alarms_per_sensor_day:.4g} per sensor-day over {terms.sensor_days:.4g} sensor-days",
        ),
        (
            "load",
            (
                f"{rate:.3g} alerts per operator-hour ({verdict} {ACCEPTABLE_PER_HOUR}); "
                f"{load.floods} of {load.periods} ten-minute periods in flood ({load.flood_share:.1%}); "
                f"most alerts in one: {load.busiest}"
            ),
        ),
    ]


def kind_cells(score: Score, *, events: bool) -> list[Row]:
    """Return a row for each kind of fault, or of event, under `KINDS_HEAD`."""
    return [
        (
            kind.what,
            f"{kind.detected}/{kind.labels}",
            str(kind.after_end),
            percent(kind.recall),
            between(kind.recall_interval),
            seconds(kind.delay_median),
            seconds(kind.delay_p90),
            str(kind.repeats),
            percent(kind.precision),
        )
        for kind in score.kinds
        if kind.is_event is events
    ]


def code_cells(score: Score) -> list[Row]:
    """Return a row for each code that alerts have, under `CODES_HEAD`."""
    return [
        (
            code.code,
            str(code.alerts),
            str(code.explained),
            percent(code.precision),
            ", ".join(f"{what} {count}" for what, count in code.behind),
        )
        for code in score.codes
    ]


def confusion_cells(score: Score) -> tuple[Row, list[Row]]:
    """Return head and rows of what there was against what alerts said, without rows of zeros."""
    said = tuple(next(iter(score.confusion.values())))
    rows = [(truth, *map(str, counts.values())) for truth, counts in score.confusion.items() if any(counts.values())]
    return ("there was", *said), rows


def miss_cells(score: Score) -> list[Row]:
    """Return a row for each of the worst misses, under `MISSES_HEAD`."""
    return [
        (label.what, about(label), when(label.start), seconds((label.end - label.start) / 1e9), f"{label.size:g}")
        for label in score.worst_misses()
    ]


def alarm_cells(score: Score) -> list[Row]:
    """Return a row for each of the worst false alarms, under `ALARMS_HEAD`; subject and id in two lines."""
    return [
        (
            f"{opening.device} {opening.metric}\n{opening.id}",
            f"{from_ns(opening.at):%m-%d %H:%M}",
            opening.code,
            f"{opening.priority} {opening.severity:.1f}" if opening.severity else opening.priority,
        )
        for opening in score.worst_false_alarms()
    ]


def about(label: Label) -> str:
    """Return what a label is about, for people."""
    if label.device is not None:
        return f"{label.device} {label.metric}"
    return f"{label.district or 'whole city'}: {', '.join(label.metrics)}"


def between(interval: tuple[float, float]) -> str:
    """Return an interval of shares as per cent."""
    return f"{100 * interval[0]:.0f}-{interval[1]:.0%}"


def percent(share: float | None) -> str:
    """Return a share as per cent; a dash where there is none."""
    return "–" if share is None else f"{share:.0%}"


def seconds(amount: float | None) -> str:
    """Return a length of time in the unit that suits it.

    >>> seconds(5), seconds(600), seconds(9000), seconds(None)
    ('5 s', '10 min', '2.5 h', '–')
    """
    if amount is None:
        return "–"
    for unit, length, most in (("s", 1, 100), ("min", 60, 100), ("h", 3600, 48)):
        if amount < most * length:
            return _short(amount / length) + " " + unit
    return _short(amount / 86_400) + " d"


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"


def when(ns: int) -> str:
    """Return a time to the second, UTC."""
    return f"{from_ns(ns):%Y-%m-%d %H:%M:%S}"


def _table(title: str, head: Row, rows: list[Row]) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for name in head:
        is_number = name in NUMBERS
        table.add_column(name, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
