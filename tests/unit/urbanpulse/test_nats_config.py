"""Tests of the broker's configuration text: who may do what, and nothing else."""

from __future__ import annotations

from pathlib import Path

import bcrypt
import pytest

from api.auth import hash_device_secret, new_secret
from urbanpulse.nats_config import SERVICES, BrokerFiles, render


def text(devices: dict[str, str], **more: object) -> str:
    return render(
        host="127.0.0.1",
        port=1883,
        sync_interval="always",
        max_payload_bytes=1024,
        ack_wait_seconds=5,
        max_ack_pending=100,
        files=BrokerFiles(Path("store"), Path("pid")),
        services=dict.fromkeys(SERVICES, "$2a$hash"),
        devices=devices,
        **more,  # type: ignore[arg-type]
    )


def test_a_device_may_write_only_below_its_own_name() -> None:
    line = next(line for line in text({"air-01": "$2a$x"}).splitlines() if '"air-01"' in line)

    assert 'publish: { allow: ["devices.air-01.>"] }' in line
    assert 'allowed_connection_types: ["MQTT"]' in line


@pytest.mark.parametrize("service", ["gateway", "recorder", "api"])
def test_a_service_that_only_reads_may_not_publish(service: str) -> None:
    line = next(line for line in text({}).splitlines() if f'"{service}"' in line)

    assert 'publish: { deny: ">" }' in line


def test_the_text_does_not_depend_on_the_order_of_devices() -> None:
    assert text({"a": "1", "b": "2"}) == text({"b": "2", "a": "1"})


def test_tls_and_client_certificates_are_asked_for_when_set() -> None:
    assert "verify: true" in text({}, tls=(Path("c"), Path("k"), Path("ca")))
    assert "verify" not in text({}, tls=(Path("c"), Path("k"), None))


def test_a_device_secret_is_known_only_by_its_hash() -> None:
    secret = new_secret()

    hashed = hash_device_secret(secret)

    assert secret not in hashed
    assert bcrypt.checkpw(secret.encode(), hashed.encode())
    assert hashed.startswith("$2b$04$")
