"""This module finds where to go on after a restart: the newest state that every store is at least as far as.

A state is kept only after both stores hold everything up to its position, so normally the newest one serves. When
stores or log come from different backups it may not, and then an older one, or the whole log, is taken; a log that is
shorter than what the stores already hold is refused, because they would take its entries for repeated ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from core.errors import MalformedPayload, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.ports import AlertJournal, LogConsumer, SeriesWriter, Snapshots
    from processors.pipeline import Pipeline

__all__ = ["CONSUMER", "Start", "find_start"]

CONSUMER = "processor"


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """Where processing goes on: a pipeline, the log's head, and how far the stores are."""

    pipeline: Pipeline
    head: int
    series: int
    journal: int


def find_start(
    log: LogConsumer,
    series: SeriesWriter,
    journal: AlertJournal,
    snapshots: Snapshots,
    fresh: Callable[[], Pipeline],
) -> Start:
    """Return a pipeline restored as far as possible.

    Raises:
        SettingsError: the log is shorter than what the stores hold: they do not belong together.
        Unavailable: a part is away.
    """
    logger = structlog.get_logger()
    cursor = log.cursor(CONSUMER)  # asking registers us, so that the log keeps what we have not read
    head, stored, recorded = log.head(), series.position(CONSUMER), journal.position(CONSUMER)
    for name, position in (("series store", stored), ("catalog", recorded)):
        if position > head:
            raise SettingsError(
                "data_dir",
                f"the log ends at {head} but the {name} holds entries up to {position}: they do not belong together",
            )
    for position, state in snapshots.load():
        if position > min(head, stored, recorded):
            logger.warning("snapshot is ahead of a store", position=position, series=stored, journal=recorded)
            continue
        pipeline = fresh()
        try:
            pipeline.restore(state)
        except MalformedPayload as error:
            logger.error("snapshot cannot be read", position=position, error=str(error))  # noqa: TRY400 - no trace needed
            continue
        logger.info("state restored", position=position, head=head)
        return Start(pipeline, head, stored, recorded)
    first = log.read(0, 1)
    if first and first[0][0] > 1:
        logger.error("state is lost and the log is cut: detectors start anew", first=first[0][0], head=head)
    elif cursor:
        logger.warning("no snapshot: the whole log is processed again", head=head)
    return Start(fresh(), head, stored, recorded)
