"""This module is detection on recorded series: the pipeline's own parts, over columns in place of a log.

Series know nothing of one another here: each is a device and a district of its own. Readings are taken in order of
time, in batches across many series, for that is what the parts are fast at; how they are cut changes no bit.

    severity    the detector's, after its hysteresis: 1 and more is the level of an alert
    reason      as in alerts: `novelty.season` …; `flat` for a line that stays flat too long; `range` for a value that
                the metric cannot have. These two count as severity 1 where their quality flag begins: that opens alerts
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from core.batch import ReadingBatch
from core.city import Series
from core.quality import Flag
from processors.detectors.contract import Reason
from processors.standard import StandardParts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Column = tuple[NDArray[np.int64], NDArray[np.float64]]

__all__ = ["ALERT", "REASONS", "Verdicts", "judge_series"]

ALERT = 1.0
"""The severity of an alert."""

REASONS = (*("flat" if reason is Reason.FLAT else reason.code for reason in Reason), "range")
"""By number in `Verdicts.reason`."""

_FLAT, _RANGE = REASONS.index("flat"), REASONS.index("range")
_READINGS = 2048  # of all series at once: more are no faster
_MOST_OF_ONE = 512  # more readings of one series at once are no faster


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """What is said of N readings of one series: columns aligned with them.

    Attributes:
        severity: float32[N].
        reason: int8[N], number in `REASONS`; meaningless where severity is 0.
        expected: float32[N], NaN where not known.
        low: float32[N], lower end of the expected band.
        high: float32[N], upper end of it.
    """

    severity: NDArray[np.float32]
    reason: NDArray[np.int8]
    expected: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]

    @classmethod
    def nothing(cls, n: int) -> Verdicts:
        """Return writable columns that say nothing of *n* readings."""
        expected, low, high = np.full((3, n), np.nan, np.float32)
        return cls(np.zeros(n, np.float32), np.zeros(n, np.int8), expected, low, high)

    def __len__(self) -> int:
        return len(self.severity)

    @property
    def alerts(self) -> NDArray[np.intp]:
        """Return the rows at the level of an alert."""
        return np.flatnonzero(self.severity >= ALERT)

    def reasons(self) -> dict[str, int]:
        """Return how many alerts there are by reason, most first."""
        return {REASONS[k]: n for k, n in Counter(self.reason[self.alerts].tolist()).most_common()}

    def cells(self) -> Iterator[tuple[str, str, str, str, str]]:
        """Yield severity, reason, expected, low and high of each reading as texts; empty = nothing to say."""
        for severity, reason, *band in zip(
            self.severity.tolist(), self.reason.tolist(), self.expected.tolist(), self.low.tolist(), self.high.tolist(),
            strict=True,
        ):  # fmt: skip
            expected, low, high = ("" if bound != bound else f"{bound:.7g}" for bound in band)  # noqa: PLR0124 - NaN
            # seven digits tell 1 from the float32 before it
            yield f"{severity:.7g}", REASONS[reason] if severity > 0 else "", expected, low, high


@dataclass(slots=True)
class _Walk:
    """One series on its way: which of its rows count, in order of time, and how far it is."""

    column: Column
    order: NDArray[np.intp]
    at: int = 0
    was: dict[Flag, bool] = field(default_factory=dict)  # whether its last reading had the flag
    found: Verdicts = field(default_factory=lambda: Verdicts.nothing(0))

    def next(self, count: int) -> NDArray[np.intp]:
        rows = self.order[self.at : self.at + count]
        self.at += len(rows)
        return rows


def judge_series(
    columns: Sequence[Column],
    metrics: Sequence[str],
    *,
    readings: int = _READINGS,
    tell: Callable[[int], None] | None = None,
) -> list[Verdicts]:
    """Return what the platform would have said of each of *columns*: (int64[N] ns UTC, float64[N]), in any order.

    Each row is judged with what was measured before it; of equal times, with the rows before it. Values that are not
    finite are passed over.

    Args:
        columns: one series each.
        metrics: what each is, for its limits; one that nobody knows has none.
        readings: how many are judged at once.
        tell: gets the number of readings done, now and then.
    """
    parts = StandardParts()
    walks = []
    for k, ((measured, value), metric) in enumerate(zip(columns, metrics, strict=True)):
        parts.learn(Series(k, f"series-{k}", metric, f"district-{k}"))
        rows = np.flatnonzero(np.isfinite(value))
        if len(rows) and (np.diff(measured[rows]) < 0).any():
            rows = rows[np.argsort(measured[rows], kind="stable")]
        walks.append(_Walk((measured, value), rows, found=Verdicts.nothing(len(value))))
    while active := [(k, walk) for k, walk in enumerate(walks) if walk.at < len(walk.order)]:
        count = min(max(readings // len(active), 1), _MOST_OF_ONE)
        taken = [(k, walk, walk.next(count)) for k, walk in active]
        batch = ReadingBatch.of(
            np.repeat(np.array([k for k, _, _ in taken], np.int32), [len(rows) for _, _, rows in taken]),
            np.concatenate([walk.column[0][rows] for _, walk, rows in taken]),
            np.concatenate([walk.column[1][rows] for _, walk, rows in taken]),
        )
        # nobody is silent in a file, so it does not matter when it was heard
        batch, scores = parts.judge(batch, int(batch.measured.max()))
        begin = 0
        for _, walk, rows in taken:
            part = slice(begin, begin + len(rows))
            begin += len(rows)
            for name in ("severity", "reason", "expected", "low", "high"):
                getattr(walk.found, name)[rows] = getattr(scores, name)[part]
            # a line that stays flat may be told already; a value that cannot be is that, however odd it is
            _add(walk, rows, batch.quality[part], Flag.FLAT, _FLAT, below=ALERT)
            _add(walk, rows, batch.quality[part], Flag.RANGE, _RANGE, below=np.inf)
        if tell is not None:
            tell(len(batch))
    return [walk.found for walk in walks]


def _add(
    walk: _Walk, rows: NDArray[np.intp], quality: NDArray[np.uint16], flag: Flag, reason: int, *, below: float
) -> None:
    """Say where *flag* begins, as *reason*, unless something of severity *below* is said there."""
    if not len(rows):
        return
    has = (quality & np.uint16(flag)) != 0
    begins = has & ~np.append(walk.was.get(flag, False), has[:-1])
    walk.was[flag] = bool(has[-1])
    at = rows[begins]
    at = at[walk.found.severity[at] < below]
    walk.found.severity[at] = np.maximum(walk.found.severity[at], np.float32(ALERT))
    walk.found.reason[at] = reason
