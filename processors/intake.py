"""This module is the intake: it reads the log and judges what fits into one batch, in the judge's thread."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import structlog

from core.entry import LogEntry
from core.errors import MalformedPayload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.clock import Clock
    from core.ports import LogConsumer
    from processors.lookup import SeriesLookup
    from processors.metrics import ProcessorMetrics
    from processors.pipeline import Effects
    from processors.restart import Start
    from processors.settings import ProcessorSettings

__all__ = ["Cycle", "Intake"]


@dataclass(frozen=True, slots=True, eq=False)
class Cycle:
    """What one visit to the log brought, and whether more waits there."""

    effects: Effects | None
    is_more: bool


class Intake:
    """Goes through the log with the pipeline of *start*; one thread at a time."""

    def __init__(
        self,
        start: Start,
        log: LogConsumer,
        lookup: SeriesLookup,
        *,
        settings: ProcessorSettings,
        clock: Clock,
        metrics: ProcessorMetrics,
    ) -> None:
        self._start = start
        self._log = log
        self._lookup = lookup
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._waiting: deque[tuple[int, LogEntry]] = deque()
        self._lag_shown = 0.0
        self._indices_shown = -1
        self.pipeline = start.pipeline
        self.read_to = start.pipeline.position

    def visit(self) -> Cycle:
        """Read and judge what fits into one batch.

        Raises:
            Unavailable: log or catalog are away; the same entries come with the next call.
        """
        limit = self._settings.cycle_entries
        is_more = True
        if not self._waiting:
            found = self._log.read(self.read_to, limit)
            is_more = len(found) == limit
            for position, data in found:
                self.read_to = position
                try:
                    self._waiting.append((position, LogEntry.from_bytes(data)))
                except MalformedPayload as error:
                    self._metrics.damaged.inc()
                    structlog.get_logger().error(
                        "log entry is damaged and left out", position=position, error=error.detail
                    )
        entries = self._next_entries()
        if not entries:
            self._show(0)
            return Cycle(None, is_more=False)
        with self._metrics.cycle.time():
            self._lookup.ensure({i for _, e in entries for i in np.unique(e.batch.series).tolist()})
            effects = self.pipeline.process(entries)
        for _ in entries:
            self._waiting.popleft()
        self._metrics.entries.inc(len(entries))
        self._metrics.readings.inc(len(effects.batch))
        self._show(effects.logged)
        return Cycle(effects, is_more=is_more or bool(self._waiting))

    def renew(self, declared: Mapping[str, float | None]) -> bool:
        """Judge from here on by these declared intervals (s) of devices; tell whether that changes anything."""
        changed = self._lookup.renew(declared)
        for series in changed:
            self.pipeline.expect(series)
        return bool(changed)

    def _next_entries(self) -> list[tuple[int, LogEntry]]:
        """Return the next batch; it never reaches across a position that a store or the live feed starts from."""
        cuts = {self._start.series, self._start.journal, self._start.head}
        entries: list[tuple[int, LogEntry]] = []
        readings = 0
        for position, entry in self._waiting:
            readings += len(entry.batch)
            if entries and readings > self._settings.cycle_readings:
                break
            entries.append((position, entry))
            if position in cuts:
                break
        return entries

    def _show(self, logged: int) -> None:
        metrics = self._metrics
        metrics.position.set(self.pipeline.position)
        metrics.machines.set(len(self.pipeline.life))
        metrics.machines_refused.set(self.pipeline.life.refused)
        metrics.flapping_refused.set(self.pipeline.devices.refused)
        metrics.liveness_refused.set(self.pipeline.unwatched)
        for finding, count in self.pipeline.devices.counts.items():
            metrics.devices_off.labels(finding).set(count)
        self._show_judge()
        self._show_indices()
        metrics.lag_seconds.set(max(self._clock.now_ns() - logged, 0) / 1e9 if logged else 0)
        if self._clock.monotonic() - self._lag_shown >= 1.0:
            self._lag_shown = self._clock.monotonic()
            metrics.lag_entries.set(max(self._log.head() - self.read_to + len(self._waiting), 0))

    def _show_judge(self) -> None:
        metrics, judge = self._metrics, self.pipeline.judge
        blackouts, events = judge.standing
        metrics.incidents.labels("blackout").set(blackouts)
        metrics.incidents.labels("event").set(events)
        metrics.joined.set(judge.joined)
        metrics.held.set(judge.held)
        metrics.budget_refused.set(judge.budgets.refused)
        metrics.calibration_refused.set(judge.calibration.refused)
        metrics.peer_rounds.set(judge.rounds)
        metrics.peers_refused.set(judge.peers_refused)
        for (rule, district), severity in judge.floors.items():
            metrics.needed.labels(rule, district).set(severity)

    def _show_indices(self) -> None:
        indices = self.pipeline.indices
        if indices is None or indices.changes == self._indices_shown:
            return
        self._indices_shown = indices.changes
        gauge, windows = self._metrics.district_index, indices.windows
        gauge.clear()
        for (district, name), (_, index) in indices.current.items():
            gauge.labels(district, name).set(index.value)
        self._metrics.windows_late.set(windows.late)
        self._metrics.windows_late_groups.set(windows.late_groups)
        self._metrics.windows_folded.set(windows.folded)
        self._metrics.windows_refused.set(windows.refused + windows.refused_groups)
