"""Which severity keeps novelty to a budget: candidates of finished hours of the last fortnight."""

from __future__ import annotations

import pytest

from core.errors import MalformedPayload
from processors.alerting.budget import Budgets
from processors.alerting.settings import CalibrationSettings

MINUTE = 60_000_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def lived(days: int, severities: tuple[float, ...]) -> Budgets:
    """Return the budgets after some days, on each of which so many devices were odd, one in an hour."""
    budgets = Budgets()
    for day in range(days):
        for hour in range(24):
            now = day * DAY + hour * HOUR
            budgets.begin(now)
            if hour < len(severities):
                budgets.note(f"device-{hour}", "north", "pm25", severities[hour], now)
    budgets.begin(days * DAY)
    return budgets


def needed(budgets: Budgets, alerts_a_day: float) -> float:
    return budgets.needed(alerts_a_day, lambda district, metric: (district, metric) == ("north", "pm25"))


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        pytest.param(10, 1.0, id="room for all"),
        pytest.param(6, 1.0, id="room for just as many"),
        pytest.param(5, 1.125, id="the first bin above what is too much"),
        pytest.param(3, 2.25, id="half of them"),
        pytest.param(1, 3.25, id="the oddest of each day"),
        pytest.param(0.5, 18.0, id="less than one a day: above all that was"),
    ],
)
def test_a_budget_picks_the_severity_that_would_have_kept_to_it(budget: float, expected: float) -> None:
    assert needed(lived(10, (1.0, 1.5, 2.0, 3.0, 3.0, 16.0)), budget) == expected


def test_only_the_candidates_of_the_rule_count() -> None:
    budgets = lived(3, (4.0, 4.0))

    assert budgets.needed(0.1, lambda district, _: district == "south") == 1.0


def test_nothing_known_asks_for_nothing() -> None:
    assert needed(Budgets(), 0.01) == 1.0


def test_the_first_day_counts_for_a_whole_one() -> None:
    budgets = Budgets()
    for hour in range(4):
        budgets.begin(hour * HOUR)
        for device in range(3):
            budgets.note(f"{hour}-{device}", "north", "pm25", 2.0, hour * HOUR)
    budgets.begin(5 * HOUR)

    assert (needed(budgets, 12), needed(budgets, 8)) == (1.0, 2.25)


def test_the_worst_day_of_a_week_is_left_out() -> None:
    budgets = lived(6, (2.0, 1.0))
    for device in range(100):
        budgets.note(f"storm-{device}", "north", "pm25", 5.0, 6 * DAY)
    for hour in range(24):
        budgets.begin(6 * DAY + hour * HOUR)
    before = needed(budgets, 1)
    budgets.begin(7 * DAY)

    assert before == needed(budgets, 1) == 1.125
    assert needed(budgets, 0.5) == 2.25


def test_two_storms_in_a_week_are_not() -> None:
    budgets = lived(5, (2.0, 1.0))
    for day in (5, 6):
        for device in range(100):
            budgets.note(f"storm-{device}", "north", "pm25", 5.0, day * DAY)
        for hour in range(24):
            budgets.begin(day * DAY + hour * HOUR)
    budgets.begin(7 * DAY)

    assert needed(budgets, 1) == 5.5


def test_a_device_that_stays_odd_is_one_candidate_of_its_highest_severity() -> None:
    budgets = Budgets()
    budgets.begin(0)
    for minute, severity in ((0, 2.0), (30, 0.0), (80, 4.0), (139, 1.2)):
        budgets.note("a", "north", "pm25", severity, minute * MINUTE)
    budgets.begin(198 * MINUTE)
    before = budgets.seen
    budgets.begin(199 * MINUTE)
    budgets.note("a", "north", "pm25", 3.0, 200 * MINUTE)
    budgets.begin(10 * HOUR)
    budgets.begin(11 * HOUR)

    assert (before, budgets.seen) == (0, 2)
    assert [needed(budgets, 2), needed(budgets, 1), needed(budgets, 0.5)] == [1.0, 3.25, 4.5]


def test_what_is_below_alert_level_begins_nothing() -> None:
    budgets = Budgets()
    budgets.begin(0)
    budgets.note("a", "north", "pm25", 0.99, 0)

    assert not budgets.is_odd("a")


def test_days_are_forgotten_after_a_fortnight() -> None:
    budgets = lived(1, (4.0, 4.0))
    budgets.begin(14 * DAY)
    before = needed(budgets, 1)
    budgets.begin(15 * DAY)

    assert (before, needed(budgets, 1)) == (4.5, 1.0)


def test_odd_devices_beyond_the_limit_are_refused_and_counted() -> None:
    budgets = Budgets(CalibrationSettings(odd_devices=3))
    budgets.begin(0)
    for device in range(4):
        budgets.note(str(device), "north", "pm25", 2.0, 0)

    assert (budgets.refused, budgets.is_odd("2"), budgets.is_odd("3")) == (1, True, False)


def test_a_snapshot_goes_on_as_if_nothing_had_been() -> None:
    budgets = lived(3, (4.0, 2.0, 1.0))
    budgets.note("late", "north", "pm25", 8.0, 3 * DAY)

    again = Budgets.from_bytes(budgets.to_bytes())
    for each in (budgets, again):
        each.begin(3 * DAY + HOUR)
        each.begin(3 * DAY + 2 * HOUR)

    assert again.to_bytes() == budgets.to_bytes()
    assert needed(again, 0.3) == needed(budgets, 0.3) == 9.0


def test_a_damaged_snapshot_raises_the_one_documented_error() -> None:
    budgets = lived(2, (4.0, 2.0))
    budgets.note("late", "north", "pm25", 8.0, 2 * DAY)
    data = budgets.to_bytes()

    for end in range(len(data)):
        with pytest.raises(MalformedPayload):
            Budgets.from_bytes(data[:end])
    with pytest.raises(MalformedPayload, match="budgets version 9"):
        Budgets.from_bytes(data[:1] + b"\x09" + data[2:])
