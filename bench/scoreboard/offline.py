"""This module runs a simulated city through the whole pipeline without a broker: columns in, alert events out.

Log time goes on every ten seconds, so ticks, silence and cool-down are those of a running platform. What the gateway
does with a reading (late ones are marked, repeated ones are dropped) is done here in two lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.alerts import EventKind, apply
from core.batch import ReadingBatch
from core.city import Series
from core.entry import LogEntry
from core.quality import Flag
from processors.alerting.rules import load_rules
from processors.pipeline import Pipeline
from processors.settings import ProcessorSettings
from processors.standard import StandardParts
from simulators.fast import FastRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from core.alerts import Alert, AlertEvent
    from simulators.faults import FaultPlan
    from simulators.world import World

__all__ = ["DAY", "START", "OfflineCity", "alerts_of"]

DAY = 86_400_000_000_000
START = 1_767_225_600_000_000_000  # 2026-01-01
_SECOND = 1_000_000_000
_ENTRY = 10 * _SECOND  # less than what liveness takes for a pause
_COMMIT = 6  # entries of which the last one has the readings of all: a tick costs less than a batch
_LATE = 300 * _SECOND  # as the gateway's default


class OfflineCity:
    """One city and its processor. `feed` in order of time; `state` and `restore` make a second try possible."""

    def __init__(self, world: World) -> None:
        self.series = [
            Series(k, device, metric, world.devices[device].district) for k, (device, metric) in enumerate(world.series)
        ]
        self._id = {(each.device, each.metric): each.id for each in self.series}
        self.pipeline = Pipeline(
            parts=StandardParts(world.devices.get), book=load_rules(None),
            settings=ProcessorSettings.model_validate({}), lookup=self.series.__getitem__,
        )  # fmt: skip

    def restore(self, state: bytes) -> None:
        """Go on from the *state* that another one's pipeline gave."""
        self.pipeline.restore(state)

    def feed(self, world: World, plan: FaultPlan, begin: int, end: int, interval: float) -> list[AlertEvent]:
        """Process what all devices say from *begin* until just before *end* (ns UTC), every *interval* seconds."""
        events: list[AlertEvent] = []
        # a plain run may be cut, one in which messages are held back may not
        step = end - begin if plan.faults else DAY
        for first in range(begin, end, step):
            run = FastRun(world, plan, first, min(first + step, end), interval)
            for entries in self._entries(run):
                numbered = [(self.pipeline.position + n, entry) for n, entry in enumerate(entries, 1)]
                events += self.pipeline.process(numbered).events
        return events

    def _entries(self, run: FastRun) -> Iterator[list[LogEntry]]:
        ids: list[NDArray[np.int32]] = []
        times: list[NDArray[np.int64]] = []
        arrived: list[NDArray[np.int64]] = []
        values: list[NDArray[np.float64]] = []
        for device in run.world.devices:
            for columns in run.columns(device):
                ids.append(np.full(len(columns.value), self._id[columns.device, columns.metric], np.int32))
                times.append(columns.measured)
                arrived.append(columns.received)
                values.append(columns.value)
        column, value = np.concatenate(ids), np.concatenate(values)
        measured, received = np.concatenate(times), np.concatenate(arrived)
        order = np.lexsort((measured, received))
        _, first = np.unique(np.stack([column[order], measured[order]]), axis=1, return_index=True)
        order = order[np.sort(first)]
        column, measured, received, value = column[order], measured[order], received[order], value[order]
        late = np.where(received - measured > _LATE, np.uint16(Flag.LATE), np.uint16(0))
        # what was held back may come after the end
        edges = np.arange(run.start, max(run.end, int(received[-1]) + 1) + _COMMIT * _ENTRY, _ENTRY)
        cuts = np.searchsorted(received, edges)
        entries = []
        for n in range(1, len(edges)):
            is_commit = n % _COMMIT == 0
            part = slice(int(cuts[n - _COMMIT]), int(cuts[n])) if is_commit else slice(0, 0)
            batch = ReadingBatch.of(
                column[part], measured[part], value[part], received=received[part], quality=late[part]
            )
            entries.append(LogEntry(int(edges[n]), batch))
            if len(entries) == 60 * _COMMIT:
                yield entries
                entries = []
        yield entries


def alerts_of(events: list[AlertEvent]) -> list[Alert]:
    """Return what *events* come to."""
    alerts: dict[str, Alert] = {}
    for event in events:
        if event.kind is EventKind.RAISED or event.alert in alerts:
            alerts[event.alert] = apply(alerts.get(event.alert), event)
    return list(alerts.values())
