"""This module puts the checks, the novelty bank and the liveness watch together for the pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import MalformedPayload
from processors.detectors.novelty import NoveltyBank
from processors.limits import LimitTable
from processors.liveness import Liveness
from processors.quality import QualityCheck

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.batch import ReadingBatch
    from core.city import Series
    from processors.detectors.contract import Scores
    from processors.liveness import Back, Gap
    from processors.quality_settings import MetricLimits

__all__ = ["StandardParts"]


class StandardParts:
    """The parts that judge single readings; see `processors.parts.Parts`."""

    def __init__(self, *, limits: Mapping[str, MetricLimits] | None = None) -> None:
        """Make parts that know nothing yet; *limits* of metrics go before the table of metrics."""
        self._novelty = NoveltyBank()
        self._quality = QualityCheck()
        self._liveness = Liveness()
        self._devices: dict[int, str] = {}
        self._is_assigned = True
        self._limits = LimitTable(limits)

    def learn(self, series: Series) -> None:
        """Take note of the limits of a series."""
        self._devices[series.id] = series.device
        self._is_assigned = False
        self._limits.learn(series)

    def judge(self, batch: ReadingBatch, heard: int) -> tuple[ReadingBatch, Scores]:
        """Score, flag and learn *batch*, logged in the second that begins at *heard* (ns)."""
        self._assign()
        self._liveness.hear(batch, heard)
        scores = self._novelty.update(batch.series, batch.measured, batch.value)
        return batch.with_quality(self._quality.judge(batch, self._limits, scores)), scores

    def tick(self, now: int) -> Sequence[Gap | Back]:
        """Return who fell silent and who was heard again."""
        self._assign()
        return self._liveness.tick(now)

    def to_bytes(self) -> list[bytes]:
        """Return the states."""
        return [self._novelty.to_bytes(), self._quality.to_bytes(), self._liveness.to_bytes()]

    def restore(self, data: list[bytes]) -> None:
        """Take over what `to_bytes` returned; limits come again through `learn`."""
        if len(data) != 3:
            raise MalformedPayload("bad_state", f"{len(data)} parts: 3 expected")
        self._novelty = NoveltyBank.from_bytes(data[0])
        self._quality = QualityCheck.from_bytes(data[1])
        self._liveness = Liveness.from_bytes(data[2])

    def _assign(self) -> None:
        if not self._is_assigned:
            self._liveness.assign(self._devices)
            self._is_assigned = True
