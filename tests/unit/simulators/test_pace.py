"""The world's clock of a run: it stands, goes, slows down where it must, and starts at a midnight."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from core.clock import ManualClock, from_ns, to_ns
from core.errors import SettingsError
from simulators.pace import Pace, default_start

START = 1_774_000_000_000_000_000
S = 1_000_000_000


def begun(speed: float) -> tuple[Pace, ManualClock]:
    clock = ManualClock()
    pace = Pace(START, speed, clock)
    pace.begin()
    return pace, clock


def test_the_world_stands_until_the_run_begins_and_then_goes_at_its_speed() -> None:
    clock = ManualClock()
    pace = Pace(START, 600.0, clock)
    clock.advance(10)
    assert pace.now() == START

    pace.begin()
    clock.advance(2)

    assert pace.now() == START + 1200 * S
    assert pace.elapsed() == 2.0


def test_a_fast_world_waits_for_what_is_late_and_does_not_hurry_afterwards() -> None:
    pace, clock = begun(600.0)
    clock.advance(10)

    pace.lag(START)  # ten seconds late, of which one is allowed

    assert pace.now() == START + 600 * S
    clock.advance(1)
    assert pace.now() == START + 1200 * S


def test_a_world_that_is_ours_has_gone_on_before_the_run_began() -> None:
    clock = ManualClock()
    pace = Pace(START, 1.0, clock)

    pace.begin(late_seconds=7.0)

    assert pace.now() == START + 7 * S
    assert pace.elapsed() == 7.0


def test_a_little_late_is_caught_up_with() -> None:
    pace, clock = begun(600.0)
    clock.advance(0.5)

    pace.lag(START)

    assert pace.now() == START + 300 * S


def test_at_the_speed_of_life_what_is_late_is_caught_up_with_however_late() -> None:
    pace, clock = begun(1.0)
    clock.advance(1000)

    pace.lag(START)

    assert pace.now() == START + 1000 * S


def test_the_speed_of_the_last_seconds_is_known() -> None:
    pace, clock = begun(600.0)
    speeds = []
    for _ in range(10):
        clock.advance(1)
        pace.lag(pace.now() - 1500 * S)  # 2.5 s late each second: of what is more than a second all is waited for
        speeds.append(pace.speed_now())

    assert speeds[0] == 0.0
    assert speeds[-1] < 600


async def test_a_wait_lasts_until_the_worlds_time_but_is_bounded() -> None:
    pace, clock = begun(600.0)

    await pace.until(START + 300 * S, 1.0, 0.02)
    assert pace.now() == START + 300 * S
    await pace.until(START + 3000 * S, 1.0, 0.02)
    assert pace.now() == START + 900 * S
    await pace.until(START, 1.0, 0.02)
    assert pace.now() == START + 912 * S
    assert clock.monotonic() == pytest.approx(1.52)


@pytest.mark.parametrize(
    ("hours", "speed", "start"),
    [
        pytest.param(24, 1.0, "2026-11-22T05:30:00+00:00", id="at the speed of life it is now"),
        pytest.param(24, 0.5, "2026-11-22T05:30:00+00:00", id="slower, too"),
        pytest.param(24, 600.0, "2026-11-20T19:00:00+00:00", id="a fast day is the last whole one"),
        pytest.param(10, 600.0, "2026-11-21T19:00:00+00:00", id="ten hours of today have gone by in Ashgabat"),
        pytest.param(10.7, 600.0, "2026-11-20T19:00:00+00:00", id="ten and a half and a bit more have not"),
        pytest.param(10.51, 600.0, "2026-11-21T19:00:00+00:00", id="but will have when it is played"),
    ],
)
def test_a_run_starts_so_that_it_ends_by_now(hours: float, speed: float, start: str) -> None:
    now = to_ns(datetime(2026, 11, 22, 5, 30, tzinfo=UTC))

    assert from_ns(default_start(now, hours, speed)).isoformat() == start


@pytest.mark.parametrize("hours", [math.nan, math.inf])
def test_a_run_without_a_length_has_no_start(hours: float) -> None:
    with pytest.raises(SettingsError, match=r"hours: (nan|inf): a number expected"):
        default_start(1, hours, 600.0)
