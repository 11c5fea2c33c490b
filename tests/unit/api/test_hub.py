"""This module tests the live hub by hand: time moves only when told."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from api import ApiSettings, LiveHub
from api.problems import Refusal
from core.batch import ReadingBatch
from core.clock import ManualClock
from core.errors import Unavailable
from core.live import LiveFrame
from tests.unit.api.fakes import FakeFeed, RunningClock

if TYPE_CHECKING:
    from api.hub import Client

MS = 1_000_000


class Stage:
    """A hub, its store and its clock."""

    def __init__(self, clock: Any = None, **settings: Any) -> None:
        self.clock = clock or ManualClock()
        self.stored = ReadingBatch.of([1], [1000 * MS], [5.0])
        self.feed = FakeFeed()
        self.away = False
        self.hub = LiveHub(self.feed.frames, self.latest, clock=self.clock, settings=ApiSettings(**settings), epoch="e")

    def latest(self) -> ReadingBatch:
        if self.away:
            raise Unavailable("series", "locked")
        return self.stored


def up(n: int, measured: int = 2000, value: float = 1.0, series: int = 1, epoch: str = "p", **more: Any) -> LiveFrame:
    """Return a frame of the processor with one value."""
    return LiveFrame(
        epoch=epoch, n=n, sent=0, series=[series], measured=[measured], value=[value], quality=[0], severity=[0.5],
        **more,
    )  # fmt: skip


def got(client: Client) -> list[dict[str, Any]]:
    """Take all frames that wait for *client*."""
    frames = []
    while not client.queue.empty():
        frame = client.queue.get_nowait()
        assert frame is not None
        frames.append(json.loads(frame.text))
    return frames


def test_changes_are_coalesced_to_the_newest_value_per_series() -> None:
    stage = Stage()
    client = stage.hub.add("sse")
    for n in range(1, 6):
        stage.hub.take(up(n, 2000 + n, float(n)))
    stage.hub.take(up(6, 2001, -1.0))  # older than what is known
    stage.hub.flush()

    hello, frame = got(client)

    assert (hello["n"], hello["series"]) == (0, [])
    assert (frame["n"], frame["series"], frame["value"], frame["measured"]) == (1, [1], [5.0], [2005])


def test_a_correction_of_the_same_time_wins() -> None:
    stage = Stage()
    stage.hub.take(up(1, 2000, 1.0))
    stage.hub.take(up(2, 2000, 2.0))

    assert stage.hub.snapshot().rows[1].value == 2.0


def test_devices_and_alerts_are_named_once_and_the_last_word_counts() -> None:
    stage = Stage()
    client = stage.hub.add("sse")
    stage.hub.take(up(1, alerts=["a", "b"], online=["x"], offline=["y"]))
    stage.hub.take(up(2, alerts=["b"], offline=["x"]))
    stage.hub.alert_changed("a")
    stage.hub.flush()

    frame = got(client)[-1]

    assert (frame["alerts"], frame["online"], frame["offline"]) == (["a", "b"], [], ["x", "y"])


def test_nothing_changed_sends_nothing_until_the_heartbeat() -> None:
    stage = Stage(heartbeat_seconds=2)
    stage.hub.flush()
    client = stage.hub.add("sse")
    stage.clock.advance(1.9)
    stage.hub.flush()
    before = len(got(client))
    stage.clock.advance(0.2)
    stage.hub.flush()

    after = got(client)

    assert before == 1  # the hello
    assert [(frame["n"], frame["series"]) for frame in after] == [(2, [])]


def test_every_frame_tells_how_long_the_processor_was_not_heard() -> None:
    stage = Stage(heartbeat_seconds=2)
    client = stage.hub.add("sse")
    stage.clock.advance(30)
    stage.hub.flush()  # never heard: since the start
    stage.hub.take(LiveFrame(epoch="p", n=1, sent=0))  # a quiet city
    stage.clock.advance(2)
    stage.hub.flush()
    stage.clock.advance(20)
    stage.hub.flush()

    assert [frame["live_age_seconds"] for frame in got(client)] == [0.0, 30.0, 2.0, 22.0]


def test_numbers_are_unbroken_and_every_client_gets_the_same_bytes() -> None:
    stage = Stage()
    clients = [stage.hub.add("sse"), stage.hub.add("websocket")]
    for n in range(1, 5):
        stage.hub.take(up(n, 2000 + n))
        stage.hub.flush()

    first, second = got(clients[0]), got(clients[1])

    assert [frame["n"] for frame in first] == [0, 1, 2, 3, 4]
    assert first[1:] == second[1:]


def test_a_client_at_its_limit_loses_nothing_and_one_beyond_is_told_to_resync() -> None:
    stage = Stage(client_queue_frames=3)
    client = stage.hub.add("sse")  # the hello takes one place
    for n in range(1, 3):
        stage.hub.take(up(n, 2000 + n))
        stage.hub.flush()
    assert stage.hub.stats.resyncs == 0
    stage.hub.take(up(3, 2003))
    stage.hub.flush()

    frames = got(client)

    assert stage.hub.stats.resyncs == 1
    assert [(frame["n"], frame["series"]) for frame in frames] == [(3, [])]  # after nothing: a gap
    assert stage.hub.snapshot().rows[1].measured == 2003


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(up(3, 3000), id="a number is missing"),
        pytest.param(up(1, 3000, epoch="q"), id="the processor is another one"),
    ],
)
async def test_a_gap_upstream_reads_the_store_and_leaves_one_number_out(after: LiveFrame) -> None:
    stage = Stage()
    stage.hub.take(up(1, 2000))
    await stage.hub.reload()
    stage.hub._stale.clear()
    stage.hub.take(up(2, 2001))
    stage.hub.flush()
    unbroken = stage.hub._stale.is_set()
    client = stage.hub.add("sse")
    stage.stored = ReadingBatch.of([1, 2], [1000 * MS, 9000 * MS], [5.0, 7.0])
    stage.hub.take(replace(after, n=after.n + 1))
    asked = stage.hub._stale.is_set()
    await stage.hub.reload()
    stage.hub.flush()

    hello, frame = got(client)

    assert (unbroken, asked) == (False, True)
    assert frame["n"] == hello["n"] + 2
    assert stage.hub.snapshot().rows[2].value == 7.0
    assert stage.hub.snapshot().rows[1].measured == 3000


async def test_the_store_never_replaces_what_is_newer_or_the_same() -> None:
    stage = Stage()
    stage.hub.take(up(1, 1000, 5.0))
    await stage.hub.reload()
    same = stage.hub.snapshot().rows[1]
    stage.stored = ReadingBatch.of([1], [1000 * MS], [6.0])
    await stage.hub.reload()
    corrected = stage.hub.snapshot().rows[1]
    stage.hub.take(up(2, 1001, 8.0))
    await stage.hub.reload()

    assert (same.value, same.severity) == (5.0, 0.5)
    assert corrected.value == 6.0
    assert stage.hub.snapshot().rows[1].value == 8.0


async def test_a_part_that_starts_later_is_worth_a_warning_only_when_it_stays_away() -> None:
    stage = Stage(clock=RunningClock(), retry_seconds=0.01, frames_per_second=50)
    stage.away = True
    stage.feed.waiting.extend([Unavailable("broker", "gone")] * 7)
    with capture_logs() as events:
        running = asyncio.create_task(stage.hub.run(), name="hub")
        async with asyncio.timeout(60):
            while min(sum(e["event"].startswith(what) for e in events) for what in ("live feed", "latest")) < 7:
                await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    for what in ("live feed away", "latest values not read"):
        levels = [event["log_level"] for event in events if event["event"].startswith(what)]
        assert levels[:7] == ["info"] * 5 + ["warning"] * 2


async def test_feed_and_store_may_be_away_and_come_back() -> None:
    stage = Stage(clock=RunningClock(), retry_seconds=0.02, frames_per_second=50)
    stage.away = True
    stage.feed.waiting.extend([Unavailable("broker", "gone"), RuntimeError("a bug"), None, up(1, 2000, 3.0)])
    running = asyncio.create_task(stage.hub.run(), name="hub")
    async with asyncio.timeout(60):
        while 1 not in stage.hub.snapshot().rows:
            await asyncio.sleep(0.01)
        assert stage.hub.stats.reloads == 0
        stage.away = False
        while not stage.hub.seeded:
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert stage.feed.subscriptions == 4
    assert stage.hub.snapshot().rows[1].value == 3.0


def test_streams_are_capped_and_a_place_is_free_again() -> None:
    stage = Stage(max_stream_clients=2)
    first = stage.hub.add("sse")
    stage.hub.add("websocket")

    with pytest.raises(Refusal) as refused:
        stage.hub.add("sse")
    stage.hub.remove(first)
    stage.hub.add("sse")

    assert (refused.value.status, stage.hub.stats.refused_clients) == (503, 1)
    assert (stage.hub.clients("sse"), stage.hub.clients("websocket")) == (1, 1)


def test_the_table_is_capped() -> None:
    stage = Stage(max_series=2)
    for series in range(3):
        stage.hub.take(up(series + 1, series=series))
    stage.hub.take(up(4, 2001, 9.0, series=1))

    assert sorted(stage.hub.snapshot().rows) == [0, 1]
    assert stage.hub.snapshot().rows[1].value == 9.0
    assert stage.hub.stats.refused_series == 1


@pytest.mark.parametrize(
    ("last_event", "numbers"),
    [
        pytest.param("e:3", [4, 5], id="what was missed"),
        pytest.param("e:5", [], id="nothing was missed"),
        pytest.param("e:1", [5], id="too long ago: a hello"),
        pytest.param("e:6", [5], id="from the future: a hello"),
        pytest.param("x:3", [5], id="another run: a hello"),
        pytest.param("e:", [5], id="no number: a hello"),
        pytest.param("e:99999999999999999999999", [5], id="no sensible number: a hello"),
        pytest.param("e:³", [5], id="a digit of another kind: a hello"),
        pytest.param(None, [5], id="the first time: a hello"),
    ],
)
def test_last_event_id_resumes_while_the_frames_are_kept(last_event: str | None, numbers: list[int]) -> None:
    stage = Stage(replay_frames=3)
    for n in range(1, 6):
        stage.hub.take(up(n, 2000 + n))
        stage.hub.flush()

    frames = got(stage.hub.add("sse", last_event))

    assert [frame["n"] for frame in frames] == numbers
    assert all(frame["series"] for frame in frames) == (numbers != [5])


def test_closing_ends_every_stream_and_takes_no_new_one() -> None:
    stage = Stage()
    client = stage.hub.add("sse")
    stage.hub.close()

    assert client.queue.get_nowait() is None
    with pytest.raises(Refusal):
        stage.hub.add("sse")


def test_frames_after_closing_do_not_overwrite_the_end() -> None:
    stage = Stage(client_queue_frames=1)
    client = stage.hub.add("sse")
    stage.hub.close()
    stage.hub.take(up(1))
    stage.hub.flush()

    assert client.queue.get_nowait() is None
