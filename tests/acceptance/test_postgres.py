"""Tests of the roles on a catalog in PostgreSQL: the same path, and the same balance after a kill."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.stack import PM25_RULES, Stack, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="Debian's mosquitto-clients are not installed"),
]


def test_the_main_job_on_postgresql_survives_a_kill(tmp_path: Path, empty_postgres: str) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(PM25_RULES)
    with Stack(tmp_path, CATALOG__URL=empty_postgres, PROCESSOR__RULES_PATH=str(rules)) as stack:
        stack.start_all()
        password = stack.device("kerb-7")["password"]

        def balance(**expected: int) -> bool:
            total = stack.get("/api/v1/ledger")[1]["total"]
            return bool(total["balances"]) and {key: total[key] for key in expected} == expected

        def publish(value: float, at: int) -> bool:
            body = f'{{"ts": {at}, "values": {{"pm25": {value}}}}}'
            return stack.publish("kerb-7", password, "devices/kerb-7/readings", body).returncode == 0

        until(lambda: publish(12.5, 1_790_000_000), "the broker to know the device")
        until(lambda: balance(accepted=1) or balance(accepted=0, late=1), "the first reading to be booked")
        stack.kill("gateway")
        stack.kill("processor")
        assert publish(150.0, 1_790_000_060), "the broker keeps it for the gateway"
        stack.start("gateway")
        stack.start("processor")

        until(lambda: stack.get("/api/v1/ledger")[1]["total"]["readings"] == 2, "both readings to be booked")
        assert stack.get("/api/v1/ledger")[1]["total"]["balances"]
        [alert] = until(lambda: stack.items("/api/v1/alerts?state=all&retrospective=true"), "the alert in the catalog")
        assert alert["device"] == "kerb-7"
        assert not (stack.data / "catalog.sqlite").exists()
