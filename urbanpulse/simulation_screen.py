"""This module is what a person or a script sees of a simulation: a live view, plain lines or JSON lines, and its end.

On a terminal a scenario has a live view; elsewhere a line now and then; with `--json` an object a line: `progress`
while it runs, one `summary` at the end. The demo city says a line a phase, and `up` reads its JSON.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Self

import structlog
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from core.clock import from_ns
from simulators.layout import UTC_OFFSET_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from core.clock import Clock
    from simulators import Progress
    from simulators.run import Summary
    from simulators.scenarios import Scenario

__all__ = ["DemoLines", "JsonScreen", "LineScreen", "LiveScreen", "new_screen"]

_LINE_SECONDS = 5.0
_RATE_SECONDS = 5.0
_BEHIND = 0.9
"""Below this share of the wanted speed a run is said to have fallen behind."""
_SHOWN = 4
"""Active faults that are named; the rest is counted."""


def new_screen(scenario: Scenario, *, speed: float, wire: str, clock: Clock, as_json: bool) -> LineScreen:
    """Return the screen that fits where the output goes."""
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    kind = JsonScreen if as_json else LiveScreen if console.is_terminal else LineScreen
    return kind(console, scenario, speed=speed, wire=wire, clock=clock)


class DemoLines:
    """Says how the demo city stands: JSON lines for `up`, one line a phase for people."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._phase = ""
        self._console = Console()

    def __call__(self, progress: Progress) -> None:
        """Tell *progress*, where it is news."""
        numbers = progress.numbers
        text = {
            "connect": f"{progress.connected} of {progress.devices} devices connected",
            "backfill": f"the city's past: {progress.done} of {progress.total} reports acknowledged",
            "live": f"live: {progress.devices} devices publish",
        }.get(progress.phase, f"{progress.phase}: {numbers.acked} of {numbers.published} acknowledged")
        if self._as_json:
            live = progress.phase == "live"
            if not live or self._phase != "live":
                total = progress.total or 1
                _write({"progress": {"done": total if live else progress.done, "total": total, "text": text}})
        elif progress.phase != self._phase:
            self._console.print(text, highlight=False)
        self._phase = progress.phase


class LineScreen:
    """A line when a phase begins, and every five seconds; a context, so that the others can be one."""

    def __init__(self, console: Console, scenario: Scenario, *, speed: float, wire: str, clock: Clock) -> None:
        self._console = console
        self._title = f"{scenario.name} ({scenario.title}), seed {scenario.seed}, {wire}, {_times(speed)}"
        self._speed = speed
        self._clock = clock
        self._marks: deque[tuple[float, int, int]] = deque()  # moment, reports, messages
        self._told_at = -_LINE_SECONDS
        self._phase = ""

    def __enter__(self) -> Self:
        self._console.print(escape(self._title))
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, progress: Progress) -> None:
        """Show *progress*, if it is time."""
        rates = self._rates(progress)
        now = self._clock.monotonic()
        if progress.phase != self._phase or now - self._told_at >= _LINE_SECONDS:
            self._phase, self._told_at = progress.phase, now
            self._show(progress, *rates)

    def summary(self, summary: Summary, *, labels: Path, note: str) -> None:
        """Show what became of the run."""
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        for name, value in _facts(summary, labels, note).items():
            table.add_row(name.replace("_", " "), escape(_text(value)))
        self._console.print(table)

    def _show(self, progress: Progress, reports: float, messages: float) -> None:
        share = 100 * progress.done / progress.total if progress.total else 0
        if progress.phase == "connect":
            text = f"{progress.connected} of {progress.devices} devices connected"
        else:
            text = (
                f"{_local(progress.now)} {share:3.0f} %  {reports:.0f} reports/s in {messages:.0f} messages/s, "
                f"{progress.outstanding} unacknowledged, {progress.stored} stored, "
                f"{len(progress.faults)} faults, {len(progress.events)} events"
            )
        for more in (self._behind(progress), _trouble(progress)):
            text += f"; {more}" if more else ""
        self._console.print(f"{progress.phase}: {escape(text)}")

    def _behind(self, progress: Progress) -> str:
        slow = progress.phase == "live" and 0 < progress.speed < _BEHIND * self._speed
        return f"fell behind: {progress.speed:.0f}x of {_times(self._speed)}" if slow else ""

    def _rates(self, progress: Progress) -> tuple[float, float]:
        """Return reports and messages a second, of the last seconds."""
        numbers, now = progress.numbers, self._clock.monotonic()
        self._marks.append((now, numbers.acked + numbers.unconfirmed, numbers.messages))
        while len(self._marks) > 2 and self._marks[1][0] < now - _RATE_SECONDS:
            self._marks.popleft()
        then, reports, messages = self._marks[0]
        seconds = now - then or 1.0
        return (self._marks[-1][1] - reports) / seconds, (numbers.messages - messages) / seconds


class LiveScreen(LineScreen):
    """A view that renews itself, on a terminal; what is logged meanwhile stands above it."""

    def __enter__(self) -> Self:
        super().__enter__()
        self._live = Live(console=self._console, transient=True, auto_refresh=False)
        self._live.start()
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))  # rich's: above the view
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))

    def __call__(self, progress: Progress) -> None:
        """Show *progress*."""
        self._show(progress, *self._rates(progress))

    def _show(self, progress: Progress, reports: float, messages: float) -> None:
        numbers = progress.numbers
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        bar = ProgressBar(total=progress.total or 1, completed=progress.done, width=60)
        table.add_row(f"[dim]{progress.phase}[/]", bar)
        speed = self._behind(progress) or _times(float(f"{progress.speed:.3g}"))
        rows = {
            "city time": f"{_local(progress.now)}   {speed}" if progress.now else "",
            "devices": f"{progress.connected} of {progress.devices} connected, {numbers.reconnects} reconnects",
            "rates": f"{reports:.0f} reports/s in {messages:.0f} messages/s",
            "reports": f"{numbers.published} sent, {numbers.acked} acknowledged"
            + (f", {numbers.unconfirmed} sent with QoS 0" if numbers.unconfirmed else ""),
            "waiting": f"{progress.outstanding} messages unacknowledged, {progress.stored} stored",
            "faults": _named(progress.faults),
            "events": _named(progress.events),
            "trouble": _trouble(progress),
        }
        for name, text in rows.items():
            if text or name in {"faults", "events"}:
                table.add_row(f"[dim]{name}[/]", escape(text or "none"))
        self._live.update(table, refresh=True)


class JsonScreen(LineScreen):
    """An object a line, for scripts."""

    def __enter__(self) -> Self:
        return self

    def summary(self, summary: Summary, *, labels: Path, note: str) -> None:
        """Write what became of the run."""
        _write({"summary": _facts(summary, labels, note)})

    def _show(self, progress: Progress, reports: float, messages: float) -> None:
        numbers = progress.numbers
        text = f"{progress.phase}: {numbers.acked + numbers.unconfirmed} of {numbers.published} reports acknowledged"
        _write(
            {
                "progress": {
                    "phase": progress.phase,
                    "done": progress.done,
                    "total": progress.total,
                    "text": text,
                    "time": from_ns(progress.now).isoformat(timespec="milliseconds"),
                    "speed": round(progress.speed, 3),
                    "reports_per_second": round(reports, 1),
                    "messages_per_second": round(messages, 1),
                    "connected": progress.connected,
                    "devices": progress.devices,
                    "outstanding": progress.outstanding,
                    "stored": progress.stored,
                    "reconnects": numbers.reconnects,
                    "refusals": numbers.refusals,
                    "refusal": numbers.refusal,
                    "faults": list(progress.faults),
                    "events": list(progress.events),
                }
            }
        )


def _facts(summary: Summary, labels: Path, note: str) -> dict[str, Any]:
    n = summary.numbers
    facts: dict[str, Any] = {
        "scenario": summary.scenario,
        "seed": summary.seed,
        "from": from_ns(summary.start).isoformat(timespec="milliseconds"),
        "to": from_ns(summary.end).isoformat(timespec="milliseconds"),
        "finished": summary.finished,
        "devices": summary.devices,
        "reports": n.published,
        "messages": n.messages,
        "acked": n.acked,
        "unconfirmed": n.unconfirmed,
        "rejected": n.rejected,
        "dropped": n.dropped,
        "skipped": n.skipped,
        "unsent": summary.unsent,
        "lost": summary.lost,
        "reconnects": n.reconnects,
        "refusals": n.refusals,
        "connect_seconds": round(summary.connect_seconds, 2),
        "seconds": round(summary.seconds, 1),
        "speed": summary.speed,
        "effective_speed": round(summary.effective_speed, 2),
        "faults": dict(summary.faults),
        "events": dict(summary.events),
        "labels": str(labels),
    }
    if n.refusal:
        facts["last_refusal"] = n.refusal
    if note:
        facts["note"] = note
    return facts


def _text(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case dict():
            return ", ".join(f"{count} {name}" for name, count in value.items()) or "none"
        case _:
            return str(value)


def _named(things: tuple[str, ...]) -> str:
    more = len(things) - _SHOWN
    return ", ".join(things[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _trouble(progress: Progress) -> str:
    n = progress.numbers
    away = progress.devices - progress.connected if progress.phase in {"live", "settle"} else 0
    facts = [f"{away} devices not connected"] if away else []
    facts += [f"{n.refusals} refusals, the last: {n.refusal}"] if n.refusals else []
    facts += [f"{n.rejected + n.dropped + n.lost} reports lost"] if n.rejected + n.dropped + n.lost else []
    return "; ".join(facts)


def _local(now: int) -> str:
    return f"{from_ns(now + UTC_OFFSET_SECONDS * 1_000_000_000):%a %Y-%m-%d %H:%M:%S}"


def _times(speed: float) -> str:
    return f"{speed:g}x"


def _write(fact: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(fact) + "\n")
    sys.stdout.flush()
