"""Live frames are few, small, numbered, and forget nothing but older values."""

from __future__ import annotations

import numpy as np

from core.batch import ReadingBatch
from processors import ProcessorSettings
from processors.live import LiveGatherer
from processors.pipeline import LiveRows


def _rows(*rows: tuple[int, int, float]) -> LiveRows:
    series, measured, value = zip(*rows, strict=True)
    batch = ReadingBatch.of(series, np.array(measured) * 1_000_000, value)
    return LiveRows.newest([LiveRows(batch, np.zeros(len(rows), np.float32))])


def test_a_frame_has_the_newest_row_per_series_and_the_next_has_none() -> None:
    gatherer = LiveGatherer("e", ProcessorSettings())
    gatherer.add_rows(_rows((2, 5, 1.0), (1, 5, 2.0), (2, 7, 3.0), (2, 6, 4.0)))
    gatherer.add_rows(_rows((1, 5, 5.0)))  # the same time again: the last one wins

    frame = gatherer.frame(9_000_000)

    assert frame is not None
    assert (frame.epoch, frame.n, frame.sent) == ("e", 1, 9)
    assert (frame.series, frame.measured, frame.value) == ([1, 2], [5, 7], [5.0, 3.0])
    assert gatherer.frame(10_000_000) is None


def test_as_many_rows_as_fit_go_and_one_more_waits_for_the_next_frame() -> None:
    gatherer = LiveGatherer("e", ProcessorSettings(live_rows=3))
    gatherer.add_rows(_rows(*((series, 1, 0.0) for series in range(4))))

    first = gatherer.frame(0)
    gatherer.add_rows(_rows((3, 2, 9.0)))
    second = gatherer.frame(0)

    assert first is not None
    assert second is not None
    assert (first.series, second.series, second.value) == ([0, 1, 2], [3], [9.0])
    assert (first.n, second.n) == (1, 2)


def test_a_frame_that_says_nothing_tells_that_we_are_there() -> None:
    gatherer = LiveGatherer("e", ProcessorSettings(live_heartbeat_seconds=2))

    frames = [gatherer.frame(int(second * 1e9)) for second in (100, 101.9, 102, 103)]

    assert [frame and (frame.n, frame.series) for frame in frames] == [(1, []), None, (2, []), None]


def test_as_many_alerts_as_fit_go_and_one_more_waits() -> None:
    gatherer = LiveGatherer("e", ProcessorSettings(live_alerts=2))
    gatherer.add_alerts(["a", "b", "a", "c"])

    frames = [gatherer.frame(0), gatherer.frame(0), gatherer.frame(0)]

    assert [frame and frame.alerts for frame in frames] == [["a", "b"], ["c"], None]


def test_of_a_device_that_comes_and_goes_the_last_word_counts() -> None:
    gatherer = LiveGatherer("e", ProcessorSettings())
    gatherer.add_devices(["x", "y"], [])
    gatherer.add_devices([], ["x"])

    frame = gatherer.frame(0)

    assert frame is not None
    assert (frame.online, frame.offline) == (["y"], ["x"])
