"""Tests of windows: what closes when, what counts, and every limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydantic import ValidationError

from core.batch import ReadingBatch
from core.city import Series
from core.quality import Flag
from processors.windows import DAY, HOUR, MINUTE, QUARTER, Group, Windows, WindowSettings
from processors.windows.watermarks import Watermarks

if TYPE_CHECKING:
    from processors.windows import WindowRows

SECOND = 1_000_000_000
T0 = 1_767_225_600 * SECOND  # midnight UTC
NORTH, SOUTH = Group("district", "north", "pm25"), Group("district", "south", "pm25")
AIR = Group("sector", "air", "pm25")


def made(*series: Series, **settings: object) -> Windows:
    """Windows with a bound of five minutes that know *series*, or one of device `a`."""
    windows = Windows(WindowSettings.model_validate({"lateness_seconds": 300, "idle_seconds": 1800} | settings))
    for one in series or (Series(1, "a", "pm25", "north"),):
        windows.learn(one)
    return windows


def batch(*rows: tuple[int, float, float], received: float | None = None, quality: int = 0) -> ReadingBatch:
    """Return readings of (series, seconds after midnight, value)."""
    series, seconds, values = zip(*rows, strict=True)
    measured = [T0 + round(at * SECOND) for at in seconds]
    late = None if received is None else [T0 + round(received * SECOND)] * len(rows)
    return ReadingBatch.of(series, measured, values, received=late, quality=[quality] * len(rows))


def starts(rows: WindowRows, width: int, key: int = 1) -> list[int]:
    """Return the starts of the windows of *width* and *key*, in seconds after midnight."""
    found: list[int] = ((rows.start[(rows.width == width) & (rows.key == key)] - T0) // SECOND).tolist()
    return found


def at(rows: WindowRows, width: int, start: int, key: int = 1) -> int:
    """Return the row of one window."""
    found = np.flatnonzero((rows.width == width) & (rows.start == T0 + start * SECOND) & (rows.key == key))
    assert len(found) == 1
    return int(found[0])


def close(windows: Windows, seconds: float) -> tuple[WindowRows, WindowRows]:
    closed = windows.advance(T0 + round(seconds * SECOND))
    assert closed is not None
    return closed.series, closed.groups


def test_a_window_closes_when_its_source_is_past_it_by_the_bound() -> None:
    """Not a second earlier, and only once."""
    windows = made()
    windows.update(batch((1, 10, 5.0), (1, 359, 6.0)))

    assert starts(close(windows, 360)[0], MINUTE) == []
    windows.update(batch((1, 360, 7.0)))
    assert starts(close(windows, 420)[0], MINUTE) == [0]
    windows.update(batch((1, 361, 7.0)))
    assert starts(close(windows, 480)[0], MINUTE) == []


def test_longer_windows_close_likewise() -> None:
    """A quarter, an hour and a day of readings each minute."""
    windows = made()
    windows.update(batch(*((1, 60.0 * k, float(k)) for k in range(1460))))
    series, groups = close(windows, 1460 * 60)

    assert starts(series, QUARTER) == list(range(0, 86_400, 900))
    assert starts(series, HOUR) == list(range(0, 86_400, 3600))
    assert starts(series, DAY) == [0]
    row = at(series, DAY, 0)
    assert (series.n[row], series.mean[row], series.low[row], series.high[row], series.last[row]) == (
        1440, 719.5, 0.0, 1439.0, 1439.0
    )  # fmt: skip
    for number, group in enumerate(windows.groups):
        assert group in (NORTH, AIR)
        assert groups.mean[at(groups, DAY, 0, number)] == 719.5


def test_what_comes_within_the_bound_is_in_and_what_comes_later_is_counted() -> None:
    """The bound is inclusive."""
    windows = made()
    windows.update(batch((1, 400, 1.0), (1, 100, 2.0), (1, 99.9, 3.0)))

    assert windows.late == 1
    assert windows.look().series.n.sum() == 2 * 4  # each in four widths


def test_a_late_reading_changes_its_own_windows_only() -> None:
    """Minute, quarter, hour and day of its series, its district and its sector; nothing else."""
    windows = made(Series(1, "a", "pm25", "north"), Series(2, "b", "pm25", "south"))
    windows.update(batch((1, 10, 5.0), (1, 200, 6.0), (2, 10, 1.0), (2, 200, 1.0)))
    before = windows.look()
    windows.update(batch((1, 15, 9.0)))
    after = windows.look()

    changed = np.flatnonzero(before.series.mean != after.series.mean)
    assert {(int(after.series.key[k]), int(after.series.start[k])) for k in changed} == {(1, T0)}
    assert sorted(after.series.width[changed].tolist()) == [MINUTE, QUARTER, HOUR, DAY]
    moved = {windows.groups[after.groups.key[k]] for k in np.flatnonzero(before.groups.mean != after.groups.mean)}
    assert moved == {NORTH, AIR}


def test_of_equal_identities_the_one_that_replaces_counts_once() -> None:
    """In whatever order they come, and even if it is left out; what is only repeated is the same either way."""
    for order in (1, -1):
        windows = made()
        parts = [batch((1, 10, 7.0)), batch((1, 10, 5.0), quality=int(Flag.CONFLICT)), batch((1, 10, 7.0), received=20)]
        for part in parts[::order]:
            windows.update(part)

        series = windows.look().series
        assert (series.n[at(series, MINUTE, 0)], series.mean[at(series, MINUTE, 0)]) == (1, 5.0)
    windows.update(batch((1, 10, 9000.0), quality=int(Flag.CONFLICT | Flag.RANGE)))
    series = windows.look().series
    assert (series.n[at(series, MINUTE, 0)], series.left_out[at(series, MINUTE, 0)]) == (0, 1)
    assert np.isnan(series.mean[at(series, MINUTE, 0)])


def test_which_flags_are_left_out_is_a_setting() -> None:
    """What is suspect may be an event, so it counts unless one says otherwise."""
    suspect = batch((1, 10, 5.0), quality=int(Flag.SUSPECT))
    usual, strict = made(), made(left_out=["suspect"])
    for windows in (usual, strict):
        windows.update(suspect)

    assert [windows.look().series.n[0] for windows in (usual, strict)] == [1, 0]
    with pytest.raises(ValidationError, match="no flag 'odd': range, rate"):
        WindowSettings(left_out=("odd",))


def test_a_district_waits_for_its_slowest_device_and_not_for_a_dead_one() -> None:
    """Its series close on their own; after the idle time nobody waits any more."""
    windows = made(Series(1, "a", "pm25", "north"), Series(2, "b", "pm25", "north"))
    windows.update(batch((2, 5, 3.0), (1, 10, 5.0), (1, 400, 5.0)))
    series, groups = close(windows, 420)
    assert (starts(series, MINUTE, 1), starts(series, MINUTE, 2), len(groups)) == ([0], [], 0)

    for minute in range(8, 37):
        windows.update(batch((1, 60.0 * minute, 5.0)))
        series, groups = close(windows, 60 * minute)
        if minute < 36:
            assert len(groups) == 0
    number = windows.groups.index(NORTH)
    assert starts(groups, MINUTE, number) == [0]
    assert (groups.n[at(groups, MINUTE, 0, number)], groups.mean[at(groups, MINUTE, 0, number)]) == (2, 4.0)


def test_what_a_new_device_sends_from_before_is_its_own_but_not_its_districts() -> None:
    """What was told of a district stays told; the rest is counted."""
    windows = made(Series(1, "a", "pm25", "north"), Series(2, "b", "pm25", "north"))
    windows.update(batch((1, 10, 5.0), (1, 400, 5.0)))
    close(windows, 420)
    windows.update(batch((2, 20, 9.0), received=430))
    windows.update(batch((2, 410, 9.0)))
    series, groups = close(windows, 480)

    assert starts(series, MINUTE, 2) == [0]
    assert starts(groups, MINUTE, windows.groups.index(NORTH)) == []
    assert windows.late_groups == 2  # of the district, and of the sector


def test_a_clock_that_runs_ahead_closes_nothing() -> None:
    """Its readings wait until their time has come; the device's true readings are not late."""
    windows = made()
    windows.update(batch((1, 9000, 1.0), received=10))
    windows.update(batch((1, 12, 2.0)))

    assert windows.late == 0
    assert starts(close(windows, 3000)[0], MINUTE) == [0]
    assert starts(close(windows, 9060 + 300 + 1800)[0], MINUTE) == [9000]


def test_completeness_is_known_where_the_interval_is() -> None:
    """Ten seconds expected: five of six readings came; a district knows when all its series do."""
    windows = made(Series(1, "a", "pm25", "north"), Series(2, "b", "pm25", "north"))
    windows.expect(1, 10)
    windows.update(batch(*((1, 10.0 * k, 1.0) for k in range(5)), (2, 3, 1.0)))

    shown = windows.look()
    assert shown.series.completeness[at(shown.series, MINUTE, 0)] == 5 / 6
    number = windows.groups.index(NORTH)
    assert np.isnan(shown.groups.completeness[at(shown.groups, MINUTE, 0, number)])
    windows.expect(2, 30)
    shown = windows.look()
    assert shown.groups.completeness[at(shown.groups, MINUTE, 0, number)] == 6 / 8
    assert shown.series.completeness[at(shown.series, MINUTE, 0, 2)] == 0.5


def test_days_are_days_of_the_city() -> None:
    """At UTC+5 the day begins at 19:00 UTC; hours stay those of UTC."""
    windows = made(utc_offset_minutes=300)
    windows.update(batch((1, 18.99 * 3600, 1.0), (1, 19 * 3600, 2.0)))

    shown = windows.look().series
    assert starts(shown, DAY) == [-5 * 3600, 19 * 3600]
    assert starts(shown, HOUR) == [18 * 3600, 19 * 3600]


def test_every_limit_has_a_counter() -> None:
    """One more series, group, reading, or a value too large to be summed: counted, the others go on."""
    two = (Series(1, "a", "pm25", "north"), Series(2, "b", "pm25", "south"))
    windows = made(*two, max_series=1)
    windows.update(batch((1, 1, 1.0), (2, 1, 1.0)))
    assert (windows.refused, len(windows.look().series)) == (1, 4)

    windows = made(*two, max_groups=2)
    windows.update(batch((1, 1, 1.0), (2, 1, 1.0)))
    assert (windows.refused_groups, windows.groups) == (1, (AIR, NORTH))
    assert len(windows.look().series) == 8

    windows = made(max_readings=2)
    windows.update(batch((1, 1, 1.0), (1, 2, 1.0)))
    windows.update(batch((1, 3, 1.0)))
    assert (windows.refused, windows.look().series.n[0]) == (1, 2)
    windows.update(batch((1, 400, 1.0)))
    assert windows.refused == 2
    close(windows, 420)
    windows.update(batch((1, 401, 1.0)))
    assert windows.refused == 2  # there is room again

    windows = made()
    windows.update(batch((1, 1, 2.0**40), (1, 2, 2.0**40 + 1), (1, 3, -(2.0**40) - 1)))
    assert (windows.refused, windows.look().series.n[0]) == (2, 1)


def test_many_readings_of_few_series_are_folded() -> None:
    """No window changes by it, restored or not, though readings come late; the readings are no longer held."""
    rng = np.random.default_rng(5)
    two = (Series(1, "a", "pm25", "north"), Series(2, "b", "pm25", "south"))
    whole, folded, resumed = (made(*two, fold_readings=limit) for limit in (10**6, 0, 0))
    told: list[list[WindowRows]] = [[], [], []]
    seconds = np.arange(0, 1200, 0.5)
    arrival = seconds + rng.uniform(0, 290, len(seconds))
    for now in range(0, 3600, 5):
        some = seconds[(arrival >= now - 5) & (arrival < now)]
        rows = [(int(1 + k % 2), float(at), float(rng.normal())) for k, at in enumerate(some)]
        for windows, rows_told in zip((whole, folded, resumed), told, strict=True):
            if rows:
                windows.update(batch(*rows, received=now))
            closed = windows.advance(T0 + now * SECOND)
            if closed is not None:
                rows_told += [closed.series, closed.groups]
        if now % 100 == 0:
            resumed = Windows.from_bytes(resumed.to_bytes())
            for one in two:
                resumed.learn(one)
        assert resumed.to_bytes() == folded.to_bytes()
        if now == 600:
            assert len(folded.to_bytes()) < len(whole.to_bytes()) / 2

    def bits(parts: list[WindowRows]) -> list[list[bytes]]:
        names = ("key", "width", "start", "n", "mean", "low", "high", "last")
        return [[np.ascontiguousarray(getattr(part, name)).tobytes() for name in names] for part in parts]

    assert bits(told[0]) == bits(told[1]) == bits(told[2])
    assert sum(int(part.n[part.width == MINUTE].sum()) for part in told[1][::2]) == len(seconds)
    assert (whole.folded, whole.late, folded.late) == (0, 0, 0)
    assert folded.folded > 0


def test_minutes_of_few_readings_a_series_are_not_folded() -> None:
    """A cell of one reading is longer than the reading."""
    windows = made(fold_readings=0)
    windows.update(batch(*((1, float(at), 1.0) for at in range(7))))
    windows.advance(T0)
    assert windows.folded == 0

    windows.update(batch((1, 7.0, 1.0)))
    windows.advance(T0 + SECOND)
    assert windows.folded == 1


def test_open_readings_are_bounded_by_the_lateness_bound() -> None:
    """A day of readings never holds more than the bound and two minutes."""
    windows = made()
    most = 0
    for second in range(0, 7200, 10):
        windows.update(batch((1, float(second), 1.0)))
        windows.advance(T0 + second * SECOND)
        most = max(most, len(windows.to_bytes()))
    kept = len(windows.to_bytes())

    assert most <= kept + 13 * 16 * 6
    assert windows.look().series.n[0] <= 6


def test_watermarks_never_go_back() -> None:
    """Not by old readings, not by log time; unheard sources are not carried."""
    marks = Watermarks(10, 100)
    marks.reserve(2)
    one = np.zeros(1, np.int32)
    marks.admit(one, np.array([50]), np.array([60]))
    marks.admit(one, np.array([45]), np.array([60]))
    marks.carry(120)
    assert marks.mark[0] == 50
    marks.carry(200)
    assert marks.mark[0] == 100
    marks.carry(150)
    assert marks.mark[0] == 100
    assert marks.mark[1] < 0


def test_a_batch_is_admitted_as_if_reading_by_reading() -> None:
    """A backlog in order is in time, the same from its end is not."""
    source = np.zeros(3, np.int32)
    for order, admitted in (((0, 100, 200), [True] * 3), ((200, 100, 0), [True, False, False])):
        marks = Watermarks(50, 1000)
        marks.reserve(1)
        measured = np.array(order)

        assert marks.admit(source, measured, measured + 500).tolist() == admitted


def test_a_series_must_be_learned() -> None:
    """Nothing is guessed about a stranger."""
    with pytest.raises(KeyError):
        made().update(batch((5, 1, 1.0)))
