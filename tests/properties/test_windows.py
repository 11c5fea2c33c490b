"""Properties of windows: order, cuts and restarts change nothing; what they say is what a plain sum says."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.batch import ReadingBatch
from core.city import Series
from core.errors import MalformedPayload
from core.quality import Flag
from processors.windows import DAY, MINUTE, WIDTHS, Windows, WindowSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from processors.windows import Closed, WindowRows

START = 1_767_225_600_000_000_000 - 3600 * 10**9  # an hour before midnight
SECOND = 10**9
LATENESS = 300
OFFSET = 90  # minutes: days begin at 22:30 UTC
SERIES = (
    Series(7, "a", "pm25", "north"),
    Series(8, "a", "no2", "north"),
    Series(9, "b", "pm25", "north"),
    Series(4099, "c", "pm25", "south"),
)
SETTINGS = WindowSettings(lateness_seconds=LATENESS, idle_seconds=LATENESS, utc_offset_minutes=OFFSET)


@dataclass(frozen=True)
class Reading:
    """One reading, and by how many seconds the way delays it in one order and in another."""

    series: int
    at: int
    value: float
    flags: int
    delays: tuple[int, int]


VALUES = st.one_of(
    st.floats(-1e9, 1e9, allow_nan=False), st.sampled_from((0.1, 0.2, 0.3, 1e-9, -0.0, 1e12, 5e-324, 2.0**40))
)
READINGS = st.lists(
    st.builds(
        Reading,
        series=st.sampled_from([s.id for s in SERIES]),
        at=st.integers(0, 7200) | st.integers(0, 60),
        value=VALUES,
        flags=st.sampled_from((0, 0, 0, int(Flag.RANGE), int(Flag.SUSPECT), int(Flag.CONFLICT))),
        delays=st.tuples(st.integers(0, LATENESS), st.integers(0, LATENESS)),
    ),
    max_size=60,
)


def batch_of(readings: Sequence[Reading]) -> ReadingBatch:
    """Received a fixed moment after it was measured, however it travelled; equal times differ by value only."""
    return ReadingBatch.of(
        [r.series for r in readings],
        [START + r.at * SECOND for r in readings],
        [r.value for r in readings],
        received=[START + r.at * SECOND for r in readings],
        quality=[r.flags for r in readings],
    )


def fresh() -> Windows:
    windows = Windows(SETTINGS)
    for series in SERIES:
        windows.learn(series)
    return windows


def rows(windows: Windows, closed: Iterable[Closed]) -> dict[tuple[object, ...], tuple[object, ...]]:
    """Return {(what, width, start): bits of the row}; a window that is told twice fails."""
    found: dict[tuple[object, ...], tuple[object, ...]] = {}

    def add(part: WindowRows, names: Sequence[object]) -> None:
        for k in range(len(part)):
            key = (names[int(part.key[k])] if names else int(part.key[k]), int(part.width[k]), int(part.start[k]))
            assert key not in found
            values = (part.mean[k], part.low[k], part.high[k], part.last[k])
            found[key] = (int(part.n[k]), int(part.left_out[k]), *(float(value).hex() for value in values))

    for part in closed:
        add(part.series, ())
        add(part.groups, windows.groups)
    return found


def run(
    readings: Sequence[Reading], which: int, cuts: Sequence[int] = (), *, resume: bool = False
) -> tuple[dict[tuple[object, ...], tuple[object, ...]], Windows]:
    """Play *readings* in one of their orders, in batches that end at *cuts*; log time ends a batch at each minute."""
    ordered = sorted(readings, key=lambda r: r.at + r.delays[which])
    windows, told = fresh(), []
    waiting: list[Reading] = []
    for k, reading in enumerate(ordered):
        now = START + (reading.at + reading.delays[which]) * SECOND
        if waiting and (k in cuts or now // MINUTE > windows_minute(windows)):
            windows.update(batch_of(waiting))
            waiting = []
        if (closed := windows.advance(now)) is not None:
            told.append(closed)
            if resume:
                groups = windows.groups
                windows = Windows.from_bytes(windows.to_bytes())
                assert windows.groups == groups
                for series in SERIES:
                    windows.learn(series)
        waiting.append(reading)
    if waiting:
        windows.update(batch_of(waiting))
    assert (windows.late, windows.refused, windows.late_groups) == (0, 0, 0)
    return rows(windows, [*told, windows.look()]), windows


def windows_minute(windows: Windows) -> int:
    """Return the minute that was settled last."""
    return windows._minute


@given(READINGS)
@settings(max_examples=150)
def test_any_shuffle_within_the_lateness_bound_gives_identical_windows(readings: list[Reading]) -> None:
    """Bit for bit, for series, districts and sectors; each window is told once."""
    first, _ = run(readings, 0)
    second, _ = run(readings, 1)

    assert first == second


@given(READINGS, st.lists(st.integers(0, 60)))
@settings(max_examples=100)
def test_cuts_and_restarts_change_nothing(readings: list[Reading], cuts: list[int]) -> None:
    """One batch a minute, many batches, resumed from its state each minute: the same windows and the same state."""
    whole, left = run(readings, 0)
    cut, right = run(readings, 0, range(len(readings)))
    some, _ = run(readings, 0, cuts)
    resumed, again = run(readings, 0, cuts, resume=True)

    assert whole == cut == some == resumed
    assert left.to_bytes() == right.to_bytes() == again.to_bytes()


@given(READINGS)
@settings(max_examples=150)
def test_windows_are_plain_sums(readings: list[Reading]) -> None:
    """An independent sum in fractions says the same, duplicates once, flagged ones left out."""
    found, _ = run(readings, 0)

    expected = by_hand(readings)
    assert expected.keys() == {(k[0] if isinstance(k[0], int) else tuple(vars_of(k[0])), *k[1:]) for k in found}
    for key, row in found.items():
        name = key[0] if isinstance(key[0], int) else tuple(vars_of(key[0]))
        n, left_out, mean, low, high = expected[name, key[1], key[2]]
        assert row[:2] == (n, left_out)
        values = [float.fromhex(str(text)) for text in row[2:5]]
        if not n:
            assert all(math.isnan(value) for value in values)
            continue
        assert abs(Fraction(values[0]) - mean) <= Fraction(1, 10**9) + abs(mean) / 2**50
        assert (values[1], values[2]) == (low, high)


def vars_of(group: object) -> tuple[str, str, str]:
    """Return the three words of a group."""
    return group.scope, group.name, group.metric  # type: ignore[attr-defined]


def weight(reading: Reading) -> tuple[bool, float, bool]:
    """Return what decides between readings of one series and time."""
    return bool(reading.flags & Flag.CONFLICT), reading.value, not reading.flags & Flag.RANGE


def by_hand(readings: Sequence[Reading]) -> dict[tuple[object, ...], tuple[int, int, Fraction, float, float]]:
    """Sum up in fractions, in dictionaries."""
    kept: dict[tuple[int, int], Reading] = {}
    for reading in readings:
        before = kept.get((reading.series, reading.at))
        if before is None or weight(reading) >= weight(before):
            kept[reading.series, reading.at] = reading
    sectors = {"pm25": "air", "no2": "air"}
    known = {series.id: series for series in SERIES}
    sums: dict[tuple[object, ...], list[Reading]] = defaultdict(list)
    for reading in kept.values():
        series = known[reading.series]
        names = (
            series.id,
            ("district", series.district, series.metric),
            ("sector", sectors[series.metric], series.metric),
        )
        at = START + reading.at * SECOND
        for width in WIDTHS:
            offset = OFFSET * MINUTE if width == DAY else 0
            for name in names:
                sums[name, width, (at + offset) // width * width - offset].append(reading)
    result = {}
    for key, members in sums.items():
        values = [r.value for r in members if not r.flags & Flag.RANGE]
        n = len(values)
        mean = sum((Fraction(value) for value in values), Fraction(0)) / max(n, 1)
        result[key] = (n, len(members) - n, mean, min(values, default=0.0), max(values, default=0.0))
    return result


@given(READINGS, st.integers(0, 59), st.binary(max_size=8))
@settings(max_examples=60)
def test_a_damaged_state_is_refused(readings: list[Reading], cut: int, noise: bytes) -> None:
    """Cut short or with other bytes at its end it never becomes windows silently wrong in their numbers."""
    windows = fresh()
    if readings:
        windows.update(batch_of(readings))
    data = windows.to_bytes()

    for bad in (data[: len(data) * cut // 60], data + b"x", b"\x81\xa7version\x02", noise):
        with pytest.raises(MalformedPayload) as refused:
            Windows.from_bytes(bad)
        assert refused.value.reason == "bad_state"
    assert np.array_equal(Windows.from_bytes(data).look().series.n, windows.look().series.n)
