"""This module puts the checks, the novelty bank and the liveness watch together for the pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.errors import MalformedPayload
from core.metrics import metric
from core.quality import Flag
from processors.detectors.contract import Reason
from processors.detectors.novelty import NoveltyBank
from processors.limits import LimitTable
from processors.liveness import Liveness
from processors.peers import PeerBank
from processors.quality import QualityCheck

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from core.batch import ReadingBatch
    from core.city import Device, Series
    from processors.detectors.contract import Scores
    from processors.detectors.settings import LivenessSettings
    from processors.liveness import Sign
    from processors.peer_settings import PeerSettings
    from processors.peers import Round
    from processors.quality_settings import MetricLimits

__all__ = ["StandardParts"]

_PARTS = (3, 4)  # a state from before there were peers goes on without theirs


class StandardParts:
    """The parts that judge single readings; see `processors.parts.Parts`."""

    def __init__(
        self,
        where: Callable[[str], Device | None] | None = None,
        *,
        limits: Mapping[str, MetricLimits] | None = None,
        peers: PeerSettings | None = None,
        liveness: LivenessSettings | None = None,
    ) -> None:
        """Make parts that know nothing yet.

        *where* tells where a device stands, if that is known; *limits* of metrics go before the table of metrics;
        *peers* and *liveness* go before the settings of a state that is restored.
        """
        self._where = where
        self._peer_settings = peers
        self._peers = PeerBank(peers)
        self._novelty = NoveltyBank()
        self._quality = QualityCheck()
        self._liveness_settings = liveness
        self._liveness = Liveness(liveness)
        self._devices: dict[int, str] = {}
        self._is_assigned = True
        self._limits = LimitTable(limits)
        self._restless = np.zeros(0, bool)  # by series id

    def learn(self, series: Series) -> None:
        """Take note of the limits of a series, and of how often it reports."""
        self._peers.place(series, self._where(series.device) if self._where else None)
        self._devices[series.id] = series.device
        self._is_assigned = False
        self._limits.learn(series)
        if series.id >= len(self._restless):
            self._restless = np.append(self._restless, np.zeros(series.id + 1, bool))
        self._restless[series.id] = metric(series.metric).restless
        if series.interval_seconds is not None:
            self.expect(series.id, series.interval_seconds)

    def expect(self, series: int, interval_seconds: float | None) -> None:
        """Take note that a series is declared to report at another interval, None: at none."""
        self._liveness.expect(series, interval_seconds or 0.0)

    def judge(self, batch: ReadingBatch, heard: int) -> tuple[ReadingBatch, Scores]:
        """Score, flag and learn *batch*, logged in the second that begins at *heard* (ns)."""
        self._assign()
        self._liveness.hear(batch, heard)
        strange = self._peers.hear(batch)
        scores = self._novelty.update(batch.series, batch.measured, batch.value)
        by_nature = self._restless[batch.series] & ((scores.reason == Reason.NOISE) | (scores.reason == Reason.SPIKE))
        scores.severity[by_nature] = scores.raw[by_nature] = 0
        quality = self._quality.judge(batch, self._limits, scores)
        quality[strange] |= np.uint16(Flag.NEIGHBOUR)
        return batch.with_quality(quality), scores

    def tick(self, now: int) -> Sequence[Sign]:
        """Return who fell silent or late, and who no longer is."""
        self._assign()
        return self._liveness.tick(now)

    @property
    def peers(self) -> PeerBank:
        """Return who stands beside whom."""
        return self._peers

    def compare(self, now: int) -> Round | None:
        """Return what a comparison with neighbours found, if one was due."""
        return self._peers.close(now)

    def overdue(self, now: int) -> Mapping[str, int]:
        """Return the devices whose next word is late, and when each was heard last."""
        return self._liveness.overdue(now)

    def interval(self, device: str) -> int:
        """Return how often a reading of *device* is expected, ns."""
        self._assign()
        return self._liveness.interval_ns(device)

    def lagging(self) -> Sequence[str]:
        """Return the devices that were late at the last tick, or about to be."""
        return self._liveness.lagging()

    @property
    def unwatched(self) -> int:
        """Return how many readings were of series beyond those whose silence is watched."""
        return self._liveness.refused

    def to_bytes(self) -> list[bytes]:
        """Return the states."""
        return [part.to_bytes() for part in (self._novelty, self._quality, self._liveness, self._peers)]

    def restore(self, data: list[bytes]) -> None:
        """Take over what `to_bytes` returned; limits come again through `learn`."""
        if len(data) not in _PARTS:
            raise MalformedPayload("bad_state", f"{len(data)} parts: {max(_PARTS)} expected")
        self._novelty = NoveltyBank.from_bytes(data[0])
        self._quality = QualityCheck.from_bytes(data[1])
        self._liveness = Liveness.from_bytes(data[2], self._liveness_settings)
        if len(data) == max(_PARTS):
            self._peers = PeerBank.from_bytes(data[3], self._peer_settings)

    def _assign(self) -> None:
        if not self._is_assigned:
            self._liveness.assign(self._devices)
            self._is_assigned = True
