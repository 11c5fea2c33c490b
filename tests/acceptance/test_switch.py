"""An installation moves from the embedded store to InfluxDB and back, as docs/operations.md says, and loses nothing."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.influx import influxd
from tests.stack import Stack, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.acceptance


def test_switching_to_influxdb_and_back_keeps_history_and_state(tmp_path: Path) -> None:
    with influxd(tmp_path / "server") as url, Stack(tmp_path / "city") as stack:
        stack.start_all()
        device = stack.device("box-1")
        publish(stack, device, 0)
        until(lambda: len(stored(stack)) == 20, "the first readings")
        assert "stop the processor first" in stack.command("series", "copy", "embedded", url, check=False)

        stack.stop("processor")
        publish(stack, device, 20)  # waits in the log
        switch(stack, "embedded", url)
        until(lambda: stored(stack) == [float(i) for i in range(40)], "all readings in InfluxDB")
        publish(stack, device, 40)
        until(lambda: len(stored(stack)) == 60, "new readings in InfluxDB")

        stack.stop("processor")
        switch(stack, url, "embedded")
        publish(stack, device, 60)
        until(lambda: stored(stack) == [float(i) for i in range(80)], "all readings in the embedded store")
        assert '"level":"error"' not in stack.log("processor").replace(" ", "")
        assert stack.log("processor").count("state restored") == 2


def switch(stack: Stack, source: str, target: str) -> None:
    """Do what docs/operations.md says, with the processor stopped."""
    stack.env["URBANPULSE_SERIES__URL"] = target
    stack.command("series", "init")
    copied = json.loads(stack.command("series", "copy", source, target, "--json"))
    assert copied["missing"] == 0
    stack.stop("api")
    stack.start("processor")
    stack.start("api")
    stack.until_ready()


def publish(stack: Stack, device: dict[str, str], first: int) -> None:
    now = time.time_ns() // 1_000_000 - 20
    message = json.dumps([{"ts": now + i, "values": {"pm25": float(first + i)}} for i in range(20)])
    until(
        lambda: (
            stack.publish(device["username"], device["password"], "devices/box-1/readings", message).returncode == 0
        ),
        "the message to be taken",
    )


def stored(stack: Stack) -> list[float]:
    status, content = stack.get("/api/v1/series/0/readings?aggregate=none", check=False)
    return content["columns"]["value"] if status == 200 else []
