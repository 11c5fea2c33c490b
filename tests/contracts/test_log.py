"""Every log keeps the promises of `core.ports.LogAppender` and `LogConsumer`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from backends.log import LogSettings, SqliteLog
from core.clock import ManualClock
from tests.contracts.fakes import MemoryLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOUR_NS = 3_600_000_000_000
IMPLEMENTATIONS: dict[str, Callable[[Path, ManualClock], Any]] = {
    "memory": lambda _folder, clock: MemoryLog(clock, retention_hours=1),
    "sqlite": lambda folder, clock: SqliteLog(
        folder / "log.sqlite", LogSettings(retention_hours=1, trim_chunk=3), clock=clock
    ),
}


def test_the_suite_runs_on_every_log() -> None:
    assert len(IMPLEMENTATIONS) == 2


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def log(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Iterator[Any]:
    log = IMPLEMENTATIONS[request.param](tmp_path, clock)
    yield log
    log.close()


def bodies(n: int) -> list[bytes]:
    return [b"%d" % i for i in range(n)]


def test_an_empty_log_has_no_head_and_nothing_to_read(log: Any) -> None:
    assert (log.head(), log.read(0, 10), log.tail(10)) == (0, [], [])


def test_entries_come_back_in_order_from_any_position(log: Any) -> None:
    last = log.append(bodies(5))
    assert log.append([b"six"]) > last

    everything = log.read(0, 100)

    assert [body for _, body in everything] == [*bodies(5), b"six"]
    assert sorted({position for position, _ in everything}) == [position for position, _ in everything]
    assert log.read(everything[2][0], 2) == everything[3:5]
    assert log.read(log.head(), 10) == []
    assert log.tail(2) == everything[-2:]
    assert log.tail(100) == everything


def test_appending_nothing_changes_nothing(log: Any) -> None:
    last = log.append(bodies(2))

    assert log.append([]) == last
    assert log.head() == last


def test_a_cursor_starts_at_zero_and_never_goes_back(log: Any) -> None:
    assert log.cursor("processor") == 0

    log.commit("processor", 7)
    log.commit("processor", 3)

    assert log.cursor("processor") == 7
    assert log.cursor("ledger") == 0


def test_nothing_is_trimmed_that_a_registered_consumer_still_needs(log: Any, clock: ManualClock) -> None:
    log.append(bodies(10))
    clock.advance(3601)
    log.cursor("slow")
    log.commit("fast", 10)

    assert log.trim(clock.now_ns()) == 0
    log.commit("slow", 4)
    assert log.trim(clock.now_ns()) == 4
    assert log.trim(clock.now_ns()) == 0
    assert [position for position, _ in log.read(0, 100)] == [5, 6, 7, 8, 9, 10]


def test_nothing_is_trimmed_while_nobody_is_registered(log: Any, clock: ManualClock) -> None:
    log.append(bodies(3))
    clock.advance(7200)

    assert log.trim(clock.now_ns()) == 0


def test_nothing_is_trimmed_before_the_retention_ends(log: Any, clock: ManualClock) -> None:
    log.append(bodies(3))
    log.commit("processor", 3)

    assert log.trim(clock.now_ns() + HOUR_NS) == 0
    assert log.trim(clock.now_ns() + HOUR_NS + 1) == 3


def test_positions_are_never_used_again(log: Any, clock: ManualClock) -> None:
    last = log.append(bodies(5))
    log.commit("processor", last)
    clock.advance(7200)

    assert log.trim(clock.now_ns()) == 5
    assert log.head() == last
    assert log.append([b"next"]) == last + 1


class Life(RuleBasedStateMachine):
    """The SQLite log does what the one in memory does, restarts included."""

    consumers = st.sampled_from(["ledger", "processor"])

    def __init__(self) -> None:
        super().__init__()
        self.folder = self.make_folder()
        self.clock = ManualClock()
        self.real = IMPLEMENTATIONS["sqlite"](self.folder, self.clock)
        self.model = MemoryLog(self.clock, retention_hours=1)

    make_folder: Callable[[], Path]

    @rule(entries=st.lists(st.binary(max_size=9), max_size=4))
    def append(self, entries: list[bytes]) -> None:
        assert self.real.append(entries) == self.model.append(entries)

    @rule(consumer=consumers)
    def ask(self, consumer: str) -> None:
        assert self.real.cursor(consumer) == self.model.cursor(consumer)

    @rule(consumer=consumers, behind=st.integers(0, 5))
    def commit(self, consumer: str, behind: int) -> None:
        position = max(self.model.head() - behind, 0)
        self.real.commit(consumer, position)
        self.model.commit(consumer, position)

    @rule(minutes=st.integers(0, 90))
    def trim(self, minutes: int) -> None:
        self.clock.advance(minutes * 60)
        now_ns = self.clock.now_ns()  # before: trimming in chunks rests, and the manual clock moves on
        assert self.real.trim(now_ns) == self.model.trim(now_ns)

    @rule()
    def restart(self) -> None:
        self.real.close()
        self.real = IMPLEMENTATIONS["sqlite"](self.folder, self.clock)

    @invariant()
    def same(self) -> None:
        assert (self.real.head(), self.real.read(0, 1000)) == (self.model.head(), self.model.read(0, 1000))

    def teardown(self) -> None:
        self.real.close()


def test_any_life_is_the_life_of_the_model(tmp_path_factory: pytest.TempPathFactory) -> None:
    class Machine(Life):
        make_folder = staticmethod(lambda: tmp_path_factory.mktemp("log"))

    case = Machine.TestCase
    case.settings = settings(max_examples=15, stateful_step_count=25)
    case().runTest()
