"""One at a time holds the lock of a file, and a dead holder holds nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from backends.filelock import creating, exclusive

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys
from pathlib import Path
from backends.filelock import exclusive
with exclusive(Path(sys.argv[1]), 1):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_who_waits_too_long_hears_what_is_locked(tmp_path: Path) -> None:
    path = tmp_path / "some.sqlite"

    with exclusive(path, 1), pytest.raises(TimeoutError, match=r"some\.sqlite: locked by another process for 0\.01 s"):
        exclusive(path, 0.01).__enter__()


def test_who_waits_gets_it_next(tmp_path: Path) -> None:
    path = tmp_path / "some.sqlite"
    order: list[str] = []

    def second() -> None:
        with exclusive(path, 10):
            order.append("second")

    waiting = threading.Thread(target=second)
    with exclusive(path, 1):
        waiting.start()
        order.append("first")
    waiting.join()

    assert order == ["first", "second"]


def test_a_holder_that_is_killed_holds_nothing(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = tmp_path / "some.sqlite"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        env={**os.environ, "PYTHONPATH": str(request.config.rootpath)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(TimeoutError):
            exclusive(path, 0.01).__enter__()

        holder.send_signal(signal.SIGKILL)
        holder.wait()

        with exclusive(path, 0):
            pass


def test_a_created_file_is_private_and_an_existing_one_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "below" / "some.sqlite"

    with creating(path, 1):
        path.write_bytes(b"content")
    with creating(path, 1):
        pass

    assert path.read_bytes() == b"content"
    assert path.stat().st_mode & 0o777 == 0o600
