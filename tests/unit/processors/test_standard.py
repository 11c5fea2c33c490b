"""The parts put together: what one knows of another's findings."""

from __future__ import annotations

import numpy as np
import pytest

from core.batch import ReadingBatch
from core.city import Series
from processors.detectors.contract import Reason
from processors.standard import StandardParts

STEP = 300_000_000_000
START = 1_767_225_600_000_000_000
DAY = 288


@pytest.mark.parametrize(("metric", "told"), [("wind_direction", False), ("temperature", True)])
def test_a_lone_reading_means_nothing_where_the_metric_jumps_by_nature(metric: str, told: bool) -> None:
    parts = StandardParts()
    parts.learn(Series(3, "d1", metric, "x"))
    n = np.arange(10 * DAY)
    value = 20 + 8 * np.sin(2 * np.pi * n / DAY) + np.random.default_rng(1).normal(0, 0.2, len(n))
    value[9 * DAY] += 3

    batch = ReadingBatch.of(np.full(len(n), 3), START + STEP * n, value)
    _, scores = parts.judge(batch, START + STEP * len(n))

    spikes = (scores.severity >= 1) & np.isin(scores.reason, [Reason.SPIKE, Reason.NOISE])
    assert spikes.any() == told
