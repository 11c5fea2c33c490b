"""Tests that the files in deploy/ do what they say, on the real programs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.stack import Stack, free_port, until

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOY = Path(__file__).parents[2] / "deploy"

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="Debian's mosquitto is not installed"),
]


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Run Mosquitto with our configuration on a free port; users dev1 and urbanpulse, password `secret`."""
    number = free_port()
    conf = (DEPLOY / "mosquitto" / "mosquitto.conf").read_text()
    (tmp_path / "mosquitto.conf").write_text(
        conf.replace("listener 1883", f"listener {number}") + f"user {Path.home().owner()}\n"
    )
    shutil.copy(DEPLOY / "mosquitto" / "acl", tmp_path / "acl")
    (tmp_path / "acl").chmod(0o600)
    (tmp_path / "passwords").touch(0o600)
    for user in ("dev1", "urbanpulse"):
        subprocess.run(["mosquitto_passwd", "-b", "passwords", user, "secret"], cwd=tmp_path, check=True)
    with (tmp_path / "log").open("wb") as out:
        broker = subprocess.Popen(["mosquitto", "-c", "mosquitto.conf"], cwd=tmp_path, stdout=out, stderr=out)
    until(lambda: Stack.is_open(number), "mosquitto to listen")
    yield number
    broker.terminate()
    broker.wait(10)


def publish(port: int, user: str, topic: str) -> int:
    options = ["-V", "mqttv5", "-p", str(port), "-u", user, "-P", "secret", "-q", "1", "-t", topic, "-m", "1"]
    return subprocess.run(["mosquitto_pub", *options], capture_output=True, check=False).returncode


def test_mosquitto_lets_a_device_write_below_its_name_and_nowhere_else(port: int) -> None:
    assert publish(port, "dev1", "devices/dev1/readings") == 0
    heard = subprocess.run(
        ["mosquitto_sub", "-p", str(port), "-u", "dev1", "-P", "secret", "-q", "1", "-t", "devices/dev2/#", "-W", "1"],
        capture_output=True,
        check=False,
    )
    assert heard.stdout == b""

    reader = subprocess.Popen(
        ["mosquitto_sub", "-p", str(port), "-u", "urbanpulse", "-P", "secret", "-q", "1", "-t", "devices/#",
         "-i", "reader", "-c", "-C", "1", "-v", "-W", "15"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    until(lambda: "reader" in (Path(f"/proc/{reader.pid}/cmdline").read_text()), "the reader to start")

    def told() -> bool:
        publish(port, "dev1", "devices/dev2/readings")
        publish(port, "dev1", "devices/dev1/readings")
        return reader.poll() is not None

    until(told, "the reader to hear the device")
    assert reader.communicate()[0] == b"devices/dev1/readings 1\n"
