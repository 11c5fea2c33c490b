"""This module tests how complete the api says that series are."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from api.completeness import completeness, usual_interval
from backends.series import SeriesSettings, open_reader, open_writer
from core.batch import ReadingBatch
from core.city import Series
from tests.unit.api.fakes import HOUR, NOW, SECOND, World

if TYPE_CHECKING:
    from pathlib import Path

MINUTE = 60 * SECOND
N = None


def nan_as_none(shares: Any) -> list[float | None]:
    return [None if share != share else share for share in shares.tolist()]  # noqa: PLR0124 - NaN is not itself


@pytest.mark.parametrize(
    ("before", "counts", "minutes", "due", "share", "hours"),
    [
        pytest.param([6], [6, 6, 3], 10, 18, 15 / 18, [1, 1, 0.5], id="half of an hour is missing"),
        pytest.param([6], [6, 0, 6], 10, 18, 12 / 18, [1, 0, 1], id="an hour is missing"),
        pytest.param([6], [9, 3], 10, 12, 9 / 12, [1, 0.5], id="a surplus makes up for nothing"),
        pytest.param([0], [0, 3, 6], 10, 12, 9 / 12, [N, 0.5, 1], id="nothing is due before the first reading"),
        pytest.param([0], [0, 0], 10, 12, 0, [0, 0], id="silent for longer than was looked back"),
        pytest.param([8], [8, 4], 7, 16, 12 / 16, [1, 0.5], id="eight fit into an hour whole"),
        pytest.param([1], [1, 1], 60, 2, 1, [1, 1], id="once an hour"),
        pytest.param([1], [0, 1, 0, 0], 61, 3, 1 / 3, [N, N, N, N], id="less than hourly: the span alone"),
        pytest.param([1], [0, 1], 1440, 0, N, [N, N], id="nothing was due in so short a span"),
        pytest.param([1], [1, 1], 0, 0, N, [N, N], id="no interval is known"),
        pytest.param([], [], 10, 0, N, [], id="no hours"),
    ],
)
def test_shares(
    before: list[int], counts: list[int], minutes: int, due: int, share: float | None, hours: list[float | None]
) -> None:
    found = completeness(np.array([*before, *counts], np.int64), len(before), minutes * MINUTE)

    assert (found.due, found.share, nan_as_none(found.hours)) == (due, share, hours)


@pytest.mark.parametrize(
    ("times", "interval"),
    [
        pytest.param([0, 10, 20, 30, 40], 0, id="four intervals are too few"),
        pytest.param([0, 10, 20, 30, 40, 50], 10, id="five are enough"),
        pytest.param([0, 10, 20, 30, 990, 1000, 1010], 10, id="an outage"),
        pytest.param([0, 9, 21, 30, 39, 51, 60], 9, id="jitter: the lower of the two in the middle"),
    ],
)
def test_the_usual_interval_is_a_median(times: list[int], interval: int) -> None:
    assert usual_interval(np.array(times, np.int64)) == interval


def speak(world: World, device: str, metric: str, times: Any, interval: float | None = None) -> int:
    """Give the store a series with readings at *times* (ns)."""
    number = 100 + len(world.city._series)
    world.city._series.append(Series(number, device, metric, "north", interval))
    world.city.rev += 1
    batch = ReadingBatch.of(np.full(len(times), number), times, np.ones(len(times)))
    world.store.batch = ReadingBatch.concat([world.store.batch, batch])
    return number


async def ask(world: World, query: str, status: int = 200) -> Any:
    async with world.client() as client:
        answer = await client.get(f"/api/v1/completeness?{query}")
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_device_tells_of_each_series_what_was_due_and_what_came(world: World) -> None:
    times = NOW - np.arange(2 * 24 * 6, 0, -1) * 10 * MINUTE
    hole = (times >= NOW - 3 * HOUR) & (times < NOW - 90 * MINUTE)
    learned = speak(world, "s", "pm25", times[~hole])
    declared = speak(world, "s", "no2", times[::2], interval=600)
    speak(world, "s", "battery", times[:3])

    body = await ask(world, "device=s")

    assert (body["device"], body["start"], body["end"]) == ("s", "2025-12-31T00:00:00.000Z", "2026-01-01T00:00:00.000Z")
    battery, no2, pm25 = body["items"]
    assert (pm25["series"], pm25["interval"], pm25["interval_seconds"]) == (learned, "learned", 600)
    assert (pm25["due"], pm25["received"], pm25["completeness"]) == (144, 135, 135 / 144)
    assert pm25["columns"]["t"][-3:] == [(NOW - k * HOUR) // 1_000_000 for k in (3, 2, 1)]
    assert pm25["columns"]["completeness"] == [1] * 21 + [0, 0.5, 1]
    assert (no2["series"], no2["interval"], no2["completeness"]) == (declared, "declared", 0.5)
    assert (battery["interval"], battery["interval_seconds"], battery["completeness"]) == (None, None, None)
    assert battery["columns"]["completeness"] == [None] * 24


async def test_only_hours_that_are_over_count(world: World) -> None:
    speak(world, "s", "pm25", NOW - np.arange(600, 0, -1) * MINUTE)

    body = await ask(world, f"device=s&start={(NOW - 90 * MINUTE) // SECOND}&end={(NOW + 5 * HOUR) // SECOND}")

    assert (body["start"], body["end"]) == ("2025-12-31T23:00:00.000Z", "2026-01-01T00:00:00.000Z")
    assert [item["due"] for item in body["items"]] == [60]


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        pytest.param("", 422, "device", id="no device"),
        pytest.param("device=nobody", 404, None, id="an unknown device"),
        pytest.param("device=air-1&start=soon", 422, "start", id="no time"),
        pytest.param("device=air-1&start=2025-02-01T00:00:00Z&end=2025-01-01T00:00:00Z", 422, "start", id="backwards"),
        pytest.param("device=air-1&start=2025-01-01T00:00:00Z&end=2025-02-01T01:00:00Z", 422, "start", id="too long"),
    ],
)
async def test_a_bad_question_is_refused(world: World, query: str, status: int, field: str | None) -> None:
    body = await ask(world, query, status)

    assert [error["field"] for error in body.get("errors") or []] == ([] if field is None else [field])


async def test_what_comes_late_completes_its_hour(world: World, tmp_path: Path) -> None:
    """On the real store: hours that were summed up already are counted again."""
    world.city._series = [Series(0, "s", "pm25", "north", 600)]
    world.city.rev += 1
    times = NOW - np.arange(60, 0, -1) * 10 * MINUTE
    held = (times >= NOW - 2 * HOUR) & (times < NOW - HOUR)
    with closing(open_writer(tmp_path, SeriesSettings())) as writer:
        for position, part in ((1, times[~held]), (2, times[held])):
            writer.write("log", position, ReadingBatch.of(np.zeros(len(part), np.int32), part, np.ones(len(part))))
            writer.maintain(NOW)
            with closing(open_reader(tmp_path, SeriesSettings())) as reader:
                asked = world.on(replace(world.ports, series=reader))
                (item,) = (await ask(asked, "device=s"))["items"]
            assert item["columns"]["completeness"][-10:] == [1] * 8 + [position - 1, 1]
            assert item["received"] == len(times) - (6 if position == 1 else 0)
