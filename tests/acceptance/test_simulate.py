"""`urbanpulse simulate` as an engineer runs it: a real broker, the real command, and what arrives."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from simulators.layout import city
from tests.stack import Stack, free_port, listening, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.acceptance

ROOTS = {
    "senml": "senml/",
    "chirpstack": "application/",
    "ttn": "v3/",
    "sparkplug": "spBv1.0/",
    "ultralight": "/ul/",
    "line": "telegraf/",
}
QUICK = ("--devices", "25", "--hours", "0.5", "--speed", "1200x")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with Stack(tmp_path / "stack") as stack:
        yield stack


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Any]:
    """Return a function that starts Mosquitto and returns its port; with passwords if it gets some."""
    program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("mosquitto is not installed")
    started: list[subprocess.Popen[bytes]] = []

    def start(passwords: dict[str, str] | None = None) -> int:
        port = free_port()
        config, file = tmp_path / "mosquitto.conf", tmp_path / "passwords"
        text = f"listener {port} 127.0.0.1\nlog_dest none\nuser root\nmax_queued_messages 0\nmax_inflight_messages 0\n"
        if passwords is None:
            config.write_text(text + "allow_anonymous true\n")
        else:
            file.write_text("".join(f"{name}:{password}\n" for name, password in passwords.items()))
            file.chmod(0o600)
            subprocess.run(["mosquitto_passwd", "-U", str(file)], check=True)
            config.write_text(f"{text}allow_anonymous false\npassword_file {file}\n")
        started.append(subprocess.Popen([program, "-c", str(config)]))
        until(lambda: Stack.is_open(port), "Mosquitto's port")
        return port

    yield start
    for process in started:
        process.terminate()
        process.wait()


def simulate(stack: Stack, *args: str, check: bool = True) -> tuple[int, list[dict[str, Any]], str]:
    """Run the command; return its status, its JSON lines and its complaint."""
    done = subprocess.run(
        [sys.executable, "-m", "urbanpulse", "simulate", "--json", *args],
        env=stack.env, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0 or not check, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def reached(heard: list[tuple[str, bytes]], count: int) -> bool:
    return len(heard) >= count


def test_a_scenario_is_played_registered_admitted_and_labelled(stack: Stack) -> None:
    """Our JSON on our own broker: what was sent stands in the ledger, the truth in a file beside."""
    stack.start_all()

    _, said, _ = simulate(stack, "--seed", "7", "--scenario", "inversion", *QUICK, "--hours", "16", "--speed", "5000x")

    summary = said[-1]["summary"]
    assert summary.items() >= {"scenario": "inversion", "seed": 7, "finished": True, "devices": 25, "lost": 0}.items()
    assert summary["acked"] == summary["reports"] > 25 * 16 * 50
    assert len(stack.items("/api/v1/devices")) == 25
    assert {line["progress"]["phase"] for line in said[:-1]} >= {"connect", "live", "finished"}

    def total() -> dict[str, Any]:
        found: dict[str, Any] = stack.get("/api/v1/ledger")[1]["total"]
        return found

    # a broker that is slow delivers one again: a duplicate, and none of these
    until(
        lambda: total()["received"] - total()["duplicate"] >= summary["messages"], "the ledger to count every message"
    )
    assert total().items() >= {"balances": True, "refused": 0, "quarantined": 0}.items()
    assert total()["readings"] >= summary["reports"]
    labels = [json.loads(line) for line in (stack.data / "labels.jsonl").read_text().splitlines()]
    assert {label["what"] for label in labels if label["class"] == "event"} == set(summary["events"]) == {"inversion"}
    faults = [label for label in labels if label["class"] == "fault"]
    assert len(faults) == sum(summary["faults"].values())


def test_a_run_that_is_played_again_adds_no_label(stack: Stack) -> None:
    stack.start("broker")
    until(lambda: stack.is_open(stack.broker_port), "the broker's port")
    args = (
        "--scenario",
        "inversion",
        *QUICK,
        "--hours",
        "24",
        "--speed",
        "100000x",
        "--start",
        "2026-05-04T00:00:00Z",
    )

    simulate(stack, *args)
    first = (stack.data / "labels.jsonl").read_bytes()
    own = stack.folder / "truth.jsonl"
    own.write_bytes(b"something else\n")
    simulate(stack, *args)
    simulate(stack, *args, "--labels", str(own))

    assert first.count(b"\n") > 0
    assert (stack.data / "labels.jsonl").read_bytes() == first
    assert own.read_bytes() == first


def test_other_formats_pass_the_embedded_broker_and_the_summary_says_who_hears_them(stack: Stack) -> None:
    stack.start("broker")
    until(lambda: stack.is_open(stack.broker_port), "the broker's port")
    secret = json.loads((stack.data / "secrets" / "services.json").read_text())["recorder"]

    for wire, root in ROOTS.items():
        with listening(stack.broker_port, user="recorder", password=secret, topics=f"{root}#") as heard:
            _, said, _ = simulate(stack, "--scenario", "normal", *QUICK, "--format", wire)

            summary = said[-1]["summary"]
            until(partial(reached, heard, summary["messages"]), f"every message of {wire}")
        assert summary["lost"] == 0
        assert summary["acked"] + summary["unconfirmed"] == summary["reports"] > 25 * 20
        assert summary["note"] == f"this platform's gateway does not read {wire} yet: it hears devices/#"


def test_parts_of_a_city_are_the_city(stack: Stack, mosquitto: Any) -> None:
    port = mosquitto()
    broker = ("--broker", f"mqtt://127.0.0.1:{port}", "--start", "2026-05-04T00:00:00Z")
    heard: list[set[tuple[str, bytes]]] = []
    for parts in (["1/1"], ["1/3", "2/3", "3/3"]):
        with listening(port, topics="devices/+/readings") as messages:
            counts = []
            for part in parts:
                _, said, _ = simulate(stack, "--scenario", "normal", *QUICK, *broker, "--part", part)
                counts.append(said[-1]["summary"]["messages"])
            until(partial(reached, messages, sum(counts)), "every message")
            heard.append(set(messages))

    assert heard[0] == heard[1]
    assert len(heard[0]) > 25
    assert not (stack.data / "catalog.sqlite").exists()  # another broker's devices are not ours to register


def test_a_broker_of_someone_elses_gets_its_own_credentials(stack: Stack, mosquitto: Any, tmp_path: Path) -> None:
    listed = simulate(stack, "--scenario", "normal", *QUICK, "--broker", f"mqtt://127.0.0.1:{mosquitto()}")[1]
    assert listed[-1]["summary"]["lost"] == 0
    secrets = {device.id: f"secret of {device.id}" for device in city(7, 25).devices}
    port = mosquitto(secrets | {"shared": "s"})
    file = tmp_path / "secrets.json"
    file.write_text(json.dumps(secrets))
    broker = ("--scenario", "normal", *QUICK, "--broker", f"mqtt://127.0.0.1:{port}")

    assert simulate(stack, *broker, "--credentials", str(file))[1][-1]["summary"]["lost"] == 0
    shared = f"mqtt://shared:s@127.0.0.1:{port}"
    assert simulate(stack, *broker[:-1], shared)[1][-1]["summary"]["lost"] == 0

    name = next(iter(secrets))
    file.write_text(json.dumps(secrets | {name: "wrong"}))
    stack.env["URBANPULSE_SIMULATOR__GIVE_UP_SECONDS"] = "10"
    status, _, complaint = simulate(stack, *broker, "--credentials", str(file), check=False)
    assert status == 1
    assert f"error: mqtt://127.0.0.1:{port}: " in complaint
    assert f"1 of 25 devices are not connected; the last refusal was: {name}: Not authorized" in complaint


def test_nobody_there_is_said_with_the_address(stack: Stack) -> None:
    stack.env["URBANPULSE_SIMULATOR__GIVE_UP_SECONDS"] = "3"

    status, said, complaint = simulate(stack, "--scenario", "normal", *QUICK, check=False)

    assert status == 1
    assert f"error: mqtt://127.0.0.1:{stack.broker_port}: nothing moved for 3 s" in complaint
    assert "Connection refused" in complaint
    assert said[-1]["summary"]["reports"] == 0


def test_ctrl_c_ends_a_run_in_order(stack: Stack, mosquitto: Any) -> None:
    """What was said is acknowledged, the summary tells how far it went, and that is no failure."""
    port = mosquitto()
    simulator = subprocess.Popen(
        [sys.executable, "-m", "urbanpulse", "simulate", "--scenario", "normal", "--devices", "25", "--speed", "300x",
         "--broker", f"mqtt://127.0.0.1:{port}"],
        env=stack.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert simulator.stdout is not None
    try:
        with listening(port, topics="devices/+/readings") as heard:
            until(lambda: len(heard) > 50, "some readings")
            simulator.send_signal(signal.SIGINT)
            printed, _ = simulator.communicate(timeout=60)
    finally:
        simulator.kill()
        simulator.wait()

    assert simulator.returncode == 0, printed
    facts = dict(line.split(maxsplit=1) for line in printed.splitlines() if line.split()[0] in {"finished", "lost"})
    assert {name: value.strip() for name, value in facts.items()} == {"finished": "no", "lost": "0"}


def test_nobody_plays_devices_that_another_simulator_plays(stack: Stack) -> None:
    """Two clients of one name would throw each other off the broker."""
    stack.start("broker")
    until(lambda: stack.is_open(stack.broker_port), "the broker's port")
    stack.start("simulator", "--no-backfill", "--json")
    until(lambda: "devices publish" in stack.log("simulator"), "the demo city to live")

    status, _, complaint = simulate(stack, "--scenario", "normal", *QUICK, check=False)
    stack.stop("simulator")

    assert status == 1
    assert "another simulator (`up --demo`?) plays the devices of" in complaint
    assert simulate(stack, "--scenario", "normal", *QUICK, "--part", "1/5")[1][-1]["summary"]["devices"] == 5


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        pytest.param(["--scenario", "inversio"], "inversion", id="a scenario that is not known names the nearest"),
        pytest.param(["--scenario", "normal", "--format", "chirp"], "chirpstack", id="a format, too"),
        pytest.param(["--scenario", "normal", "--speed", "fast"], "--speed: 'fast'", id="a speed"),
        pytest.param(["--scenario", "normal", "--hours", "0"], "--hours: 0", id="no time at all"),
        pytest.param(["--scenario", "normal", "--part", "9/9", "--devices", "5"], "only 5 devices", id="an empty part"),
        pytest.param(["--scenario", "normal", "--load"], "--scenario: contradicts --load", id="a contradiction"),
        pytest.param(["--scenario", "normal", "--broker", "tcp://x"], "mqtt://host", id="an address"),
        pytest.param(["--hours", "3"], "--scenario normal", id="the demo city has no end"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(stack: Stack, args: list[str], complaint: str) -> None:
    status, said, printed = simulate(stack, *args, check=False)

    assert (status, said) == (1, [])
    assert complaint in printed
