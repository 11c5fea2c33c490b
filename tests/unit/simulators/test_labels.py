"""Labels: what a line says, that it is read back as written, and what is refused with file and line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import MalformedPayload
from simulators.labels import Label, LabelClass, read_labels

if TYPE_CHECKING:
    from pathlib import Path

S = 1_000_000_000
START = 1_780_000_000 * S
FAULT = Label(
    LabelClass.FAULT, "spike", "air-001", "pm25", "merkez", ("pm25",), START, START + 120 * S, 180.0, 7
)  # fmt: skip
EVENT = Label(
    LabelClass.EVENT, "inversion", None, None, None, ("pm25", "no2"), START, START + 3600 * S, 1.5, 7
)  # fmt: skip


def test_a_fault_is_one_json_line_with_the_old_keys_and_the_new() -> None:
    line = FAULT.encode()

    assert line.endswith(b"\n")
    assert json.loads(line) == {
        "class": "fault",
        "what": "spike",
        "device": "air-001",
        "metric": "pm25",
        "district": "merkez",
        "metrics": ["pm25"],
        "from": "2026-05-28T20:26:40.000Z",
        "to": "2026-05-28T20:28:40.000Z",
        "size": 180.0,
        "seed": 7,
    }


def test_labels_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_bytes(FAULT.encode() + b"\n" + EVENT.encode())

    assert read_labels(path) == [FAULT, EVENT]


@given(start=st.integers(0, 2**61), length=st.integers(1, 2**60))
def test_no_whole_millisecond_changes_sides_by_being_written(start: int, length: int) -> None:
    label = Label(LabelClass.FAULT, "stuck", "a", "b", "c", ("b",), start, start + length, 0.0, 1)
    told = json.loads(label.encode())
    near = -(-start // 1_000_000) * 1_000_000

    assert told["from"].endswith("Z")
    # readings lie on whole milliseconds: the first one in the fault is the first one in the label
    assert near - 1_000_000 < start <= near


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"class": "mistake"}, "Invalid enum value 'mistake' - at `$.class`", id="an unknown class"),
        pytest.param({"colour": 1}, "unknown field `colour`", id="a key that nobody knows"),
        pytest.param({"what": ""}, "length >= 1 - at `$.what`", id="no kind"),
        pytest.param({"device": None}, "a fault needs a device and a metric", id="a fault of nobody"),
        pytest.param({"class": "event"}, "an event has neither device nor metric: both are null", id="event of one"),
        pytest.param({"from": "yesterday"}, "Invalid RFC3339 encoded datetime - at `$.from`", id="no time"),
        pytest.param({"from": "2026-05-28T20:26:40"}, "timezone component - at `$.from`", id="no zone"),
        pytest.param({"to": "2026-05-28T20:26:40.000Z"}, "it ends before it begins", id="no length"),
        pytest.param({"size": "big"}, "Expected `float`, got `str` - at `$.size`", id="no number"),
        pytest.param({"seed": 1.5}, "Expected `int`, got `float` - at `$.seed`", id="half a seed"),
    ],
)
def test_a_wrong_label_is_named_by_file_and_line(tmp_path: Path, change: dict[str, object], says: str) -> None:
    path = tmp_path / "labels.jsonl"
    wrong = json.loads(FAULT.encode()) | change
    path.write_bytes(FAULT.encode() + json.dumps(wrong).encode() + b"\n")

    with pytest.raises(MalformedPayload) as caught:
        read_labels(path)

    assert str(caught.value).startswith(f"{path}:2: ")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "key", ["class", "what", "device", "metric", "district", "metrics", "from", "to", "size", "seed"]
)
def test_no_key_may_be_missing(tmp_path: Path, key: str) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps({k: v for k, v in json.loads(FAULT.encode()).items() if k != key}))

    with pytest.raises(MalformedPayload, match=rf"labels.jsonl:1: .*`{key}`"):
        read_labels(path)


@pytest.mark.parametrize("line", [b"{", b"[]", b"\xff", b'{"class":"fault"} {}'])
def test_what_is_no_json_object_is_refused(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_bytes(line)

    with pytest.raises(MalformedPayload, match=r"labels.jsonl:1: "):
        read_labels(path)
