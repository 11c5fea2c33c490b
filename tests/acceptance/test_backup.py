"""A backup of a city under load is restored elsewhere: what was acknowledged before it began is there, none twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backends.series import open_reader
from core.city import Device
from tests.stack import Stack, until
from urbanpulse.installation import prepare
from urbanpulse.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ORACLE = Path(__file__).parents[1] / "faults" / "oracle.py"
DEVICES = tuple(Device(f"oracle-{n:02d}", "generic", f"district-{n % 3}") for n in range(8))
LIFTED = {"GATEWAY__MAX_RATE_PER_SECOND": "100000", "GATEWAY__MAX_BURST": "1000000"}
BUSY = {
    **LIFTED,
    "PROCESSOR__SNAPSHOT_SECONDS": "0.5",
    "PROCESSOR__MAINTAIN_SECONDS": "0.2",
    "SERIES__SEAL_ROWS": "500",
    "SERIES__MERGE_PARTS": "4",
    "SERIES__GRACE_SECONDS": "0",
    "GATEWAY__TRIM_SECONDS": "0.2",
    "GATEWAY__LEDGER_SECONDS": "0.3",
}
"""What a backup must not trip over happens all the time: sealing, merging, deleting, trimming (as far as it may)."""
FORGETFUL = {**BUSY, "LOG__RETENTION_HOURS": "0"}
"""The log keeps nothing that was read, so it is trimmed all the time, too."""

pytestmark = pytest.mark.acceptance


@contextmanager
def publishing(stack: Stack, folder: Path, readings: int, rate: float) -> Iterator[subprocess.Popen[str]]:
    """Run the oracle against *stack*; it notes what it sent and what was acknowledged."""
    secrets = {device.id: stack.device(device.id, "generic", device.district)["password"] for device in DEVICES}
    folder.mkdir()
    (folder / "keys.json").write_text(json.dumps(secrets))
    command = [sys.executable, str(ORACLE), "--port", str(stack.broker_port), "--readings", str(readings)]
    command += ["--credentials", str(folder / "keys.json"), "--rate", str(rate)]
    command += ["--sent", str(folder / "sent.csv"), "--acked", str(folder / "acked.csv")]
    last = DEVICES[-1].id
    ask = [
        "mosquitto_sub",
        "-E",
        "-p",
        str(stack.broker_port),
        "-u",
        last,
        "-P",
        secrets[last],
        "-t",
        f"devices/{last}/x",
    ]
    until(lambda: subprocess.run(ask, capture_output=True, check=False).returncode != 5, "the broker to know them")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def rows_of(file: Path) -> dict[tuple[str, int], float]:
    """Return {(device, measured ns): value}; a line that is being written is left out."""
    found = {}
    for line in file.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            device, _, measured, value = line.split(",")
            found[device, int(measured) * 1_000_000] = float(value)
    return found


def stored(data: Path) -> list[tuple[tuple[str, int], float]]:
    """Return ((device, measured ns), value) of every reading in the data folder, as often as the store gives it."""
    settings = Settings(data_dir=data)
    found = []
    with (
        closing(prepare(settings).open_catalog()) as catalog,
        closing(open_reader(data / "series", settings.series)) as reader,
    ):
        for series in catalog.registry.series():
            readings = reader.readings(series.id, 0, 1 << 62, 1 << 30)
            for measured, value in zip(readings.measured.tolist(), readings.value.tolist(), strict=True):
                found.append(((series.device, measured), value))
    return found


def restored(stack: Stack, folder: Path, backup: Path, settings: dict[str, str]) -> Stack:
    """Return another installation made from *backup*, none of its roles running."""
    other = Stack(folder, **settings)
    folder.mkdir()
    stack.command("restore", str(backup), "--to", str(other.data))
    return other


def settle(other: Stack, before: dict[tuple[str, int], float]) -> None:
    """Start the roles and wait until *before* is stored, and what else log and broker have, and all of it is booked."""
    other.start_all()
    until(lambda: before.keys() <= dict(stored(other.data)).keys(), "what was acknowledged")
    last: tuple[float, object] = (time.monotonic(), None)

    def is_quiet() -> bool:
        nonlocal last
        now = (len(stored(other.data)), other.items("/api/v1/ledger"))
        if now != last[1]:
            last = (time.monotonic(), now)
        return time.monotonic() - last[0] > 2

    until(is_quiet, "nothing to change any more")


def check(other: Stack, sent: dict[tuple[str, int], float], before: dict[tuple[str, int], float]) -> tuple[int, int]:
    """Compare what is stored with what was sent (as far as its file was flushed) and acknowledged before the backup.

    Return how many readings the ledger counts as taken, and how many are stored.
    """
    there = stored(other.data)
    identities = [identity for identity, _ in there]

    assert set(before) - set(identities) == set()
    assert len(identities) == len(set(identities))
    assert [(identity, value) for identity, value in there if sent.get(identity, value) != value] == []
    ledger = other.items("/api/v1/ledger")
    for row in ledger:
        outcomes = ("accepted", "duplicate", "late", "quarantined", "refused")
        assert row["received"] == sum(row[name] for name in outcomes)
    return sum(row["accepted"] + row["late"] for row in ledger), len(identities)


@pytest.mark.parametrize("settings", [BUSY, FORGETFUL], ids=["default-retention", "no-retention"])
def test_a_backup_under_load_has_all_that_was_acknowledged_before_it_began_and_nothing_twice(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    backup = tmp_path / "backup"
    oracle = tmp_path / "oracle"
    with Stack(tmp_path / "one", **settings) as stack:
        stack.start_all()
        with publishing(stack, oracle, 1_000_000, 400) as publisher:
            until(lambda: (oracle / "acked.csv").exists() and len(rows_of(oracle / "acked.csv")) > 2000, "readings")
            first = json.loads(stack.command("backup", str(backup), "--json"))
            until(lambda: len(rows_of(oracle / "acked.csv")) > 4000, "more readings")
            before = rows_of(oracle / "acked.csv")
            second = json.loads(stack.command("backup", str(backup), "--json"))
            assert publisher.poll() is None, "the load ended too soon: the test does not test it"
        for role in ("gateway", "processor"):
            lines = stack.log(role).splitlines()
            assert [line for line in lines if "[error" in line or '"level": "error"' in line] == []
    sent = rows_of(oracle / "sent.csv")
    assert second["generation"] == first["generation"] + 1
    assert second["bytes_reused"] > 0, "the second backup takes over parts of the first"
    assert second["log_through"] > first["log_through"]

    assert stack.command("backup", str(backup), "--check").startswith("backup:")
    with restored(stack, tmp_path / "two", backup, settings) as other:
        settle(other, before)

        taken, there = check(other, sent, before)
    if settings is BUSY:
        assert taken == there
    else:  # without a tail of the log the gateway cannot know what the broker delivers again: it is counted twice
        assert taken >= there


def test_what_the_broker_acknowledged_while_no_gateway_ran_is_in_the_backup(tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    oracle = tmp_path / "oracle"
    with Stack(tmp_path / "one", **BUSY) as stack:
        stack.start_all()
        with publishing(stack, oracle, 1_000_000, 400):
            until(lambda: (oracle / "acked.csv").exists() and len(rows_of(oracle / "acked.csv")) > 500, "readings")
            stack.kill("gateway")
            seen = len(rows_of(oracle / "acked.csv"))
            until(lambda: len(rows_of(oracle / "acked.csv")) > seen + 500, "readings that only the broker has")
            before = rows_of(oracle / "acked.csv")
            stack.command("backup", str(backup))
    with restored(stack, tmp_path / "two", backup, BUSY) as other:
        settle(other, before)

        taken, there = check(other, rows_of(oracle / "sent.csv"), before)
    assert taken == there


def test_a_backup_that_is_killed_leaves_the_one_before_whole(tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    with Stack(tmp_path / "one", **BUSY) as stack:
        stack.start_all()
        stack.command("backup", str(backup))
        whole = (backup / "manifest.json").read_bytes()
        for _ in range(3):
            child = subprocess.Popen([sys.executable, "-m", "urbanpulse", "backup", str(backup)], env=stack.env)
            until((backup / "state-2").exists, "the second backup to begin")
            child.send_signal(signal.SIGKILL)
            child.wait()
            if (backup / "manifest.json").read_bytes() != whole:
                break  # it was faster
            assert "ok: True" in stack.command("backup", str(backup), "--check")

        again = json.loads(stack.command("backup", str(backup), "--json"))

    assert "ok: True" in stack.command("backup", str(backup), "--check")
    assert {path.name for path in backup.glob("state-*")} == {f"state-{again['generation']}"}
