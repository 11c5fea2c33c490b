"""This module draws a score as SVG to be put into a page: timeline, recall, delays, load, false alarms.

Colours are the page's CSS variables, so one drawing serves light and dark; texts stay texts. The same score gives the
same bytes. Drawings stay small however many labels and alerts there are: what would fall on the same pixel is drawn
once.
"""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from core.clock import from_ns
from simulators.labels import LabelClass

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from simulators.scoring_result import Judged, Score

__all__ = ["delay_plot", "false_plot", "load_plot", "recall_plot", "timeline_plot"]

# stand-ins that matplotlib takes for colours, and what the page calls them
_INK, _MUTED, _GRID, _GOOD, _BAD, _EVENT = (f"#0{n}0b0c" for n in range(1, 7))
_VARIABLES = dict(
    zip((_INK, _MUTED, _GRID, _GOOD, _BAD, _EVENT), ("ink", "muted", "grid", "good", "bad", "event"), strict=True)
)
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "urbanpulse",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _MUTED,
    "axes.edgecolor": _GRID,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "xtick.color": _MUTED,
    "ytick.color": _INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "ytick.major.size": 0,
}
_WIDTH = 4.5  # inches at 72 units each: about a phone's width, so that texts stay legible there
_WIDE = 10.4
_ROWS = 40
_COLUMNS = 1000  # pixels told apart in the timeline
_DOTS = 200
_METRICS = 12
_DELAYS = {
    1: "≤ 1 s",
    10: "10 s",
    60: "1 min",
    600: "10 min",
    3600: "1 h",
    21_600: "6 h",
    86_400: "1 d",
    604_800: "7 d",
}
_HOUR = 3_600_000_000_000


def timeline_plot(score: Score) -> str:
    """Return labels as bars and alerts as marks over time: a row for each kind and device, or each kind if too many."""
    by_device = {_row(item, devices=True) for item in score.judged}
    devices = len(by_device) <= _ROWS
    rows = sorted(by_device if devices else {_row(item, devices=False) for item in score.judged})
    place = {row: n for n, row in enumerate(rows)}
    step = (score.terms.end - score.terms.start) / _COLUMNS

    def column(at: int) -> float:
        return round(min(max(at - score.terms.start, 0) / step, _COLUMNS))

    bars = Counter(
        (place[_row(item, devices=devices)], column(item.label.start), column(item.label.end), item.is_detected)
        for item in score.judged
    )
    marks = {(place[_row(item, devices=devices)], column(o.at)) for item in score.judged for o in item.openings}
    false = {column(opening.at) for opening in score.false_alarms}
    figure, axes = _axes(_WIDE, 0.26 * (len(rows) + 1) + 0.9)
    for (row, start, end, is_detected), _ in sorted(bars.items()):
        colour = _EVENT if rows[row][0] else _GOOD
        if not is_detected:
            colour = _BAD
        axes.barh(
            row, max(end - start, 3), left=start, height=0.6, color=colour if is_detected else "none",
            edgecolor=colour, linewidth=1, alpha=0.55 if is_detected else 1,
        )  # fmt: skip
    if marks:
        axes.plot([x for _, x in sorted(marks)], [y for y, _ in sorted(marks)], "|", color=_INK, markersize=9)
    axes.plot(sorted(false), [len(rows)] * len(false), "x", color=_BAD, markersize=5)
    axes.set_yticks(range(len(rows) + 1), [*(name for _, name in rows), "false alarms"])
    axes.set_ylim(len(rows) + 0.6, -0.6)
    axes.set_xlim(0, _COLUMNS)
    ticks = [_COLUMNS * n / 6 for n in range(7)]
    times = [from_ns(score.terms.start + int(tick * step)) for tick in ticks]
    axes.set_xticks(ticks, [f"{at:%m-%d}\n{at:%H:%M}" for at in times])
    axes.grid(axis="x", linewidth=0.6)
    return _svg(figure, "t")


def recall_plot(score: Score) -> str:
    """Return recall by kind with its 95 % interval."""
    kinds = score.kinds
    figure, axes = _axes(_WIDTH, 0.3 * max(len(kinds), 1) + 0.7)
    for n, kind in enumerate(kinds):
        low, high = kind.recall_interval
        colour = _EVENT if kind.is_event else _GOOD
        axes.plot([100 * low, 100 * high], [n, n], color=colour, linewidth=2, alpha=0.5)
        axes.plot([100 * (kind.recall or 0)], [n], "o", color=colour, markersize=7)
        axes.text(103, n, f"{kind.detected}/{kind.labels}", va="center", fontsize=9, color=_MUTED)
    axes.set_yticks(range(len(kinds)), [kind.what for kind in kinds])
    axes.set_ylim(len(kinds) - 0.4, -0.6)
    axes.set_xlim(-2, 118)
    axes.set_xticks(range(0, 101, 25), [f"{share} %" for share in range(0, 101, 25)])
    axes.grid(axis="x", linewidth=0.6)
    return _svg(figure, "r")


def delay_plot(score: Score) -> str:
    """Return how long it took from the beginning of a label to its first alert: dots, and a bar at the median."""
    kinds = [kind for kind in score.kinds if kind.delays_seconds]
    figure, axes = _axes(_WIDTH, 0.3 * max(len(kinds), 1) + 0.7)
    for n, kind in enumerate(kinds):
        colour = _EVENT if kind.is_event else _GOOD
        delays = kind.delays_seconds
        shown = [delays[k * len(delays) // min(_DOTS, len(delays))] for k in range(min(_DOTS, len(delays)))]
        axes.plot([max(d, 1.0) for d in shown], [n] * len(shown), "o", color=colour, alpha=0.45, markersize=5)
        axes.plot([max(kind.delay_median or 0, 1.0)], [n], "|", color=_INK, markersize=15, markeredgewidth=2)
    longest = max((kind.delays_seconds[-1] for kind in kinds), default=60.0)
    ticks = [tick for n, tick in enumerate(_DELAYS) if not n or list(_DELAYS)[n - 1] <= longest]
    axes.set_xscale("log")
    axes.set_xlim(0.8, max(ticks[-1], longest) * 1.3)
    axes.set_xticks(ticks, [_DELAYS[tick] for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(kinds)), [kind.what for kind in kinds])
    axes.set_ylim(max(len(kinds), 1) - 0.4, -0.6)
    axes.grid(axis="x", linewidth=0.6)
    return _svg(figure, "d")


def load_plot(score: Score) -> str:
    """Return alerts per operator and hour against the six that EEMUA 191 accepts; by day where the span is long."""
    terms = score.terms
    wide = 1 if terms.hours <= 24 * 14 else 24
    bins = max(1, math.ceil(terms.hours / wide))
    counts = [Counter[int](), Counter[int]()]
    for opening, label in score.attributed:
        counts[label is None][min((opening.at - terms.start) // (wide * _HOUR), bins - 1)] += 1
    true, false = ([count[n] / wide / terms.operators for n in range(bins)] for count in counts)
    figure, axes = _axes(_WIDTH, 2.6)
    # the last hour may be cut off by the end of the span: it is drawn as it is
    lefts = [n * wide for n in range(bins)]
    axes.bar(lefts, true, width=wide * 0.9, align="edge", color=_GOOD, alpha=0.7, label="of labels")
    axes.bar(lefts, false, width=wide * 0.9, align="edge", bottom=true, color=_BAD, alpha=0.8, label="false alarms")
    axes.axhline(6, color=_INK, linewidth=1, linestyle=(0, (5, 3)), label="6 an hour")
    axes.set_xlim(0, bins * wide)
    axes.set_ylim(0, max(7, 1.15 * max(a + b for a, b in zip(true, false, strict=True))))
    axes.set_xlabel("hours from the beginning of the span", fontsize=9)
    axes.grid(axis="y", linewidth=0.6)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        borderpad=0,
        handlelength=1.4,
        columnspacing=1,
        fontsize=9,
        frameon=False,
        labelcolor=_INK,
    )
    return _svg(figure, "l")


def false_plot(score: Score) -> str:
    """Return false alarms by metric and hour of day: the fuller a cell, the more."""
    metrics = list(score.false_by_metric())[:_METRICS]
    cells = Counter((opening.metric, opening.at // _HOUR % 24) for opening in score.false_alarms)
    most = max(cells.values(), default=1)
    figure, axes = _axes(_WIDTH, 0.3 * max(len(metrics), 1) + 0.8)
    for y, metric in enumerate(metrics):
        for hour in range(24):
            if count := cells[metric, hour]:
                axes.barh(y, 0.94, left=hour + 0.03, height=0.9, color=_BAD, alpha=0.15 + 0.85 * count / most)
    totals = score.false_by_metric()
    axes.set_yticks(range(len(metrics)), [f"{metric or 'device'} ({totals[metric]})" for metric in metrics])
    axes.set_ylim(max(len(metrics), 1) - 0.4, -0.6)
    axes.set_xlim(0, 24)
    axes.set_xticks(range(0, 25, 6))
    axes.set_xlabel("hour of day, UTC", fontsize=9)
    return _svg(figure, "f")


def _row(item: Judged, *, devices: bool) -> tuple[bool, str]:
    label = item.label
    is_event = label.kind is LabelClass.EVENT
    subject = (label.district or "city") if is_event else (label.device or "")
    return is_event, f"{label.what} · {subject}" if devices else label.what


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    import matplotlib as mpl  # noqa: PLC0415 - heavy: loaded only to draw
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.add_subplot()


def _svg(figure: Figure, prefix: str) -> str:
    """Return the drawing without XML head, its colours and ids made the page's; *prefix* keeps ids apart."""
    import matplotlib as mpl  # noqa: PLC0415

    out = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    for stand_in, name in _VARIABLES.items():
        text = text.replace(stand_in, f"var(--{name})")
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', text)
    text = re.sub(r"\n? *<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # the page says how large; the view box keeps the shape
    return re.sub(
        r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", re.sub(r'(<svg [^>]*?)height="[^"]*"', r"\1", text, count=1), count=1
    )
