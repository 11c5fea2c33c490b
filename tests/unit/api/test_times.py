"""This module tests how the api reads times and picks widths."""

from __future__ import annotations

from datetime import date

import pytest

import api
from api.problems import Refusal
from api.times import SECOND, bucket_width, day_number, day_text, iso, iso_column, parse_time, time_field
from tests.unit.api.fakes import HOUR, NOW


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T00:00:00Z",
        "2026-01-01T05:00:00+05:00",
        "2026-01-01T05:00:00 05:00",
        "2026-01-01T00:00:00.000Z",
        "1767225600",
        "1767225600.0",
        "1767225600000",
        "1767225600000000",
        "1767225600000000000",
    ],
)
def test_one_instant_in_all_its_forms(text: str) -> None:
    assert parse_time(text) == NOW


@pytest.mark.parametrize(
    "text", ["", "now", "2026-01-01", "2026-01-01T00:00:00", "-1", "1e9", "7258118400", "2026-13-01T00:00:00Z", "٣"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_time(text)


def test_a_field_that_is_no_time_is_refused_by_name() -> None:
    with pytest.raises(Refusal) as caught:
        time_field("start", "2026-01-01T00:00:00")

    reason = "'2026-01-01T00:00:00' is no time: no time zone: end it with Z or an offset"
    assert (caught.value.status, caught.value.code) == (422, "invalid")
    assert caught.value.detail == f"start: {reason}"
    assert caught.value.errors == [{"field": "start", "reason": reason}]
    assert time_field("start", "1767225600") == NOW


@pytest.mark.parametrize(
    ("span", "points", "seconds"),
    [
        pytest.param(24 * HOUR, 500, 300, id="a day"),
        pytest.param(24 * HOUR, 288, 300, id="a day that just fits"),
        pytest.param(24 * HOUR, 287, 600, id="a day that just does not fit"),
        pytest.param(7 * 24 * HOUR, 500, 1800, id="a week"),
        pytest.param(SECOND, 500, 1, id="a second"),
        pytest.param(0, 1, 1, id="nothing"),
    ],
)
def test_widths_are_readable_and_small_enough(span: int, points: int, seconds: int) -> None:
    assert bucket_width(NOW, NOW + span, points) == seconds * SECOND


def test_times_are_written_alike_one_by_one_and_by_column() -> None:
    times = [0, 1, 1_767_225_600_123, 7_258_118_399_999]

    assert iso_column(times) == [iso(ms * 1_000_000) for ms in times]
    assert day_text(NOW // (24 * HOUR)) == "2026-01-01"
    assert iso_column([]) == []


def test_days_are_numbered_from_1970() -> None:
    assert (day_number(date(1970, 1, 2)), day_text(1)) == (1, "1970-01-02")


def test_what_the_room_offers() -> None:
    assert sorted(api.__all__) == [
        "ApiPorts", "ApiSettings", "LiveHub", "create_app", "hash_device_secret", "hash_password", "hash_token",
        "new_secret", "new_token", "run",
    ]  # fmt: skip
