"""Captures: what is written is read, a file that was cut off is read up to there, anything else wrong is named."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from core.errors import MalformedPayload, SettingsError
from simulators.capture import Capture, CaptureWriter, is_capture, read_capture, read_lines, write_capture

if TYPE_CHECKING:
    from pathlib import Path

HEADER = '{"capture":"mqtt","version":1}\n'
SOME = [
    Capture(1, "devices/a/readings", '{"values":{"pm25":1}} é\n\x00'.encode()),
    Capture(2, "ü/ß", b"\xff\xfe", 0, retain=True),
    Capture(3, "x", b"", 2),
]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name

    count = write_capture(path, SOME, started=1_763_786_400_000_000_000, broker="mqtt://there:1883")

    assert count == 3
    assert list(read_capture(path)) == SOME
    assert is_capture(path)


def test_the_lines_are_as_documented(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"

    write_capture(path, SOME[1:], started=1_763_786_400_000_000_000, broker="mqtt://there:1883")

    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"capture": "mqtt", "version": 1, "started": "2025-11-22T04:40:00.000000Z", "broker": "mqtt://there:1883"},
        {"at": 2, "topic": "ü/ß", "payload_base64": "//4=", "qos": 0, "retain": True},
        {"at": 3, "topic": "x", "payload": "", "qos": 2, "retain": False},
    ]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_whatever_a_dead_recorder_flushed_is_read_wherever_the_file_ends(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    writer = CaptureWriter(path, started=0)
    for capture in SOME:
        writer.write(capture)
        writer.flush()
    flushed = path.read_bytes()
    writer.close()
    cut = tmp_path / f"cut-{name}"
    lengths = range(flushed.index(b"\n") + 1 if name == "a.jsonl" else len(flushed) - 30, len(flushed))

    read = []
    warnings: list[str] = []
    for length in lengths:
        cut.write_bytes(flushed[:length])
        read.append(list(read_capture(cut, on_cut=warnings.append)))

    assert all(captures == SOME[: len(captures)] for captures in read)
    assert {len(captures) for captures in read} >= ({0, 1, 2} if name == "a.jsonl" else {2})
    assert warnings
    assert all("cut-" in text and "ends in the middle of a line" in text for text in warnings)
    cut.write_bytes(flushed)
    assert list(read_capture(cut)) == SOME


@pytest.mark.parametrize(
    ("line", "reason", "message"),
    [
        pytest.param("{", "not_json", "no message of a capture: Input data was truncated", id="half a line"),
        pytest.param("[]", "not_json", "Expected `object`, got `array`", id="a list"),
        pytest.param('{"at":1,"payload":""}', "not_json", "missing required field `topic`", id="no topic"),
        pytest.param('{"at":1.5,"topic":"a","payload":""}', "not_json", "Expected `int`, got `float`", id="at"),
        pytest.param('{"at":-1,"topic":"a","payload":""}', "bad_time", "at -1: nanoseconds", id="before 1970"),
        pytest.param('{"at":1,"topic":"a/#","payload":""}', "bad_topic", "topic 'a/#'", id="a filter"),
        pytest.param('{"at":1,"topic":"","payload":""}', "bad_topic", "topic ''", id="empty topic"),
        pytest.param('{"at":1,"topic":"a"}', "bad_shape", "either payload or payload_base64", id="no payload"),
        pytest.param(
            '{"at":1,"topic":"a","payload":"","payload_base64":""}', "bad_shape", "either payload or", id="two payloads"
        ),
        pytest.param('{"at":1,"topic":"a","payload_base64":"*"}', "bad_value", "payload_base64: ", id="base64"),
        pytest.param('{"at":1,"topic":"a","payload":"","qos":3}', "bad_value", "qos 3", id="qos"),
        pytest.param('{"at":1,"topic":"a","payload":"","x":1}', "not_json", "unknown field `x`", id="unknown key"),
    ],
)
def test_a_bad_line_is_named_with_file_and_line(tmp_path: Path, line: str, reason: str, message: str) -> None:
    path = tmp_path / "a.jsonl"
    good = '{"at":1,"topic":"a","payload":"x"}\n'
    path.write_text(f"{HEADER}{good}{line}\n{good}")
    bad: list[MalformedPayload] = []

    with pytest.raises(MalformedPayload) as caught:
        list(read_capture(path))
    passed = list(read_capture(path, on_bad=bad.append))

    assert caught.value.reason == reason
    assert str(caught.value).startswith(f"{path}:3: ")
    assert message in str(caught.value)
    assert [str(error) for error in bad] == [str(caught.value)]
    assert passed == [Capture(1, "a", b"x")] * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty; a capture begins with a header"),
        ("x,y\n", ":1: no capture: "),
        ('{"capture":"pcap","version":1}\n', ":1: no capture: "),
        ('{"capture":"mqtt","version":2}\n', ":1: a capture of version 2; this program reads version 1"),
    ],
)
def test_what_is_no_capture_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(text)

    with pytest.raises(MalformedPayload) as caught:
        list(read_capture(path, on_bad=lambda _: None))

    assert message in str(caught.value)


def test_a_file_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_capture(path, SOME, started=0)

    with pytest.raises(SettingsError, match=r"record: .*a\.jsonl is there already"):
        write_capture(path, [], started=0)

    assert list(read_capture(path)) == SOME


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl.gz").write_bytes(b"no gzip at all")

    with pytest.raises(SettingsError, match=r"replay: .*x\.jsonl\.gz: Not a gzipped file"):
        list(read_capture(tmp_path / "x.jsonl.gz"))
    with pytest.raises(SettingsError, match=r"replay: .*No such file"):
        list(read_capture(tmp_path / "none.jsonl"))
    with pytest.raises(SettingsError, match=r"record: .*No such file"):
        CaptureWriter(tmp_path / "none" / "a.jsonl", started=0)


def test_a_line_may_be_as_long_as_the_limit_and_no_longer(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"short\n" + b"x" * 200_000)

    assert [len(line) for line, _ in read_lines(path, max_line_bytes=200_000)] == [5, 200_000]
    with pytest.raises(MalformedPayload, match=r"a\.jsonl:2: a line longer than 199999 bytes") as caught:
        list(read_lines(path, max_line_bytes=199_999))
    assert caught.value.reason == "too_large"


def test_a_big_capture_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write(HEADER)
        line = json.dumps({"at": 1, "topic": "a", "payload": "x" * 4000}) + "\n"
        file.writelines(line for _ in range(5_000))  # 20 MB

    tracemalloc.start()
    try:
        count = sum(1 for _ in read_capture(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert count == 5_000
    assert peak < 4_000_000
