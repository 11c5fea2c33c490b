"""What `urbanpulse simulate` is asked for: contradictions name both options, bad values say what is expected."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import SettingsError
from urbanpulse.simulation_options import check_options, parse_part, parse_speed, parse_start


@pytest.mark.parametrize(
    ("given", "way"),
    [
        pytest.param({}, "demo", id="nothing is the demo city"),
        pytest.param({"seed": 0, "interval": 1.0}, "demo", id="a seed of zero is a seed"),
        pytest.param({"scenario": "normal", "speed": "600x", "part": "1/2"}, "scenario", id="a scenario"),
        pytest.param({"scenario": "normal", "fast": "out"}, "fast", id="a scenario to files"),
        pytest.param({"fast": "out", "hours": 3.0}, "fast", id="files without a scenario"),
        pytest.param({"fast": "out", "scenario": "normal", "speed": "600x"}, "fast", id="files at any speed"),
        pytest.param({"load": True, "devices": 10}, "load", id="a load"),
        pytest.param({"replay": ["a.csv"], "speed": "2"}, "replay", id="a replay"),
        pytest.param({"load": False, "shift": False, "replay": None, "labels": None}, "demo", id="what is off is off"),
    ],
)
def test_options_choose_the_way(given: dict[str, Any], way: str) -> None:
    assert check_options(given) == way


@pytest.mark.parametrize(
    ("given", "both"),
    [
        pytest.param({"load": True, "fast": "out"}, ("--load", "--fast"), id="two ways"),
        pytest.param({"replay": ["a"], "scenario": "x"}, ("--scenario", "--replay"), id="a replay has no scenario"),
        pytest.param(
            {"scenario": "x", "sockets": 2}, ("--sockets", "--scenario"), id="true devices have a socket each"
        ),
        pytest.param(
            {"scenario": "x", "no-backfill": True}, ("--no-backfill", "--scenario"), id="no past to leave out"
        ),
        pytest.param({"speed": "600x"}, ("--speed", "--scenario"), id="the demo city lives at the speed of life"),
        pytest.param({"hours": 3.0}, ("--hours", "--scenario normal"), id="the demo city has no end"),
        pytest.param({"shift": True}, ("--shift", "--replay"), id="only recordings are shifted"),
    ],
)
def test_a_contradiction_names_both(given: dict[str, Any], both: tuple[str, str]) -> None:
    with pytest.raises(SettingsError) as raised:
        check_options(given)

    assert all(name in str(raised.value) for name in both)


@pytest.mark.parametrize(
    ("text", "speed"), [("600x", 600.0), ("600", 600.0), ("0.5", 0.5), (".5x", 0.5), (" 2.5 x ", 2.5), ("1000000", 1e6)]
)
def test_a_speed_is_a_number_with_or_without_an_x(text: str, speed: float) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["", "x", "0", "0x", "-3", "nan", "inf", "1e3", "600y", "1000001", "٣"])
def test_other_speeds_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"--speed: .*a number above 0 and up to 1000000 expected"):
        parse_speed(text)


def test_a_start_is_a_moment_with_a_time_zone() -> None:
    assert parse_start("2026-11-01T00:00:00+05:00") == parse_start("2026-10-31T19:00:00Z") == 1793473200000000000


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("2026-11-01T00:00:00", "has no time zone"),
        ("yesterday", "is no time"),
        ("2026-13-01T00:00:00Z", "is no time"),
        ("1999-01-01T00:00:00Z", "a year from 2000 to 2099"),
    ],
)
def test_other_starts_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=f"--start: .*{complaint}"):
        parse_start(text)


def test_a_part_is_one_of_so_many() -> None:
    assert parse_part("2/3") == (2, 3)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b", "1/2/3", "-1/2"])
def test_other_parts_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"--part: .*K/N with K from 1 to N"):
        parse_part(text)
