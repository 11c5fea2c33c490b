"""The processor's run: crashes at every boundary change nothing, stores that are away lose nothing."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from structlog.testing import capture_logs

from core.batch import ReadingBatch
from core.city import Device
from core.entry import LogEntry
from core.errors import SettingsError, Unavailable
from processors import replay_log
from tests.contracts.fakes import MemoryLog
from tests.unit.processors.conftest import SECOND, START, Crash, Frames, House, QuickClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from core.live import LiveFrame


class _Countdown:
    """Crashes at the n-th call of one of *names*."""

    def __init__(self, n: int, *names: str) -> None:
        self.left = n
        self._names = names

    def __call__(self, name: str) -> None:
        if name in self._names:
            self.left -= 1
            if self.left == 0:
                raise Crash(name)


def _kept_hash(house: House) -> str:
    return hashlib.sha256(house.snapshots.kept[0][1]).hexdigest()


def _has_read(house: House) -> bool:
    return house.shown("city_processor_position") == house.log.head()


async def _uninterrupted(house: House) -> tuple[object, str]:
    fresh = House(house.log, house.registry, settings=house.settings)
    await fresh.run()
    return fresh.stored(), _kept_hash(fresh)


async def test_a_run_equals_a_fresh_replay_of_the_log(house: House) -> None:
    await house.run()

    replay = replay_log(house.log, house.registry, house.settings)
    assert (replay.position, replay.state_hash) == (house.log.head(), _kept_hash(house))
    assert replay.readings == house.readings()
    assert replay.alerts == len(house.journal.alerts) > 0


async def test_a_restart_takes_up_the_state_even_if_nothing_had_happened_for_long(house: House) -> None:
    """A snapshot counts only if both stores know its position, also when the last entries had nothing for them."""
    for second in range(1, 200):
        house.log.append([LogEntry(START + (20_000 + second) * SECOND).to_bytes()])
    await house.run()

    with capture_logs() as said:
        await house.run()

    kept = house.snapshots.kept[0][0]
    assert kept == house.log.head()
    assert [line["position"] for line in said if line["event"] == "state restored"] == [kept]
    assert [line for line in said if line["log_level"] in {"warning", "error"}] == []


@pytest.mark.parametrize("name", ["write", "record", "save", "commit"])
@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
async def test_a_crash_at_any_effect_changes_nothing(house: House, name: str, is_before: bool) -> None:
    expected = await _uninterrupted(house)

    n, crashes, is_through = 1, 0, False
    while not is_through:
        torn = House(house.log, house.registry, settings=house.settings)
        countdown = _Countdown(n, name)
        try:
            await (torn.run(before=countdown) if is_before else torn.run(after=countdown))
        except* Crash:
            crashes += 1
            await torn.run()
        else:
            is_through = True
        assert expected == (torn.stored(), _kept_hash(torn))
        n += 1 + n // 2

    assert crashes >= 1


async def test_crashing_again_and_again_still_gets_there(house: House) -> None:
    expected = await _uninterrupted(house)

    crashes, is_done = 0, False
    while not is_done:
        try:
            await house.run(after=_Countdown(5, "write", "record", "save", "commit"))
        except* Crash:
            crashes += 1
        else:
            is_done = True

    assert crashes >= 2
    assert expected == (house.stored(), _kept_hash(house))


@pytest.mark.parametrize("name", ["write", "record", "read", "series", "save"])
async def test_a_part_that_is_away_for_a_while_loses_nothing(house: House, name: str) -> None:
    expected = await _uninterrupted(house)
    left = 3

    def away(called: str) -> None:
        nonlocal left
        if called == name and left:
            left -= 1
            raise Unavailable(name, "away")

    await house.run(before=away, until=lambda: left == 0 or (name == "save" and _has_read(house)))
    left = 0
    await house.run()

    assert expected == (house.stored(), _kept_hash(house))


async def test_alerts_go_on_while_the_series_store_is_away(house: House) -> None:
    is_away = True

    def away(called: str) -> None:
        if called == "write" and is_away:
            raise Unavailable("series", "away")

    await house.run(before=away, until=lambda: _has_read(house))

    assert house.journal.alerts
    assert house.readings() == 0
    assert house.snapshots.kept == []  # no state is kept that the series store does not have

    is_away = False
    await house.run(before=away)
    assert house.readings() == replay_log(house.log, house.registry, house.settings).readings


async def test_a_full_backlog_makes_the_log_the_buffer(house: House) -> None:
    house.settings = house.settings.model_copy(update={"series_backlog_readings": 100})

    def away(called: str) -> None:
        if called == "write":
            raise Unavailable("series", "away")

    seen: list[float] = []

    def has_stopped() -> bool:
        seen.append(house.shown("city_processor_readings_total") or 0)
        return len(seen) > 100 and seen[-1] == seen[-100] > 0

    await house.run(before=away, until=has_stopped)

    assert seen[-1] <= 100 + 3 * 7 * 12  # the backlog, and what was on its way: at most 7 entries of 12 a batch


async def test_a_damaged_entry_is_named_and_left_out(empty_house: House) -> None:
    good = [
        LogEntry(START + k * SECOND, ReadingBatch.of([0], [START + k * SECOND], [1.0])).to_bytes() for k in range(3)
    ]
    empty_house.log.append([good[0], good[1][:-1], good[2]])

    with capture_logs() as logs:
        await empty_house.run()

    errors = [(entry["event"], entry["position"]) for entry in logs if entry["log_level"] == "error"]
    assert errors == [("log entry is damaged and left out", 2)]
    assert empty_house.readings() == 2
    assert empty_house.shown("city_processor_entries_damaged_total") == 1


async def test_a_series_that_appears_while_running_is_looked_up(empty_house: House) -> None:
    def add(batch: ReadingBatch, k: int) -> None:
        empty_house.log.append([LogEntry(START + k * SECOND, batch).to_bytes()])

    add(ReadingBatch.of([0], [START], [1.0]), 0)
    await empty_house.run()
    empty_house.registry.put(Device("late-comer", "air", "west"))
    new = empty_house.registry.allocate([("late-comer", "pm25")])[0]
    add(ReadingBatch.of([new.id], [START + SECOND], [2000.0]), 1)
    await empty_house.run()

    raised = [event.evidence for event in empty_house.journal.events.values()]
    assert [(e.code, e.device, e.district) for e in raised if e] == [("range", "late-comer", "west")]


async def test_an_interval_that_is_declared_anew_counts_while_running_and_the_state_is_kept_at_once(
    empty_house: House,
) -> None:
    house = replace(
        empty_house,
        settings=empty_house.settings.model_copy(
            update={"registry_seconds": 0.01, "snapshot_seconds": 1e6, "snapshot_entries": 10**6}
        ),
    )
    device, series = house.registry.devices()[0], house.registry.series()[0]
    house.registry.put(replace(device, interval_seconds=3600))
    house.log.append([LogEntry(START, ReadingBatch.of([series.id], [START], [1.0])).to_bytes()])
    seconds = 0

    def findings() -> list[tuple[str, str]]:
        return [(event.kind, event.evidence.code if event.evidence else "") for event in house.journal.events.values()]

    def time_passes(found: list[tuple[str, str]]) -> bool:
        """Let five seconds of silence pass, and tell whether *found* is what came of all of it."""
        nonlocal seconds
        if house.shown("city_processor_position") == house.log.head():
            seconds += 5
            house.log.append([LogEntry(START + seconds * SECOND).to_bytes()])
        return findings() == found

    def steps() -> Iterator[bool]:
        while house.shown("city_processor_position") != 1:
            yield False
        assert house.snapshots.kept == []
        house.registry.put(replace(device, interval_seconds=60))
        while not time_passes([("raised", "gap")]):
            yield False
        while not house.snapshots.kept:
            yield False
        house.registry.put(replace(device, interval_seconds=None))
        while not time_passes([("raised", "gap"), ("cleared", "")]):
            yield False
        yield True

    walk = steps()
    await house.run(until=lambda: next(walk))

    assert seconds < 3 * 3600, "the hour that was declared first had passed"


async def test_frames_show_only_what_came_after_the_start(house: House) -> None:
    await house.run()
    assert [frame.series for frame in house.frames.got if frame.series] == []
    house.frames.got.clear()

    at = START + 5000 * SECOND
    await house.run(until=_appending(house, LogEntry(at, ReadingBatch.of([0, 1, 0], [at, at, at + 1], [1, 2, 3.0]))))

    rows = [(s, v) for frame in house.frames.got for s, v in zip(frame.series, frame.value, strict=True)]
    assert rows == [(0, 3.0), (1, 2.0)]
    assert [frame.n for frame in house.frames.got] == list(range(1, len(house.frames.got) + 1))


def _appending(house: House, entry: LogEntry) -> Callable[[], bool]:
    """Return a condition that appends *entry* once the log is read, and holds when a frame showed it."""
    is_added = False

    def check() -> bool:
        nonlocal is_added
        if not is_added and _has_read(house):
            house.log.append([entry.to_bytes()])
            is_added = True
        return any(frame.series for frame in house.frames.got)

    return check


async def test_a_live_feed_that_is_away_delays_nothing(house: House) -> None:
    class _Away(Frames):
        async def publish(self, frame: LiveFrame) -> None:
            await super().publish(frame)
            raise Unavailable("broker", "away")

    house.new_frames = _Away
    at = START + 5000 * SECOND
    with capture_logs() as logs:
        await house.run(until=_appending(house, LogEntry(at, ReadingBatch.of([0], [at], [1.0]))))

    assert house.shown("city_processor_live_frames_total", outcome="lost") == len(house.frames.got) > 0
    assert house.shown("city_processor_position") == house.log.head()
    assert len([entry for entry in logs if "live feed is away" in entry["event"]]) == 1


async def test_a_store_that_is_away_is_named_once(house: House) -> None:
    left = 5

    def away(called: str) -> None:
        nonlocal left
        if called == "write" and left:
            left -= 1
            raise Unavailable("series", "disk full")

    with capture_logs() as logs:
        await house.run(before=away, until=lambda: left == 0 and _has_read(house) and house.readings() > 0)

    events = [entry["event"] for entry in logs if entry.get("store") == "series"]
    assert events == ["store is away", "store is back"]


async def test_a_log_shorter_than_its_stores_is_refused(house: House) -> None:
    await house.run()
    house.log = MemoryLog(QuickClock())

    with pytest.raises(ExceptionGroup) as caught:
        await house.run()

    assert caught.group_contains(SettingsError, match="do not belong together")


async def test_the_log_may_forget_only_what_the_snapshot_before_the_newest_does_not_need(house: House) -> None:
    await house.run()

    assert house.log.cursor("processor") == house.snapshots.kept[1][0] < house.snapshots.kept[0][0]


async def test_a_damaged_newest_snapshot_falls_back_to_the_one_before(house: House) -> None:
    await house.run()
    expected = _kept_hash(house)
    position, state = house.snapshots.kept[0]
    house.snapshots.kept[0] = (position, state[:-5])

    fill_from = house.log.head()
    at = START + 5000 * SECOND
    house.log.append([LogEntry(at, ReadingBatch.of([0], [at], [np.pi])).to_bytes()])
    await house.run()

    assert house.log.head() == fill_from + 1
    assert _kept_hash(house) == replay_log(house.log, house.registry, house.settings).state_hash != expected
