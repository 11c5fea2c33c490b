"""The memory of identities answers like a plain dict of everything, whatever comes in whatever pieces."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gateway.identities import Identities

readings = st.lists(st.tuples(st.integers(0, 5), st.integers(-3, 12), st.sampled_from([0.0, 1.0, 2.5])), max_size=60)


@given(st.lists(readings, max_size=8))
def test_it_answers_like_a_dict(batches: list[list[tuple[int, int, float]]]) -> None:
    memory, truth = Identities(1_000_000), dict[tuple[int, int], float]()
    for batch in batches:
        expected = []
        for series, measured, value in batch:
            before = truth.get((series, measured))
            expected.append((before == value, before is not None and before != value))
            truth[series, measured] = value
        columns = list(zip(*batch, strict=True)) or [(), (), ()]

        known = memory.sift(
            np.array(columns[0], np.int32), np.array(columns[1], np.int64), np.array(columns[2], np.float64)
        )

        if known is None:
            assert expected == [(False, False)] * len(batch)
        else:
            assert expected == list(zip(known[0].tolist(), known[1].tolist(), strict=True))


@given(st.integers(1, 400), st.integers(1, 50))
def test_it_forgets_no_sooner_than_half_its_limit_and_no_later_than_its_limit(n: int, per_batch: int) -> None:
    memory = Identities(200)
    for start in range(0, n, per_batch):
        at = np.arange(start, min(n, start + per_batch), dtype=np.int64)
        memory.sift(np.zeros(len(at), np.int32), at, np.ones(len(at)))

    newest = np.arange(max(0, n - 100), n, dtype=np.int64)
    known = memory.sift(np.zeros(len(newest), np.int32), newest, np.ones(len(newest)))

    assert known is not None
    assert known[0].all()
    assert memory._young.size + memory._old.size <= 200 + 2 * per_batch
