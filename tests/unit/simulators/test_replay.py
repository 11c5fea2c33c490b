"""Recorded series: what a file may hold, what is refused with file and line, and what goes out."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import MalformedPayload, SettingsError
from simulators import Broker, Recording, SimulatorSettings, device_name, read_recording, run_replay

S = 1_000_000_000


def write(folder: Path, text: str) -> Path:
    path = folder / "nyc_taxi.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("timestamp,value\n2014-07-01 00:00:00,10844\n2014-07-01 00:30:00,8127\n", id="NAB"),
        pytest.param("2014-07-01 00:00:00,10844\n2014-07-01 00:30:00,8127\n", id="no header"),
        pytest.param("time,value\n2014-07-01T05:00:00+05:00,10844\n\n2014-07-01T00:30:00Z,8127.0\n", id="RFC 3339"),
        pytest.param("1404172800,10844\n1404174600,8127\n", id="epoch seconds"),
        pytest.param("ts,value\n2014-07-01 00:30:00,8127\n2014-07-01 00:00:00,10844\n", id="out of order"),
    ],
)
def test_a_recording_is_read(tmp_path: Path, text: str) -> None:
    recording = read_recording(write(tmp_path, text))

    assert recording.measured.tolist() == [1_404_172_800 * S, 1_404_174_600 * S]
    assert recording.value.tolist() == [10844.0, 8127.0]


@pytest.mark.parametrize(
    ("text", "reason", "message"),
    [
        pytest.param("timestamp,value\n2014-07-01 00:00:00,x\n", "bad_value", ":2: 'x' is not a number", id="text"),
        pytest.param("2014-07-01 00:00:00,1\n2014-07-01 00:30:00,nan\n", "bad_value", ":2: 'nan' is not a", id="NaN"),
        pytest.param("2014-07-01 00:00:00,1\nyesterday,2\n", "bad_time", ":2: 'yesterday' is not a time", id="time"),
        pytest.param("2014-13-01 00:00:00,1\n", "bad_time", ":1: '2014-13-01 00:00:00' is not a time", id="month 13"),
        pytest.param("2014-07-01 00:00:00\n", "bad_shape", ":1: two columns expected", id="one column"),
        pytest.param("timestamp,value\n", "bad_shape", ": no readings in it", id="header only"),
        pytest.param("", "bad_shape", ": no readings in it", id="empty"),
    ],
)
def test_a_bad_row_is_named_with_file_and_line(tmp_path: Path, text: str, reason: str, message: str) -> None:
    path = write(tmp_path, text)

    with pytest.raises(MalformedPayload) as caught:
        read_recording(path)

    assert caught.value.reason == reason
    assert str(caught.value).startswith(f"{path}{message}")


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(SettingsError, match=r"replay: .*none\.csv: .*No such file"):
        read_recording(tmp_path / "none.csv")
    with pytest.raises(SettingsError, match=r"replay: .*x\.csv: .*codec can't decode"):
        read_recording(tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("name", "device"), [("nyc_taxi.csv", "nyc_taxi"), ("a b (1).csv", "a-b-1"), ("_.csv", "replay")]
)
def test_a_file_name_suggests_a_device(name: str, device: str) -> None:
    assert device_name(Path(name)) == device


def test_shifting_keeps_the_steps_and_ends_now() -> None:
    recording = Recording(np.array([10, 40, 50]) * S, np.array([1.0, 2.0, 3.0]))

    shifted = recording.ending(1_000 * S + 123)

    assert shifted.measured.tolist() == [960 * S, 990 * S, 1000 * S]
    assert shifted.value.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("speed", [None, 3600.0], ids=["fast", "3600x"])
async def test_every_row_of_a_recording_is_published_once_in_order_and_acked(
    start_broker: Any, watch: Any, clock: Any, until: Any, speed: float | None
) -> None:
    broker = start_broker("mosquitto")
    watcher = watch(broker.port)
    recording = Recording(np.arange(0, 250, dtype=np.int64) * 10 * S, np.arange(250, dtype=np.float64) * 0.5)

    end = await run_replay(
        recording,
        device="taxi",
        metric="demand",
        speed=speed,
        settings=SimulatorSettings(),
        broker=broker.address,
        credentials={},
        clock=clock,
        rng=random.Random(1),
        stop=asyncio.Event(),
    )

    def received() -> list[dict[str, object]]:
        payloads = [json.loads(payload) for payload in watcher.on("devices/taxi/readings")]
        return [item for payload in payloads for item in (payload if isinstance(payload, list) else [payload])]

    await until(lambda: len(received()) >= 250)
    assert end.phase == "stopped"
    assert (end.done, end.total, end.outstanding) == (250, 250, 0)
    assert received() == [{"ts": n * 10_000, "values": {"demand": n * 0.5}, "seq": n} for n in range(250)]


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
async def test_an_impossible_speed_is_refused(clock: Any, speed: float | None) -> None:
    with pytest.raises(SettingsError, match=r"speed: .*: a number above 0 expected"):
        await run_replay(
            Recording(np.array([0]), np.array([1.0])),
            device="taxi",
            metric="demand",
            speed=speed,
            settings=SimulatorSettings(),
            broker=Broker("127.0.0.1", 1),
            credentials={},
            clock=clock,
            rng=random.Random(1),
            stop=asyncio.Event(),
        )
