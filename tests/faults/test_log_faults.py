"""The SQLite log keeps what it confirmed, whatever kills, locks or fills the machine under it."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import threading
import zlib
from typing import TYPE_CHECKING, NoReturn

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from backends.log import LogSettings, SqliteLog
from core.clock import ManualClock
from core.errors import SettingsError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUNDS = 20

# imports once, then forks a writer per round and kills it at a random moment of its work
WRITERS = """
import os, random, signal, sys, time, zlib
from pathlib import Path
from backends.log import LogSettings, SqliteLog
from core.clock import ManualClock
path, rounds, rng = Path(sys.argv[1]), int(sys.argv[2]), random.Random(7)
for number in range(rounds):
    started, tell = os.pipe()
    if (child := os.fork()) == 0:
        log = SqliteLog(path, LogSettings(), clock=ManualClock())
        n = 0
        while True:
            group = []
            for _ in range(1 + n % 3):
                head = f"{number} {n} ".encode() + bytes(rng.randrange(9000))
                group.append(zlib.crc32(head).to_bytes(4, "little") + head)
                n += 1
            last = log.append(group)
            os.write(1, f"{number} {n} {last}\\n".encode())
            os.write(tell, b".")
    os.close(tell)
    os.read(started, 1)
    time.sleep(rng.uniform(0, 0.05))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(started)
"""


def open_log(path: Path, **settings: float) -> SqliteLog:
    return SqliteLog(path, LogSettings.model_validate({"busy_timeout_seconds": 0.05, **settings}), clock=ManualClock())


def fill(log: SqliteLog, size: int, confirmed: list[int]) -> NoReturn:
    """Append entries of *size* bytes until something stops it."""
    while True:
        confirmed.append(log.append([bytes(size)]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.sqlite"


@pytest.fixture
def log(path: Path) -> Iterator[SqliteLog]:
    log = open_log(path)
    yield log
    log.close()


def test_what_a_killed_writer_confirmed_is_there_and_nothing_is_half_there(
    path: Path, request: pytest.FixtureRequest
) -> None:
    """20 writers die by kill -9 in the middle of appending, while this process reads."""
    reader = open_log(path, busy_timeout_seconds=30)  # whoever comes after a kill may have to repair first
    writers = subprocess.Popen(
        [sys.executable, "-c", WRITERS, str(path), str(ROUNDS)],
        env={**os.environ, "PYTHONPATH": str(request.config.rootpath)},
        stdout=subprocess.PIPE,
        text=True,
    )
    confirmed: list[str] = []
    assert writers.stdout is not None
    collecting = threading.Thread(target=confirmed.extend, args=[writers.stdout])
    collecting.start()
    seen: list[tuple[int, bytes]] = []
    while writers.poll() is None:
        seen += reader.read(seen[-1][0] if seen else 0, 50)
    collecting.join()
    writers.stdout.close()
    reader.close()

    log = open_log(path)
    entries = log.read(0, 1_000_000)

    assert writers.returncode == 0
    assert entries[: len(seen)] == seen, "a reader saw what is not there"
    assert [position for position, _ in entries] == list(range(1, log.head() + 1))
    counts: dict[int, int] = {}
    for _, body in entries:
        assert zlib.crc32(body[4:]).to_bytes(4, "little") == body[:4]
        number, n = (int(word) for word in body[4:40].split(b" ")[:2])
        assert n == counts.get(number, 0), "an entry is missing or stored twice"
        counts[number] = n + 1
    assert len(counts) == ROUNDS
    assert len(confirmed) >= ROUNDS
    for line in confirmed:
        number, n, last = map(int, line.split())
        assert counts[number] >= n
        assert last <= log.head()
    log.close()


def test_a_locked_file_refuses_the_append_and_takes_it_afterwards(log: SqliteLog, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(Unavailable, match=r"log: log\.sqlite: database is locked"):
        log.append([b"one"])
    other.execute("ROLLBACK")
    other.close()

    assert log.append([b"two"]) == 1
    assert log.read(0, 10) == [(1, b"two")]


def test_a_consumer_in_the_middle_of_reading_or_committing_does_not_stop_an_append(log: SqliteLog, path: Path) -> None:
    log.append([b"one"])
    consumer = sqlite3.connect(path.with_name("log.cursors.sqlite"), isolation_level=None)
    consumer.execute("BEGIN IMMEDIATE")
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM entries").fetchall()

    assert log.append([b"two"]) == 2

    consumer.close()
    reader.close()


def test_entries_beyond_the_budget_are_refused_by_name_after_a_warning(path: Path) -> None:
    metrics = CollectorRegistry()
    clock = ManualClock()
    settings = LogSettings(budget_megabytes=1, retention_hours=1)
    log = SqliteLog(path, settings, clock=clock, registry=metrics)
    with capture_logs() as logs, pytest.raises(Unavailable, match=r"1\.0 MB exceed budget_megabytes = 1"):
        fill(log, 10_000, [])
    kept = log.head()

    assert [line["event"] for line in logs] == ["log nearly full"]
    assert kept > 90
    assert len(log.read(0, 1000)) == kept
    assert metrics.get_sample_value("city_log_refused_appends_total") == 1
    assert path.stat().st_size < 1_000_000

    # what is trimmed makes room again, in the same file
    log.commit("processor", kept)
    clock.advance(7200)
    assert log.trim(clock.now_ns()) == kept
    for _ in range(kept):
        log.append([bytes(10_000)])
    assert path.stat().st_size < 1_000_000
    assert metrics.get_sample_value("city_log_trimmed_entries_total") == kept
    log.close()


def test_trimming_lets_appends_in_between(path: Path) -> None:
    """An append comes in during every rest of the trimming: the chunks are the longest that it ever waits."""
    clock = ManualClock()
    log = SqliteLog(path, LogSettings(retention_hours=0, trim_chunk=10), clock=clock)
    log.append([b"x"] * 100)
    log.commit("processor", 100)
    clock.advance(1)
    moved, pause = [], clock.pause

    def append_meanwhile(seconds: float) -> None:
        pause(seconds)
        moved.append(log.append([b"meanwhile"]))

    clock.pause = append_meanwhile  # type: ignore[method-assign]

    assert log.trim(clock.now_ns()) == 100
    assert len(moved) == 10
    assert [position for position, _ in log.read(0, 100)] == moved
    log.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 1 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system; RLIMIT_FSIZE stands in for it elsewhere")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_refuses_the_append_and_keeps_what_was_confirmed(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(300_000))
    log = open_log(small_disk / "log.sqlite")
    confirmed: list[int] = []
    with pytest.raises(Unavailable, match=r"log: log\.sqlite: (database or disk is full|disk I/O error)"):
        fill(log, 20_000, confirmed)
    with pytest.raises(Unavailable):
        log.append([bytes(20_000)])
    assert confirmed
    assert [position for position, _ in log.read(0, 1000)] == confirmed

    ballast.unlink()

    assert log.append([b"again"]) == confirmed[-1] + 1
    assert len(log.read(0, 1000)) == len(confirmed) + 1
    log.close()


LIMITED = """
import resource, sys
from pathlib import Path
from backends.log import LogSettings, SqliteLog
from core.clock import ManualClock
from core.errors import Unavailable
log = SqliteLog(Path(sys.argv[1]), LogSettings(), clock=ManualClock())
log.append([b"before"])
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
try:
    while True:
        last = log.append([bytes(5_000)])
except Unavailable as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
assert log.append([b"after"]) == last + 1
assert [position for position, _ in log.read(0, 10_000)] == list(range(1, last + 2))
log.close()
"""


def test_a_file_that_may_not_grow_refuses_the_append_and_recovers(path: Path, request: pytest.FixtureRequest) -> None:
    environment = {**os.environ, "PYTHONPATH": str(request.config.rootpath)}

    ended = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], env=environment, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("log: log.sqlite: ")


def test_a_file_that_is_no_log_is_a_wrong_setting_and_left_alone(path: Path) -> None:
    path.write_bytes(b"something else, long enough to be looked at" * 100)

    with pytest.raises(SettingsError, match=r"log\.sqlite: not a log"):
        open_log(path)

    assert path.read_bytes().startswith(b"something else")


def test_a_log_of_a_newer_version_is_left_alone(path: Path) -> None:
    open_log(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 9")
    db.close()

    with pytest.raises(SettingsError, match=r"log version 9, 2 is the newest known"):
        open_log(path)


def test_a_log_of_version_1_goes_on_with_its_positions(path: Path) -> None:
    old = sqlite3.connect(path, isolation_level=None)
    old.execute("PRAGMA journal_mode = WAL")
    old.execute(
        "CREATE TABLE entries (position INTEGER PRIMARY KEY AUTOINCREMENT, stored INTEGER NOT NULL, body BLOB NOT NULL)"
    )
    old.executemany("INSERT INTO entries (stored, body) VALUES (0, ?)", [(b"a",), (b"b",), (b"c",)])
    old.execute("DELETE FROM entries")
    old.execute("PRAGMA user_version = 1")
    old.close()

    log = open_log(path)

    assert log.head() == 3
    assert log.append([b"d"]) == 4
    assert log.append([b"e", b"f"]) == 6
    assert log.read(0, 9) == [(4, b"d"), (5, b"e"), (6, b"f")]
    log.close()


def test_another_writer_costs_one_refused_append_and_nothing_else(log: SqliteLog, path: Path) -> None:
    """The writer remembers the last position; when that is wrong all the same, nothing is overwritten."""
    log.append([b"one"])
    other = open_log(path)
    other.append([b"two"])
    other.close()

    with pytest.raises(Unavailable, match="UNIQUE"):
        log.append([b"three"])

    assert log.append([b"three"]) == 3
    assert [body for _, body in log.read(0, 9)] == [b"one", b"two", b"three"]


@pytest.mark.parametrize("size", [0, 1, 490, 4000, 4060, 4096, 10_000, 70_000])
def test_entries_of_any_size_stop_before_the_budget(path: Path, size: int) -> None:
    """The room is estimated between measurements, never too high."""
    log = open_log(path, budget_megabytes=1)
    with pytest.raises(Unavailable, match="exceed budget_megabytes = 1"):
        fill_with_some(log, size)
    log.close()  # writes everything back into the file
    assert path.stat().st_size <= 1_000_000


def fill_with_some(log: SqliteLog, size: int) -> NoReturn:
    """Append entries of *size* bytes one by one, with many at a time between, which fill faster when they are tiny."""
    while True:
        log.append([bytes(size)] * max(1, 20_000 // (size + 16)))
        for _ in range(5):
            log.append([bytes(size)])


def test_a_damaged_entry_is_handed_over_as_it_is(log: SqliteLog) -> None:
    """Only the caller can tell: entries carry their own checksum."""
    log.append([b"whole", b"\0damaged"])

    assert [body for _, body in log.read(0, 9)] == [b"whole", b"\0damaged"]


def test_threads_may_append_and_read_at_once(log: SqliteLog) -> None:
    positions: list[int] = []

    def work(rng: random.Random) -> None:
        for _ in range(20):
            positions.append(log.append([b"x"]))
            log.read(rng.randrange(10), 5)
            log.head()

    threads = [threading.Thread(target=work, args=[random.Random(i)]) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(positions) == list(range(1, 81))


def test_each_append_is_synced_before_it_returns(log: SqliteLog) -> None:
    with log._writer.use() as db:
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
