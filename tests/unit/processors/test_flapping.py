"""A device that comes and goes is one finding; it takes a number of losses within a window, and half of it to end."""

from __future__ import annotations

import pytest

from processors.flapping import Flapping, FlappingSettings

S = 1_000_000_000
PLAN = FlappingSettings(losses=4, window_seconds=3600, window_intervals=60)


def lose(flapping: Flapping, *times: int, interval: int = 10) -> list[int]:
    """Lose "a" at each of *times* (seconds), back between them; return when it flapped."""
    found = []
    for at in times:
        flapping.settle(at * S)
        flapping.lost("a", at * S, interval * S)
        found += [at] * bool(flapping.active)
        flapping.back("a")
    return found


@pytest.mark.parametrize(
    ("times", "interval", "flaps"),
    [
        pytest.param((0, 600, 1200), 10, [], id="three losses are not four"),
        pytest.param((0, 600, 1200, 1800), 10, [1800], id="the fourth"),
        pytest.param((0, 1200, 2400, 3600), 10, [3600], id="just within the window"),
        pytest.param((0, 1200, 2400, 3601), 10, [], id="just beyond it"),
        pytest.param((0, 1200, 2400, 3601, 3602), 10, [3602], id="the newest four count"),
        pytest.param((0, 7200, 14_400, 21_600), 600, [21_600], id="a window of sixty intervals"),
        pytest.param((0, 1200, 2400, 3600, 3700), 10, [3600, 3700], id="goes on"),
    ],
)
def test_losses_within_a_window_make_a_device_flap(times: tuple[int, ...], interval: int, flaps: list[int]) -> None:
    assert lose(Flapping(PLAN), *times, interval=interval) == flaps


def test_it_is_over_when_half_a_window_passed_without_a_loss_and_starts_anew() -> None:
    flapping = Flapping(PLAN)
    lose(flapping, 1, 2, 3, 4, 1800)

    flapping.settle(3599 * S)
    assert set(flapping.active) == {"a"}
    flapping.settle(3600 * S)
    assert not flapping.active
    assert lose(flapping, 3601, 3602, 3603) == []
    assert lose(flapping, 3604) == [3604]


def test_a_loss_counts_once_however_it_is_noticed() -> None:
    flapping = Flapping(PLAN)
    for at in (0, 100, 200):
        flapping.offline("a", at * S, 10 * S)
        flapping.lost("a", (at + 30) * S, 10 * S)
        flapping.lost("a", (at + 31) * S, 10 * S)
        flapping.back("a")

    assert not flapping.active
    assert flapping.count("a", 300 * S) == 3


@pytest.mark.parametrize(
    ("apart", "interval", "count"),
    [
        pytest.param(600, 600, 1, id="offline once per interval: it sleeps"),
        pytest.param(601, 400, 4, id="more than one and a half intervals"),
        pytest.param(600, 400, 1, id="one and a half"),
        pytest.param(299, 600, 4, id="less than half an interval: another client has its name"),
        pytest.param(300, 600, 1, id="half"),
        pytest.param(60, 0, 0, id="its interval is not known"),
    ],
)
def test_who_says_offline_between_reports_sleeps(apart: int, interval: int, count: int) -> None:
    flapping = Flapping(PLAN)
    for k in range(4):
        flapping.offline("a", (1000 + k * apart) * S, interval * S)
        flapping.back("a")

    assert flapping.count("a", (1000 + 3 * apart) * S) == count


def test_devices_beyond_the_limit_are_counted_until_others_are_forgotten() -> None:
    flapping = Flapping(FlappingSettings(max_devices=2))
    for device in ("a", "b", "c"):
        flapping.lost(device, 10 * S, 10 * S)
    assert (flapping.refused, sorted(flapping.to_state())) == (1, ["a", "b"])

    flapping.lost("b", 3611 * S, 10 * S)  # it is away still: nothing new
    flapping.forget(3610 * S)
    assert sorted(flapping.to_state()) == ["a", "b"]
    flapping.forget(3611 * S)
    assert flapping.to_state() == {}
    flapping.lost("c", 3612 * S, 10 * S)
    assert (flapping.refused, sorted(flapping.to_state())) == (1, ["c"])


def test_who_flaps_is_not_forgotten() -> None:
    flapping = Flapping(PLAN)
    lose(flapping, 1, 2, 3, 4)

    flapping.forget(100_000 * S)

    assert set(flapping.active) == {"a"}
    assert list(flapping.nearly(5 * S)) == ["a"]


def test_a_state_goes_on() -> None:
    flapping, other = Flapping(PLAN), Flapping(PLAN)
    lose(flapping, 1, 2, 3)
    other.restore(flapping.to_state())

    assert lose(other, 4) == [4]
