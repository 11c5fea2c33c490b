"""This module is the standard profile of NAB under the name that it had before `bench.scoreboard.nab`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.scoreboard.nab import NabFile, load, sweep

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["NabFile", "load", "score"]


def score(files: Sequence[NabFile], severity: Sequence[NDArray[np.floating]]) -> tuple[float, float]:
    """Return (score, threshold) at the best single threshold."""
    best = sweep(files, severity)["standard"]
    return best.score, best.threshold
