"""File snapshots keep the promises of `core.ports.Snapshots`, crash or not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from backends.snapshots import FileSnapshots
from core.errors import Unavailable

if TYPE_CHECKING:
    from pathlib import Path


def test_what_was_saved_is_loaded_newest_first(tmp_path: Path) -> None:
    snapshots = FileSnapshots(tmp_path / "snapshots")
    for position in (9, 10, 100):
        snapshots.save(position, b"state %d" % position)

    assert FileSnapshots(tmp_path / "snapshots").load() == [(100, b"state 100"), (10, b"state 10"), (9, b"state 9")]


def test_older_ones_go_beyond_the_number_to_keep(tmp_path: Path) -> None:
    snapshots = FileSnapshots(tmp_path, keep=2)
    for position in range(4):
        snapshots.save(position, b"")

    assert snapshots.load() == [(3, b""), (2, b"")]


def test_at_least_two_stay(tmp_path: Path) -> None:
    snapshots = FileSnapshots(tmp_path, keep=0)
    for position in range(3):
        snapshots.save(position, b"")

    assert len(snapshots.load()) == 2


def test_the_same_position_is_replaced(tmp_path: Path) -> None:
    snapshots = FileSnapshots(tmp_path)
    snapshots.save(1, b"old")
    snapshots.save(1, b"new")

    assert snapshots.load() == [(1, b"new")]


def test_every_truncation_and_every_flipped_byte_is_noticed_and_named(tmp_path: Path) -> None:
    snapshots = FileSnapshots(tmp_path)
    snapshots.save(1, b"good")
    snapshots.save(2, b"state")
    file = max(tmp_path.glob("*.snapshot"))
    whole = file.read_bytes()
    damaged = [whole[:n] for n in range(len(whole))]
    damaged += [whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1 :] for n in range(len(whole))]

    for data in damaged:
        file.write_bytes(data)
        with capture_logs() as logs:
            assert snapshots.load() == [(1, b"good")]
        assert [(line["event"], line["file"]) for line in logs] == [("snapshot damaged", str(file))]


def test_what_a_crash_left_half_written_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "00000000000000000007.tmp").write_bytes(b"half")

    assert FileSnapshots(tmp_path).load() == []
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_the_ones_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshots = FileSnapshots(tmp_path)
    snapshots.save(1, b"good")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(Unavailable, match=r"snapshots: .*No space left"):
            snapshots.save(2, b"lost")

    assert snapshots.load() == [(1, b"good")]
    assert [path.suffix for path in tmp_path.iterdir()] == [".snapshot"]


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(Unavailable, match="Not a directory"):
        FileSnapshots(tmp_path / "file" / "snapshots")
