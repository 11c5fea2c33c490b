"""`urbanpulse simulate --load` as a user runs it: on our own broker, with the gateway behind it, and on another one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.stack import Stack, until
from tests.unit.simulators.conftest import BrokerProcess, Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).parents[2]


def load(*options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "urbanpulse", "simulate", "--load", "--devices", "20", "--sockets", "2", *options],
        capture_output=True, text=True, check=False, cwd=folder, env={"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        timeout=100,
    )  # fmt: skip


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with Stack(tmp_path / "stack") as it:
        yield it


def test_on_our_own_broker_every_message_is_booked_as_accepted(stack: Stack) -> None:
    """The devices are registered, and the user `load` speaks for all of them."""
    stack.start_all()

    told = stack.command(
        *("simulate", "--load", "--devices", "20", "--sockets", "2", "--rate", "100", "--seconds", "2", "--json")
    )

    figures = json.loads(told.splitlines()[-1])
    assert figures["published"] == figures["acked"] > 0
    assert (figures["unacked"], figures["broken"]) == (0, [])

    def booked() -> Any:
        total = stack.get("/api/v1/ledger")[1]["total"]
        return total if total["received"] >= figures["published"] else None

    total = until(booked, "the ledger to have every message")
    # none refused; a broker or a sender that stalls may say one thing twice
    assert total["received"] == total["accepted"] + total["duplicate"], total["reasons"]
    assert total["accepted"] > 0.9 * figures["published"]
    assert len(stack.get("/api/v1/ledger")[1]["items"]) == 20


def test_another_broker_needs_no_installation(tmp_path: Path) -> None:
    broker = BrokerProcess("mosquitto", tmp_path)
    broker.start()
    try:
        watcher = Watcher(broker.port)
        try:
            (tmp_path / "here").mkdir()

            done = load("--broker", f"mqtt://127.0.0.1:{broker.port}", "--seconds", "1", folder=tmp_path / "here")

            assert done.returncode == 0, done.stderr
            rows = {
                line.split("  ")[0].strip(" │"): line.split()[-2] for line in done.stdout.splitlines() if "│" in line
            }
            published = int(rows["published"].replace(",", ""))
            until(lambda: len(watcher.messages) >= published, "every message to be passed on")
            assert rows["published"] == rows["acknowledged"]
            assert {topic.split("/")[2] for topic, _, _ in watcher.messages} == {"readings"}
            assert len({topic for topic, _, _ in watcher.messages}) == 20
            assert list((tmp_path / "here").iterdir()) == []
        finally:
            watcher.close()
    finally:
        broker.stop()


def test_credentials_and_refusals_are_told(tmp_path: Path) -> None:
    broker = BrokerProcess("nats", tmp_path, password_for={"mass": "right"})
    broker.start()
    where = f"mqtt://127.0.0.1:{broker.port}"
    files = {"right": {"mass": "right"}, "wrong": {"mass": "wrong"}, "two": {"a": "1", "b": "2"}}
    for name, users in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(users))
    (tmp_path / "bad.json").write_text("{")
    try:
        done = {
            name: load("--broker", where, "--credentials", f"{name}.json", "--seconds", "1", folder=tmp_path)
            for name in (*files, "bad", "absent")
        }
    finally:
        broker.stop()
    away = load("--broker", where, "--seconds", "1", folder=tmp_path)

    assert done["right"].returncode == 0, done["right"].stderr
    for name, text in (
        ("wrong", "refuses the connection: not authorised"),
        ("two", "two.json has 2 users: one expected"),
        ("bad", "bad.json"),
        ("absent", "absent.json: No such file"),
    ):
        assert done[name].returncode == 1
        assert f"error: {'broker' if name == 'wrong' else 'credentials'}: " in done[name].stderr
        assert text in done[name].stderr
    assert away.returncode == 1
    assert "error: broker: 127.0.0.1" in away.stderr
    assert not any("Traceback" in run.stderr for run in (*done.values(), away))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--qos", "2"), "qos"),
        (("--rate", "-5"), "rate"),
        (("--sockets", "21"), "sockets: 21 for 20 devices"),
        (("--seconds", "0"), "seconds"),
        (("--format", "xml"), "format: 'xml' is unknown"),
    ],
)
def test_impossible_options_are_refused(tmp_path: Path, options: tuple[str, ...], text: str) -> None:
    done = load("--broker", "mqtt://127.0.0.1:1", *options, folder=tmp_path)

    assert done.returncode in {1, 2}
    assert text in done.stderr
