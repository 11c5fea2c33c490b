"""This module draws what each kind of fault and of event looks like, for the docs: small SVG files, the same each time.

Readings: what would have been read, what is told, and the span of the label. Messages: when each one leaves against
when its readings were measured; a device in good order draws a straight line.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from core.clock import to_ns
from core.metrics import metric as metric_of
from simulators.events import EVENTS, CityEvent, EventKind
from simulators.faults import ALL, KINDS, Fault, FaultKind, FaultPlan
from simulators.layout import city
from simulators.reports import Grid, emissions, overtime
from simulators.wire import wire_format
from simulators.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from matplotlib.axes import Axes

    from simulators.messages import Emission

__all__ = ["draw_all"]

_HOUR = 3_600_000_000_000
_DEVICES = 200
_INK, _TRUE, _TOLD, _SPAN = "#1f2937", "#94a3b8", "#c2410c", "#fde68a"
_STYLE: Any = {
    "svg.hashsalt": "urbanpulse",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _TRUE,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


@dataclass(frozen=True, slots=True)
class _Example:
    """What is drawn of a kind: hours are those of the picture."""

    device: str
    metric: str
    begin: float
    length: float
    size: float = 0.0
    hours: float = 24.0
    step: float = 300.0


_FAULTS: dict[FaultKind, _Example] = {
    FaultKind.SPIKE: _Example("air", "pm25", 10, 0.34, 60),
    FaultKind.LEVEL_SHIFT: _Example("energy", "voltage", 8, 8, 8),
    FaultKind.DRIFT: _Example("weather", "temperature", 4, 16, 8),
    FaultKind.STUCK: _Example("air", "no2", 5, 9),
    FaultKind.NOISE_BURST: _Example("noise", "noise", 9, 5, 5),
    FaultKind.DROPOUT: _Example("traffic", "flow", 7, 4),
    FaultKind.MAINTENANCE_BIAS: _Example("air", "o3", 6, 14, 25),
    FaultKind.SWAPPED_UNITS: _Example("weather", "temperature", 8, 8),
    FaultKind.SPOOFED: _Example("air", "pm25", 5, 12, 3),
    FaultKind.FIRMWARE_TYPE: _Example("weather", "temperature", 10, 6, step=900),
    FaultKind.MALFORMED: _Example("traffic", "speed", 12, 3, step=900),
    FaultKind.DUPLICATES: _Example("weather", ALL, 0.05, 0.1, hours=0.2, step=60),
    FaultKind.REORDERING: _Example("weather", ALL, 0.1, 0.2, hours=0.45, step=60),
    FaultKind.CLOCK_SKEW: _Example("weather", ALL, 2, 6, 7200, hours=12),
    FaultKind.CLOCK_JUMP: _Example("weather", ALL, 4, 4, -7200, hours=12),
    FaultKind.LATE_BACKLOG: _Example("weather", ALL, 3, 4, hours=12),
    FaultKind.REPLAYED_RETAINED: _Example("weather", ALL, 0.15, 0.2, hours=0.5, step=60),
    FaultKind.REPLAYED_CAPTURE: _Example("weather", ALL, 0.15, 0.2, 480, hours=0.5, step=60),
    FaultKind.MESSAGE_FLOOD: _Example("weather", ALL, 0.15, 0.2, 10, hours=0.5, step=60),
}

_EVENTS: dict[EventKind, _Example] = {
    EventKind.INVERSION: _Example("air", "pm25", 14, 30, hours=60),
    EventKind.FLOOD: _Example("traffic", "speed", 8, 14, hours=36),
    EventKind.OUTAGE: _Example("energy", "power", 17.5, 4, hours=36),
    EventKind.MATCH: _Example("parking", "occupied", 17, 6, hours=36),
    EventKind.LEAK: _Example("plant", "h2s", 9, 6),
    EventKind.BURST: _Example("water", "water_pressure", 9, 6),
    EventKind.HOLIDAY: _Example("traffic", "flow", 3, 24, hours=48),
    EventKind.HEAT_WAVE: _Example("weather", "temperature", 12, 96, hours=144, step=900),
    EventKind.DUST_STORM: _Example("air", "pm10", 10, 8),
    EventKind.ROAD_CLOSURE: _Example("traffic", "flow", 6, 10),
}


def draw_all(folder: Path, *, seed: int, start: datetime) -> Iterator[Path]:
    """Draw every kind into *folder* and yield each file; the day that is drawn begins at *start*.

    Raises:
        OSError: a file cannot be written.
    """
    import matplotlib as mpl  # noqa: PLC0415 - only who draws needs it
    from matplotlib.figure import Figure  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    pictures: list[tuple[str, str, Callable[[Axes], None]]] = [
        (f"fault-{kind}", f"{kind}: {KINDS[kind].text}", partial(_fault, kind, example, seed, start))
        for kind, example in _FAULTS.items()
    ]
    pictures += [
        (f"event-{kind}", f"{kind}: {EVENTS[kind].text}", partial(_event, kind, example, seed, start))
        for kind, example in _EVENTS.items()
    ]
    with mpl.rc_context(_STYLE):
        for name, title, draw in pictures:
            figure = Figure(figsize=(7.2, 2.6), facecolor="white", layout="constrained")
            axes = figure.add_subplot()
            draw(axes)
            axes.set_title(title, loc="left", fontsize=10)
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
            path = folder / f"{name}.svg"
            figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
            yield path


def _fault(kind: FaultKind, example: _Example, seed: int, start: datetime, axes: Axes) -> None:
    devices = [device for device in city(seed, _DEVICES).devices if device.kind == example.device]
    world, device = World(seed, devices[:1]), devices[0].id
    began = to_ns(start)
    scale = _Scale.of(example, began)
    begin = began + int(example.begin * _HOUR)
    metric = example.metric if KINDS[kind].whole is False else ALL
    fault = Fault(kind, device, metric, begin, begin + int(example.length * _HOUR), example.size)
    grid = Grid(seed, device, example.step)
    run = range(grid.first_after(began), grid.first_after(began + int(example.hours * _HOUR)))
    clean = emissions(world, FaultPlan(), grid, run.start, len(run), run=run)
    plan = FaultPlan([fault])
    sent = emissions(world, plan, grid, run.start, len(run) + overtime(plan, grid, run), run=run)
    axes.axvspan(scale(fault.start), scale(fault.end), color=_SPAN, lw=0, label="label", alpha=0.6)
    if example.metric == ALL:
        _messages(axes, clean, sent, scale)
    else:
        _readings(axes, example.metric, clean, sent, scale)
    axes.set_xlim(0, scale(began + int(example.hours * _HOUR)))
    axes.set_xlabel(scale.name if example.metric != ALL else f"sent, {scale.name}")


def _readings(axes: Axes, metric: str, clean: list[Emission], sent: list[Emission], scale: _Scale) -> None:
    """Draw the values of one metric as they were and as they are told; crosses are what no number came of."""
    at, values = _values(clean, metric, scale)
    true = dict(zip(at, values, strict=True))
    axes.plot(at, values, color=_TRUE, lw=1.2, label="true reading")
    good = [emission for emission in sent if emission.damage is None]
    axes.plot(*_values(good, metric, scale), color=_TOLD, lw=1.2, ls="-", label="as told")
    bad = [e for e in sent if e.damage is not None or not isinstance(e.reports[0].values.get(metric, 0.0), float)]
    if bad:
        lost = [scale(emission.due) for emission in bad]
        axes.plot(lost, [true[at] for at in lost], "x", color=_TOLD, ms=4, label="no number")
        said = wire_format("json", (), 0).encode(bad[0])[0].payload
        example = said if bad[0].damage is not None else msgspec.json.encode(bad[0].reports[0].values)
        text = example.decode("ascii", "replace")
        axes.text(0, -0.3, f"told: {text[:90]}", transform=axes.transAxes, fontsize=7)
    unit = metric_of(metric).unit
    axes.set_ylabel(f"{metric}, {unit}" if unit else metric)


def _messages(axes: Axes, clean: list[Emission], sent: list[Emission], scale: _Scale) -> None:
    """Draw when messages leave against when they were measured, or say so."""
    for emissions_, colour, size, name in ((clean, _TRUE, 6.0, "in good order"), (sent, _TOLD, 3.0, "as sent")):
        at = [scale(emission.due) for emission in emissions_]
        measured = [scale(emission.reports[0].at) for emission in emissions_]
        axes.plot(at, measured, "o", color=colour, ms=size, mew=0, label=name)
    axes.set_ylabel(f"measured, {scale.name}")


def _event(kind: EventKind, example: _Example, seed: int, start: datetime, axes: Axes) -> None:
    devices = [device for device in city(seed, _DEVICES).devices if device.kind == example.device]
    began = to_ns(start)
    scale = _Scale.of(example, began)
    begin = began + int(example.begin * _HOUR)
    event = CityEvent(kind, begin, begin + int(example.length * _HOUR), EVENTS[kind].usual)
    at = began + np.arange(0, int(example.hours * _HOUR), int(example.step * 1e9), dtype=np.int64)
    without, with_it = World(seed, devices), World(seed, devices, [event])
    found = {device.id: (without.value(device.id, example.metric, at), with_it.value(device.id, example.metric, at))
             for device in devices}  # fmt: skip
    most = max(found, key=lambda device: float(np.abs(found[device][1] - found[device][0]).sum()))
    hours = (at - began) / _HOUR
    axes.axvspan(scale(event.start), scale(event.end), color=_SPAN, lw=0, label="label", alpha=0.6)
    axes.plot(hours, found[most][0], color=_TRUE, lw=1.2, label="without it")
    axes.plot(hours, found[most][1], color=_TOLD, lw=1.2, label="with it")
    unit = metric_of(example.metric).unit
    axes.set_ylabel(f"{example.metric}, {unit}" if unit else example.metric)
    axes.set_xlabel("hours")
    axes.set_xlim(0, example.hours)


def _values(sent: list[Emission], metric: str, scale: _Scale) -> tuple[list[float], list[float]]:
    """Return hours and values; a gap of more than two slots breaks the line."""
    at = [scale(emission.due) for emission in sent]
    told = [emission.reports[0].values.get(metric) for emission in sent]
    values = [value if isinstance(value, float) else math.nan for value in told]
    usual = min((b - a for a, b in pairwise(at)), default=0.0)
    for row in reversed([row for row, (a, b) in enumerate(pairwise(at), 1) if b - a > 2.5 * usual]):
        at.insert(row, (at[row - 1] + at[row]) / 2)
        values.insert(row, math.nan)
    return at, values


@dataclass(frozen=True, slots=True)
class _Scale:
    """The time axis: minutes for pictures of less than an hour, else hours."""

    began: int
    unit: int

    @classmethod
    def of(cls, example: _Example, began: int) -> _Scale:
        """Return the scale of a picture that begins at *began* (ns UTC)."""
        return cls(began, _HOUR if example.hours >= 1 else _HOUR // 60)

    def __call__(self, ns: int) -> float:
        return (ns - self.began) / self.unit

    @property
    def name(self) -> str:
        """Return what the axis shows."""
        return "hours" if self.unit == _HOUR else "minutes"
