"""This module processes a whole log afresh, to say what state and effects an uninterrupted run would have had."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from core.entry import LogEntry
from core.errors import MalformedPayload
from processors.alerting.rules import load_rules
from processors.indices import DistrictIndices
from processors.lookup import SeriesLookup
from processors.pipeline import Pipeline
from processors.standard import StandardParts

if TYPE_CHECKING:
    from core.ports import LogConsumer, Registry
    from processors.settings import ProcessorSettings

__all__ = ["Replay", "replay_log"]

_ENTRIES = 256


@dataclass(frozen=True, slots=True)
class Replay:
    """What a fresh run over the log comes to. `events` counts alert events by kind."""

    position: int
    state_hash: str
    readings: int
    damaged: int
    alerts: int
    events: dict[str, int] = field(default_factory=dict)


def replay_log(
    log: LogConsumer, registry: Registry, settings: ProcessorSettings, *, until: int | None = None
) -> Replay:
    """Process *log* from its beginning up to position *until* (its head by default); stores nothing.

    Raises:
        Unavailable: log or registry is away.
        SettingsError: the rules are wrong.
    """
    lookup = SeriesLookup(registry)
    pipeline = Pipeline(
        parts=StandardParts(lookup.where, limits=settings.limits, peers=settings.peers, liveness=settings.liveness),
        book=load_rules(settings.rules_path),
        settings=settings,
        lookup=lookup.get,
        indices=DistrictIndices.wanted(settings.windows),
    )
    end = log.head() if until is None else until
    readings, damaged, at = 0, 0, 0
    kinds: Counter[str] = Counter()
    while at < end and (found := log.read(at, min(_ENTRIES, end - at))):
        entries: list[tuple[int, LogEntry]] = []
        for position, data in found:
            at = position
            if position > end:
                break
            try:
                entries.append((position, LogEntry.from_bytes(data)))
            except MalformedPayload:
                damaged += 1
        lookup.ensure({i for _, e in entries for i in np.unique(e.batch.series).tolist()})
        effects = pipeline.process(entries)
        readings += len(effects.batch)
        kinds.update(event.kind for event in effects.events)
    return Replay(pipeline.position, pipeline.state_hash(), readings, damaged, kinds["raised"], dict(kinds))
