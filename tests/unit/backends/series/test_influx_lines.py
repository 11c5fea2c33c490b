"""Tests of the line protocol that we write: exact bytes, and what the vendor's own encoder makes of the same."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.series.influx import Names, encode
from core.city import Series
from tests.influx import ListedNames, listed

Point: Any = import_module("influxdb_client").Point  # not typed
TAGS = b"device=dev-0,district=north,metric=humidity"


def prefixes(names: ListedNames, series: list[int], head: bytes = b"reading", tail: bytes = b"value") -> np.ndarray:
    found = Names(names)
    ids = np.array(series, np.int32)
    assert found.known(ids).all()
    return found.prefixes(head, tail)[ids]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(7.0, b"7.0", id="a whole number stays a float"),
        pytest.param(-0.5, b"-0.5", id="a negative one"),
        pytest.param(0.1, b"0.1", id="the shortest form"),
        pytest.param(1e300, b"1e+300", id="a large one"),
        pytest.param(5e-324, b"5e-324", id="the smallest"),
        pytest.param(1.7976931348623157e308, b"1.7976931348623157e+308", id="the largest"),
    ],
)
def test_values_are_floats(value: float, text: bytes) -> None:
    lines = encode(prefixes(listed(), [1]), np.array([5]), np.array([value]))

    assert lines == b"reading," + TAGS + b" value=" + text + b" 5"


def test_a_mask_is_written_where_it_is_set_or_asked_for() -> None:
    lines = encode(
        prefixes(listed(), [1] * 4),
        np.array([-1, 0, 1, 2]),
        np.array([1.0, 2.0, 3.0, 4.0]),
        quality=np.array([0, 8, 65535, 0], np.uint16),
        zeros=np.array([False, True, False, True]),
    )

    assert [line.split(b" ", 1)[1] for line in lines.split(b"\n")] == [
        b"value=1.0 -1",
        b"value=2.0,q=8i 0",
        b"value=3.0,q=65535i 1",
        b"value=4.0,q=0i 2",
    ]


def test_further_fields_keep_their_kind() -> None:
    lines = encode(
        prefixes(listed(), [1], b"reading_1h", b"sum"),
        np.array([3_600_000_000_000]),
        np.array([7.0]),
        {"min": np.array([1.0]), "n": np.array([3])},
        np.array([0], np.uint16),
        np.array([True]),
    )

    assert lines == b"reading_1h," + TAGS + b" sum=7.0,min=1.0,n=3i,q=0i 3600000000000"


def test_nothing_is_no_line() -> None:
    assert encode(np.empty(0, object), np.empty(0, np.int64), np.empty(0)) == b""


def test_tags_are_escaped_and_empty_ones_left_out() -> None:
    names = ListedNames([Series(0, "a b,c=d", "pm2.5", "")])

    lines = encode(prefixes(names, [0]), np.array([1]), np.array([2.0]))

    assert lines == rb"reading,device=a\ b\,c\=d,metric=pm2.5 value=2.0 1"


@given(
    st.lists(
        st.tuples(
            st.integers(0, 63),
            st.integers(-(1 << 62), 1 << 62),
            st.floats(allow_nan=False, allow_infinity=False),
            st.integers(0, 65535),
        ),
        min_size=1,
        max_size=50,
    )
)
def test_the_vendor_s_points_say_the_same(rows: list[tuple[int, int, float, int]]) -> None:
    """Field by field: the vendor writes whole floats without their point, which is the same to the server."""
    names = listed()
    series, time, value, quality = (list(column) for column in zip(*rows, strict=True))

    ours = encode(
        prefixes(names, series), np.array(time), np.array(value), quality=np.array(quality, np.uint16)
    ).decode()

    for line, s, t, v, q in zip(ours.split("\n"), series, time, value, quality, strict=True):
        known = names.listed[s]
        point = Point("reading").tag("device", known.device).tag("district", known.district).tag("metric", known.metric)
        point = point.field("value", v).time(t)
        theirs = (point.field("q", q) if q else point).to_line_protocol()
        assert parsed(line) == parsed(theirs)


def parsed(line: str) -> tuple[str, float, int, int]:
    found = re.fullmatch(r"(\S+) (?:q=(\d+)i,)?value=([^ ,]+)(?:,q=(\d+)i)? (-?\d+)", line)
    assert found, line
    return found[1], float(found[3]), int(found[2] or found[4] or 0), int(found[5])
