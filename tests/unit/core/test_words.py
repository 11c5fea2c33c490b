"""Tests of the small words: topics, names, live frames, quality, roles, clock, ledger rows, texts."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from datetime import UTC, datetime

import pytest

import core
from core.accounts import Role
from core.admission import LedgerRow
from core.city import Device
from core.clock import ManualClock, from_ns, to_ns
from core.errors import MalformedPayload
from core.live import LiveFrame
from core.metrics import KINDS, METRICS, metric
from core.quality import Flag
from core.topics import ReadingsTopic, StatusTopic, parse_device_topic, readings_topic, status_topic

MODULES = [f"core.{info.name}" for info in pkgutil.iter_modules(core.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_doctests_hold_and_public_names_exist(name: str) -> None:
    module = importlib.import_module(name)

    assert doctest.testmod(module).failed == 0
    assert [n for n in getattr(module, "__all__", ()) if not hasattr(module, n)] == []


@pytest.mark.parametrize(
    ("topic", "meaning"),
    [
        (readings_topic("air-01"), ReadingsTopic("air-01", None)),
        (readings_topic("air-01", "pm25"), ReadingsTopic("air-01", "pm25")),
        (status_topic("air-01"), StatusTopic("air-01")),
    ],
)
def test_topics_mean_what_they_say(topic: str, meaning: object) -> None:
    assert parse_device_topic(topic) == meaning


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("devices//readings", "bad_name"),
        ("devices/a b/readings", "bad_name"),
        ("devices/" + "x" * 65 + "/readings", "bad_name"),
        ("devices/a/readings/b/c", "bad_topic"),
        ("devices/a/other", "bad_topic"),
        ("other/a/readings", "bad_topic"),
        ("", "bad_topic"),
    ],
)
def test_an_impossible_topic_is_named(topic: str, reason: str) -> None:
    with pytest.raises(MalformedPayload) as caught:
        parse_device_topic(topic)

    assert caught.value.reason == reason


def test_a_device_cannot_have_a_name_that_breaks_a_topic() -> None:
    with pytest.raises(MalformedPayload, match="device 'a/b'"):
        Device("a/b", "air", "north")


def test_a_frame_survives_the_wire_and_a_broken_one_is_refused() -> None:
    frame = LiveFrame(
        epoch="e", n=3, sent=1, series=[1], measured=[2], value=[3.0], quality=[0], severity=[0.5], alerts=["x"]
    )

    assert LiveFrame.from_bytes(frame.to_bytes()) == frame
    with pytest.raises(MalformedPayload, match="unequal length"):
        LiveFrame.from_bytes(frame.to_bytes().replace(b'"value":[3.0]', b'"value":[]'))
    with pytest.raises(MalformedPayload, match="not a live frame"):
        LiveFrame.from_bytes(b"[]")


def test_flags_have_codes_and_fit_the_column() -> None:
    assert (Flag.LATE | Flag.RANGE).codes == ("range", "late")
    assert max(Flag) < 1 << 16


def test_each_role_may_what_the_lower_ones_may() -> None:
    assert [[role.may(needed) for needed in Role] for role in Role] == [
        [True, False, False, False],
        [True, True, False, False],
        [True, True, True, False],
        [True, True, True, True],
    ]


def test_every_kind_reports_known_metrics_and_an_unknown_metric_has_no_limits() -> None:
    assert {code for codes in KINDS.values() for code in codes} <= set(METRICS)
    assert metric("queue_length").low == float("-inf")
    assert (metric("queue_length").restless, metric("door").restless) == (False, True)


def test_time_goes_both_ways() -> None:
    at = datetime(2026, 11, 22, 1, 2, 3, 456789, UTC)

    assert from_ns(to_ns(at)) == at
    with pytest.raises(ValueError, match="no time zone"):
        to_ns(at.replace(tzinfo=None))


async def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(1_000)
    await clock.sleep(1.5)
    clock.pause(0.5)

    assert (clock.now_ns(), clock.monotonic()) == (2_000_001_000, 2.0)


def test_a_ledger_row_that_does_not_add_up_says_so() -> None:
    assert LedgerRow("a", 1, 5, 1, 1, 1, 1, 1, 9, {}).balances
    assert not LedgerRow("a", 1, 5, 1, 1, 1, 1, 0, 9, {}).balances
