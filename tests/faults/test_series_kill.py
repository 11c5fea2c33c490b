"""The embedded series store loses nothing and doubles nothing when its writer is killed at any moment.

Run as a script, this file serves the writers that get killed: each writes and says so on its standard output, while
a second thread seals, merges and forgets as fast as it can.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import structlog

from backends.series import EmbeddedSeriesReader, EmbeddedSeriesWriter, SeriesSettings
from backends.series.journal import connect
from backends.series.verify import verify
from core.batch import ReadingBatch
from core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DAY = 86_400_000_000_000
START = 20_000 * DAY
STEP = DAY // 400
SERIES = 20
LIMITS = SeriesSettings(seal_rows=300, slice_rows=200, merge_seconds=0, merge_parts=4, grace_seconds=0)
KILLS = 22


def batch_of(position: int) -> ReadingBatch:
    """Return what is written at *position*: one new reading per series, and one earlier reading again."""
    series = np.arange(SERIES)
    measured = np.full(SERIES, START + position * STEP)
    again = max(1, position // 2)
    return ReadingBatch.of(
        np.append(series, again % SERIES),
        np.append(measured, START + again * STEP),
        np.append(series + position * 1000.0, -float(position)),
    )


def write_until_killed(folder: Path) -> None:
    """Write one position after the other, with upkeep beside it."""
    writer = EmbeddedSeriesWriter(folder, LIMITS)
    position = writer.position("log")

    def upkeep() -> None:
        while True:
            writer.maintain(START + position * STEP)

    threading.Thread(target=upkeep, daemon=True).start()
    sys.stdout.write(f"{os.getpid()}\n{position}\n")
    sys.stdout.flush()
    while True:
        assert writer.write("log", position + 1, batch_of(position + 1))
        position += 1
        sys.stdout.write(f"{position}\n")
        sys.stdout.flush()


def serve_writers(folder: Path) -> None:
    """Fork a writer for each line of standard input, so that imports are paid for once; say when it is gone."""
    import duckdb  # noqa: F401, PLC0415

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                write_until_killed(folder)
            finally:
                os._exit(1)
        os.waitpid(pid, 0)
        sys.stdout.write("gone\n")
        sys.stdout.flush()


class Writers:
    """Writers of *folder*, one after the other, each in a process that ends by SIGKILL."""

    def __init__(self, folder: Path) -> None:
        self._server = subprocess.Popen(
            [sys.executable, __file__, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        self.said: list[int] = []
        self.gone = threading.Event()
        self._ear = threading.Thread(target=self._listen)
        self._ear.start()

    def _listen(self) -> None:
        assert self._server.stdout is not None
        for line in self._server.stdout:
            if line.strip().isdigit():
                self.said.append(int(line))
            elif "gone" in line:
                self.gone.set()
        self.gone.set()

    @contextmanager
    def writing(self) -> Iterator[list[int]]:
        """Let one write, and kill it at the end; the list grows with the positions that it acknowledged."""
        assert self._server.stdin is not None
        self.said = []
        self.gone.clear()
        self._server.stdin.write("go\n")
        self._server.stdin.flush()
        wait_for(lambda: len(self.said) >= 2 or self.gone.is_set())
        pid = self.said.pop(0)
        try:
            yield self.said
            assert not self.gone.is_set(), "the writer died by itself"
        finally:
            os.kill(pid, signal.SIGKILL)
            assert self.gone.wait(60)

    def close(self) -> None:
        """End the server of writers."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(60)
        self._ear.join()
        self._server.stdout.close()


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[Writers]:
    server = Writers(tmp_path)
    yield server
    server.close()


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def test_no_acknowledged_row_is_lost_and_none_is_there_twice_after_many_kills(tmp_path: Path, writers: Writers) -> None:
    interrupted = storm(tmp_path, writers, kills=KILLS, most=6 * KILLS, seed=7)["interrupted"]

    assert interrupted >= 3, "too few kills hit sealing or merging: the test does not test it"


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_hundred_kills_lose_no_acknowledged_row_and_leave_no_unknown_file(tmp_path: Path, writers: Writers) -> None:
    figures = storm(tmp_path, writers, kills=100, most=100, seed=8)

    print(f"\n{json.dumps(figures)}")  # noqa: T201 - the soak's figures
    assert figures["interrupted"] >= 10, "too few kills hit sealing or merging: the test does not test it"


def storm(tmp_path: Path, writers: Writers, *, kills: int, most: int, seed: int) -> dict[str, int]:
    """Kill *kills* writers (up to *most*, until three were interrupted in upkeep), and compare after each; count."""
    rng = random.Random(seed)
    killed = interrupted = position = unsaid = 0
    model: dict[tuple[int, int], float] = {}
    while killed < kills or (interrupted < 3 and killed < most):
        killed += 1
        with writers.writing() as acked:
            time.sleep(rng.uniform(0, 0.35))  # the moment of the kill, not a synchronisation
        known = {path.name for path in (tmp_path / "parts").rglob("*") if path.is_file()}

        writer = EmbeddedSeriesWriter(tmp_path, LIMITS)
        reader = EmbeddedSeriesReader(tmp_path, LIMITS)
        try:
            files = {
                path.relative_to(tmp_path).as_posix() for path in (tmp_path / "parts").rglob("*") if path.is_file()
            }
            interrupted += len(known) > len(files)
            db = connect(tmp_path, busy_seconds=5, create=False)
            listed = {row[0] for row in db.execute("SELECT path FROM part")}
            db.close()
            assert files == listed
            before, position = position, writer.position("log")
            assert position in {acked[-1], acked[-1] + 1}  # committed, but killed before it could say so
            unsaid += position - acked[-1]
            for p in range(before + 1, position + 1):
                batch = batch_of(p)
                keys = zip(batch.series.tolist(), batch.measured.tolist(), strict=True)
                model.update(zip(keys, batch.value.tolist(), strict=True))
            assert reader.count() == len(model)
            for series in range(SERIES):
                got = reader.readings(series, 0, 1 << 62, 1 << 30)
                want = sorted((m, v) for (s, m), v in model.items() if s == series)
                assert list(zip(got.measured.tolist(), got.value.tolist(), strict=True)) == want
        finally:
            reader.close()
            writer.close()
        assert verify(tmp_path, LIMITS).damaged == ()
    return {
        "kills": killed,
        "interrupted": interrupted,  # kills that left a file which no transaction had published yet
        "unsaid": unsaid,  # batches that were committed when the kill came before the acknowledgement
        "batches": position,
        "readings": len(model),
    }


def test_a_reader_in_another_process_sees_whole_batches_only_while_the_writer_seals_and_merges(
    tmp_path: Path, writers: Writers
) -> None:
    with writers.writing() as acked:
        reader = EmbeddedSeriesReader(tmp_path, LIMITS)
        try:
            counts = [0]
            while counts[-1] < 600 * SERIES:
                said = acked[-1]
                counts.append(reader.count())
                latest = reader.latest()
                assert counts[-1] >= said * SERIES
                assert counts[-1] % SERIES == 0
                assert counts[-1] >= counts[-2]
                assert len(set(latest.measured.tolist())) == (1 if len(latest) else 0)
                assert len(latest) in {0, SERIES}
                readings = reader.readings(3, 0, 1 << 62, 1 << 30)
                assert len(readings) * SERIES >= counts[-1]
                assert np.all(np.diff(readings.measured) == STEP)
        finally:
            reader.close()


def test_a_second_writer_is_turned_away_as_long_as_the_first_lives(tmp_path: Path, writers: Writers) -> None:
    with writers.writing():
        try:
            EmbeddedSeriesWriter(tmp_path, LIMITS)
        except Unavailable as error:
            assert "another writer" in str(error)  # noqa: PT017 - the happy path must fail, too
        else:
            raise AssertionError("two writers in one folder")

    EmbeddedSeriesWriter(tmp_path, LIMITS).close()


if __name__ == "__main__":
    serve_writers(Path(sys.argv[1]))
