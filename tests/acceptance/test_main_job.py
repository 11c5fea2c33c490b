"""Tests of the main job on the real roles: publish, durable, judged, stored, shown, alerted, acknowledged."""

from __future__ import annotations

import json
import shutil
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.stack import PM25_RULES, Stack, listening, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.xdist_group("main-job"),
    pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="Debian's mosquitto-clients are not installed"),
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("main-job")
    (folder / "rules.toml").write_text(PM25_RULES)
    with Stack(folder, PROCESSOR__RULES_PATH=str(folder / "rules.toml")) as running:
        running.start_all()
        yield running


@pytest.fixture(scope="module")
def kerb(stack: Stack) -> dict[str, str]:
    credentials = stack.device("kerb-7")
    publish_until_stored(stack, credentials["password"], "kerb-7")
    return credentials


def publish_until_stored(stack: Stack, password: str, device: str) -> None:
    """Wait for broker and gateway to know a new device."""

    def stored() -> bool:
        sent = stack.publish(device, password, f"devices/{device}/readings", '{"values": {"no2": 1}}')
        return sent.returncode == 0 and latest(stack, device, "no2") is not None

    until(stored, f"{device} to be known")


def latest(stack: Stack, device: str, metric: str) -> float | None:
    values = [r["value"] for r in stack.items(f"/api/v1/latest?device={device}") if r["metric"] == metric]
    return values[0] if values else None


def _is_latest(stack: Stack, value: float) -> bool:
    return latest(stack, "kerb-7", "pm25") == value


def opened(stack: Stack, device: str, state: str) -> list[dict[str, Any]]:
    """Return what our rule opened; a device that a slow machine keeps waiting for is another rule's alert."""
    found = stack.items(f"/api/v1/alerts?state={state}&device={device}")
    return [alert for alert in found if alert["rule"] == "pm25-test"]


def ledger(stack: Stack) -> dict[str, int]:
    rows = stack.items("/api/v1/ledger")
    assert [row for row in rows if not row["balances"]] == []
    return {key: value for row in rows for key, value in row["reasons"].items()}


def test_each_published_reading_becomes_the_latest_one(stack: Stack, kerb: dict[str, str]) -> None:
    """How soon is measured by `bench/pipeline.py`."""
    for n in range(5):
        value = 10.0 + n
        stack.publish("kerb-7", kerb["password"], "devices/kerb-7/readings", json.dumps({"values": {"pm25": value}}))
        until(partial(_is_latest, stack, value), f"pm25 = {value}")


def test_another_devices_topic_is_refused(stack: Stack, kerb: dict[str, str]) -> None:
    other = stack.device("kerb-8")
    publish_until_stored(stack, other["password"], "kerb-8")

    stack.publish("kerb-8", other["password"], "devices/kerb-7/readings", '{"values": {"pm25": 999}}')
    stack.publish("kerb-8", other["password"], "devices/kerb-8/readings", '{"values": {"pm25": 5}}')

    until(lambda: latest(stack, "kerb-8", "pm25") == 5, "the device's own reading")
    assert latest(stack, "kerb-7", "pm25") != 999
    until(lambda: "Publish Violation" in stack.log("broker"), "the broker's log to name it")


def test_a_wrong_password_is_refused(stack: Stack, kerb: dict[str, str]) -> None:
    done = stack.publish("kerb-7", "wrong", "devices/kerb-7/readings", "1")

    assert done.returncode == 5


@pytest.mark.parametrize(
    ("topic", "payload", "reason", "names"),
    [
        pytest.param("readings", "not json", "not_json", "devices/kerb-7/readings", id="not JSON"),
        pytest.param(
            "readings", '{"values": {"pm25": NaN}}', "bad_value", "values.pm25: expected a finite number", id="a NaN"
        ),
        pytest.param("readings", '{"values": {"pm25": "high"}}', "bad_value", "pm25", id="a string value"),
        pytest.param(
            "readings", '{"ts": "2099-01-01T00:00:00Z", "values": {"pm25": 1}}', "future", "s ahead", id="a future"
        ),
        pytest.param("readings/pm25", "twelve", "not_json", "devices/kerb-7/readings/pm25", id="no bare number"),
        pytest.param("other", "1", "bad_topic", "devices/kerb-7/other", id="no topic of ours"),
    ],
)
def test_bad_input_is_quarantined_with_its_reason_and_stalls_nobody(
    stack: Stack, kerb: dict[str, str], topic: str, payload: str, reason: str, names: str
) -> None:
    stack.publish("kerb-7", kerb["password"], f"devices/kerb-7/{topic}", payload)
    value = float(int(time.time() * 1000) % 10_000) / 200
    stack.publish("kerb-7", kerb["password"], "devices/kerb-7/readings/no2", f"{value}")

    until(lambda: latest(stack, "kerb-7", "no2") == value, "the next good message")
    until(lambda: ledger(stack).get(f"quarantined:{reason}"), f"the ledger to count {reason}")
    until(
        lambda: [
            q for q in stack.items("/api/v1/quarantine?limit=50") if q["reason"] == reason and names in q["detail"]
        ],
        f"the quarantine to name {names}",
    )


def test_a_mebibyte_of_nesting_is_turned_away_and_stalls_nobody(stack: Stack, kerb: dict[str, str]) -> None:
    stack.publish("kerb-7", kerb["password"], "devices/kerb-7/readings", "[" * 1_048_000)
    stack.publish("kerb-7", kerb["password"], "devices/kerb-7/readings", '{"values": {"no2": 77.25}}')

    until(lambda: latest(stack, "kerb-7", "no2") == 77.25, "the next good message")
    until(
        lambda: {"refused:too_deep", "quarantined:too_deep", "refused:too_large"} & set(ledger(stack)),
        "the ledger to count it",
    )


def test_an_alert_explains_itself_goes_out_and_is_acknowledged_once(stack: Stack, kerb: dict[str, str]) -> None:
    secret = json.loads((stack.data / "secrets" / "services.json").read_text())["api"]
    with listening(stack.broker_port, user="api", password=secret, topics="urbanpulse/alerts/#") as told:
        stack.publish("kerb-7", kerb["password"], "devices/kerb-7/readings", '{"values": {"pm25": 180}}')
        alert = until(lambda: opened(stack, "kerb-7", "active"), "the alert")[0]
        until(
            lambda: [body for _, body in told if body and json.loads(body)["alert"]["id"] == alert["id"]],
            "the alert to go out",
        )

    assert alert["value"] == 180
    assert alert["limit"] == 100
    assert alert["text"].startswith("pm25 at kerb-7 is 180 µg/m³")
    _, after = stack.call("POST", f"/api/v1/alerts/{alert['id']}/acknowledge", {"comment": "seen"})
    assert (after["state"], after["comments"][0]["text"]) == ("acknowledged", "seen")
    status, problem = stack.call("POST", f"/api/v1/alerts/{alert['id']}/acknowledge", {}, check=False)
    assert status == 409
    assert "tests" in problem["detail"]
    _, done = stack.call("POST", f"/api/v1/alerts/{alert['id']}/resolve", {})
    assert done["state"] == "resolved"


def test_a_key_and_a_device_are_gone_soon_after_their_removal(stack: Stack) -> None:
    token = json.loads(stack.command("key", "add", "short-lived", "--role", "viewer", "--json"))["token"]
    device = stack.device("gone-1")
    publish_until_stored(stack, device["password"], "gone-1")
    assert stack.get("/api/v1/me", token=token)[1]["role"] == "viewer"

    stack.command("key", "revoke", "short-lived")
    stack.command("device", "remove", "gone-1")

    until(lambda: stack.get("/api/v1/me", token=token, check=False)[0] == 401, "the key to be refused")
    until(
        lambda: stack.publish("gone-1", device["password"], "devices/gone-1/readings", "{}").returncode == 5,
        "the device to be refused",
    )


def test_the_settings_of_a_running_city_hold_no_secret(stack: Stack, kerb: dict[str, str]) -> None:
    shown = stack.command("print-config")

    secrets = [*json.loads((stack.data / "secrets" / "services.json").read_text()).values(), kerb["password"]]
    logs = "".join(stack.log(role) for role in stack.roles)
    assert [s for s in secrets if s in shown or s in logs] == []


def test_a_broker_that_is_killed_and_started_again_stalls_nobody(stack: Stack, kerb: dict[str, str]) -> None:
    stack.kill("broker")
    until(lambda: not stack.is_open(stack.broker_port), "the broker to be gone with its parent")
    stack.start("broker")
    until(lambda: stack.is_open(stack.broker_port), "the broker to be back")

    def stored() -> bool:
        stack.publish("kerb-7", kerb["password"], "devices/kerb-7/readings", '{"values": {"o3": 55.5}}')
        return latest(stack, "kerb-7", "o3") == 55.5

    until(stored, "a reading after the broker came back")


def test_a_killed_processor_goes_on_where_it_was_and_opens_nothing_twice(stack: Stack) -> None:
    password = stack.device("kerb-9")["password"]
    publish_until_stored(stack, password, "kerb-9")
    stack.publish("kerb-9", password, "devices/kerb-9/readings", '{"values": {"pm25": 180}}')
    [before] = until(lambda: opened(stack, "kerb-9", "all"), "the alert")

    stack.kill("processor")
    stack.publish("kerb-9", password, "devices/kerb-9/readings", '{"values": {"pm10": 34.5}}')
    stack.start("processor")

    until(lambda: latest(stack, "kerb-9", "pm10") == 34.5, "what came while it was dead")
    assert opened(stack, "kerb-9", "all") == [before]
