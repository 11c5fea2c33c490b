"""This module keeps watermarks: for each source the event time up to which it has spoken; they never go back.

A source is what shares one clock and one buffer: a device. Its watermark is the newest measured time that it sent, but
no later than when that was received: a clock that runs ahead must not close the future. A source that is silent is
carried along, so that a dead device does not hold up its district for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["UNHEARD", "Watermarks"]

UNHEARD = -(1 << 62)
"""The watermark of a source that sent nothing yet."""


class Watermarks:
    """Watermarks of sources 0, 1, 2, …; `mark` is int64 ns, one per source."""

    def __init__(self, lateness_ns: int, idle_ns: int) -> None:
        self._lateness_ns = lateness_ns
        self._idle_ns = idle_ns
        self.mark = np.empty(0, np.int64)

    def reserve(self, sources: int) -> None:
        """Make room for *sources* sources; new ones are unheard."""
        if sources > len(self.mark):
            size = max(sources, 2 * len(self.mark), 64)
            self.mark = np.concatenate([self.mark, np.full(size - len(self.mark), UNHEARD, np.int64)])

    def admit(
        self, source: NDArray[np.int32], measured: NDArray[np.int64], received: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Move the watermarks and tell which readings were not too late, bool[N], as if they came one by one."""
        before = self.mark[source]
        seen = np.minimum(measured, received)
        np.maximum.at(self.mark, source, seen)
        in_time: NDArray[np.bool_] = measured >= self.mark[source] - self._lateness_ns
        if not in_time.all():
            # a reading may be behind one that came after it: go through those sources in order
            doubtful = np.zeros(len(self.mark), bool)
            doubtful[source[~in_time]] = True
            running: dict[int, int] = {}
            for row in np.flatnonzero(doubtful[source]).tolist():
                name = int(source[row])
                mark = max(running.get(name, int(before[row])), int(seen[row]))
                running[name] = mark
                in_time[row] = measured[row] >= mark - self._lateness_ns
        return in_time

    def carry(self, now: int) -> None:
        """Carry silent sources along: no watermark lags further behind log time *now* (ns) than the idle time."""
        heard = self.mark > UNHEARD
        self.mark[heard] = np.maximum(self.mark[heard], now - self._idle_ns)

    def may_pass(self, end: int) -> bool:
        """Tell whether any source can have passed *end*: a cheap question before `passed`."""
        return bool(len(self.mark)) and int(self.mark.max()) - self._lateness_ns >= end

    def passed(self, source: NDArray[np.int32], end: NDArray[np.int64] | int) -> NDArray[np.bool_]:
        """Tell where nothing that is measured before *end* will be admitted any more, bool[N]."""
        done: NDArray[np.bool_] = self.mark.take(source) >= end + self._lateness_ns
        return done
