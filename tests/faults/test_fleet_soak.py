"""Two thousand true devices for ten minutes, counted by somebody else: `mosquitto_sub` with a session of its own.

`make soak ARGS="-k fleet"` runs it and prints what it took; the short form of it is in
`tests/unit/simulators/test_run.py`.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.stack import Stack, free_port, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(shutil.which("mosquitto_sub") is None, reason="Debian's mosquitto-clients are not installed"),
]

DEVICES = int(os.environ.get("URBANPULSE_TEST_SOAK_DEVICES", "2000"))
MINUTES = float(os.environ.get("URBANPULSE_TEST_SOAK_MINUTES", "10"))
INTERVAL = 5.0
TICKS = os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("kind", ["embedded", "mosquitto"])
def test_two_thousand_true_devices_lose_nothing_in_ten_minutes(tmp_path: Path, kind: str) -> None:
    with Stack(tmp_path / "stack") as stack, broker(kind, stack, tmp_path) as (address, pid, user):
        heard = tmp_path / "heard"
        with listener(address, user, heard) as still_there:
            figures, summary = run(stack, address if kind == "mosquitto" else "", pid)
            print(f"\n{kind}: {json.dumps(figures)}")  # noqa: T201 - the soak's figures

            assert summary["lost"] == 0
            assert (
                summary["acked"] == summary["reports"] == summary["messages"] > DEVICES * MINUTES * 60 / INTERVAL * 0.9
            )
            until(lambda: still_there() and lines(heard) >= summary["messages"], "every message")
        seen = heard.read_bytes().splitlines()

    assert len(set(seen)) == summary["messages"]


def run(stack: Stack, address: str, broker_pid: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the fleet; return what it took, and its summary."""
    options = ["--broker", address] if address else []
    simulator = stack.start(
        "simulator", "--scenario", "normal", "--devices", str(DEVICES), "--interval", str(INTERVAL),
        "--hours", str(MINUTES / 60), "--json", *options,
    )  # fmt: skip
    took: dict[str, Any] = {}
    broker_before = cpu(broker_pid)
    while simulator.poll() is None:
        try:
            took |= {
                "cpu_seconds": cpu(simulator.pid),
                "rss_mib": memory(simulator.pid),
                "broker_cpu_seconds": round(cpu(broker_pid) - broker_before, 2),
                "broker_rss_mib": memory(broker_pid),
            }
        except OSError:  # it has just ended
            break
        time.sleep(1)
    assert simulator.wait() == 0, stack.log("simulator")[-2000:]
    told = [json.loads(line) for line in stack.log("simulator").splitlines() if line.startswith("{")]
    summary: dict[str, Any] = told[-1]["summary"]
    took |= {name: summary[name] for name in ("devices", "messages", "acked", "seconds", "connect_seconds", "refusals")}
    took["connects_per_second"] = round(DEVICES / summary["connect_seconds"])
    return took, summary


@contextmanager
def broker(kind: str, stack: Stack, folder: Path) -> Iterator[tuple[str, int, tuple[str, str] | None]]:
    """Start a broker; yield its address, its process and a user that hears everything."""
    if kind == "embedded":
        role = stack.start("broker")
        until(lambda: stack.is_open(stack.broker_port), "the broker's port")
        secret = json.loads((stack.data / "secrets" / "services.json").read_text())["recorder"]
        pid = int((stack.data / "broker" / "nats.pid").read_text())
        assert role.poll() is None
        yield f"mqtt://127.0.0.1:{stack.broker_port}", pid, ("recorder", secret)
        return
    program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("mosquitto is not installed")
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest none\n"
        "max_queued_messages 0\nmax_inflight_messages 0\n"
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, DEVICES + 500)), hard))
    with subprocess.Popen([program, "-c", str(config)]) as process:
        try:
            until(lambda: stack.is_open(port), "the broker's port")
            yield f"mqtt://127.0.0.1:{port}", process.pid, None
        finally:
            process.terminate()


@contextmanager
def listener(address: str, user: tuple[str, str] | None, out: Path) -> Iterator[Any]:
    """Write topic and payload of every reading to *out*; yield what tells whether it still does."""
    login = ["-u", user[0], "-P", user[1]] if user else []
    with out.open("wb") as file, subprocess.Popen(
        ["stdbuf", "-oL", "mosquitto_sub", "-p", address.rpartition(":")[2], "-i", "witness", "-c", "-q", "1",
         *login, "-t", "devices/+/readings", "-F", "%t %p"],
        stdout=file,
    ) as process:  # fmt: skip
        try:
            yield lambda: process.poll() is None
        finally:
            process.terminate()


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def cpu(pid: int) -> float:
    """Return the CPU seconds that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid: int) -> int:
    """Return the resident memory of a process, MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1_048_576
