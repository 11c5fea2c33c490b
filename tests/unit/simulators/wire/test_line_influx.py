"""Line protocol written to a real InfluxDB 1.x and asked back."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from simulators.messages import Emission, Report
from simulators.wire import wire_format
from tests.stack import free_port, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from core.city import Device

AT = 1_795_322_328_123_000_000


class Influx:
    """A server that knows one database, `city`."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"

    def alive(self) -> bool:
        try:
            urllib.request.urlopen(f"{self._base}/ping", timeout=30).close()
        except OSError:
            return False
        return True

    def ask(self, query: str) -> list[dict[str, Any]]:
        body = urllib.parse.urlencode({"db": "city", "q": query}).encode()
        with urllib.request.urlopen(f"{self._base}/query?epoch=ns", body, timeout=30) as answer:
            result = json.load(answer)["results"][0]
        assert "error" not in result, result
        rows = [
            dict(zip(series["columns"], row, strict=True))
            for series in result.get("series", [])
            for row in series["values"]
        ]
        return [{name: value for name, value in row.items() if value is not None} for row in rows]

    def write(self, payload: bytes) -> None:
        urllib.request.urlopen(f"{self._base}/write?db=city&precision=ns", payload, timeout=30).close()


@pytest.fixture(scope="module")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influx]:
    """Start a server on loopback; stop it by its handle."""
    program = shutil.which("influxd") or shutil.which("influxd", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("influxd is not installed")
    folder: Path = tmp_path_factory.mktemp("influx")
    port = free_port()
    config = folder / "influxdb.conf"
    config.write_text(
        f'reporting-disabled = true\nbind-address = "127.0.0.1:{free_port()}"\n[meta]\ndir = "{folder}/meta"\n'
        f'[data]\ndir = "{folder}/data"\nwal-dir = "{folder}/wal"\n'
        f'[http]\nbind-address = "127.0.0.1:{port}"\nlog-enabled = false\n[monitor]\nstore-enabled = false\n'
    )
    process = subprocess.Popen(
        [program, "-config", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
    )
    try:
        server = Influx(port)
        until(server.alive, "influxd answers")
        server.ask("CREATE DATABASE city")
        yield server
    finally:
        process.terminate()
        process.wait(20)


def test_a_real_influxdb_gives_back_the_world_s_values(
    influx: Influx, devices: tuple[Device, ...], said: dict[str, tuple[Emission, ...]]
) -> None:
    wire = wire_format("line", devices, 7)

    for device in devices:
        influx.write(b"\n".join(message.payload for emission in said[device.id] for message in wire.encode(emission)))

    for device in devices:
        rows = influx.ask(f"SELECT * FROM \"{device.kind}\" WHERE device = '{device.id}'")  # noqa: S608 - our own names
        reports = [report for emission in said[device.id] for report in emission.reports]
        own = ({"battery": report.battery, "rssi": report.rssi} for report in reports)
        assert rows == [
            {"time": report.at, "device": device.id, "district": device.district, **report.values}
            | {name: value for name, value in extra.items() if value is not None}
            for report, extra in zip(reports, own, strict=True)
        ]
        assert {"float"} == {row["fieldType"] for row in influx.ask(f'SHOW FIELD KEYS FROM "{device.kind}"')}


def test_a_real_influxdb_takes_texts_and_switches_as_they_were_meant(influx: Influx) -> None:
    wire = wire_format("line", (), 7)
    text = 'a "quoted", \\ spaced = text'

    (message,) = wire.encode(
        Emission(AT, "odd", (Report(AT, 0, {"a b,c=d": text, "on": True, "small": 1e-07, "big": 1e22}),))
    )
    influx.write(message.payload)

    (row,) = influx.ask("SELECT * FROM generic WHERE device = 'odd'")
    assert (text, True, 1e-07, 1e22) == (row["a b,c=d"], row["on"], row["small"], row["big"])


def test_a_real_influxdb_refuses_a_text_where_a_number_was(influx: Influx) -> None:
    """As it would for a real device with changed firmware: the fault is not ironed out on the way."""
    wire = wire_format("line", (), 7)
    first, second = (
        wire.encode(Emission(AT, "changed", (Report(AT + k, k, {"pm25": value}),)))[0].payload
        for k, value in enumerate((12.5, "12,5"))
    )

    influx.write(first)
    with pytest.raises(urllib.error.HTTPError) as refused:
        influx.write(second)

    with refused.value as answer:
        assert (answer.code, b"field type conflict" in answer.read()) == (400, True)
