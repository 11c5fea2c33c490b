"""Recording and replaying with real brokers and real processes: the same topics and bytes again, in the same order."""

from __future__ import annotations

import asyncio
import json
import random
import re
import signal
import sys
import threading
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from core.errors import SettingsError, Unavailable
from gateway.settings import MqttSettings
from simulators import Broker, SimulatorSettings, Stage
from simulators.capture import Capture, CaptureWriter, read_capture
from simulators.capture_replay import look_at_captures, run_capture_replay
from tests.stack import Stack, until
from tests.unit.simulators.conftest import BrokerProcess
from urbanpulse.clock import SystemClock
from urbanpulse.recorder import Recorded, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.acceptance


class Recording:
    """A recorder in a thread; `end` gives what it says."""

    def __init__(self, port: int, out: Path, name: str, **limits: Any) -> None:
        self._stop, self._figures, self._error = threading.Event(), Recorded(), None
        self.told: list[Recorded] = []
        settings = MqttSettings(url=f"mqtt://127.0.0.1:{port}", client_id=name, reconnect_min_seconds=0.05)

        def work() -> None:
            with CaptureWriter(out, started=0) as writer:
                self._figures = record(
                    settings, writer, filters=["#"], clock=SystemClock(), stop=self._stop,
                    tell=self.told.append, **limits,
                )  # fmt: skip

        self._thread = threading.Thread(target=work)
        self._thread.start()
        until(lambda: self.told or not self._thread.is_alive(), "the recorder to be subscribed")

    def end(self, *, stop: bool = True) -> Recorded:
        if stop:
            self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self._figures


@pytest.fixture
def recording() -> Iterator[Callable[..., Recording]]:
    started: list[Recording] = []

    def start(*args: Any, **limits: Any) -> Recording:
        started.append(Recording(*args, **limits))
        return started[-1]

    yield start
    for one in started:
        one.end()


@pytest.fixture(params=["nats", "mosquitto"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BrokerProcess]:
    process = BrokerProcess(request.param, tmp_path)
    process.start()
    yield process
    process.stop()


def publish(port: int, said: list[tuple[str, bytes, int]]) -> None:
    client = Client(CallbackAPIVersion.VERSION2, "publisher")
    client.max_inflight_messages_set(1000)
    client.connect("127.0.0.1", port)
    client.loop_start()
    for topic, payload, qos in said:
        client.publish(topic, payload, qos).wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


def heard(stack: Stack, role: str) -> int:
    """Return how many messages a recorder says that it has."""
    return max(map(int, re.findall(r'"messages": (\d+)', stack.log(role))), default=0)


def by_topic(captures: Iterable[Capture]) -> dict[str, list[tuple[bytes, int, bool]]]:
    """Return what was said on each topic, in order, and once: a broker that is slow delivers QoS 1 again."""
    found = defaultdict(list)
    for capture in captures:
        found[capture.topic].append((capture.payload, capture.qos, capture.retain))
    return {topic: list(dict.fromkeys(said)) for topic, said in found.items()}


async def replay(path: Path, port: int) -> int:
    stage = Stage(
        SimulatorSettings(), Broker("127.0.0.1", port), {}, SystemClock(), random.Random(1), asyncio.Event(), speed=1e6
    )
    return (await run_capture_replay([path], look_at_captures([path]), stage)).sent


def test_what_was_recorded_is_replayed_and_recorded_again(
    broker: BrokerProcess, recording: Any, tmp_path: Path
) -> None:
    rng = random.Random(7)
    said = [
        (
            f"devices/dev-{n % 5}/readings",
            b"%d " % n + rng.randbytes(rng.randrange(60)) if n % 3 else b'{"values":{"a":%d}}' % n,
            1,
        )
        for n in range(200)
    ] + [(f"application/{n % 2}/event/up", b"%d" % n, 1) for n in range(50)]
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl.gz"

    recorder = recording(broker.port, first, "one")
    publish(broker.port, said)
    until(lambda: recorder.told[-1].messages >= 250, "250 messages in the first recording")
    once = recorder.end().messages
    again = recording(broker.port, second, "two")
    sent = asyncio.run(replay(first, broker.port))
    until(lambda: again.told[-1].messages >= once, "250 messages in the second recording")
    end = again.end()

    assert sent == once >= 250
    assert (end.topics, end.interruptions) == (7, 0)
    assert by_topic(read_capture(first)) == by_topic(Capture(1, *message) for message in said)
    assert by_topic(read_capture(second)) == by_topic(read_capture(first))


def test_a_recording_ends_at_its_limit(broker: BrokerProcess, recording: Any, tmp_path: Path) -> None:
    recorder = recording(broker.port, tmp_path / "a.jsonl", "one", max_messages=10)

    publish(broker.port, [("devices/a/readings/x", b"%d" % n, 1) for n in range(25)])

    assert recorder.end(stop=False).messages == 10
    assert [capture.payload for capture in read_capture(tmp_path / "a.jsonl")] == [b"%d" % n for n in range(10)]


def test_a_recorder_outlives_its_broker_and_counts_the_interruption(
    broker: BrokerProcess, recording: Any, tmp_path: Path
) -> None:
    recorder = recording(broker.port, tmp_path / "a.jsonl", "one")
    publish(broker.port, [("devices/a/readings/x", b"1", 1)])
    until(lambda: recorder.told[-1].messages >= 1, "the first message")

    broker.stop()
    broker.start()
    told = len(recorder.told)
    until(lambda: len(recorder.told) > told, "the recorder to be back")
    publish(broker.port, [("devices/a/readings/x", b"2", 1)])
    until(lambda: recorder.told[-1].messages >= 2, "the second message")
    end = recorder.end()

    assert end.interruptions == 1
    assert end.away_seconds > 0
    assert [said[0] for said in by_topic(read_capture(tmp_path / "a.jsonl"))["devices/a/readings/x"]] == [b"1", b"2"]


def test_a_recorder_says_why_it_cannot_begin(tmp_path: Path, free_port: Any) -> None:
    def begin(settings: MqttSettings, *filters: str) -> None:
        (tmp_path / "a.jsonl").unlink(missing_ok=True)
        with CaptureWriter(tmp_path / "a.jsonl", started=0) as writer:
            record(settings, writer, filters=filters, clock=SystemClock(), stop=threading.Event())

    process = BrokerProcess("nats", tmp_path, password_for={"me": "secret"})
    process.start()
    try:
        url = f"127.0.0.1:{process.port}"
        with pytest.raises(SettingsError, match=rf"mqtt\.username, mqtt\.password: mqtt://{url} refuses: "):
            begin(MqttSettings(url=f"mqtt://me:wrong@{url}"), "devices/#")
        with pytest.raises(SettingsError, match=r"filter: 'a/#/b': "):
            begin(MqttSettings(url=f"mqtt://me:secret@{url}"), "a/#/b")
    finally:
        process.stop()
    with pytest.raises(Unavailable, match=r"broker: mqtt://127\.0\.0\.1:\d+: .*refused"):
        begin(MqttSettings(url=f"mqtt://127.0.0.1:{free_port()}"), "devices/#")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with Stack(tmp_path, SIMULATOR__RECONNECT_MIN_SECONDS="0.1", SIMULATOR__RECONNECT_MAX_SECONDS="0.5") as running:
        running.command("check-config")
        running.start("broker")
        until(lambda: running.is_open(running.broker_port), "the broker's port")
        yield running


def subscribed(stack: Stack, role: str) -> bool:
    return '"progress"' in stack.log(role)


def start_recorder(stack: Stack, role: str, out: Path, *more: str) -> Any:
    child = stack.start(role, program=[sys.executable, "-m", "urbanpulse", "record", str(out), "--json", *more])
    until(lambda: subscribed(stack, role) or child.poll() is not None, "the recorder to be subscribed")
    assert child.poll() is None, stack.log(role)
    return child


def test_a_small_fleet_is_recorded_killed_or_ended_and_replayed(stack: Stack, tmp_path: Path) -> None:
    rows = [f"{1_750_000_000 + n},dev-{n % 3},pm25,{n}" for n in range(60)]
    (tmp_path / "fleet.csv").write_text("\n".join(["timestamp,device,metric,value", *rows]))
    ended, killed = tmp_path / "ended.jsonl", tmp_path / "killed.jsonl.gz"
    start_recorder(stack, "ended", ended)
    start_recorder(stack, "killed", killed)

    told = stack.command("simulate", "--replay", str(tmp_path / "fleet.csv"), "--speed", "60", "--json")

    summary = json.loads(told.splitlines()[-1])["summary"]
    assert (summary["devices"], summary["readings"], summary["acknowledged"]) == (3, 60, 60)
    expected = 60 + 6  # and each device's online and offline
    until(lambda: heard(stack, "ended") >= expected, "the first recorder to have all messages")
    until(lambda: heard(stack, "killed") >= expected, "the second recorder to have all messages")
    stack.kill("killed")
    child = stack.roles["ended"]
    child.send_signal(signal.SIGINT)
    assert child.wait(60) == 0
    end = json.loads(stack.log("ended").splitlines()[-1])
    assert end["messages"] >= expected
    assert (end["topics"], end["interruptions"]) == (6, 0)
    whole = list(read_capture(ended))
    assert by_topic(read_capture(killed, on_cut=lambda _: None)) == by_topic(whole)
    values = [json.loads(payload)["values"]["pm25"] for payload, _, _ in by_topic(whole)["devices/dev-0/readings"]]
    assert values == list(range(0, 60, 3))

    again = tmp_path / "again.jsonl"
    start_recorder(stack, "again", again, "--filter", "devices/+/readings")
    told = stack.command("simulate", "--replay", str(ended), "--json")
    assert json.loads(told.splitlines()[-1])["summary"]["messages"] == len(whole)
    until(lambda: heard(stack, "again") >= 60, "the replay to be recorded")
    assert by_topic(read_capture(again)) == {
        topic: said for topic, said in by_topic(whole).items() if topic.endswith("/readings")
    }


def test_what_foreign_devices_say_is_recorded_and_replayed_too(stack: Stack, tmp_path: Path) -> None:
    services = json.loads((stack.data / "secrets" / "services.json").read_text())
    out = tmp_path / "foreign.jsonl"
    topics = [f"application/{n}/device/2/event/up" for n in range(4)]
    start_recorder(
        stack,
        "foreign",
        out,
        *(word for name in ("application/#",) for word in ("--filter", name)),
    )

    for topic in topics:
        done = stack.publish("integration", services["integration"], topic, b"\xff\x00")
        assert done.returncode == 0, done.stderr
    until(lambda: heard(stack, "foreign") >= 4, "four foreign messages")
    told = stack.command("simulate", "--replay", str(out), "--json")

    assert json.loads(told.splitlines()[-1])["summary"]["foreign"] >= 4
    until(lambda: heard(stack, "foreign") >= 8, "the replay to be recorded")
    captures = list(read_capture(out))
    assert by_topic(captures) == {topic: [(b"\xff\x00", 1, False)] for topic in topics}
    assert min(Counter(capture.topic for capture in captures).values()) >= 2


def test_a_recorder_may_not_publish(stack: Stack, tmp_path: Path) -> None:
    services = json.loads((stack.data / "secrets" / "services.json").read_text())
    out = tmp_path / "a.jsonl"
    start_recorder(stack, "watching", out, "--seconds", "600")
    device = stack.device("kerb-7")

    stack.publish("recorder", services["recorder"], "devices/kerb-7/readings/x", "1")
    until(lambda: "refused" in stack.log("broker"), "the broker to refuse the recorder")
    until(
        lambda: stack.publish("kerb-7", device["password"], "devices/kerb-7/readings/x", "2").returncode == 0,
        "the device to be let in",
    )
    until(lambda: heard(stack, "watching") >= 1, "the device's message")

    assert {capture.payload for capture in read_capture(out)} == {b"2"}
    told = stack.command("record", str(out), check=False)
    assert "is there already: name another file" in told
    told = stack.command("record", str(tmp_path / "b.jsonl"), "--filter", "$SYS/#", "--seconds", "1", check=False)
    assert "refuses" in told
    assert not (tmp_path / "b.jsonl").exists()
