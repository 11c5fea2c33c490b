"""The platform on a real InfluxDB: readings go there, come back, and survive an outage of it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.influx import influxd
from tests.stack import Stack, free_port, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.acceptance


def test_readings_go_to_influxdb_and_wait_while_it_is_away(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with Stack(tmp_path / "city", SERIES__URL=url) as stack:
        with influxd(tmp_path / "server", port=port):
            assert "created" in stack.command("series", "init")
            stack.start_all()
            device = stack.device("box-1")
            publish(stack, device, 0)
            until(lambda: len(stored(stack)) == 20, "the first readings in InfluxDB")
        publish(stack, device, 20)
        until(lambda: newest(stack) == 39.0, "the live view to go on without InfluxDB")
        assert stack.get("/readyz", check=False)[1]["parts"]["series"] != "ok"
        until(lambda: "store is away" in stack.log("processor"), "the processor to say that its store is away")
        with influxd(tmp_path / "server", port=port):
            until(lambda: stored(stack) == [float(i) for i in range(40)], "all readings, once each")
            stack.stop("processor")
            stack.start("processor")
            publish(stack, device, 40)
            until(lambda: stored(stack) == [float(i) for i in range(60)], "a restart to go on")
            stack.stop("processor")


def test_a_database_that_is_missing_stops_the_processor_with_a_sentence(tmp_path: Path) -> None:
    with influxd(tmp_path / "server") as url, Stack(tmp_path / "city", SERIES__URL=url) as stack:
        stack.start("broker")
        until(lambda: stack.is_open(stack.broker_port), "the broker's port")
        for role in ("gateway", "processor"):
            stack.start(role)
        until(lambda: "connected to the broker" in stack.log("gateway"), "the gateway to connect")
        publish(stack, stack.device("box-1"), 0)

        status = until(stack.roles["processor"].poll, "the processor to stop")

        said = stack.log("processor")
        assert status == 1
        assert "error: series.influx.database: " in said
        assert "urbanpulse series init" in said
        assert "Traceback" not in said


def publish(stack: Stack, device: dict[str, str], first: int) -> None:
    now = time.time_ns() // 1_000_000 - 20
    rows = [{"ts": now + i, "values": {"pm25": float(first + i)}} for i in range(20)]
    message = json.dumps(rows)
    until(
        lambda: (
            stack.publish(device["username"], device["password"], "devices/box-1/readings", message).returncode == 0
        ),
        "the message to be taken",
    )


def stored(stack: Stack) -> list[float]:
    status, content = stack.get("/api/v1/series/0/readings?aggregate=none", check=False)
    return content["columns"]["value"] if status == 200 else []


def newest(stack: Stack) -> float | None:
    items = stack.items("/api/v1/latest")
    return items[0]["value"] if items else None
