"""This module is the seam between the pipeline and what judges single readings: checks, detector, liveness."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.batch import ReadingBatch
    from core.city import Series
    from processors.detectors.contract import Scores
    from processors.liveness import Sign
    from processors.peers import PeerBank, Round

__all__ = ["Parts"]


class Parts(Protocol):
    """What the pipeline needs; state and answers depend on the readings per series in order, never on batches."""

    def learn(self, series: Series) -> None:
        """Take note of a series before its first reading."""

    def expect(self, series: int, interval_seconds: float | None) -> None:
        """Judge the silence of a series by another declared interval from now on; None: by what was learned."""

    def judge(self, batch: ReadingBatch, heard: int) -> tuple[ReadingBatch, Scores]:
        """Return *batch* with its final quality, and the detector's scores of it.

        *heard* is the tick (log time, ns) in whose second the batch was logged.
        """

    def tick(self, now: int) -> Sequence[Sign]:
        """Return at log time *now* (ns) who fell silent or late, and who no longer is."""

    @property
    def peers(self) -> PeerBank | None:
        """Return who stands beside whom; it changes at ticks only. None: nothing is known of places."""

    def compare(self, now: int) -> Round | None:
        """Return at log time *now* (ns), after `tick`, what a comparison with neighbours found, if one was due."""

    def overdue(self, now: int) -> Mapping[str, int]:
        """Return the devices whose next word is late at log time *now*, and when each was heard last (ns)."""

    def interval(self, device: str) -> int:
        """Return how often (ns) a reading of *device* is expected, 0 = not known."""

    def lagging(self) -> Sequence[str]:
        """Return the devices that were late at the last tick, or about to be."""

    @property
    def unwatched(self) -> int:
        """Return how many readings were of series beyond those whose silence is watched."""

    def to_bytes(self) -> list[bytes]:
        """Return the states; equal states give equal bytes."""

    def restore(self, data: list[bytes]) -> None:
        """Take over what `to_bytes` returned.

        Raises:
            MalformedPayload: another version, or cut short.
        """
