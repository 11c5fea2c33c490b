"""This module checks that the processor is what its log says: a fresh run over the log has the snapshot's state.

It reads only. The log must still hold its first entry: once the retention has taken entries there is nothing to
compare a snapshot with.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import TYPE_CHECKING, Any

from backends.log import SqliteLog
from backends.snapshots import FileSnapshots
from core.errors import NotFound
from processors import replay_log
from urbanpulse.clock import SystemClock
from urbanpulse.installation import prepare

if TYPE_CHECKING:
    from urbanpulse.settings import Settings

__all__ = ["compare_state"]


def compare_state(settings: Settings) -> dict[str, Any]:
    """Return position, both hashes, whether they are equal, and what the fresh run counted.

    Raises:
        NotFound: no snapshot yet, or the log's first entries are gone.
    """
    installation = prepare(settings)
    kept = FileSnapshots(installation.folder / "snapshots").load()
    if not kept:
        raise NotFound("no snapshot of the processor yet")
    position, state = kept[0]
    with (
        closing(installation.open_catalog()) as catalog,
        closing(SqliteLog(installation.folder / "log.sqlite", settings.log, clock=SystemClock())) as log,
    ):
        first = log.read(0, 1)
        if not first or first[0][0] != 1:
            raise NotFound("the log's first entries are gone (log.retention_hours): nothing to compare with")
        fresh = replay_log(log, catalog.registry, settings.processor, until=position)
    snapshot = hashlib.sha256(state).hexdigest()  # as Pipeline.state_hash does
    return {
        "position": position,
        "snapshot": snapshot,
        "fresh": fresh.state_hash,
        "equal": snapshot == fresh.state_hash,
        "readings": fresh.readings,
        "alerts": fresh.alerts,
        "damaged": fresh.damaged,
    }
