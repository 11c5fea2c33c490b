"""A declared interval at work, from the command line to the alerts: real broker, gateway, processor and api."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.stack import Stack, until

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

HOUR = 3600

pytestmark = pytest.mark.acceptance


def test_a_device_that_comes_and_goes_and_how_complete_it_was(tmp_path: Path) -> None:
    settings = {
        "PROCESSOR__LIVENESS__FLOOR_SECONDS": "1",
        "PROCESSOR__FLAPPING__LOSSES": "2",
        "PROCESSOR__ALERT_COOLDOWN_SECONDS": "0",
    }
    with Stack(tmp_path, **settings) as stack:
        stack.start_all()
        place = ("--kind", "air", "--district", "north", "--interval", "1h", "--json")
        secret = json.loads(stack.command("device", "add", "kerb-1", *place))["password"]

        def say(*readings: dict[str, Any]) -> None:
            def said() -> bool:
                done = stack.publish("kerb-1", secret, "devices/kerb-1/readings", json.dumps(readings))
                return done.returncode == 0  # the broker learns of a new device within seconds

            until(said, "the broker to take it")

        def alerts() -> dict[str, str]:
            found = stack.items("/api/v1/alerts?state=all")
            return {alert["code"]: alert["state"] for alert in found if not alert["metric"]}

        this_hour = int(time.time()) // HOUR * HOUR
        say(*({"ts": at, "values": {"pm25": 12.0}} for at in range(this_hour - HOUR, this_hour - HOUR // 2)))
        say({"values": {"pm25": 12.0}})
        until(lambda: len(stack.items("/api/v1/latest")) == 1, "the reading")
        assert alerts() == {}
        stack.command("device", "set", "kerb-1", "--interval", "1s")
        until(lambda: alerts() == {"gap": "open"}, "the first silence, by the interval of now")
        say({"values": {"pm25": 12.5}})
        until(lambda: alerts() == {"gap": "returned", "flapping": "open"}, "the second silence")

        (device,) = stack.items("/api/v1/devices")
        assert device["interval_seconds"] == 1
        (found,) = [alert for alert in stack.items("/api/v1/alerts") if alert["code"] == "flapping"]
        assert found["text"].startswith("kerb-1 is unsteady, 2 times away in ")

        def hour() -> Any:
            (item,) = stack.get(f"/api/v1/completeness?device=kerb-1&start={this_hour - HOUR}&end={this_hour}")[1][
                "items"
            ]
            return item

        until(lambda: hour()["received"] == HOUR // 2, "half an hour of readings")
        assert (hour()["interval"], hour()["interval_seconds"]) == ("declared", 1)
        assert (hour()["due"], hour()["completeness"]) == (HOUR, 0.5)
        assert hour()["columns"]["completeness"] == [0.5]
