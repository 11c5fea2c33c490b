"""This module draws what detection says of one series: readings, expected band, alerts. One SVG, however many readings.

Readings that fall on the same pixel are drawn as the span from the least to the greatest of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.metrics import metric as metric_of
from urbanpulse.detecting import REASONS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from urbanpulse.detect_files import Recorded
    from urbanpulse.detecting import Verdicts

__all__ = ["draw"]

_INK, _VALUE, _BAND, _MUTED = "#1f2937", "#334155", "#bfdbfe", "#94a3b8"
_COLOURS = ("#c2410c", "#7c3aed", "#0f766e", "#be123c", "#a16207", "#0369a1", "#db2777", "#000000")
_COLUMNS = 1200
_ALERTS = 500
_STYLE: Any = {
    "svg.hashsalt": "urbanpulse",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def draw(path: Path, recorded: Recorded, verdicts: Verdicts, *, title: str, metric: str) -> None:
    """Write the picture of one series to *path*; equal series give equal bytes.

    Raises:
        OSError: the file cannot be written.
    """
    import matplotlib as mpl  # noqa: PLC0415 - only who draws needs it
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    rows = np.flatnonzero(np.isfinite(recorded.value))
    rows = rows[np.argsort(recorded.measured[rows], kind="stable")]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(10.4, 3.2), facecolor="white", layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(f"{title}: readings {len(rows):,}, alerts {len(verdicts.alerts):,}", loc="left", fontsize=10)
        unit = metric_of(metric).unit
        axes.set_ylabel(f"{metric}, {unit}" if unit else metric or "value")
        if len(rows):
            starts = _pixels(recorded.measured[rows])
            at = _times(recorded.measured[rows[starts]])
            low, high = (verdicts.low[rows], verdicts.high[rows])
            known = ~(np.isnan(low) | np.isnan(high))
            least = np.minimum.reduceat(recorded.value[rows], starts)
            most = np.maximum.reduceat(recorded.value[rows], starts)
            # where a pixel has several bands, what any of them allowed
            bottom = np.fmin.reduceat(np.where(known, low, np.nan), starts)
            top = np.fmax.reduceat(np.where(known, high, np.nan), starts)
            axes.fill_between(at, bottom, top, color=_BAND, lw=0, label="expected")
            axes.fill_between(at, least, most, color=_VALUE, lw=0.8, label="readings")
            if len(at) == len(rows):
                axes.plot(at, least, color=_VALUE, lw=0.8)
            _alerts(axes, recorded, verdicts)
            locator = AutoDateLocator()  # type: ignore[no-untyped-call]
            axes.xaxis.set_major_locator(locator)
            axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
            axes.set_ylim(*_span(least, most))
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
        part = path.with_name(f".{path.name}.part")
        try:
            figure.savefig(part, format="svg", metadata={"Date": None, "Creator": None})
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _alerts(axes: Any, recorded: Recorded, verdicts: Verdicts) -> None:
    alerts = verdicts.alerts
    alerts = np.sort(alerts[np.argsort(-verdicts.severity[alerts], kind="stable")[:_ALERTS]])
    for number, reason in enumerate(REASONS):
        rows = alerts[verdicts.reason[alerts] == number]
        if len(rows):
            axes.plot(
                _times(recorded.measured[rows]), recorded.value[rows], "o", color=_COLOURS[number % len(_COLOURS)],
                ms=5, mew=0.8, mec="white", label=reason,
            )  # fmt: skip


def _pixels(measured: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the first row of each pixel that has rows; ascending times."""
    span = int(measured[-1]) - int(measured[0])
    pixel = (measured - measured[0]) // max(span // _COLUMNS + 1, 1)
    return np.flatnonzero(np.append(True, np.diff(pixel) > 0)) if len(measured) > _COLUMNS else np.arange(len(measured))


def _times(measured: NDArray[np.int64]) -> NDArray[np.datetime64]:
    return measured.view("datetime64[ns]")


def _span(least: NDArray[np.float64], most: NDArray[np.float64]) -> tuple[float, float]:
    """Return the limits of the axis: of the readings, not of the band, which is wide in the beginning."""
    low, high = float(least.min()), float(most.max())
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return low - room, high + room
