"""Replay: what goes out to real brokers, in which order, how fast, and what happens to times."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from core.clock import ManualClock
from core.errors import MalformedPayload, SettingsError, Unavailable
from simulators import Broker, Choice, Recording, SimulatorSettings, Stage, run_replay
from simulators.capture import Capture, write_capture
from simulators.capture_replay import look_at_captures, owner_of, run_capture_replay
from simulators.replay import Pace, Replayed, ts_of

if TYPE_CHECKING:
    from pathlib import Path

S = 1_000_000_000
T0 = 1_404_172_800  # 2014-07-01T00:00:00Z
FAST = {"reconnect_min_seconds": 0.05, "reconnect_max_seconds": 0.2}


def stage_at(broker: Any, clock: Any, **more: Any) -> Stage:
    settings = SimulatorSettings(**{**FAST, **more.pop("settings", {})})
    return Stage(settings, broker, {}, clock, random.Random(1), more.pop("stop", asyncio.Event()), **more)


def recorded(folder: Path, text: str, **choice: str) -> Recording:
    path = folder / "taxi.csv"
    path.write_text(text)
    return Recording((path,), Choice(**choice))


def items_on(watcher: Any, device: str) -> list[dict[str, Any]]:
    payloads = [json.loads(payload) for payload in watcher.on(f"devices/{device}/readings")]
    return [item for payload in payloads for item in (payload if isinstance(payload, list) else [payload])]


@pytest.mark.parametrize("speed", [None, 3600.0], ids=["fast", "3600x"])
async def test_every_row_of_a_recording_is_published_once_in_order_and_acked(
    start_broker: Any, watch: Any, clock: Any, until: Any, tmp_path: Path, speed: float | None
) -> None:
    broker = start_broker("mosquitto")
    watcher = watch(broker.port)
    rows = "".join(f"{T0 + n * 10},{n * 0.5}\n" for n in range(250))
    recording = recorded(tmp_path, rows, device="taxi", metric="demand")

    end = await run_replay(recording, recording.look(), stage_at(broker.address, clock, speed=speed))

    await until(lambda: len(items_on(watcher, "taxi")) >= 250)
    assert (end.sent, end.disordered) == (250, 0)
    assert end.progress is not None
    assert (end.progress.phase, end.progress.done, end.progress.total) == ("stopped", 250, 250)
    assert items_on(watcher, "taxi") == [
        {"ts": (T0 + n * 10) * 1000, "values": {"demand": n * 0.5}, "seq": n} for n in range(250)
    ]


async def test_many_devices_speak_for_themselves_in_order_of_time_over_all(
    broker: Any, watch: Any, clock: Any, until: Any, tmp_path: Path
) -> None:
    watcher = watch(broker.port)
    order = [n * 7 % 60 for n in range(60)]  # mixed up, within the window
    rows = "".join(f"{T0 + n},dev-{n % 5},pm25,{n}\n{T0 + n},dev-{n % 5},no2,{-n}\n" for n in order)
    recording = recorded(tmp_path, "timestamp,device,metric,value\n" + rows)

    end = await run_replay(recording, recording.look(), stage_at(broker.address, clock, speed=1e6))

    await until(lambda: sum(len(items_on(watcher, f"dev-{n}")) for n in range(5)) >= 60)
    assert (end.sent, end.disordered) == (120, 0)
    for device in range(5):
        said = items_on(watcher, f"dev-{device}")
        assert [item["ts"] for item in said] == [(T0 + n) * 1000 for n in range(device, 60, 5)]
        assert [item["seq"] for item in said] == list(range(12))
        assert [item["values"] for item in said] == [{"pm25": n, "no2": -n} for n in range(device, 60, 5)]


async def test_shifting_keeps_the_steps(start_broker: Any, watch: Any, clock: Any, until: Any, tmp_path: Path) -> None:
    broker = start_broker("mosquitto")
    watcher = watch(broker.port)
    recording = recorded(tmp_path, f"{T0},1\n{T0 + 30},2\n{T0 + 40}.0005,3\n", device="taxi")

    await run_replay(recording, recording.look(), stage_at(broker.address, clock), shift_ns=1000 * S)

    await until(lambda: len(items_on(watcher, "taxi")) >= 3)
    assert [item["ts"] for item in items_on(watcher, "taxi")] == [
        (T0 + 1000) * 1000, (T0 + 1030) * 1000, (T0 + 1040) * S + 500_000,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (T0 * S, T0 * 1000),
        (T0 * S + 1, T0 * S + 1),
        (0, "1970-01-01T00:00:00.000000Z"),
        (10**17 - 1000, "1973-03-03T09:46:39.999999Z"),
        (10**17, 10**11),
        (-S, "1969-12-31T23:59:59.000000Z"),
    ],
)
def test_a_time_is_written_so_that_its_size_cannot_be_mistaken(at: int, expected: int | str) -> None:
    assert ts_of(at) == expected


async def test_the_pace_is_that_of_the_recording_and_what_is_late_does_not_wait() -> None:
    clock, result = ManualClock(), Replayed()
    pace = Pace(stage_at(Broker("127.0.0.1", 1), clock, speed=60.0), result)
    times = []
    for at in (100, 160, 130, 220):
        await pace.until(at * S)
        times.append(clock.monotonic())

    assert [round(at - times[0], 6) for at in times] == [0.0, 1.0, 1.0, 2.0]
    assert result.disordered == 1


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
async def test_an_impossible_speed_is_refused(clock: Any, speed: float) -> None:
    with pytest.raises(SettingsError, match=r"speed: .*: a number above 0 expected"):
        stage_at(Broker("127.0.0.1", 1), clock, speed=speed)


async def test_a_broker_that_is_not_there_is_named(clock: Any, tmp_path: Path, free_port: Any) -> None:
    recording = recorded(tmp_path, f"{T0},1\n")
    nobody = Broker("127.0.0.1", free_port())

    with pytest.raises(Unavailable, match=r"taxi: .*refused"):
        await run_replay(recording, recording.look(), stage_at(nobody, clock, settings={"give_up_seconds": 0.3}))


def captured(folder: Path, *captures: Capture) -> Path:
    path = folder / "some.jsonl"
    write_capture(path, captures, started=T0 * S)
    return path


@pytest.mark.parametrize(
    ("topic", "owner"),
    [
        ("devices/air-01/readings/pm25", "air-01"),
        ("devices/air-01/anything/else", "air-01"),
        ("devices/air-01", ""),
        ("devices//readings", ""),
        ("devices/a b/readings", ""),
        ("devices", ""),
        ("application/7/device/x/event/up", ""),
        ("urbanpulse/alerts/north/1", None),
        ("$SYS/broker/uptime", None),
    ],
)
def test_a_topic_is_a_devices_own_or_foreign_or_nobodys(topic: str, owner: str | None) -> None:
    assert owner_of(topic) == owner


async def test_a_capture_goes_out_as_it_was(
    start_broker: Any, watch: Any, clock: Any, until: Any, tmp_path: Path
) -> None:
    broker = start_broker("mosquitto")
    watcher = watch(broker.port)
    said = [
        Capture(T0 * S, "devices/air-01/status", b"online", 1, retain=True),
        Capture(T0 * S + 1, "devices/air-01/readings", b'{"values": {"pm25":1.50}}', 1),
        Capture(T0 * S + 2, "devices/air-02/readings", b"\xff\x00 no text", 0),
        Capture(T0 * S + 3, "devices/odd one/x", b"", 2),
        Capture(T0 * S + 4, "urbanpulse/alerts/north/1", b"{}", 1),
        Capture(T0 * S + 5, "devices/air-01/readings", b'{"values": {"pm25":2.50}}', 1),
    ]
    path = captured(tmp_path, *said)

    overview = look_at_captures([path])
    end = await run_capture_replay([path], overview, stage_at(broker.address, clock))

    assert overview.devices == ("air-01", "air-02")
    assert (overview.messages, overview.foreign, overview.foreign_topic, overview.left_out) == (5, 1, said[3].topic, 1)
    assert (end.sent, end.unshifted) == (5, 0)
    await until(lambda: len(watcher.messages) >= 5)
    assert sorted((topic, payload) for topic, payload, _ in watcher.messages) == sorted(
        (capture.topic, capture.payload) for capture in said if capture.topic != "urbanpulse/alerts/north/1"
    )
    assert watcher.on("devices/air-01/readings") == [said[1].payload, said[5].payload]
    late = watch(broker.port)
    await until(lambda: late.messages)
    assert late.messages == [("devices/air-01/status", b"online", True)]


async def test_shifting_a_capture_moves_the_times_of_our_readings_and_counts_what_stays(
    start_broker: Any, watch: Any, clock: Any, until: Any, tmp_path: Path
) -> None:
    broker = start_broker("mosquitto")
    watcher = watch(broker.port)
    path = captured(
        tmp_path,
        Capture(1, "devices/a/readings", b'{"ts":"2014-07-01T00:00:00Z","values":{"x":1},"seq":4}'),
        Capture(2, "devices/a/readings", b'[{"ts":1404172800.25,"values":{"x":2}},{"ts":1404172801000,"values":{}}]'),
        Capture(3, "devices/a/readings", b'{"values":{"x":3}}'),
        Capture(4, "devices/a/readings/x", b"4"),
        Capture(5, "devices/a/status", b"online"),
        Capture(6, "devices/a/readings", b'{"ts":"yesterday"}'),
    )

    end = await run_capture_replay([path], look_at_captures([path]), stage_at(broker.address, clock), shift_ns=S // 2)

    assert end.unshifted == 4
    await until(lambda: len(watcher.messages) >= 6)
    assert [json.loads(payload) for payload in watcher.on("devices/a/readings")] == [
        {"ts": T0 * 1000 + 500, "values": {"x": 1}, "seq": 4},
        [{"ts": T0 * 1000 + 750, "values": {"x": 2}}, {"ts": T0 * 1000 + 1500, "values": {}}],
        {"values": {"x": 3}},
        {"ts": "yesterday"},
    ]


async def test_one_device_of_a_capture_can_be_chosen(
    start_broker: Any, watch: Any, clock: Any, until: Any, tmp_path: Path
) -> None:
    broker = start_broker("mosquitto")
    watcher = watch(broker.port)
    path = captured(tmp_path, Capture(1, "devices/a/readings/x", b"1"), Capture(2, "devices/b/readings/x", b"2"))

    overview = look_at_captures([path], device="b")
    end = await run_capture_replay([path], overview, stage_at(broker.address, clock), device="b")

    assert (overview.devices, end.sent) == (("b",), 1)
    await until(lambda: watcher.messages)
    assert watcher.messages == [("devices/b/readings/x", b"2", False)]


def test_a_capture_of_too_many_devices_or_of_none_is_refused(tmp_path: Path) -> None:
    path = captured(tmp_path, *(Capture(n, f"devices/d{n}/status", b"") for n in range(3)))

    assert len(look_at_captures([path], max_devices=3).devices) == 3
    with pytest.raises(SettingsError, match=r"simulator.replay_devices: more than 2 devices in .*some.jsonl"):
        look_at_captures([path], max_devices=2)
    with pytest.raises(MalformedPayload, match=r"some.jsonl: no messages of device 'x' in it"):
        look_at_captures([path], device="x")
