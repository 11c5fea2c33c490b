"""Rows of series: given in order of first appearance, found again, and never given to what cannot be a series."""

from __future__ import annotations

import numpy as np
import pytest

from core.city import SERIES_BLOCK
from processors.detectors.slots import Slots

FAR = 7 * SERIES_BLOCK + 3


def ids(*series: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """Return *series* as a column."""
    return np.array(series, np.int32)


def test_rows_are_given_in_order_of_first_appearance() -> None:
    slots = Slots(10)

    assert slots.claim(ids(FAR, 5, FAR, 6)).tolist() == [0, 1, 0, 2]
    assert slots.claim(ids(6, SERIES_BLOCK, FAR)).tolist() == [2, 3, 0]
    assert slots.ids.tolist() == [FAR, 5, 6, SERIES_BLOCK]


@pytest.mark.parametrize(
    "stranger",
    [
        pytest.param(4, id="in a block that is known"),
        pytest.param(SERIES_BLOCK + 5, id="in a block between those that are known"),
        pytest.param(FAR + SERIES_BLOCK, id="in the block after the last"),
        pytest.param(2**31 - 1, id="the largest id"),
        pytest.param(-1, id="negative"),
        pytest.param(-SERIES_BLOCK - 5, id="negative, by a block and more"),
        pytest.param(-(2**31), id="the smallest id"),
    ],
)
def test_a_stranger_has_no_row(stranger: int) -> None:
    empty, slots = Slots(10), Slots.of(ids(5, FAR, SERIES_BLOCK - 1), 10)  # -1 has the same low bits

    assert empty.find(ids(stranger)).tolist() == [-1]
    assert slots.find(ids(5, stranger, FAR)).tolist() == [0, -1, 1]


def test_beyond_the_limit_and_below_zero_no_row_is_given() -> None:
    slots = Slots(2)

    assert slots.claim(ids(-5, 8, -SERIES_BLOCK, 9, 10)).tolist() == [-1, 0, -1, 1, -1]
    assert slots.claim(ids(10, -5, 9)).tolist() == [-1, -1, 1]
    assert slots.count == 2


def test_no_series_at_all_is_no_trouble() -> None:
    slots = Slots(2)

    assert slots.claim(ids()).tolist() == []
    assert slots.claim(ids(-1)).tolist() == [-1]
    assert Slots.of(ids(), 2).count == 0
