"""Tests that the unit files are what systemd takes, sandboxed, and start verbs that exist."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.stack import VERBS, Stack, until

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
ROLES = ("broker", "gateway", "process", "serve")
EXPOSURE = 2.0  # `systemd-analyze security`: below 2 is "OK", an unrestricted service has 9.6

pytestmark = pytest.mark.acceptance


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """Return our units as installed, but with a program that exists here."""
    template = (UNITS / "urbanpulse@.service").read_text()
    target = tmp_path / "urbanpulse.target"
    shutil.copy(UNITS / target.name, target)
    files = [tmp_path / f"urbanpulse@{role}.service" for role in ROLES]
    for file in files:
        file.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", template, flags=re.MULTILINE))
    return [*files, target]


def test_every_role_has_its_verb() -> None:
    wanted = re.findall(r"urbanpulse@(\w+)\.service", (UNITS / "urbanpulse.target").read_text())
    assert set(wanted) >= set(ROLES)
    assert set(ROLES) <= set(VERBS.values())


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="Debian's systemd is not installed")
def test_systemd_takes_the_units_without_a_warning(units: list[Path], tmp_path: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    own = [line for line in done.stderr.splitlines() if "urbanpulse" in line and "is dropped" not in line]
    assert (done.returncode, own) == (0, [])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="Debian's systemd is not installed")
def test_the_sandbox_is_tight(units: list[Path]) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", units[0]],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"Overall exposure level.*: ([0-9.]+)", done.stdout)
    assert found
    assert float(found[1]) < EXPOSURE


def test_a_role_says_ready_and_stopping(tmp_path: Path) -> None:
    with Stack(tmp_path) as stack, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        stack.env |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "600000000"}
        stack.start("broker")
        assert manager.recv(100) == b"READY=1"
        assert manager.recv(100) == b"WATCHDOG=1"
        until(lambda: stack.is_open(stack.broker_port), "the broker's port")
        stack.stop("broker")
        assert manager.recv(100) == b"STOPPING=1"
