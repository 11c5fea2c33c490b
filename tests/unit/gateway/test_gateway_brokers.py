"""The gateway behind real brokers: nats-server as embedded, Debian's mosquitto over 3.1.1, 5, TLS and mutual TLS."""

from __future__ import annotations

import asyncio
import subprocess
from functools import partial
from typing import TYPE_CHECKING

import pytest
import structlog

from core.errors import SettingsError
from gateway.session import tls_context
from gateway.settings import MqttSettings
from tests.unit.gateway.conftest import FakeLog, FakeRegistry, eventually, mosquitto, nats, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

BROKERS: dict[str, Callable[..., AbstractContextManager[object]]] = {"mosquitto": mosquitto, "nats": nats}


def publish(port: int, *arguments: str) -> None:
    subprocess.run(["mosquitto_pub", "-p", str(port), *arguments], check=True, timeout=20)


def publish_lines(port: int, lines: list[str]) -> None:
    command = ["mosquitto_pub", "-p", f"{port}", "-q", "1", "-t", "devices/air-01/readings", "-l"]
    subprocess.run(command, input="\n".join(lines).encode(), check=True, timeout=60)


def make_passwords(file: Path) -> None:
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(file), "gw", "right"], check=True, timeout=20)


@pytest.mark.parametrize(
    ("broker", "protocol"),
    [
        pytest.param("mosquitto", "5", id="mosquitto over MQTT 5"),
        pytest.param("mosquitto", "3.1.1", id="mosquitto over MQTT 3.1.1"),
        pytest.param("mosquitto", "auto", id="mosquitto, version found out"),
        pytest.param("nats", "auto", id="nats-server, which refuses MQTT 5"),
    ],
)
async def test_messages_of_every_qos_become_readings(tmp_path: Path, port: int, broker: str, protocol: str) -> None:
    with BROKERS[broker](tmp_path, port):
        async with running(MqttSettings(url=f"mqtt://127.0.0.1:{port}", protocol=protocol, qos=2)) as it:
            for qos in (0, 1, 2):
                body = f'{{"ts": 17672256{qos}0, "values": {{"pm25": {qos}.5}}}}'
                publish(port, "-q", str(qos), "-t", "devices/air-01/readings", "-m", body)

            await eventually(lambda: len(it.log.rows()) == 3)

        assert sorted(it.log.rows()) == [(0, 1_767_225_600 * 10**9 + qos * 10 * 10**9, qos + 0.5) for qos in (0, 1, 2)]


def certificates(folder: Path) -> None:
    """Make an authority, and keys and certificates of the broker and of us, signed by it."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)

    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    openssl(*new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority")
    for name in ("broker", "gateway"):
        names = ("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-addext", "basicConstraints=CA:FALSE")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key") if name else ()
        openssl(*new, *signed, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}", *names)


@pytest.mark.parametrize("is_mutual", [False, True])
async def test_tls_and_mutual_tls(tmp_path: Path, port: int, is_mutual: bool) -> None:
    certificates(tmp_path)
    tls = [f"cafile {tmp_path}/ca.pem", f"certfile {tmp_path}/broker.pem", f"keyfile {tmp_path}/broker.key"]
    own = {}
    client = ["--cafile", f"{tmp_path}/ca.pem"]
    if is_mutual:
        tls += ["require_certificate true", "allow_anonymous true"]
        own = {"tls_certificate": tmp_path / "gateway.pem", "tls_key": tmp_path / "gateway.key"}
        client += ["--cert", f"{tmp_path}/gateway.pem", "--key", f"{tmp_path}/gateway.key"]
    mqtt = MqttSettings(url=f"mqtts://127.0.0.1:{port}", tls_ca=tmp_path / "ca.pem", **own)

    with mosquitto(tmp_path, port, *tls):
        async with running(mqtt) as it:
            publish(port, *client, "-q", "1", "-t", "devices/air-01/readings/pm25", "-m", "7")
            await eventually(lambda: len(it.log.rows()) == 1)

    assert it.log.rows()[0][2] == 7.0


async def test_a_broker_with_a_stranger_s_certificate_is_not_talked_to(tmp_path: Path, port: int) -> None:
    certificates(tmp_path)
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    certificates(strangers)
    tls = [f"cafile {tmp_path}/ca.pem", f"certfile {tmp_path}/broker.pem", f"keyfile {tmp_path}/broker.key"]
    mqtt = MqttSettings(url=f"mqtts://127.0.0.1:{port}", tls_ca=strangers / "ca.pem", reconnect_min_seconds=0.05)

    with mosquitto(tmp_path, port, *tls), structlog.testing.capture_logs() as logs:
        async with running(mqtt, wait=False) as it:
            await eventually(lambda: any("CERTIFICATE_VERIFY_FAILED" in e.get("detail", "") for e in logs))
            assert not it.ready.is_set()


def test_a_missing_certificate_names_its_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"mqtt\.tls_ca: .*nowhere\.pem"):
        tls_context(MqttSettings(url="mqtts://h", tls_ca=tmp_path / "nowhere.pem"))
    with pytest.raises(SettingsError, match=r"mqtt\.tls_certificate: .*nowhere\.pem"):
        tls_context(MqttSettings(url="mqtts://h", tls_certificate=tmp_path / "nowhere.pem"))


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_wrong_credentials_are_told_to_a_person_and_tried_again(tmp_path: Path, port: int, protocol: str) -> None:
    passwords = tmp_path / "passwords"
    make_passwords(passwords)
    mqtt = MqttSettings(
        url=f"mqtt://127.0.0.1:{port}", username="gw", password="wrong", protocol=protocol, refused_seconds=0.05
    )

    with (
        mosquitto(tmp_path, port, "allow_anonymous false", f"password_file {passwords}"),
        structlog.testing.capture_logs() as logs,
    ):
        async with running(mqtt, wait=False) as it:
            await eventually(lambda: sum(e["log_level"] == "error" for e in logs) >= 2)
            assert not it.ready.is_set()

    errors = [e for e in logs if e["log_level"] == "error"]
    assert errors[0]["setting"] == "mqtt.username, mqtt.password"
    assert "wrong" not in str(errors)


@pytest.mark.parametrize("broker", sorted(BROKERS))
async def test_what_was_not_acknowledged_comes_again_and_is_stored_once(tmp_path: Path, port: int, broker: str) -> None:
    """The log fails, the gateway dies with messages in hand; its successor gets them all, none twice."""
    mqtt = MqttSettings(url=f"mqtt://127.0.0.1:{port}", reconnect_min_seconds=0.05)
    messages = [f'{{"ts": {1_767_225_600 + i}, "values": {{"pm25": {i}}}}}' for i in range(50)]
    log = FakeLog()

    with BROKERS[broker](tmp_path, port):
        async with running(mqtt, log=log) as first:
            publish_lines(port, messages[:25])
            await eventually(lambda: len(log.rows()) == 25)
            log.failures = ["disk full"] * 10_000
            publish_lines(port, messages[25:])
            await eventually(lambda: len(log.failures) < 10_000)
            first_registry = first.registry
        log.failures.clear()
        assert len(log.rows()) == 25
        async with running(mqtt, log=log, registry=first_registry):
            await eventually(lambda: len(log.rows()) == 50)

    assert sorted(value for _, _, value in log.rows()) == [float(i) for i in range(50)]


@pytest.mark.parametrize("broker", sorted(BROKERS))
async def test_messages_stored_but_not_acknowledged_come_again_as_duplicates(
    tmp_path: Path, port: int, broker: str
) -> None:
    """The gateway dies between append and acknowledgement: the next one recognises every reading from the log."""
    mqtt = MqttSettings(url=f"mqtt://127.0.0.1:{port}", reconnect_min_seconds=0.05)
    log, registry = FakeLog(), FakeRegistry.of("air-01")
    log.unacknowledged = True

    with BROKERS[broker](tmp_path, port):
        async with running(mqtt, log=log, registry=registry):
            publish(port, "-q", "1", "-t", "devices/air-01/readings", "-m", '{"ts": 1767225600, "values": {"pm25": 1}}')
            await eventually(lambda: len(log.rows()) == 1)
        log.unacknowledged = False
        async with running(mqtt, log=log, registry=registry):
            await eventually(lambda: log.tallies().get(("air-01", "duplicate", "repeated")))

    assert len(log.rows()) == 1


def _holds(log: FakeLog, n: int) -> bool:
    return len(log.rows()) == n


async def test_the_gateway_comes_back_when_the_broker_does(tmp_path: Path, port: int) -> None:
    mqtt = MqttSettings(url=f"mqtt://127.0.0.1:{port}", reconnect_min_seconds=0.05, reconnect_max_seconds=0.2)

    async with running(mqtt, wait=False) as it:
        for round_ in range(2):
            with mosquitto(tmp_path, port):
                await asyncio.wait_for(it.ready.wait(), 60)
                publish(port, "-q", "1", "-t", "devices/air-01/readings/pm25", "-m", f"{round_}")
                await eventually(partial(_holds, it.log, round_ + 1))
            it.ready.clear()

    assert [value for _, _, value in it.log.rows()] == [0.0, 1.0]
