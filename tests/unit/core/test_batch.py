"""Tests of the reading batch: columns, their form as bytes, and what a damaged form says."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.batch import ReadingBatch
from core.errors import MalformedPayload

ROW = st.tuples(
    st.integers(0, 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(0, 2**16 - 1),
)


def batch(n: int = 3) -> ReadingBatch:
    return ReadingBatch.of(range(n), range(10, 10 + n), [0.5] * n, received=range(20, 20 + n), quality=[1] * n)


@given(st.lists(ROW, max_size=30))
def test_what_is_written_is_what_is_read(rows: list[tuple[int, int, float, int]]) -> None:
    columns: list[list[float]] = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
    original = ReadingBatch.of(columns[0], np.array(columns[1], np.int64), columns[2], quality=columns[3])  # type: ignore[arg-type]

    assert ReadingBatch.from_bytes(original.to_bytes()) == original


def test_every_truncation_is_noticed() -> None:
    data = batch().to_bytes()

    for length in range(len(data)):
        with pytest.raises(MalformedPayload):
            ReadingBatch.from_bytes(data[:length])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        pytest.param({"version": 9}, "batch version 9: 1 expected", id="another version"),
        pytest.param({"value": b"\0" * 8}, "column value: 1 values, 3 expected", id="a short column"),
        pytest.param({"series": b"\0" * 5}, "not a batch", id="a column cut inside a value"),
        pytest.param({"quality": None}, "not a batch", id="a column that is none"),
    ],
)
def test_a_damaged_batch_says_what_is_wrong(change: dict[str, object], text: str) -> None:
    columns = batch().to_columns() | change

    with pytest.raises(MalformedPayload, match=text):
        ReadingBatch.from_bytes(msgspec.msgpack.encode(columns))


def test_columns_of_unequal_length_cannot_be_a_batch() -> None:
    good = batch()

    with pytest.raises(ValueError, match=r"unequal length: \[2, 3\]"):
        ReadingBatch(good.series[:2], good.measured, good.received, good.value, good.quality)


def test_concat_and_take_keep_order() -> None:
    both = ReadingBatch.concat([batch(2), batch(3)])

    assert both.series.tolist() == [0, 1, 0, 1, 2]
    assert both.take(np.array([4, 0])).series.tolist() == [2, 0]
    assert len(ReadingBatch.concat([])) == 0
