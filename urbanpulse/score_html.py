"""This module writes a score as one HTML file that needs nothing else: no network, no font, no script."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from core.errors import SettingsError
from urbanpulse import score_report as report

if TYPE_CHECKING:
    from pathlib import Path

    from simulators.scoring_result import Score
    from urbanpulse.score_report import Row
    from urbanpulse.scoring import Scored

__all__ = ["score_page", "write_html"]

_CSS = """
:root { color-scheme: light dark; --paper: #fff; --card: #f5f7fa; --ink: #1b2430; --muted: #56616f; --grid: #d5dce4;
  --good: #0b7a53; --bad: #c0410b; --event: #2459c9; }
@media (prefers-color-scheme: dark) { :root { --paper: #10151c; --card: #18202a; --ink: #e7ecf3; --muted: #9fabbb;
  --grid: #303b48; --good: #3ccf97; --bad: #ff9a57; --event: #7aa8ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: .5rem 0 0; } h2 { font-size: 1.1rem; margin: 0 0 .5rem; }
p { margin: .25rem 0; } .origin, .hint { color: var(--muted); font-size: .9rem; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1rem 0; }
.tile, section { background: var(--card); border: 1px solid var(--grid); border-radius: .5rem; padding: .75rem 1rem; }
.tile b { display: block; font-size: 1.5rem; line-height: 1.3; } .tile span { color: var(--muted); font-size: .9rem; }
.over b { color: var(--bad); }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: .75rem; }
section { min-width: 0; } .wide { grid-column: 1 / -1; } .scroll { overflow-x: auto; }
figure { margin: 0; } svg { display: block; width: 100%; max-width: 36rem; height: auto; }
.wide svg { min-width: 44rem; max-width: none; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem 1rem .25rem 0; border-bottom: 1px solid var(--grid); vertical-align: top; }
th { color: var(--muted); font-weight: 600; white-space: nowrap; } .number { text-align: right; }
td { white-space: pre; } td.long { white-space: normal; min-width: 14rem; }
.cell { text-align: center; min-width: 4.5rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 0; }
dt { color: var(--muted); } dd { margin: 0; overflow-wrap: anywhere; }
.note { border-left: .25rem solid var(--bad); padding-left: .75rem; }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; } }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def write_html(made: Scored, path: Path) -> None:
    """Write the report of *made* to *path*.

    Raises:
        SettingsError: it cannot be written.
    """
    try:
        path.write_text(score_page(made), encoding="utf-8")
    except OSError as error:
        raise SettingsError("html", f"{path}: {error.strerror or error}") from error


def score_page(made: Scored) -> str:
    """Return the report of *made* as one page; the same score gives the same text."""
    from urbanpulse import score_plots as plots  # noqa: PLC0415 - loads matplotlib

    score = made.score
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in made.notes)
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in report.summary(score))
    sections = [
        _section("Figures", f"<dl>{facts}</dl>", wide=True),
        _plot(
            "Labels and alerts over time",
            "Bars are labels: filled ones were detected (sensor faults and city events in two colours), hollow ones "
            "were missed. Strokes are the alerts that count for them, crosses are false alarms. Times are UTC.",
            plots.timeline_plot(score),
            wide=True,
        ),
        _plot("Recall by kind", "With 95 % intervals after Wilson.", plots.recall_plot(score)),
        _plot(
            "Delay by kind",
            "From a label's beginning to its first alert; a stroke at the median.",
            plots.delay_plot(score),
        ),
        _plot("Alerts per operator and hour", "EEMUA 191 accepts up to six.", plots.load_plot(score)),
        _plot("False alarms by metric and hour", "The fuller the colour, the more.", plots.false_plot(score)),
        _table("Sensor faults", report.KINDS_HEAD, report.kind_cells(score, events=False), report.KINDS_HINT),
        _table("City events", report.KINDS_HEAD, report.kind_cells(score, events=True), report.KINDS_HINT),
        _table("What alerts say", report.CODES_HEAD, report.code_cells(score), report.CODES_HINT),
        _confusion(score),
        _table("Worst misses", report.MISSES_HEAD, report.miss_cells(score)),
        _table("Worst false alarms", report.ALARMS_HEAD, report.alarm_cells(score)),
    ]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>Score of {escape(made.origin)}</title>
<style>{_CSS}</style>
</head>
<body>
<h1>How good are the alerts?</h1>
<p class="origin">{escape(made.origin)}</p>
{notes}
{_tiles(score)}
<main>
{"".join(sections)}
</main>
</body>
</html>
"""


def _tiles(score: Score) -> str:
    load = score.load
    tiles = (
        ("recall", report.percent(score.recall), False),
        ("precision", report.percent(score.precision), False),
        ("false alarms per sensor-day", f"{score.false_alarms_per_sensor_day:.3g}", False),
        (
            "alerts per operator-hour",
            f"{load.alerts_per_operator_hour:.3g}",
            load.alerts_per_operator_hour > report.ACCEPTABLE_PER_HOUR,
        ),
        ("of the time in flood", f"{load.flood_share:.1%}", load.floods > 0),
    )
    return '<div class="tiles">' + "".join(
        f'<div class="tile{" over" if is_over else ""}"><b>{text}</b><span>{name}</span></div>'
        for name, text, is_over in tiles
    ) + "</div>"  # fmt: skip


def _section(title: str, body: str, *, wide: bool = False) -> str:
    return f"<section{' class=wide' if wide else ''}><h2>{escape(title)}</h2>{body}</section>\n"


def _plot(title: str, hint: str, svg: str, *, wide: bool = False) -> str:
    named = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
    scroll = f'<div class="scroll" tabindex="0" role="group" aria-label="{escape(title)}">' if wide else "<div>"
    return _section(
        title, f'<p class="hint">{escape(hint)}</p><figure>{scroll}{named}</div></figure>', wide=wide
    )  # fmt: skip


def _table(title: str, head: Row, rows: list[Row], hint: str = "") -> str:
    if not rows:
        return ""
    kinds = ["number" if name in report.NUMBERS else "long" if name in report.LONG else "" for name in head]
    cells = "".join(
        f'<th scope="col" class="{kind}">{escape(name)}</th>' for name, kind in zip(head, kinds, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{kind}">{escape(cell)}</td>' for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in rows
    )
    table = f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
    said = f'<p class="hint">{escape(hint)}</p>' if hint else ""
    scroll = f'<div class="scroll" tabindex="0" role="group" aria-label="{escape(title)}">{table}</div>'
    return _section(title, said + scroll, wide=True)


def _confusion(score: Score) -> str:
    """Return the matrix of what there was against what alerts said, each cell as full as its share of its row."""
    head = "".join(f'<th scope="col" class="cell">{escape(said)}</th>' for said in next(iter(score.confusion.values())))
    body = ""
    for truth, counts in score.confusion.items():
        whole = sum(counts.values())
        cells = "".join(
            f'<td class="cell" style="background: color-mix(in srgb, var(--event) {60 * count // max(whole, 1)}%, '
            f'transparent)">{count}</td>'
            for count in counts.values()
        )
        body += f'<tr><th scope="row">{escape(truth)}</th>{cells}</tr>'
    title = "City or sensor?"
    table = f'<table><thead><tr><th scope="col">there was</th>{head}</tr></thead><tbody>{body}</tbody></table>'
    hint = '<p class="hint">Rows: what was behind an alert. Columns: what the alert said was behind it.</p>'
    scroll = f'<div class="scroll" tabindex="0" role="group" aria-label="{title}">{table}</div>'
    return _section(title, hint + scroll, wide=True)
