"""Recordings: every layout in every file format, every kind of bad row, order, and bounded memory."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from core.errors import MalformedPayload, SettingsError
from simulators import Choice, Recording, device_name
from simulators.capture import Capture, write_capture
from simulators.recorded_rows import Sample, layout_of, time_ns
from simulators.recordings import files_of, in_order, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

S = 1_000_000_000
T0 = 1_404_172_800  # 2014-07-01T00:00:00Z


def recording(*paths: Path, device: str = "", metric: str = "", **more: Any) -> Recording:
    return Recording(tuple(paths), Choice(device, metric), **more)


def write(folder: Path, text: str, name: str = "nyc_taxi.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("timestamp,value\n2014-07-01 00:00:00,10844\n2014-07-01 00:30:00,8127\n", id="NAB"),
        pytest.param("2014-07-01 00:00:00,10844\n2014-07-01 00:30:00,8127\n", id="no header"),
        pytest.param("time,value\n2014-07-01T05:00:00+05:00,10844\n\n2014-07-01T00:30:00Z,8127.0\n", id="RFC 3339"),
        pytest.param("1404172800,10844\n1404174600,8127\n", id="epoch seconds"),
        pytest.param("1404172800000,10844\n1404174600000,8127\n", id="epoch milliseconds"),
        pytest.param("ts,value\n2014-07-01 00:30:00,8127\n2014-07-01 00:00:00,10844\n", id="out of order"),
        pytest.param("1404172800,1\n1404172800,10844\n1404174600,8127\n", id="the later row of one time stays"),
        pytest.param("Timestamp;Value\n1404172800;10844\n1404174600;8127\n", id="semicolons"),
        pytest.param("\ufefftimestamp\tvalue\n1404172800\t10844\n1404174600\t8127\n", id="tabs and a BOM"),
        pytest.param('"timestamp","value"\r\n"1404172800","10844"\r\n1404174600,8127', id="quotes, CRLF, no last end"),
        pytest.param("seq,unit,ts,value\n1,x,1404172800,10844\n2,x,1404174600,8127\n", id="columns aside"),
        pytest.param('{"ts":1404172800,"value":10844}\n{"ts":"2014-07-01T00:30:00Z","value":8127}\n', id="JSON lines"),
        pytest.param('[{"ts":1404172800,"value":10844},{"ts":1404174600,"value":8127}]\n', id="JSON list"),
    ],
)
def test_a_single_series_is_read(tmp_path: Path, text: str) -> None:
    taken = list(recording(write(tmp_path, text), metric="demand").samples())

    assert taken == [
        Sample(T0 * S, "nyc_taxi", {"demand": 10844.0}),
        Sample((T0 + 1800) * S, "nyc_taxi", {"demand": 8127.0}),
    ]


MANY = [
    Sample(T0 * S, "a", {"pm25": 1.5, "no2": 20.0}),
    Sample(T0 * S, "b", {"pm25": 2.5}),
    Sample((T0 + 60) * S, "a", {"no2": 21.0}),
]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            "timestamp,device,metric,value\n1404172800,a,pm25,1.5\n1404172800,a,no2,20\n1404172800,b,pm25,2.5\n"
            "1404172860,a,no2,21\n",
            id="long CSV",
        ),
        pytest.param(
            "Device_ID,Parameter,Received,Measured_At,Reading\na,pm25,0,1404172800,1.5\na,no2,0,1404172800,20\n"
            "b,pm25,0,1404172800,2.5\na,no2,0,1404172860,21\n",
            id="long CSV, other names in other order",
        ),
        pytest.param(
            "timestamp,device,pm25,no2\n1404172800,a,1.5,20\n1404172800,b,2.5,\n1404172860,a,,21\n1404172900,a,,\n",
            id="wide CSV",
        ),
        pytest.param(
            '{"ts":1404172800,"device":"a","metric":"pm25","value":1.5}\n'
            '{"device":"a","metric":"no2","value":20,"timestamp":1404172800000}\n'
            '{"ts":1404172800,"device":"b","metric":"pm25","value":2.5,"unit":"x"}\n'
            '{"ts":1404172860,"device":"a","metric":"no2","value":21}\n',
            id="long JSON lines",
        ),
        pytest.param(
            '{"ts":1404172800,"values":{"pm25":1.5,"no2":20},"seq":4,"device":"a"}\n'
            '[{"ts":1404172800,"values":{"pm25":2.5,"no2":null},"device":"b"},'
            '{"ts":"2014-07-01T00:01:00Z","device":"a","values":{"no2":21}}]\n',
            id="readings objects",
        ),
        pytest.param(
            '{"ts":1404172800,"device":"a","pm25":1.5,"no2":20}\n{"ts":1404172800,"device":"b","pm25":2.5,"no2":null}\n'
            '{"ts":1404172860,"device":"a","no2":21}\n',
            id="wide JSON lines",
        ),
    ],
)
def test_many_devices_and_metrics_are_read(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    packed = tmp_path / "packed.gz"
    packed.write_bytes(gzip.compress(text.encode()))

    assert list(recording(path).samples()) == MANY
    assert list(recording(packed).samples()) == MANY
    seen = recording(path).look()
    assert (seen.readings, seen.first, seen.last, seen.devices, seen.bad) == (
        4, T0 * S, (T0 + 60) * S, ("a", "b"), 0,
    )  # fmt: skip


@pytest.mark.parametrize(
    "measured",
    [
        "epoch_ms(ms)",
        "make_timestamp_ns(ms * 1000000)",
        "ms",
        "ms * 1000000",
        "strftime(epoch_ms(ms), '%Y-%m-%dT%H:%M:%SZ')",
    ],
    ids=["timestamp", "timestamp in ns", "milliseconds", "nanoseconds", "text"],
)
def test_parquet_is_read_long_and_wide_in_parts_and_in_order_of_time(tmp_path: Path, measured: str) -> None:
    rows = "(VALUES ('a','no2',1404172860000,21), ('a','pm25',1404172800000,1.5), ('a','no2',1404172800000,20))"
    more = "(VALUES ('b','pm25',1404172800000,2.5))"
    long, wide = tmp_path / "long", tmp_path / "wide.parquet"
    long.mkdir()
    for part, values in enumerate((rows, more)):
        duckdb.sql(
            f"COPY (SELECT device, metric, {measured} AS measured, 0 AS received, value::DOUBLE AS value "  # noqa: S608 - ours
            f"FROM {values} t(device, metric, ms, value)) TO '{long}/part-{part}.parquet' (FORMAT parquet)"
        )
    duckdb.sql(
        f"COPY (SELECT {measured} AS ts, device, pm25, no2 "  # noqa: S608 - the test's own words
        "FROM (VALUES ('a',1404172860000,'NaN'::FLOAT,21::FLOAT), "
        f"('a',1404172800000,1.5,20), ('b',1404172800000,2.5,NULL)) t(device,ms,pm25,no2)) TO '{wide}' (FORMAT parquet)"
    )
    (long / "labels.jsonl").write_text('{"class":"fault"}\n')

    assert list(recording(*files_of([long]), window_rows=1).samples()) == MANY
    assert list(recording(wide, window_rows=1).samples()) == MANY
    assert recording(*files_of([long])).look().devices == ("a", "b")


def test_a_bad_row_of_parquet_is_named_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    duckdb.sql(f"COPY (SELECT 1404172800 AS ts, unnest([1.5, NULL, 2.5]) AS value) TO '{path}' (FORMAT parquet)")
    (tmp_path / "cut.parquet").write_bytes(path.read_bytes()[:50])

    with pytest.raises(MalformedPayload, match=r"x\.parquet:2: None is not a number"):
        recording(path).look()
    assert recording(path, skip_bad=True).look().bad == 1
    with pytest.raises(SettingsError, match=r"replay: .*cut\.parquet: "):
        recording(tmp_path / "cut.parquet").look()


@pytest.mark.parametrize(
    ("text", "reason", "message"),
    [
        pytest.param("timestamp,value\n2014-07-01 00:00:00,x\n", "bad_value", ":2: 'x' is not a number", id="text"),
        pytest.param("2014-07-01 00:00:00,1\n2014-07-01 00:30:00,nan\n", "bad_value", ":2: 'nan' is not a", id="NaN"),
        pytest.param("1404172800,1\n1404172860,1_0\n", "bad_value", ":2: '1_0' is not a number", id="underscore"),
        pytest.param("1404172800,1\n1404172860,\n", "bad_value", ":2: '' is not a number", id="no value"),
        pytest.param("2014-07-01 00:00:00,1\nyesterday,2\n", "bad_time", ":2: 'yesterday' is not a time", id="time"),
        pytest.param("2014-13-01 00:00:00,1\n", "bad_time", ":1: '2014-13-01 00:00:00' is not a time", id="month 13"),
        pytest.param("3000-01-01 00:00:00,1\n", "bad_time", ":1: '3000-01-01 00:00:00' is not a time", id="year 3000"),
        pytest.param("2014-07-01 00:00:00\n", "bad_shape", ":1: two columns expected", id="one column"),
        pytest.param("1404172800,1\n1404172860\n", "bad_shape", ":2: 2 columns expected, not 1", id="a short row"),
        pytest.param("1404172800,1\n1404172860,1,2\n", "bad_shape", ":2: 2 columns expected, not 3", id="a long row"),
        pytest.param("timestamp,value\n", "bad_shape", ": no readings in it", id="header only"),
        pytest.param("", "bad_shape", ": no readings in it", id="empty"),
        pytest.param("a,b\nc,d\n", "bad_shape", ":1: no column with the time; found: a, b; expected: ", id="no header"),
        pytest.param("1404172800,a,pm25,1\n", "bad_shape", ":1: no column with the time; found: 1404172800", id="4"),
        pytest.param(
            "ts,metric,pm\n1,2,3\n", "bad_shape", ":1: a metric column without a value column; ", id="no value"
        ),
        pytest.param("ts,device\n1,a\n", "bad_shape", ":1: no column with values; found: ts, device; ", id="no values"),
        pytest.param("ts,pm 2.5\n1,2\n", "bad_name", ":1: column 'pm 2.5' cannot be a metric: ", id="column name"),
        pytest.param("ts,pm25,no2\n1,2,x\n", "bad_value", ":2: 'x' in column 'no2' is not a number", id="wide"),
        pytest.param("ts,device,value\n1,a b,2\n", "bad_name", ":2: device 'a b': 1-64 letters", id="device"),
        pytest.param("ts,metric,value\n1,a/b,2\n", "bad_name", ":2: metric 'a/b': 1-64 letters", id="metric"),
        pytest.param('ts,value\n1,2\n3,"4\n5,6\n', "bad_value", ":4: '4\\n5,6\\n' is not a number", id="open quote"),
        pytest.param('{"ts":1,"value":2}\n{"ts":1\n', "not_json", ":2: not JSON, one object on a line", id="cut JSON"),
        pytest.param('{\n"ts":1,\n"value":2}\n', "not_json", ":1: not JSON, one object on a line", id="pretty JSON"),
        pytest.param('{"ts":1,"value":2}\n7\n', "bad_shape", ":2: an object expected, not int", id="a number"),
        pytest.param('{"ts":1,"value":true}\n', "bad_value", ":1: True is not a number", id="a truth"),
        pytest.param('{"ts":1,"value":null}\n', "bad_value", ":1: None is not a number", id="null"),
        pytest.param('{"ts":null,"value":1}\n', "bad_time", ":1: None is not a time", id="no time"),
        pytest.param('{"values":{"a":1}}\n', "bad_time", ":1: a readings object without ts", id="no ts"),
        pytest.param('{"ts":1,"values":{"a":[]}}\n', "bad_value", ":1: [] of 'a' is not a number", id="a list"),
        pytest.param('{"ts":1,"device":{},"value":1}\n', "bad_name", ":1: device {}: a name expected", id="no name"),
        pytest.param('{"x":1}\n', "bad_shape", ":1: no column with the time; found: x; expected: ", id="other JSON"),
    ],
)
def test_a_bad_row_is_named_with_file_and_line(tmp_path: Path, text: str, reason: str, message: str) -> None:
    path = write(tmp_path, text)

    with pytest.raises(MalformedPayload) as caught:
        recording(path).look()

    assert caught.value.reason == reason
    assert str(caught.value).startswith(f"{path}{message}")


@pytest.mark.parametrize(
    "text",
    [
        "ts,value\n1404172800,1\nx,2\n1404172860,y\n,\n1404172920,4\n1404172980\n",
        '{"ts":1404172800,"value":1}\n{"ts":"x","value":2}\n{\n"nothing"\n{"ts":1404172920,"value":4}\n[{"value":1}]\n',
    ],
)
def test_bad_rows_can_be_passed_over_and_are_counted(tmp_path: Path, text: str) -> None:
    taken = recording(write(tmp_path, text), skip_bad=True)

    seen = taken.look()

    assert (seen.readings, seen.bad) == (2, 3 if text[0] == "t" else 4)
    assert [sample.values["value"] for sample in taken.samples()] == [1.0, 4.0]


def test_a_layout_that_is_unknown_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(MalformedPayload, match="no column with the time"):
        recording(write(tmp_path, "a,b\n1,2\n"), skip_bad=True).look()


def test_device_and_metric_choose_where_the_file_names_them(tmp_path: Path) -> None:
    path = write(tmp_path, "ts,device,metric,value\n1404172800,a,pm25,1\n1404172800,b,pm25,2\n1404172801,a,no2,3\n")

    chosen = list(recording(path, device="a", metric="no2").samples())

    assert chosen == [Sample((T0 + 1) * S, "a", {"no2": 3.0})]
    with pytest.raises(MalformedPayload, match=r"nyc_taxi.csv: no readings in it for x; it has a, b"):
        recording(path, device="x").look()
    with pytest.raises(MalformedPayload, match=r"no readings in it for so2; it has pm25, no2"):
        recording(path, metric="so2").look()
    with pytest.raises(MalformedPayload, match=r"device 'a b': 1-64 letters"):
        Choice("a b")


def test_files_are_played_together_in_order_of_time(tmp_path: Path) -> None:
    write(tmp_path, "1404172800,1\n1404172860,3\n", "first.csv")
    write(tmp_path, '{"ts":1404172830,"value":2}\n', "second.jsonl")
    write(tmp_path, "no recording", "readme.txt")

    taken = list(recording(*files_of([tmp_path])).samples())

    assert [(sample.device, sample.values) for sample in taken] == [
        ("first", {"value": 1.0}), ("second", {"value": 2.0}), ("first", {"value": 3.0}),
    ]  # fmt: skip


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"1404172800,1\n" * 9999)[:-20])
    (tmp_path / "empty").mkdir()

    with pytest.raises(SettingsError, match=r"replay: .*none\.csv: .*No such file"):
        files_of([tmp_path / "none.csv"])
    with pytest.raises(SettingsError, match=r"replay: .*empty: no \.csv, .* in this folder"):
        files_of([tmp_path / "empty"])
    with pytest.raises(SettingsError, match=r"replay: .*x\.csv: .*codec can't decode"):
        recording(tmp_path / "x.csv").look()
    with pytest.raises(SettingsError, match=r"replay: .*cut\.csv\.gz: .*ended before"):
        recording(tmp_path / "cut.csv.gz").look()


def test_as_many_devices_as_the_limit_and_no_more(tmp_path: Path) -> None:
    path = write(tmp_path, "ts,device,value\n" + "".join(f"1,d{n},2\n" for n in range(5)))

    assert len(recording(path, max_devices=5).look().devices) == 5
    with pytest.raises(SettingsError, match=r"simulator.replay_devices: more than 4 devices in .*nyc_taxi.csv"):
        recording(path, max_devices=4).look()


def test_what_a_file_is_its_first_bytes_say(tmp_path: Path) -> None:
    write_capture(tmp_path / "a.csv", [Capture(1, "x", b"")], started=0)
    duckdb.sql(f"COPY (SELECT 1 AS ts) TO '{tmp_path}/b.csv' (FORMAT parquet)")
    (tmp_path / "c.csv").write_text('\n {"ts":1}')
    (tmp_path / "d.jsonl").write_text("1,2")

    kinds = [kind_of(path) for path in sorted(tmp_path.iterdir())]

    assert kinds == ["capture", "parquet", "jsonl", "csv"]


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2014-07-01T00:00:00.123456789Z", T0 * S + 123_456_789),
        ("2014-07-01T00:00:00.1234567+01:00", (T0 - 3600) * S + 123_456_700),
        ("2014-07-01", T0 * S),
        ("1404172800.25", T0 * S + 250_000_000),
        (1404172800.1, T0 * S + 100_000_000),
        (1404172800123456, T0 * S + 123_456_000),
        (1404172800123456789, T0 * S + 123_456_789),
        ("-1", -S),
    ],
)
def test_times_are_exact(text: str | float, ns: int) -> None:
    assert time_ns(text) == ns


@pytest.mark.parametrize("bad", ["", "NaN", True, None, float("inf"), 10**19, "12:00", b"1"])
def test_what_is_no_time_is_refused(bad: object) -> None:
    with pytest.raises(MalformedPayload, match="is not a time"):
        time_ns(bad)


def test_a_value_column_beside_metrics_is_a_metric() -> None:
    assert layout_of(["ts", "value", "pm25"]).columns == ((1, "value"), (2, "pm25"))


def test_order_is_made_within_the_window_and_file_order_stays_beyond() -> None:
    def samples(times: list[int]) -> Iterator[Sample]:
        return (Sample(at, "a", {}) for at in times)

    assert [s.at for s in in_order(samples([3, 2, 1]), 1)] == [2, 1, 3]
    assert [s.at for s in in_order(samples([3, 2, 1]), 2)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("nyc_taxi.csv", "nyc_taxi"),
        ("a b (1).csv", "a-b-1"),
        ("_.csv", "replay"),
        ("x.csv.gz", "x"),
        ("plain", "plain"),
    ],
)
def test_a_file_name_suggests_a_device(name: str, device: str) -> None:
    assert device_name(Path(name)) == device


def test_a_big_file_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "big.csv"
    with path.open("w") as file:
        file.write("timestamp,device,metric,value\n")
        file.writelines(f"{T0 + n // 50},dev-{n % 50},a-metric-with-a-long-name,{n}\n" for n in range(60_000))
    taken = recording(path, window_rows=500)

    tracemalloc.start()
    try:
        seen = taken.look()
        count = sum(len(sample.values) for sample in taken.samples())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert count == seen.readings == 60_000
    assert peak < 1_500_000 < path.stat().st_size
