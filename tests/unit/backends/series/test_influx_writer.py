"""Tests of the writer's ways with a server that refuses, limits, or goes away: played, since real ones rarely do."""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from backends.series import InfluxSettings, SeriesSettings, open_writer
from backends.series.influx.state import InfluxState
from core.batch import ReadingBatch
from core.city import Series
from core.clock import ManualClock
from core.errors import SettingsError, Unavailable
from core.ports import Bands, RejectedReading
from tests.influx import listed
from tests.unit.backends.series.influx_double import Play, Reply, Request, Script

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from core.ports import SeriesStore

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
START = 20_000 * DAY


class House:
    """A writer at a played 1.x server. `stored` are the lines it took, by point, last one first."""

    def __init__(self, folder: Path, stack: ExitStack, **influx: Any) -> None:
        self.refuse: Script = lambda _: Reply(204)
        self.answer: list[Any] = []
        self.error = ""
        self.stored: dict[str, str] = {}
        self.play = stack.enter_context(Play(self._script))
        self.names = listed()
        self.clock = ManualClock()
        self.rejected: list[tuple[int, list[RejectedReading]]] = []
        self.registry = CollectorRegistry()
        self.folder = folder
        self.settings = SeriesSettings(
            url=self.play.url, raw_days=1000, influx=InfluxSettings(flavour="v1", rollup_delay_seconds=0, **influx)
        )
        self.writer = self.open()
        stack.callback(lambda: self.writer.close())  # noqa: PLW0108 - the one of then

    def open(self) -> SeriesStore:
        self.registry = CollectorRegistry()
        return open_writer(
            self.folder,
            self.settings,
            registry=self.registry,
            names=self.names,
            clock=self.clock,
            on_rejected=self.keep,
        )

    def keep(self, position: int, readings: Sequence[RejectedReading]) -> None:
        self.rejected.append((position, list(readings)))

    def _script(self, request: Request) -> Reply:
        if request.path == "/query":
            if self.error:
                return Reply(500, {"error": self.error})
            return Reply(200, {"results": [{"statement_id": 0, "series": self.answer}]})
        reply = self.refuse(request)
        if reply.status == 204:
            self.store(request.text)
        return reply

    def store(self, text: str) -> None:
        for line in text.split("\n"):
            head, fields, at = line.split(" ")
            self.stored[f"{head} {at}"] = fields

    def bodies(self) -> list[list[str]]:
        return [request.text.split("\n") for request in self.play.asked("/write")]

    def count(self, name: str) -> float:
        return self.registry.get_sample_value(name) or 0.0


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(tmp_path, stack, batch_lines=8)


def batch(n: int, start: int = START) -> ReadingBatch:
    return ReadingBatch.of([1] * n, start + np.arange(n), np.arange(n, dtype=float))


def test_requests_hold_at_most_so_many_lines(house: House) -> None:
    house.writer.write("log", 1, batch(8))
    house.writer.write("log", 2, batch(9, START + 100))

    assert [len(lines) for lines in house.bodies()] == [8, 8, 1]
    assert len(house.stored) == 17


def test_too_large_a_request_is_halved_and_the_next_one_is_smaller_at_once(house: House) -> None:
    def at_most_three(request: Request) -> Reply:
        return Reply(413 if len(request.text.split("\n")) > 3 else 204, b"too large")

    house.refuse = at_most_three

    house.writer.write("log", 1, batch(8))
    house.writer.write("log", 2, batch(4, START + 100))

    assert [len(lines) for lines in house.bodies()] == [8, 4, 2, 2, 4, 2, 2, 2, 2]
    assert len(house.stored) == 12
    assert house.count("city_series_halved_requests_total") == 3
    assert house.rejected == []


def test_a_single_line_that_is_too_large_is_refused_for_good(house: House) -> None:
    house.refuse = lambda r: Reply(413 if "value=1.0 " in r.text else 204, {"error": "too large"})

    assert house.writer.write("log", 1, batch(3))

    assert house.rejected == [(1, [rejected(1, START + 1, 1.0, "too large")])]
    assert len(house.stored) == 2


def rejected(series: int, measured: int, value: float, reason: str) -> RejectedReading:
    return RejectedReading(series, measured, value, reason)


@pytest.mark.parametrize("stores_the_rest", [True, False])
def test_bad_lines_are_found_by_halving_and_handed_over_in_the_server_s_words(
    house: House, stores_the_rest: bool
) -> None:
    """Whether the server stores the good ones of a refused request or none: in the end all good ones are there."""

    def refuse(request: Request) -> Reply:
        lines = request.text.split("\n")
        bad = [line for line in lines if "value=3.0 " in line or "value=6.0 " in line]
        if not bad:
            return Reply(204)
        if stores_the_rest and (rest := [line for line in lines if line not in bad]):
            house.store("\n".join(rest))
        dropped = f" dropped={len(bad)}" if stores_the_rest else ""
        return Reply(400, {"error": f"partial write: field type conflict{dropped}"})

    house.refuse = refuse
    house.writer.write("log", 1, batch(8))

    [(position, readings)] = house.rejected
    assert position == 1
    assert [(r.series, r.measured - START, r.value) for r in readings] == [(1, 3, 3.0), (1, 6, 6.0)]
    assert all("field type conflict" in r.reason for r in readings)
    assert sorted(house.stored.values()) == [f"value={v}.0" for v in (0, 1, 2, 4, 5, 7)]
    assert house.count("city_series_rejected_rows_total") == 2
    assert house.count("city_series_bisected_requests_total") >= 3
    assert house.writer.position("log") == 1


def test_when_all_lines_are_bad_nothing_is_halved(house: House) -> None:
    house.refuse = lambda r: Reply(400, {"error": f"partial write: conflict dropped={len(r.text.split(chr(10)))}"})

    house.writer.write("log", 1, batch(16))

    assert len(house.bodies()) == 2
    assert len(house.rejected[0][1]) == 16


def test_points_older_than_the_server_keeps_are_counted_and_not_sought(house: House) -> None:
    house.refuse = lambda _: Reply(400, {"error": "partial write: points beyond retention policy dropped=5"})

    house.writer.write("log", 1, batch(8))

    assert len(house.bodies()) == 1
    assert house.rejected == []
    assert house.count("city_series_too_old_rows_total") == 5


def test_readings_of_unknown_series_are_refused_and_the_rest_is_kept(house: House) -> None:
    house.writer.write("log", 1, ReadingBatch.of([1, 64, 1 << 30], [START] * 3, [1.0, 2.0, 3.0]))

    [(_, readings)] = house.rejected
    assert [(r.series, r.reason) for r in readings] == [
        (64, "its series is not registered"),
        (1 << 30, "its series is not registered"),
    ]
    assert len(house.stored) == 1


def test_a_series_that_is_registered_later_on_is_known(house: House) -> None:
    house.writer.write("log", 1, ReadingBatch.of([1], [START], [1.0]))
    house.names.listed.append(Series(64, "new-1", "pm25", "east"))

    house.writer.write("log", 2, ReadingBatch.of([64], [START], [2.0]))

    assert house.rejected == []
    assert f"reading,device=new-1,district=east,metric=pm25 {START}" in house.stored


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_before_it_spoils_a_request(house: House, value: float) -> None:
    house.writer.write("log", 1, ReadingBatch.of([1, 1], [START, START + 1], [value, 2.0]))

    assert [r.reason for r in house.rejected[0][1]] == ["not a finite number"]
    assert list(house.stored.values()) == ["value=2.0"]


def test_bands_that_are_not_finite_are_left_out(house: House) -> None:
    hours, good = np.array([START, START + HOUR]), np.array([1.0, 2.0])
    bands = Bands(np.array([1, 1], np.int32), hours, np.array([np.nan, 5.0]), good, good)

    house.writer.write("log", 1, ReadingBatch.empty(), bands)

    assert list(house.stored.values()) == ["expected=5.0,low=2.0,high=2.0"]
    assert house.play.asked("/write")[0].query["db"] == "city_rollup"


# -- when the server is away


def test_a_write_that_failed_counts_for_nothing_and_is_repeated_whole(house: House) -> None:
    answers = iter([Reply(204), Reply(503, b"away")])
    house.refuse = lambda _: next(answers, Reply(204))

    with pytest.raises(Unavailable, match="503"):
        house.writer.write("log", 1, batch(20))
    assert house.writer.position("log") == 0
    assert house.rejected == []
    assert house.writer.write("log", 1, batch(20))

    assert len(house.stored) == 20
    assert set(house.stored.values()) == {f"value={v}.0" for v in range(20)}


@pytest.mark.parametrize(
    ("asked", "waited"), [pytest.param("30", 30, id="as asked"), pytest.param("9999", 60, id="but not for ever")]
)
def test_a_server_that_asks_for_a_pause_is_left_alone(tmp_path: Path, asked: str, waited: int) -> None:
    with ExitStack() as stack:
        house = House(tmp_path, stack, retry_after_max_seconds=60)
        house.refuse = lambda _: Reply(429, b"slow down", {"Retry-After": asked})
        with pytest.raises(Unavailable, match="429"):
            house.writer.write("log", 1, batch(1))
        house.refuse = lambda _: Reply(204)

        house.clock.advance(waited - 1)
        with pytest.raises(Unavailable, match="asked for 1 s more"):
            house.writer.write("log", 1, batch(1))
        sent = len(house.bodies())
        house.clock.advance(1)
        assert house.writer.write("log", 1, batch(1))

        assert (sent, len(house.bodies())) == (1, 2)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_wrong_settings_are_named_and_nothing_is_written(house: House, status: int) -> None:
    house.refuse = lambda _: Reply(status, {"error": "no"})

    with pytest.raises(SettingsError, match=r"^series\.influx\.(password|database): "):
        house.writer.write("log", 1, batch(1))

    assert house.writer.position("log") == 0


def test_rejects_that_cannot_be_kept_hold_the_position_back(house: House) -> None:
    def full(position: int, readings: Sequence[RejectedReading]) -> None:
        raise Unavailable("catalog", f"{position}: {len(readings)}")

    house.keep, keep = full, house.keep  # type: ignore[method-assign]
    house.writer.close()
    house.writer = house.open()
    strange = ReadingBatch.of([99], [START], [1.0])

    with pytest.raises(Unavailable, match="catalog"):
        house.writer.write("log", 1, strange)
    assert house.writer.position("log") == 0

    house.keep = keep  # type: ignore[method-assign]
    house.writer.close()
    house.writer = house.open()
    assert house.writer.write("log", 1, strange)
    assert [position for position, _ in house.rejected] == [1]


# -- masks and overwriting


def test_a_mask_of_nothing_is_written_only_where_something_may_be_overwritten(house: House) -> None:
    house.answer = [
        {"name": "reading", "tags": {"device": "dev-0", "metric": "humidity"}, "columns": ["time", "last"],
         "values": [[START + 5, 1.0]]}
    ]  # fmt: skip

    house.writer.write("log", 1, ReadingBatch.of([1, 1, 2], [START + 5, START + 6, START], [1.0, 2.0, 3.0]))
    house.writer.write("log", 2, ReadingBatch.of([1, 1, 2], [START + 6, START + 7, START + 1], [4.0, 5.0, 6.0]))

    written = [[line.split(" ")[1] for line in lines] for lines in house.bodies()]
    assert written == [["value=1.0,q=0i", "value=2.0", "value=3.0"], ["value=4.0,q=0i", "value=5.0", "value=6.0"]]


def test_where_influxdb_3_does_not_look_the_first_reading_of_a_series_may_overwrite(tmp_path: Path) -> None:
    """What it holds cannot be asked: that question would open more files than it allows."""
    with ExitStack() as stack:
        house = House(tmp_path, stack)
        house.writer.close()
        v3 = house.settings.influx.model_copy(update={"flavour": "v3"})
        house.settings = house.settings.model_copy(update={"influx": v3})
        house.writer = house.open()
        house.error = "query would exceed the file limit of 432 parquet files"

        house.writer.write("log", 1, ReadingBatch.of([1, 1], [START, START + 1], [1.0, 2.0]))
        house.writer.write("log", 2, ReadingBatch.of([1], [START + 2], [3.0]))

        assert [re.sub(r".* (\S+) .*", r"\1", r.text.split("\n")[0]) for r in house.play.asked("/api/v3/write_lp")] == [
            "value=1.0,q=0i",
            "value=3.0",
        ]
        assert len(house.play.asked("/query")) == 1


# -- what is remembered beside the server


def test_positions_belong_to_one_server_and_database(tmp_path: Path) -> None:
    for target, expected in (("http://a city", 0), ("http://b city", 0), ("http://a city", 7)):
        state = InfluxState(tmp_path, target, busy_seconds=1)
        assert state.position("log") == expected
        state.written("log", 7, [])
        state.close()


def test_one_writer_at_a_time(house: House) -> None:
    with pytest.raises(Unavailable, match="another writer"):
        house.open()


def test_a_bucket_touched_while_it_is_summed_up_stays_due(tmp_path: Path) -> None:
    state = InfluxState(tmp_path, "x", busy_seconds=1)
    state.written("log", 1, [(HOUR, START, "north"), (HOUR, START, "south")])
    [north, south] = state.due(HOUR, START + 1, 10, now_ns=5, age_ns=0)

    state.written("log", 2, [(HOUR, START, "north")])
    state.done(north)
    state.done(south, [(DAY, START, "south")])

    assert [due.district for due in state.due(HOUR, START + 1, 10, now_ns=5, age_ns=0)] == ["north"]
    assert [due.district for due in state.due(DAY, START + 1, 10, now_ns=5, age_ns=0)] == ["south"]
    assert state.waiting() == 2
    state.close()


def test_buckets_are_due_once_over_and_known_for_a_while_and_not_all_at_once(tmp_path: Path) -> None:
    state = InfluxState(tmp_path, "x", busy_seconds=1)
    state.written("log", 1, [(HOUR, START + i * HOUR, "north") for i in range(5)])

    assert state.due(HOUR, START + DAY, 10, now_ns=100, age_ns=10) == []
    assert len(state.due(HOUR, START + DAY, 10, now_ns=110, age_ns=10)) == 5
    assert [d.start - START for d in state.due(HOUR, START + 2 * HOUR, 10, now_ns=110, age_ns=10)] == [0, HOUR]
    assert len(state.due(HOUR, START + DAY, 3, now_ns=110, age_ns=10)) == 3
    state.close()


def test_upkeep_waits_for_a_server_that_is_away(house: House) -> None:
    house.writer.write("log", 1, batch(1))
    house.refuse = lambda _: Reply(503, b"away")
    house.answer = [
        {"name": "reading", "tags": {"device": "dev-0", "metric": "humidity"},
         "columns": ["time", "n", "total", "low", "high", "last"], "values": [[START, 1, 1.0, 1.0, 1.0, 1.0]]}
    ]  # fmt: skip

    with pytest.raises(Unavailable, match="503"):
        house.writer.maintain(START + 2 * DAY)
    house.refuse = lambda _: Reply(204)
    house.writer.maintain(START + 2 * DAY)

    assert any(point.startswith("reading_1h,") for point in house.stored)
    assert house.count("city_series_due_rollups") == 0


def test_a_round_of_upkeep_sums_up_so_many_buckets_and_the_next_one_goes_on(tmp_path: Path) -> None:
    with ExitStack() as stack:
        house = House(tmp_path, stack, rollups_at_once=2)
        house.writer.write("log", 1, ReadingBatch.of([1] * 5, START + np.arange(5) * HOUR, [1.0] * 5))

        waiting = []
        for _ in range(4):
            house.writer.maintain(START + 2 * DAY)
            waiting.append(house.count("city_series_due_rollups"))

        assert waiting == [3, 1, 0, 0]
