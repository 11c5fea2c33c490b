"""The spool: however long the series store is away, judging goes on, and in the end the store has everything once."""

from __future__ import annotations

import hashlib
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from core.batch import ReadingBatch
from core.entry import LogEntry
from core.errors import MalformedPayload, SettingsError, Unavailable
from core.ports import Bands
from processors import replay_log
from processors.metrics import ProcessorMetrics
from processors.settings import SpoolSettings
from processors.spool import Spool, SpoolEntry, behind_seconds
from tests.contracts.fakes import MemoryLog
from tests.contracts.series_fake import MemorySeriesStore
from tests.unit.processors.conftest import SECOND, START, Crash, House, QuickClock

CHUNK = 200
NONE = Bands(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0))


@pytest.fixture
def spooled(house: House) -> House:
    """Return the house of 100 entries, with a spool before its series store."""
    house.spool = MemoryLog(QuickClock(), retention_hours=0)
    house.settings = house.settings.model_copy(update={"spool": SpoolSettings(chunk_readings=CHUNK)})
    return house


async def _without_spool(house: House) -> tuple[object, str]:
    fresh = House(house.log, house.registry, settings=house.settings)
    await fresh.run()
    return fresh.stored(), _kept_hash(fresh)


def _kept_hash(house: House) -> str:
    return hashlib.sha256(house.snapshots.kept[0][1]).hexdigest()


def _has_read(house: House) -> bool:
    return house.shown("city_processor_position") == house.log.head()


def _away(called: str) -> None:
    if called == "write":
        raise Unavailable("series", "away")


# -- runs ------------------------------------------------------------------------------------------------------------


async def test_a_run_with_a_spool_stores_what_one_without_does(spooled: House) -> None:
    await spooled.run()

    assert await _without_spool(spooled) == (spooled.stored(), _kept_hash(spooled))
    assert spooled.shown("city_processor_spool_damaged_total") == 0


@pytest.mark.parametrize("name", ["append", "write", "record", "save", "commit", "trim"])
@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
async def test_a_crash_at_any_effect_changes_nothing(spooled: House, name: str, is_before: bool) -> None:
    expected = await _without_spool(spooled)

    n, crashes, is_through = 1, 0, False
    while not is_through:
        left = n

        def crash(called: str) -> None:
            nonlocal left
            left -= called == name
            if called == name and not left:
                raise Crash(name)

        torn = House(
            spooled.log, spooled.registry, settings=spooled.settings, spool=MemoryLog(QuickClock(), retention_hours=0)
        )
        try:
            await (torn.run(before=crash) if is_before else torn.run(after=crash))
        except* Crash:
            crashes += 1
            await torn.run()
        else:
            is_through = True
        assert expected == (torn.stored(), _kept_hash(torn))
        n += 1 + n // 2

    assert crashes >= 1


async def test_while_the_store_is_away_everything_else_goes_on(spooled: House) -> None:
    await spooled.run(before=_away, until=lambda: _has_read(spooled))

    assert spooled.readings() == 0
    assert spooled.journal.alerts
    assert spooled.snapshots.kept[0][0] == spooled.log.head()
    assert spooled.log.cursor("processor") > 0  # what the log may forget does not wait for the store
    assert spooled.shown("city_processor_store_away", store="series") == 1
    assert (spooled.shown("city_processor_spool_entries") or 0) > 1

    await spooled.run()
    assert await _without_spool(spooled) == (spooled.stored(), _kept_hash(spooled))


async def test_a_restart_while_the_store_is_away_keeps_frames_coming_and_alerts_opening(spooled: House) -> None:
    await spooled.run(before=_away, until=lambda: _has_read(spooled))
    known = set(spooled.journal.alerts)

    at = START + 5000 * SECOND
    is_added = False

    def shown_and_recorded() -> bool:
        nonlocal is_added
        if not is_added and _has_read(spooled):
            spooled.log.append([LogEntry(at, ReadingBatch.of([0, 2], [at, at], [1.0, -7777.0])).to_bytes()])
            is_added = True
        return any(frame.series for frame in spooled.frames.got) and set(spooled.journal.alerts) > known

    with capture_logs() as logs:
        await spooled.run(before=_away, until=shown_and_recorded)

    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == []
    assert "state restored" in [entry["event"] for entry in logs]
    assert spooled.readings() == 0
    await spooled.run()
    assert await _without_spool(spooled) == (spooled.stored(), _kept_hash(spooled))


async def test_catching_up_takes_bounded_chunks_and_a_flapping_store_gets_on(spooled: House) -> None:
    await spooled.run(before=_away, until=lambda: _has_read(spooled))
    sizes: list[int] = []
    calls = 0
    write = spooled.series.write

    def write_noting(source: str, position: int, batch: ReadingBatch, bands: Bands | None = None) -> bool:
        sizes.append(len(batch))
        return write(source, position, batch, bands)

    spooled.series.write = write_noting  # type: ignore[method-assign]

    def flap(called: str) -> None:
        nonlocal calls
        calls += called == "write"
        if called == "write" and calls % 3:
            raise Unavailable("series", "away")

    await spooled.run(before=flap, until=lambda: spooled.series.position("processor") == spooled.log.head())

    assert len(sizes) >= 5
    assert max(sizes) <= CHUNK
    assert calls >= 3 * len(sizes) - 2
    assert sum(sizes) == replay_log(spooled.log, spooled.registry, spooled.settings).readings  # nothing sent twice
    assert await _without_spool(spooled) == (spooled.stored(), _kept_hash(spooled))


async def test_what_the_store_took_before_a_crash_is_not_sent_again(spooled: House) -> None:
    """Its position says so, though our cursor does not: only the write that the crash cut may be repeated."""
    await spooled.run(before=_away, until=lambda: _has_read(spooled))
    written = 0

    def crash(called: str) -> None:
        nonlocal written
        written += called == "write"
        if called == "write" and written == 3:
            raise Crash(called)

    with pytest.raises(ExceptionGroup):
        await spooled.run(after=crash)
    position = spooled.series.position("processor")
    seen: list[int] = []
    write = spooled.series.write

    def write_noting(source: str, position: int, batch: ReadingBatch, bands: Bands | None = None) -> bool:
        seen.append(position)
        return write(source, position, batch, bands)

    spooled.series.write = write_noting  # type: ignore[method-assign]
    await spooled.run()

    assert min(seen) > position
    assert await _without_spool(spooled) == (spooled.stored(), _kept_hash(spooled))


async def test_a_full_spool_makes_the_log_the_buffer_and_loses_nothing(spooled: House) -> None:
    expected = await _without_spool(spooled)
    spool = spooled.spool
    assert spool is not None
    spool.used_bytes = lambda: 10_000_000_000  # type: ignore[method-assign]

    await spooled.run(until=lambda: (spooled.shown("city_processor_spool_refused_total") or 0) >= 3)

    assert spooled.readings() == 0
    assert spooled.shown("city_processor_store_away", store="spool") == 1
    del spool.used_bytes
    await spooled.run()
    assert expected == (spooled.stored(), _kept_hash(spooled))


async def test_wrong_settings_of_the_store_stop_the_run_with_their_name(spooled: House) -> None:
    def refuse(called: str) -> None:
        if called == "write":
            raise SettingsError("series.influx.token", "the server refuses it")

    with pytest.raises(ExceptionGroup) as caught:
        await spooled.run(before=refuse, until=lambda: False)

    assert caught.group_contains(SettingsError, match=r"series\.influx\.token")
    await spooled.run()
    assert await _without_spool(spooled) == (spooled.stored(), _kept_hash(spooled))


async def test_another_store_behind_the_same_spool_goes_on_from_the_state(spooled: House) -> None:
    await spooled.run()
    kept = spooled.snapshots.kept[0][0]
    spooled.series = MemorySeriesStore()

    with capture_logs() as logs:
        await spooled.run()

    events = [entry["event"] for entry in logs]
    assert [entry["position"] for entry in logs if entry["event"] == "state restored"] == [kept]
    assert [event for event in events if "series store is new" in event] != []
    assert [entry for entry in logs if entry["log_level"] == "error"] == []


async def test_a_run_that_ends_does_not_ask_a_store_again_that_is_away(spooled: House) -> None:
    """A server that hangs would hold up the end by its timeout."""
    asked: list[bool] = []

    def away(called: str) -> None:
        if called == "write":
            asked.append(_has_read(spooled))
            raise Unavailable("series", "away")

    calls = 0

    def is_through() -> bool:
        nonlocal calls
        calls = len(asked)
        return _has_read(spooled) and calls > 3

    await spooled.run(before=away, until=is_through)

    assert len(asked) <= calls + 1  # one may be under way


async def test_a_spool_that_is_empty_says_nothing_of_a_new_store(spooled: House) -> None:
    with capture_logs() as logs:
        await spooled.run(before=_away, until=lambda: _has_read(spooled))
        await spooled.run(before=_away, until=lambda: _has_read(spooled))

    assert [entry for entry in logs if "series store is new" in entry["event"]] == []


# -- the spool alone -------------------------------------------------------------------------------------------------


def _batch(k: int, n: int = 10) -> ReadingBatch:
    return ReadingBatch.of(np.arange(n), np.full(n, START + k * SECOND), np.full(n, float(k)))


class _Desk:
    """A spool on stores in memory."""

    def __init__(self, **settings: float) -> None:
        self.log = MemoryLog(QuickClock(), retention_hours=0)
        self.store = MemorySeriesStore()
        self.registry = CollectorRegistry()
        self.settings = SpoolSettings(**settings)
        self.spool = self.open()

    def open(self) -> Spool:
        self.registry = CollectorRegistry()
        metrics = ProcessorMetrics(self.registry)
        return Spool(self.log, self.store, settings=self.settings, clock=QuickClock(), metrics=metrics)


def test_a_position_that_is_there_is_left_out() -> None:
    desk = _Desk()

    assert desk.spool.write("processor", 7, _batch(1)) is True
    assert desk.spool.write("processor", 7, _batch(2)) is False
    assert desk.spool.position("processor") == desk.open().position("processor") == 7


def test_the_budget_is_exact() -> None:
    desk = _Desk(budget_megabytes=1)
    size = len(SpoolEntry(1, START, _batch(1), NONE).to_bytes())
    desk.log.used_bytes = lambda: 1_000_000 - size  # type: ignore[method-assign]
    assert desk.spool.write("processor", 1, _batch(1)) is True

    desk.log.used_bytes = lambda: 1_000_000 - size + 1  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match=r"spool: 1\.0 MB wait .* processor\.spool\.budget_megabytes = 1"):
        desk.spool.write("processor", 2, _batch(1))

    assert desk.spool.position("processor") == 1
    assert desk.log.head() == 1
    assert desk.registry.get_sample_value("city_processor_spool_refused_total") == 1


def test_it_warns_once_well_before_it_is_full() -> None:
    desk = _Desk(budget_megabytes=1, warn_percent=50)
    used = [400_000, 600_000, 700_000, 100_000, 600_000]
    with capture_logs() as logs:
        for k, now in enumerate(used, 1):
            desk.log.used_bytes = lambda now=now: now  # type: ignore[method-assign,misc]
            desk.spool.write("processor", k, _batch(k))

    warned = [entry for entry in logs if "spool fills" in entry["event"]]
    assert len(warned) == 2
    assert {"hours_behind", "hours_of_room", "used_megabytes", "budget_megabytes"} <= warned[0].keys()


def test_what_the_store_has_is_forgotten_but_for_the_newest() -> None:
    desk = _Desk()
    for k in range(1, 6):
        desk.spool.write("processor", k, _batch(k))
    while desk.spool.forward():
        pass

    desk.spool.maintain(START * 2)

    assert [place for place, _ in desk.log.read(0, 10)] == [5]
    assert desk.store.position("processor") == 5
    assert desk.registry.get_sample_value("city_processor_spool_entries") == 0


def test_others_can_ask_for_how_long_readings_wait() -> None:
    desk = _Desk()
    assert behind_seconds(desk.log, START) == 0
    desk.spool.write("processor", 1, _batch(1))
    came = SpoolEntry.from_bytes(desk.log.read(0, 1)[0][1]).spooled

    assert behind_seconds(desk.log, came + 90 * SECOND) == 90
    while desk.spool.forward():
        pass
    desk.spool.maintain(START * 2)
    assert behind_seconds(desk.log, came + 90 * SECOND) == 0


def test_nothing_is_forgotten_while_the_store_has_not_taken_it() -> None:
    desk = _Desk()
    for k in range(1, 6):
        desk.spool.write("processor", k, _batch(k))

    desk.spool.maintain(START * 2)

    assert len(desk.log.read(0, 10)) == 5
    assert desk.registry.get_sample_value("city_processor_spool_entries") == 5


@given(st.lists(st.integers(0, 120), min_size=1, max_size=40), st.integers(1, 100))
def test_every_cut_into_chunks_gives_the_store_the_same(sizes: list[int], chunk: int) -> None:
    desk = _Desk(chunk_readings=chunk)
    expected = MemorySeriesStore()
    for k, size in enumerate(sizes, 1):
        bands = Bands(*(np.array([k], dtype) for dtype in (np.int32, np.int64, float, float, float)))
        desk.spool.write("processor", k, _batch(k, size), bands)
        expected.write("processor", k, _batch(k, size), bands)

    while desk.spool.forward():
        pass

    assert desk.store.position("processor") == len(sizes)
    assert (desk.store._rows, desk.store._bands) == (expected._rows, expected._bands)


def test_a_damaged_entry_is_named_and_left_out() -> None:
    desk = _Desk()
    for k in range(1, 4):
        desk.spool.write("processor", k, _batch(k))
    place, stored, body = desk.log._entries[1]
    desk.log._entries[1] = (place, stored, body[:-1])

    with capture_logs() as logs:
        while desk.spool.forward():
            pass

    assert [(entry["event"], entry["place"]) for entry in logs] == [("spool entry is damaged and left out", 2)]
    assert {measured for _, measured in desk.store._rows} == {START + SECOND, START + 3 * SECOND}
    assert desk.store.position("processor") == 3


# -- entries ---------------------------------------------------------------------------------------------------------


def test_an_entry_reads_back_as_it_was() -> None:
    bands = Bands(*(np.array([1, 2], dtype) for dtype in (np.int32, np.int64, float, float, float)))
    entry = SpoolEntry(12, START, _batch(3), bands)

    again = SpoolEntry.from_bytes(entry.to_bytes())

    assert (again.position, again.spooled, again.batch) == (12, START, entry.batch)
    assert all(
        np.array_equal(getattr(again.bands, name), getattr(bands, name))
        for name in ("series", "hour", "expected", "low", "high")
    )


def test_every_truncation_is_noticed() -> None:
    data = SpoolEntry(12, START, _batch(3), NONE).to_bytes()

    for cut in range(len(data)):
        with pytest.raises(MalformedPayload):
            SpoolEntry.from_bytes(data[:cut])


@given(st.binary(max_size=200), st.booleans())
def test_garbage_raises_the_one_documented_error(data: bytes, is_summed: bool) -> None:
    body = zlib.crc32(data).to_bytes(4, "little") + data if is_summed else data
    with pytest.raises(MalformedPayload):
        SpoolEntry.from_bytes(body)
