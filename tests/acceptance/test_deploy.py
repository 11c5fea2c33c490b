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
    broker.kill()  # 2.0.11 forgets a SIGTERM that comes before its loop
    broker.wait()


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
         "-i", "reader", "-c", "-C", "1", "-v", "-W", "120"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    until(lambda: "reader" in (Path(f"/proc/{reader.pid}/cmdline").read_text()), "the reader to start")

    def told() -> bool:
        publish(port, "dev1", "devices/dev2/readings")
        publish(port, "dev1", "devices/dev1/readings")
        return reader.poll() is not None

    until(told, "the reader to hear the device")
    assert reader.communicate()[0] == b"devices/dev1/readings 1\n"


def test_certificates_take_the_place_of_passwords(tmp_path: Path) -> None:
    """The platform and a device meet on Mosquitto over mutual TLS; a revoked device stays out."""
    listener = free_port()
    settings = {
        "MQTT__URL": f"mqtts://localhost:{listener}",
        **{f"MQTT__TLS_{part}": str(tmp_path / "certs" / file) for part, file in
           (("CA", "ca.pem"), ("CERTIFICATE", "urbanpulse.pem"), ("KEY", "urbanpulse.key"))},
    }  # fmt: skip
    with Stack(tmp_path, **settings) as stack:
        where = ["--dir", str(tmp_path / "certs")]
        stack.command("certs", "init", *where)
        stack.command("certs", "server", "broker", "localhost", *where)
        for name in ("urbanpulse", "kerb-7", "lost-1"):
            stack.command("certs", "client", name, *where)
        stack.command("certs", "revoke", "lost-1", *where)
        conf = (DEPLOY / "mosquitto" / "mosquitto-tls.conf").read_text()
        (tmp_path / "mosquitto.conf").write_text(
            conf.replace("listener 8883", f"listener {listener} 127.0.0.1") + f"user {Path.home().owner()}\n"
        )
        shutil.copy(DEPLOY / "mosquitto" / "acl", tmp_path / "acl")
        (tmp_path / "acl").chmod(0o600)
        stack.start("broker", program=["sh", "-c", f"cd {tmp_path} && exec mosquitto -c mosquitto.conf"])
        until(lambda: stack.is_open(listener), "mosquitto to listen")
        for role in ("gateway", "processor", "api"):
            stack.start(role)
        stack.until_ready()
        for name in ("kerb-7", "lost-1"):
            stack.device(name)

        def say(name: str, topic: str, value: int) -> int:
            tls = ["--cafile", "ca.pem", "--cert", f"{name}.pem", "--key", f"{name}.key"]
            done = subprocess.run(
                ["mosquitto_pub", "-h", "localhost", "-p", str(listener), *tls,
                 "-q", "1", "-t", topic, "-m", str(value)],
                cwd=tmp_path / "certs", capture_output=True, check=False,
            )  # fmt: skip
            return done.returncode

        def seen() -> bool:
            assert say("kerb-7", "devices/kerb-7/readings/no2", 21) == 0
            say("kerb-7", "devices/lost-1/readings/no2", 99)
            return bool(stack.items("/api/v1/latest?device=kerb-7"))

        until(seen, "the reading to be shown")
        assert say("lost-1", "devices/lost-1/readings/no2", 99) != 0
        assert stack.items("/api/v1/latest?device=lost-1") == []
