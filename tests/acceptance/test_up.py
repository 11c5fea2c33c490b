"""Tests of `urbanpulse up --demo` as a newcomer runs it: one URL, one login, an explained alert, and a clean end."""

from __future__ import annotations

import http.cookiejar
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from tests.stack import free_port, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("up")]

SLOW = 120.0
"""Deadline in seconds for what takes a few on a machine of one's own, and long on a busy one."""


class Up:
    """A running `urbanpulse up`, what it printed, and a browser's way to its API."""

    def __init__(self, folder: Path, *args: str, **settings: str) -> None:
        self.folder = folder
        self.api_port = int(settings.setdefault("API__PORT", str(free_port())))
        self.broker_port = int(settings.setdefault("BROKER__PORT", str(free_port())))
        env = {name: value for name, value in os.environ.items() if not name.startswith("URBANPULSE_")}
        env |= {f"URBANPULSE_{name}": value for name, value in settings.items()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "urbanpulse", "up", *args],
            env=env | {"URBANPULSE_DATA_DIR": str(folder), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        self.printed = ""
        self._reader = threading.Thread(target=self._read, name="up-output")
        self._reader.start()
        self._browser = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        )

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(SLOW)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until *pattern* was printed."""

        def found() -> re.Match[str] | None:
            assert self.process.poll() is None, f"it ended: {self.printed}"
            return re.search(pattern, self.printed)

        match: re.Match[str] = until(found, f"{pattern!r} to be printed", seconds=SLOW)
        return match

    def wait_for_login(self) -> tuple[str, str, str]:
        """Wait for what a newcomer waits for; return URL, name and password."""
        match = self.wait_for(r"(http://\S+)\s+login (\S+)\s+password (\S+)")
        return match[1], match[2], match[3]

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Send a request as the page would; return status and decoded body."""
        url = f"http://127.0.0.1:{self.api_port}"
        request = urllib.request.Request(url + path, None if body is None else json.dumps(body).encode(), method=method)
        for name, value in {"Origin": url, "Content-Type": "application/json", **headers}.items():
            request.add_header(name, value)
        try:
            with self._browser.open(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def logs(self) -> dict[str, str]:
        """Return what the roles wrote, by role."""
        return {path.stem: path.read_text(errors="replace") for path in (self.folder / "logs").glob("*.log")}

    def family(self) -> dict[int, str]:
        """Return {pid: command line} of all processes that belong to this data folder."""
        ours = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdecimal() and f"={self.folder}\0".encode() in (entry / "environ").read_bytes():
                    ours[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it has ended meanwhile, or is not ours to see
        return ours


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the data folder of one installation."""
    return tmp_path / "data"


@pytest.fixture
def demo(folder: Path) -> Iterator[Up]:
    """Return a demo city: 0.6 days of 5-minute steps are the 150 readings that the detector wants to know first."""
    settings = {"SIMULATOR__BACKFILL_DAYS": "0.6", "SIMULATOR__FIRST_FAULT_SECONDS": "10"}
    with Up(folder, "--demo", **settings) as up:
        yield up


def test_the_demo_shows_a_city_and_explains_its_first_alert(demo: Up, folder: Path) -> None:
    """From the command to the acknowledged alert, and back to nothing, as the README promises."""
    url, name, password = demo.wait_for_login()
    assert url == f"http://127.0.0.1:{demo.api_port}"
    assert demo.call("GET", "/api/v1/me")[0] == 401
    status, session = demo.call("POST", "/api/v1/login", {"name": name, "password": password})
    assert (status, session["role"], session["city"]) == (200, "operator", "Ak Bulak (simulated)")

    demo.wait_for("live: 200 devices publish")
    labels = until(lambda: _lines(folder / "labels.jsonl"), "a fault to begin", seconds=SLOW)
    fault = labels[0]
    before = _latest(demo, fault["device"])
    until(lambda: _latest(demo, fault["device"]) != before, "live values", seconds=SLOW)
    alert = until(lambda: _alert_of(demo, fault), f"the alert of {fault}", seconds=SLOW)

    for fact in ("value", "expected", "low", "high", "severity"):
        assert isinstance(alert[fact], float), alert
    assert not alert["low"] <= alert["value"] <= alert["high"]
    text = f"{fault['metric']} at {fault['device']} is {alert['value']:.6g}"
    assert alert["text"].startswith(text)
    assert re.search(r"where \S+ .*\(\S+ to \S+\) is expected: \w+", alert["text"])

    path, version = f"/api/v1/alerts/{alert['id']}", {"If-Match": f'"{alert["version"]}"'}
    assert demo.call("POST", f"{path}/acknowledge", {}, Origin="http://elsewhere.example")[0] == 403
    status, acknowledged = demo.call("POST", f"{path}/acknowledge", {"comment": "seen"}, **version)
    assert (status, acknowledged["state"], acknowledged["owner"]) == (200, "acknowledged", name)
    status, history = demo.call("GET", f"{path}/history")
    assert {"kind": "acknowledged", "actor": name, "comment": "seen"}.items() <= history["items"][-1].items()

    until(lambda: len(demo.family()) == 7, "up, five roles and nats-server, and nobody else")
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(SLOW) == 0
    assert demo.family() == {}
    assert "Traceback" not in demo.printed
    assert dict.fromkeys(("api", "broker", "gateway", "processor", "simulator"), "") == {
        role: text if "Traceback" in text else "" for role, text in demo.logs().items()
    }


def test_a_killed_role_comes_back_and_killing_up_leaves_nobody_behind(folder: Path) -> None:
    with Up(folder) as up:
        up.wait_for_login()
        (gateway,) = [pid for pid, line in up.family().items() if "urbanpulse gateway" in line]

        os.kill(gateway, signal.SIGKILL)
        up.wait_for("gateway was killed by SIGKILL, starts again in 0.3 s")
        until(
            lambda: up.logs()["gateway"].count("connected to the broker") >= 2, "the gateway to be back", seconds=SLOW
        )
        up.process.kill()
        up.process.wait()

        until(lambda: not up.family(), "all children to be gone", seconds=SLOW)


def test_a_taken_port_is_told_with_its_setting(folder: Path) -> None:
    with Up(folder) as first:
        first.wait_for_login()

        with Up(folder / "other", API__PORT=str(first.api_port)) as second:
            assert second.process.wait(SLOW) == 1

    assert f"127.0.0.1:{first.api_port} cannot be used" in second.printed
    assert "set URBANPULSE_API__PORT" in second.printed
    assert "Traceback" not in second.printed


def test_a_data_folder_in_use_is_told_and_left_alone(folder: Path) -> None:
    """Other ports do not make it another installation: two brokers would ruin what they keep."""
    with Up(folder) as first:
        first.wait_for_login()

        with Up(folder) as second:
            assert second.process.wait(SLOW) == 1

    assert f"data_dir: {folder}: another `urbanpulse up` uses it" in second.printed
    assert "Traceback" not in second.printed


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _latest(up: Up, device: str) -> list[str]:
    return [item["measured"] for item in up.call("GET", f"/api/v1/latest?device={device}")[1]["items"]]


def _alert_of(up: Up, fault: dict[str, Any]) -> dict[str, Any] | None:
    found = up.call("GET", f"/api/v1/alerts?retrospective=false&device={fault['device']}")[1]["items"]
    return next((alert for alert in found if alert["metric"] == fault["metric"]), None)
