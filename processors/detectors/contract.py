"""This module is what the pipeline may expect of a detector: the reasons, the scores, and the promises.

A detector scores a reading with what it knew *before* that reading, then learns it. Its state and its scores are a
function of the readings per series in order, never of how they were cut into batches, to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Detector", "Reason", "Scores"]


class Reason(IntEnum):
    """Which channel of a detector spoke loudest; as evidence code `novelty.<lower name>`."""

    RANGE = 0  # a value outside everything seen so far
    SEASON = 1  # unusual for this hour
    SUSTAIN = 2  # off the hour's usual course for a while
    SHIFT = 3  # the level moved
    NOISE = 4  # it scatters more than before
    FLAT = 5  # it repeats one value for longer than ever
    JUMP = 6  # a sudden step
    SPIKE = 7  # the reading before stood alone

    @property
    def code(self) -> str:
        """Return the message code for evidence.

        >>> Reason.SEASON.code
        'novelty.season'
        """
        return f"novelty.{self.name.lower()}"


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What a detector says of N readings, as columns aligned with them.

    Attributes:
        severity: float32[N], 0 = nothing, >= 1 = alert level; after hysteresis, so one incident speaks once.
        raw: float32[N], the same before hysteresis: says whether the condition still holds.
        reason: int8[N], a `Reason`; meaningless where `raw` is 0.
        expected: float32[N], what the series' profile says for this hour; NaN where not known yet.
        low: float32[N], lower end of the expected band; NaN where not known yet.
        high: float32[N], upper end of it.
    """

    severity: NDArray[np.float32]
    raw: NDArray[np.float32]
    reason: NDArray[np.int8]
    expected: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.severity)

    @classmethod
    def nothing(cls, n: int) -> Scores:
        """Return writable columns that say nothing of *n* readings."""
        nan = np.full((3, n), np.nan, np.float32)
        return cls(np.zeros(n, np.float32), np.zeros(n, np.float32), np.zeros(n, np.int8), nan[0], nan[1], nan[2])


class Detector(Protocol):
    """What the pipeline needs of a detector."""

    def update(self, series: NDArray[np.int32], measured: NDArray[np.int64], value: NDArray[np.float64]) -> Scores:
        """Score, then learn, N readings: series in any order, *measured* in ns, order inside a series kept."""

    def to_bytes(self) -> bytes:
        """Return the whole state, versioned; equal states give equal bytes."""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            MalformedPayload: another version, or cut short.
        """

    def bands(
        self, series: NDArray[np.int32], hour: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return (expected, low, high), float32[M] each, of *series* in *hour* (hours since the epoch, UTC)."""
