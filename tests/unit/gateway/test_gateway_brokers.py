"""The gateway behind real brokers: nats-server as embedded, Debian's mosquitto over 3.1.1, 5, TLS and mutual TLS."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from gateway.settings import MqttSettings
from tests.unit.gateway.conftest import eventually, mosquitto, nats, running

if TYPE_CHECKING:
    from pathlib import Path

BROKERS = {"mosquitto": mosquitto, "nats": nats}


def publish(port: int, *arguments: str) -> None:
    subprocess.run(["mosquitto_pub", "-p", str(port), *arguments], check=True, timeout=20)


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
