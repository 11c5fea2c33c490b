"""Every series store keeps the promises of `core.ports.SeriesWriter`, `SeriesQueries` and `SeriesAdmin`.

Run on the fake, on the embedded store before and after its upkeep, on a real InfluxDB 1.x, on the ways of 2.x and 3
played in front of it, on VictoriaMetrics (which takes what is written and answers no questions), and on whatever
`URBANPULSE_TEST_INFLUX_URL` names.
"""

from __future__ import annotations

import json
import os
import urllib.request
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest

from backends.series import InfluxSettings, SeriesSettings, create_store, open_reader, open_writer
from core.batch import ReadingBatch
from core.clock import ManualClock
from core.ports import Bands, Capabilities, RankBy, SeriesQueries, SeriesStore
from tests.contracts.series_fake import MemorySeriesStore
from tests.influx import drop, given, influxd, listed, victoria_metrics
from tests.influx_kinds import fronted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from core.ports import RejectedReading

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
START = 20_000 * DAY
UPKEEP = START + 10 * DAY
RAW_DAYS = 36_000  # less than for ever, and more than any time of this suite is old
EMBEDDED = ("embedded", "embedded, sealed at once", "embedded, sealed and merged at once")
INFLUX = ("influxdb 1.x", "influxdb 1.x, summed up at once")
PLAYED: dict[str, Literal["v2", "v3"]] = {"influxdb 2.x, played on 1.x": "v2", "influxdb 3, played on 1.x": "v3"}
VICTORIA = "victoria-metrics"
URL = os.environ.get("URBANPULSE_TEST_INFLUX_URL")
GIVEN = ("influxdb at the address given", "influxdb at the address given, summed up at once") if URL else ()
IMPLEMENTATIONS = ("memory", *EMBEDDED, *INFLUX, *PLAYED, VICTORIA, *GIVEN)


@dataclass
class Store:
    """A store under test; `settle` is the upkeep that must change no answer."""

    name: str
    writer: SeriesStore
    open_reader: Callable[[], SeriesQueries]
    reopen: Callable[[], SeriesStore]
    can: Capabilities
    upkeep: bool
    export: Callable[[], list[tuple[str, int, float]]] | None = None
    _reader: SeriesQueries | None = None

    @property
    def reader(self) -> SeriesQueries:
        """The questions; a test that asks some does not apply where there are no answers."""
        if not self.can.reads:
            pytest.skip(f"{self.name} answers no questions")
        if self._reader is None:
            self._reader = self.open_reader()
        return self._reader

    def settle(self) -> None:
        """Do upkeep as of day 10 if this implementation is to be tested after it."""
        if self.upkeep:
            self.writer.maintain(UPKEEP)

    def kept(self, batch: ReadingBatch) -> ReadingBatch:
        """Return *batch* as this store keeps it."""
        received = batch.received if self.can.received else batch.measured
        return ReadingBatch(batch.series, batch.measured, received, batch.value, batch.quality)

    def close(self) -> None:
        """Release everything."""
        self.writer.close()
        if self._reader is not None:
            self._reader.close()


def no_rejects(position: int, readings: Sequence[RejectedReading]) -> None:
    """Fail: nothing in this suite is bad."""
    raise AssertionError(f"refused at {position}: {readings}")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Return a function that names the address of a server, started at first use."""
    running: dict[str, str] = {}
    with ExitStack() as stack:

        def address(kind: str) -> str:
            if kind in PLAYED and kind not in running:
                running[kind] = stack.enter_context(fronted(address("influxd"), PLAYED[kind]))
            if kind not in running:
                start = victoria_metrics if kind == VICTORIA else influxd
                running[kind] = stack.enter_context(start(tmp_path_factory.mktemp("server")))
            return running[kind]

        yield address


def influx_settings(url: str, flavour: Literal["auto", "v1", "v2"], database: str, **login: Any) -> SeriesSettings:
    """Return settings for databases of their own on the server at *url*."""
    influx = InfluxSettings(
        flavour=flavour,
        database=database,
        rollup_database=f"{database}-rollup",
        rollup_delay_seconds=0,
        rollups_at_once=1000,
        timeout_seconds=60,  # how fast a server is that somebody gives is not tested
        query_timeout_seconds=60,
        **login,
    )
    return SeriesSettings(url=url, raw_days=RAW_DAYS, influx=influx)


@pytest.fixture(params=IMPLEMENTATIONS)
def store(request: pytest.FixtureRequest, tmp_path: Path, servers: Callable[[str], str]) -> Iterator[Store]:
    name: str = request.param
    if name == "memory":
        memory = MemorySeriesStore(raw_days=RAW_DAYS)
        yield Store(name, memory, lambda: memory, lambda: memory, memory.capabilities(), upkeep=True)
        return
    if name in EMBEDDED:
        limits = SeriesSettings(raw_days=RAW_DAYS, seal_rows=1, merge_seconds=0 if "merged" in name else 1e9)
    elif name == VICTORIA:
        limits = influx_settings(servers(VICTORIA), "v2", "city", org="city-hall")
    elif name in INFLUX:
        limits = influx_settings(servers("influxd"), "auto", uuid.uuid4().hex)
    else:
        url, login = given(URL, os.environ) if name in GIVEN and URL else given(servers(name), {})
        database = f"{os.environ.get('URBANPULSE_TEST_INFLUX_BUCKET') or 'urbanpulse'}-{uuid.uuid4().hex}"
        limits = influx_settings(url, "auto", database, **login)
    if name not in {*EMBEDDED, VICTORIA}:
        create_store(tmp_path, limits)
    names = listed()

    def write() -> SeriesStore:
        return open_writer(tmp_path, limits, names=names, clock=ManualClock(), on_rejected=no_rejects)

    writer = write()
    can = writer.capabilities()
    if name == VICTORIA:
        can = Capabilities(reads=False, received=False, deletes=False, resolution_ns=1_000_000, first_ns=0)
    store = Store(
        name, writer, lambda: open_reader(tmp_path, limits, names=names), write, can,
        upkeep="at once" in name, export=(lambda: exported(limits.url)) if name == VICTORIA else None,
    )  # fmt: skip
    yield store
    store.close()
    if name in {*PLAYED, *GIVEN}:
        drop(limits.url, limits.influx)


def exported(url: str) -> list[tuple[str, int, float]]:
    """Return (device/metric, measured, value) of everything that a VictoriaMetrics holds."""
    with urllib.request.urlopen(f"{url}/internal/force_flush", timeout=10):
        pass
    question = "/api/v1/export?match%5B%5D=%7B__name__%3D%22reading_value%22%7D&start=0"
    with urllib.request.urlopen(url + question, timeout=10) as answer:
        lines = [json.loads(line) for line in answer.read().splitlines()]
    return sorted(
        (f"{line['metric']['device']}/{line['metric']['metric']}", at * 1_000_000, value)
        for line in lines
        for at, value in zip(line["timestamps"], line["values"], strict=True)
    )


def test_all_implementations_are_found() -> None:
    """A fake, the embedded store in three states, InfluxDB 1.x in two, 2.x, 3, VictoriaMetrics, and one given."""
    assert len(IMPLEMENTATIONS) == 1 + 3 + 2 + 2 + 1 + (2 if URL else 0)


def bands_of(*rows: tuple[int, int, float, float, float]) -> Bands:
    columns = list(zip(*rows, strict=True))
    return Bands(
        np.array(columns[0], np.int32), np.array(columns[1], np.int64), *(np.array(c, np.float64) for c in columns[2:])
    )


def test_a_new_store_is_empty(store: Store) -> None:
    store.settle()

    assert store.writer.position("log") == 0
    assert store.reader.count() == 0
    assert len(store.reader.latest()) == 0
    assert len(store.reader.readings(1, 0, 1 << 62, 10)) == 0
    assert len(store.reader.buckets(1, 0, 1 << 62, HOUR).start) == 0
    assert len(store.reader.bands(1, 0, 1 << 62).hour) == 0


def test_what_was_written_is_read_back_whole(store: Store) -> None:
    batch = ReadingBatch.of(
        [7, 7, 9], [START, START + 1, START], [1.5, -0.0, 1e300], received=[START + 5] * 3, quality=[0, 4097, 65535]
    )

    assert store.writer.write("log", 1, batch)
    store.settle()

    assert store.reader.readings(7, START, START + 2, 10) == store.kept(batch.take(np.array([0, 1])))
    assert store.reader.readings(9, START, START + 2, 10) == store.kept(batch.take(np.array([2])))
    assert store.reader.count() == 3


def test_a_position_is_written_once(store: Store) -> None:
    one, other = (ReadingBatch.of([1], [START], [value]) for value in (1.0, 2.0))

    assert store.writer.write("log", 5, one)
    store.settle()
    answers = [store.writer.write("log", position, other) for position in (5, 4, 0, -1)]

    assert answers == [False] * 4
    assert store.writer.position("log") == 5
    assert store.reader.latest() == store.kept(one)


def test_sources_have_positions_of_their_own(store: Store) -> None:
    batch = ReadingBatch.of([1], [START], [1.0])

    assert store.writer.write("log", 5, batch)
    assert store.writer.write("import", 1, ReadingBatch.of([2], [START], [1.0]))

    assert (store.writer.position("log"), store.writer.position("import"), store.writer.position("?")) == (5, 1, 0)
    assert store.reader.count() == 2


def test_an_empty_batch_moves_the_position(store: Store) -> None:
    assert store.writer.write("log", 3, ReadingBatch.empty())
    assert not store.writer.write("log", 3, ReadingBatch.of([1], [START], [1.0]))
    store.settle()

    assert store.writer.position("log") == 3
    assert store.reader.count() == 0


def test_the_last_one_written_wins_within_a_batch_between_batches_and_after_upkeep(store: Store) -> None:
    store.writer.write("log", 1, ReadingBatch.of([1, 1, 1], [START, START + 1, START], [1.0, 2.0, 3.0]))
    store.settle()
    store.writer.write("log", 2, ReadingBatch.of([1], [START + 1], [4.0], quality=[8]))
    store.settle()
    store.writer.write("log", 3, ReadingBatch.of([1], [START], [5.0]))

    found = store.reader.readings(1, START, START + 10, 10)
    assert found.value.tolist() == [5.0, 4.0]
    assert found.quality.tolist() == [0, 8]
    assert store.reader.count() == 2
    assert store.reader.buckets(1, START, START + HOUR, HOUR).n.tolist() == [2]


def test_latest_is_by_measured_time_however_late_it_came(store: Store) -> None:
    store.writer.write("log", 1, ReadingBatch.of([1, 2], [START + DAY, START], [1.0, 10.0]))
    store.settle()
    store.writer.write("log", 2, ReadingBatch.of([1, 2], [START, START + 1], [2.0, 20.0]))
    store.settle()
    store.writer.write("log", 3, ReadingBatch.of([1], [START + DAY], [3.0]))

    latest = store.reader.latest()
    assert latest.series.tolist() == [1, 2]
    assert latest.value.tolist() == [3.0, 20.0]


def test_readings_are_the_oldest_of_the_range_ascending_and_limited(store: Store) -> None:
    at = [START + 3 * DAY, START, START + DAY, START + 2 * DAY]
    store.writer.write("log", 1, ReadingBatch.of([1] * 4, at, [3.0, 0.0, 1.0, 2.0]))
    store.settle()

    assert store.reader.readings(1, START, START + 3 * DAY, 10).value.tolist() == [0.0, 1.0, 2.0]
    assert store.reader.readings(1, START + 1, START + 3 * DAY + 1, 2).value.tolist() == [1.0, 2.0]
    assert store.reader.readings(2, START, START + 3 * DAY, 10).value.tolist() == []
    assert len(store.reader.readings(1, START, START + DAY, 0)) == 0


@pytest.mark.parametrize("width", [HOUR // 2, HOUR, 24 * HOUR, 36 * HOUR])
def test_buckets_are_aligned_and_count_only_the_range(store: Store, width: int) -> None:
    at = np.arange(START, START + 3 * DAY, HOUR // 4)
    value = np.arange(len(at), dtype=np.float64)
    store.writer.write("log", 1, ReadingBatch.of([4] * len(at), at, value, quality=np.arange(len(at)) % 3))
    store.settle()
    start, end = START + HOUR // 4, START + 3 * DAY - HOUR // 4

    buckets = store.reader.buckets(4, start, end, width)

    inside = (at >= start) & (at < end)
    keys = at[inside] // width * width
    groups = [inside.nonzero()[0][keys == key] for key in np.unique(keys)]
    assert buckets.start.tolist() == np.unique(keys).tolist()
    assert buckets.n.tolist() == [len(g) for g in groups]
    assert buckets.mean.tolist() == pytest.approx([value[g].mean() for g in groups])
    assert buckets.low.tolist() == [value[g].min() for g in groups]
    assert buckets.high.tolist() == [value[g].max() for g in groups]
    assert buckets.last.tolist() == [value[g[-1]] for g in groups]
    assert buckets.quality.tolist() == [int(np.bitwise_or.reduce(g % 3)) for g in groups]
    assert buckets.quality.dtype == np.uint16


def test_a_bucket_needs_a_width(store: Store) -> None:
    with pytest.raises(ValueError, match="positive"):
        store.reader.buckets(1, 0, 1, 0)


def test_bands_are_those_of_the_hours_that_touch_the_range_and_the_last_one_wins(store: Store) -> None:
    rows = [(1, START + i * HOUR, float(i), i - 0.5, i + 0.5) for i in range(30)]
    store.writer.write("log", 1, ReadingBatch.empty(), bands_of(*rows))
    store.settle()
    store.writer.write("log", 2, ReadingBatch.empty(), bands_of((1, START + 2 * HOUR, 9.0, 8.0, 10.0)))
    store.settle()

    bands = store.reader.bands(1, START + HOUR + 1, START + 3 * HOUR)

    assert bands.hour.tolist() == [START + HOUR, START + 2 * HOUR]
    assert bands.expected.tolist() == [1.0, 9.0]
    assert bands.low.tolist() == [0.5, 8.0]
    assert bands.high.tolist() == [1.5, 10.0]
    assert bands.expected.dtype == np.float64
    assert store.reader.bands(1, START + 25 * HOUR, START + 26 * HOUR).expected.tolist() == [25.0]
    assert len(store.reader.bands(2, START, START + DAY).hour) == 0


def test_times_before_1970_and_far_ahead_are_kept(store: Store) -> None:
    if store.can.first_ns > -DAY:
        pytest.skip(f"{store.name} keeps nothing before 1970")
    at = [-DAY - 1, -1, 0, 250 * 365 * DAY]
    store.writer.write("log", 1, ReadingBatch.of([1] * 4, at, [1.0, 2.0, 3.0, 4.0]))

    assert store.reader.readings(1, -(1 << 62), 1 << 63, 10).measured.tolist() == at
    assert store.reader.latest().value.tolist() == [4.0]


def test_readings_before_the_retention_are_gone_and_stay_gone(store: Store) -> None:
    reader = store.reader
    old, young = START, START + 2 * DAY
    store.writer.write("log", 1, ReadingBatch.of([1, 1, 2], [old, young, old], [1.0, 2.0, 3.0]))
    store.settle()

    store.writer.maintain(START + (RAW_DAYS + 1) * DAY)
    store.writer.write("log", 2, ReadingBatch.of([1], [old + 1], [4.0]))

    assert reader.readings(1, 0, 1 << 62, 10).value.tolist() == [2.0]
    assert reader.latest().value.tolist() == [2.0]
    assert reader.count() == 1


def test_what_was_written_arrives(store: Store) -> None:
    """Also where no questions are answered: what the server exports is what was written, to its resolution."""
    batch = ReadingBatch.of([7, 7, 40], [START, START + 10**9, START], [1.5, -2.0, 0.1])
    store.writer.write("log", 1, batch)

    if store.export is not None:
        expected = [
            ("dev-1/noise", START, 1.5),
            ("dev-1/noise", START + 10**9, -2.0),
            ("dev-10/temperature", START, 0.1),
        ]
        assert {*expected, ("dev-10/temperature", START, 0.1)} <= set(store.export())
    else:
        found = [store.reader.readings(s, START, START + DAY, 10) for s in (7, 40)]
        assert ReadingBatch.concat(found) == store.kept(batch)


def test_a_writer_that_comes_back_knows_its_positions(store: Store) -> None:
    store.writer.write("log", 7, ReadingBatch.of([1], [START], [1.0]))
    store.settle()
    store.writer.close()

    store.writer = store.reopen()

    assert store.writer.position("log") == 7
    assert not store.writer.write("log", 7, ReadingBatch.of([1], [START], [2.0]))
    assert store.writer.write("log", 8, ReadingBatch.of([1], [START + 1], [2.0]))


def test_a_later_version_without_a_mask_takes_the_mask_away(store: Store) -> None:
    store.writer.write("log", 1, ReadingBatch.of([1, 1], [START, START + 1], [1.0, 2.0], quality=[8, 16]))
    store.settle()
    store.writer.write("log", 2, ReadingBatch.of([1], [START], [3.0]))
    store.settle()
    store.writer.close()
    store.writer = store.reopen()
    store.writer.write("log", 3, ReadingBatch.of([1, 1], [START + 1, START + 2], [4.0, 5.0]))

    found = store.reader.readings(1, START, START + 10, 10)

    assert found.value.tolist() == [3.0, 4.0, 5.0]
    assert found.quality.tolist() == [0, 0, 0]


@pytest.mark.parametrize("points", [10, 100])
def test_a_range_in_at_most_so_many_points_keeps_least_and_greatest(store: Store, points: int) -> None:
    rng = np.random.default_rng(points)
    at = np.sort(rng.choice(2 * DAY // 10**9, 1000, replace=False)) * 10**9 + START
    value = np.round(rng.normal(0, 10, 1000), 2)
    store.writer.write("log", 1, ReadingBatch.of([3] * 1000, at, value))
    store.settle()

    buckets = store.reader.buckets(3, START, START + 2 * DAY, -(-2 * DAY // (points - 1)))

    assert 0 < len(buckets.start) <= points
    assert (buckets.low.min(), buckets.high.max()) == (value.min(), value.max())
    assert int(buckets.n.sum()) == 1000


def city(store: Store, series: Sequence[int]) -> ReadingBatch:
    """Write three days of readings in three batches, some of them late or twice, settle between; return what counts."""
    assert store.reader.capabilities().reads
    rng = np.random.default_rng(5)
    at = np.arange(START, START + 3 * DAY, HOUR // 2)
    ids = np.repeat(np.array(series, np.int32), len(at))
    batch = ReadingBatch.of(
        ids,
        np.tile(at, len(series)) + ids,
        np.round(rng.normal(20, 5, len(ids)), 2),
        quality=rng.integers(0, 4, len(ids)),
    )
    order = rng.permutation(len(batch))
    parts = np.array_split(order, 3)
    wrong = batch.take(parts[0][:20])
    store.writer.write(
        "log", 1, ReadingBatch(wrong.series, wrong.measured, wrong.received, wrong.value + 500, wrong.quality)
    )
    for position, rows in enumerate(parts, start=2):
        store.settle()
        store.writer.write("log", position, batch.take(rows))
    store.settle()
    return batch.take(np.lexsort((batch.measured, batch.series)))


@pytest.mark.parametrize("width", [HOUR // 3, HOUR, 36 * HOUR])
@pytest.mark.parametrize(
    "groups",
    [
        pytest.param({4: 1, 5: 1, 8: 1, 9: 1, 40: 2, 41: 2}, id="by district, some of its series"),
        pytest.param({s: s % 4 for s in range(64)}, id="by metric, all there are"),
        pytest.param({s: s // 32 for s in range(64)}, id="by district, all there are"),
    ],
)
def test_groups_add_up_their_readings_by_time(store: Store, width: int, groups: dict[int, int]) -> None:
    batch = city(store, [4, 5, 6, 8, 9, 40, 41])
    start, end = START + HOUR // 4, START + 3 * DAY - HOUR // 4
    series, group = np.array(list(groups), np.int32), np.array(list(groups.values()), np.int32)

    found = store.reader.grouped(series, group, start, end, width)

    rows = batch.take((batch.measured >= start) & (batch.measured < end) & np.isin(batch.series, series))
    keys = [(groups[s], m // width * width) for s, m in zip(rows.series.tolist(), rows.measured.tolist(), strict=True)]
    values = {key: [v for k, v in zip(keys, rows.value.tolist(), strict=True) if k == key] for key in sorted(set(keys))}
    assert list(zip(found.group.tolist(), found.start.tolist(), strict=True)) == list(values)
    assert found.n.tolist() == [len(v) for v in values.values()]
    assert found.mean.tolist() == pytest.approx([sum(v) / len(v) for v in values.values()])
    assert found.low.tolist() == [min(v) for v in values.values()]
    assert found.high.tolist() == [max(v) for v in values.values()]


def test_groups_of_nothing_are_nothing(store: Store) -> None:
    none, one = np.empty(0, np.int32), np.array([1], np.int32)

    assert len(store.reader.grouped(none, none, START, START + DAY, HOUR).group) == 0
    assert len(store.reader.grouped(one, one, START, START + DAY, HOUR).group) == 0
    for series, group, width in ((one, one, 0), (one, none, HOUR), (np.array([1, 1], np.int32), none, HOUR)):
        with pytest.raises(ValueError, match=r"width|series|group"):
            store.reader.grouped(series, group, START, START + DAY, width)


@pytest.mark.parametrize("by", list(RankBy))
def test_the_top_are_the_greatest_of_those_asked_for(store: Store, by: RankBy) -> None:
    batch = city(store, [4, 5, 6, 8, 9, 40, 41])
    start, end = START + HOUR, START + 2 * DAY + HOUR
    asked = np.array([41, 5, 6, 40, 9, 12], np.int32)

    found = store.reader.top(asked, start, end, 3, by)

    rows = batch.take((batch.measured >= start) & (batch.measured < end))
    of = {s: rows.value[rows.series == s] for s in asked.tolist() if np.any(rows.series == s)}
    value = {s: {"last": v[-1], "mean": v.mean(), "max": v.max()}[by] for s, v in of.items()}
    first = sorted(value, key=lambda s: (-value[s], s))[:3]
    assert found.series.tolist() == first
    assert found.value.tolist() == pytest.approx([value[s] for s in first])
    assert len(store.reader.top(asked, start, end, 0, by).series) == 0
    assert len(store.reader.top(asked, end + 2 * DAY, end + 3 * DAY, 3, by).series) == 0


def test_of_equal_ones_the_top_names_the_first(store: Store) -> None:
    store.writer.write("log", 1, ReadingBatch.of([9, 3, 6], [START] * 3, [1.0, 1.0, 1.0]))
    store.settle()

    found = store.reader.top(np.array([9, 6, 3], np.int32), START, START + 1, 2, RankBy.LAST)

    assert found.series.tolist() == [3, 6]


@pytest.mark.parametrize("width", [HOUR, DAY])
def test_rollups_follow_late_readings(store: Store, width: int) -> None:
    reader = store.reader
    series = np.array([4, 5, 8, 41], np.int32)
    batch = city(store, series.tolist())
    store.writer.maintain(UPKEEP)
    late = ReadingBatch.of([8], [START + DAY + 5], [-99.0], quality=[64])
    store.writer.write("log", 9, late)
    store.writer.maintain(UPKEEP)

    found = reader.rollups(series, START + 1, START + 3 * DAY, width)

    rows = ReadingBatch.concat([batch, late])
    rows = rows.take(np.lexsort((rows.measured, rows.series)))
    rows = rows.take(rows.measured >= START + width)
    keys = list(zip(rows.series.tolist(), (rows.measured // width * width).tolist(), strict=True))
    groups = {k: np.array([i for i, key in enumerate(keys) if key == k]) for k in sorted(set(keys))}
    assert list(zip(found.series.tolist(), found.start.tolist(), strict=True)) == list(groups)
    assert found.n.tolist() == [len(g) for g in groups.values()]
    assert found.mean.tolist() == pytest.approx([rows.value[g].mean() for g in groups.values()])
    assert found.low.tolist() == [rows.value[g].min() for g in groups.values()]
    assert found.high.tolist() == [rows.value[g].max() for g in groups.values()]
    assert found.last.tolist() == [rows.value[g[-1]] for g in groups.values()]
    assert found.quality.tolist() == [int(np.bitwise_or.reduce(rows.quality[g])) for g in groups.values()]


def test_a_rollup_is_by_hour_or_day(store: Store) -> None:
    with pytest.raises(ValueError, match="an hour or a day"):
        store.reader.rollups(np.array([1], np.int32), START, START + DAY, HOUR // 2)


def test_what_is_deleted_is_gone_for_good_and_its_rollups_stay(store: Store) -> None:
    if not store.can.deletes:
        pytest.skip(f"{store.name} deletes no rows")
    series, group = np.array([4, 5], np.int32), np.array([1, 1], np.int32)
    batch = city(store, [4, 5])
    store.writer.write("log", 8, ReadingBatch.empty(), bands_of((4, START, 1.0, 0.0, 2.0)))
    before = store.reader.grouped(series, group, START, START + 3 * DAY, HOUR)

    store.writer.delete_before(START + DAY + HOUR, UPKEEP)
    store.writer.write("log", 9, ReadingBatch.of([4], [START + 7], [1e6]))
    store.writer.maintain(UPKEEP)

    kept = batch.take(batch.measured >= START + DAY)
    found = [store.reader.readings(s, START - DAY, START + 4 * DAY, 1000) for s in (4, 5)]
    assert ReadingBatch.concat(found) == store.kept(kept)
    assert store.reader.count() == len(kept)
    after = store.reader.grouped(series, group, START, START + 3 * DAY, HOUR)
    assert (after.start.tolist(), after.n.tolist()) == (before.start.tolist(), before.n.tolist())
    assert after.mean.tolist() == pytest.approx(before.mean.tolist())
    rollups = store.reader.rollups(series, START, START + DAY, DAY)
    assert rollups.n.tolist() == [48, 48]
    assert store.reader.top(series, START, START + DAY, 2, RankBy.MAX).value.max() < 1e6
    assert len(store.reader.bands(4, START, START + HOUR).hour) == 1


def test_a_store_says_how_it_is_and_what_it_can(store: Store) -> None:
    store.writer.write("log", 1, ReadingBatch.of([1], [START], [1.0]))
    ends = [store.writer] if store.export else [store.writer, store.reader]
    for end in ends:
        health = end.health()
        assert health.ok, health
        assert health.flavour in {"memory", "embedded", "v1", "v2", "v3"}
        assert health.text
        assert end.capabilities().resolution_ns >= 1
