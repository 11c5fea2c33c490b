"""The platform as processes: each role can be killed with -9 and started again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from backends.log import SqliteLog
from backends.series import open_reader
from core.entry import LogEntry
from urbanpulse.clock import SystemClock
from urbanpulse.demo import register_devices
from urbanpulse.installation import prepare
from urbanpulse.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from core.admission import LedgerRow
    from core.city import Device

ROOT = Path(__file__).resolve().parents[2]


class Platform:
    """Role processes of one data folder, started by environment as an operator would."""

    def __init__(self, folder: Path, environment: dict[str, str], *, port: int) -> None:
        self.folder = folder
        self.port = port
        self.restarts = 0
        kept = {name: value for name, value in os.environ.items() if not name.startswith("URBANPULSE_")}
        self._environment = {
            **kept,
            "PYTHONPATH": str(ROOT),
            "URBANPULSE_DATA_DIR": str(folder / "data"),
            "URBANPULSE_BROKER__PORT": str(port),
            **environment,
        }
        self._roles: dict[str, subprocess.Popen[bytes]] = {}
        self._began: dict[str, int] = {}

    @property
    def settings(self) -> Settings:
        """Return what the processes read from their environment."""
        before = dict(os.environ)
        try:
            os.environ.update(self._environment)
            return load_settings(None)
        finally:
            os.environ.clear()
            os.environ.update(before)

    def register(self, devices: Iterable[Device]) -> dict[str, str]:
        """Register devices and return their passwords."""
        return register_devices(prepare(self.settings), "oracle-devices", devices)

    def start(self, *roles: str) -> None:
        """Start roles; their logs go to `<role>.log`."""
        for role in roles:
            self._began[role] = len(self.log(role))
            with (self.folder / f"{role}.log").open("ab") as out:
                self._roles[role] = subprocess.Popen(
                    [sys.executable, "-m", "urbanpulse", role],
                    env=self._environment,
                    cwd=self.folder,
                    stdout=out,
                    stderr=out,
                )

    def kill(self, role: str) -> None:
        """Kill -9 and start again at once."""
        assert self._roles[role].poll() is None, f"{role} ended by itself:\n{self.log(role)[-3000:]}"
        self._roles[role].kill()
        self._roles[role].wait()
        self.start(role)
        self.restarts += 1

    def stop(self, *roles: str) -> dict[str, int]:
        """Stop roles in an orderly way; return their exit codes."""
        chosen = {role: self._roles.pop(role) for role in roles or tuple(self._roles)}
        for process in chosen.values():
            process.send_signal(signal.SIGTERM)
        return {role: process.wait(60) for role, process in chosen.items()}

    def close(self) -> None:
        """End whatever still runs."""
        for process in self._roles.values():
            process.kill()
            process.wait()

    def log(self, role: str) -> str:
        """Return what a role has logged."""
        path = self.folder / f"{role}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def recent(self, role: str) -> str:
        """Return what a role has logged since it was started last."""
        return self.log(role)[self._began[role] :]

    def count(self) -> int:
        """Return how many distinct readings are stored."""
        with closing(open_reader(self.folder / "data" / "series", self.settings.series)) as reader:
            return reader.count()

    def series(self) -> dict[int, str]:
        """Return {series id: device} as the catalog has it."""
        with closing(prepare(self.settings).open_catalog()) as catalog:
            return {series.id: series.device for series in catalog.registry.series()}

    def logged(self) -> set[tuple[str, int]]:
        """Return (device, measured ns) of every reading in the log."""
        series = self.series()
        found: set[tuple[str, int]] = set()
        with closing(SqliteLog(self.folder / "data" / "log.sqlite", self.settings.log, clock=SystemClock())) as log:
            at = 0
            while rows := log.read(at, 256):
                at = rows[-1][0]
                for _, blob in rows:
                    batch = LogEntry.from_bytes(blob).batch
                    devices = (series[number] for number in batch.series.tolist())
                    found.update(zip(devices, batch.measured.tolist(), strict=True))
        return found

    def ledger(self) -> list[LedgerRow]:
        """Return the balance sheet."""
        with closing(prepare(self.settings).open_catalog()) as catalog:
            return catalog.ledger.ledger()

    def run(self, *arguments: str) -> dict[str, Any]:
        """Run the command line and return its JSON."""
        done = subprocess.run(
            [sys.executable, "-m", "urbanpulse", *arguments, "--json"],
            env=self._environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.stdout, f"{arguments}: {done.returncode}\n{done.stderr}"
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


@pytest.fixture
def platform(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Callable[..., Platform]]:
    """Return a function that makes a platform, with the embedded broker or with mosquitto over MQTT 5."""
    made: list[Platform] = []
    others: list[subprocess.Popen[bytes]] = []

    def make(broker: str, **environment: str) -> Platform:
        port = free_port()
        if broker == "mosquitto":
            program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
            if program is None:
                pytest.skip("mosquitto is not installed")
            config = tmp_path / "mosquitto.conf"
            config.write_text(
                f"listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest none\nmax_queued_messages 0\n"
                "max_inflight_messages 0\n"
            )
            others.append(subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL))
            environment |= {
                "URBANPULSE_MQTT__URL": f"mqtt://127.0.0.1:{port}",
                "URBANPULSE_MQTT__PROTOCOL": "5",
            }
        made.append(Platform(tmp_path, environment, port=port))
        if broker == "nats":
            made[-1].start("broker")
        deadline = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return made[-1]
            assert time.monotonic() < deadline, f"no broker: {made[-1].log('broker')[-2000:]}"
            time.sleep(0.05)

    yield make
    for platform in made:
        platform.close()
    for other in others:
        other.kill()
        other.wait()
