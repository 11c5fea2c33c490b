"""Rows of the series store: blobs that fail loudly, the last one wins, and rollups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.series.columns import (
    BANDS,
    HOUR,
    READINGS,
    band_columns,
    empty,
    keep_last,
    newest,
    pack,
    reading_columns,
    roll_up,
    to_bands,
    unpack,
)
from core.batch import ReadingBatch
from core.errors import MalformedPayload
from core.ports import Bands

BATCH = ReadingBatch.of([1, 2], [10, -20], [1.5, -2.5], received=[11, 21], quality=[0, 65535])
BLOB = pack(READINGS, reading_columns(BATCH))


def test_a_blob_gives_back_what_was_packed() -> None:
    columns = unpack(READINGS, BLOB)

    assert ReadingBatch(*columns.values()) == BATCH
    assert len(BLOB) == 8 + 2 * 30


@pytest.mark.parametrize("cut", range(len(BLOB)))
def test_every_truncation_of_a_blob_is_noticed(cut: int) -> None:
    with pytest.raises(MalformedPayload):
        unpack(READINGS, BLOB[:cut])


@pytest.mark.parametrize(
    ("blob", "text"),
    [
        pytest.param(b"\x02" + BLOB[1:], "version 2, kind 0: raw expected", id="a later version"),
        pytest.param(pack(BANDS, empty(BANDS)), "version 1, kind 1: raw expected", id="rows of another kind"),
        pytest.param(BLOB + b"x", "2 rows: 69 bytes", id="a byte too many"),
    ],
)
def test_a_wrong_blob_is_refused_with_the_reason(blob: bytes, text: str) -> None:
    with pytest.raises(MalformedPayload, match=text):
        unpack(READINGS, blob)


@given(st.binary(max_size=100))
def test_garbage_raises_the_one_documented_error(data: bytes) -> None:
    try:
        unpack(READINGS, data)
    except MalformedPayload:
        return
    assert len(data) >= 8


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-3, 3)), max_size=30))
def test_keep_last_is_a_dict_sorted_by_key_and_newest_its_last_of_each_series(keys: list[tuple[int, int]]) -> None:
    batch = ReadingBatch.of([s for s, _ in keys], [m for _, m in keys], np.arange(len(keys)))
    model = sorted({key: float(i) for i, key in enumerate(keys)}.items())

    kept = keep_last(READINGS, reading_columns(batch))
    last = newest(kept)

    assert list(zip(kept["series"].tolist(), kept["measured"].tolist(), strict=True)) == [key for key, _ in model]
    assert kept["value"].tolist() == [value for _, value in model]
    assert dict(zip(last["series"].tolist(), last["value"].tolist(), strict=True)) == {s: v for (s, _), v in model}


def test_a_rollup_has_one_row_per_series_and_hour() -> None:
    at = [0, 1, HOUR, -1, HOUR]
    batch = ReadingBatch.of([1, 1, 1, 2, 2], at, [3.0, 1.0, 5.0, 7.0, 9.0], quality=[1, 2, 0, 4, 8])

    rolled = roll_up(keep_last(READINGS, reading_columns(batch)))

    assert {name: column.tolist() for name, column in rolled.items()} == {
        "series": [1, 1, 2, 2],
        "hour": [0, HOUR, -HOUR, HOUR],
        "n": [2, 1, 1, 1],
        "total": [4.0, 5.0, 7.0, 9.0],
        "low": [1.0, 5.0, 7.0, 9.0],
        "high": [3.0, 5.0, 7.0, 9.0],
        "last": [1.0, 5.0, 7.0, 9.0],
        "quality": [3, 0, 4, 8],
    }
    assert len(roll_up(empty(READINGS))["hour"]) == 0


def test_bands_keep_seven_digits_and_huge_ones_the_largest_float32() -> None:
    column = np.array([12.345678, -1e300])
    bands = Bands(np.array([1, 2], np.int32), np.array([0, HOUR]), column, column, column)

    kept = to_bands(unpack(BANDS, pack(BANDS, band_columns(bands))))

    assert kept.expected[0] == pytest.approx(12.345678, rel=1e-7)
    assert kept.expected[1] == -np.finfo(np.float32).max
