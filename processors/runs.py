"""This module tells a stuck sensor from one that rests: a run of equal readings, and what may explain it.

A run is explained, and not FLAT, by any of these:

- *A rest that is known beforehand* (`core.metrics`, settings): no rain, a lamp by day, a car park full or empty.
- *Habit.* The longest run of this series at other values before, by number of readings: up to `flat_factor` times that.
  A value to which the series came back for a second long run is a *rest value* with a record of its own, and that
  may be exceeded `flat_rest_factor` times: nights grow longer, dry spells too.
- *Chance.* How often neighbours in time repeat (coarse resolution, slow quantities) makes a run of that length no
  less probable than `flat_decades` powers of ten.

A run that was FLAT teaches little: the record grows by `flat_lesson` at most, so one fault does not hide the next; a
new habit is accepted after it has come up some times. The record shrinks by half in `half_life_readings`.

It fails on a sensor that dies at one of its rests (a rain gauge at 0, a lamp by day): that needs neighbours, or a rule
over the metrics of its device. And on one that has never been seen to move: nothing is known of it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from processors.quality_settings import QualitySettings

__all__ = ["COLUMNS", "lengths", "step", "walk"]

COLUMNS = (
    "run",  # readings of the current run
    "was_flat",  # 1: the current run has been FLAT
    "record",  # longest finished run of other values than the next one
    "repeats",  # share of readings that repeat the one before
    "rest_value",  # the value that it came back to, or may
    "rest_record",  # longest finished run of it
    "rest_taught",  # the same, but a FLAT run counts as little as in `record`, while it is no rest yet
    "rest_visits",  # long runs of it; from the second on it is a rest
)

_RATE = 0.002  # of the share of repeats: 500 readings, as the detector's slow level
_TWICE = 2
_BINS = 4096  # of the share of repeats
_RAREST = 1e-3  # no history is long enough to believe in less


def lengths(decades: float) -> NDArray[np.float64]:
    """Return how many repeats in a row are less probable than 10^-*decades*, by share of repeats, float64[4096].

    A table, because no two processors agree on the last bit of a logarithm.
    """
    share = [max((k + 1) / _BINS, _RAREST) for k in range(_BINS - 1)]
    return np.array([*(decades * math.log(10) / -math.log(each) for each in share), math.inf])


def step(
    state: Mapping[str, NDArray[np.float64]],
    began: NDArray[np.int64],
    measured: NDArray[np.int64],
    value: NDArray[np.float64],
    share: NDArray[np.float64],
    rests: NDArray[np.float64],
    improbable: NDArray[np.float64],
    plan: QualitySettings,
) -> NDArray[np.bool_]:
    """Tell which of N series, one reading each, are in a run that nothing explains, bool[N]; learn the reading.

    Args:
        state: columns of `COLUMNS` and `last_value`, `seen`, float64[N], changed in place.
        began: when the current run began, int64[N] ns, changed in place.
        measured: int64[N] ns, after the newest of each series.
        value: float64[N], finite.
        share: of each reading in all of its series so far, 1 / (seen + 1), float64[N].
        rests: values of which rests are known beforehand, float64[2, N].
        improbable: `lengths` of the decades in the settings.
        plan: settings.
    """
    last, run, record = state["last_value"], state["run"], state["record"]
    same = (value == last) & (state["seen"] > 0)

    # a run is finished: whose record is it?
    lesson = np.where(same | (last == rests[0]) | (last == rests[1]), 0.0, run)
    ended = np.flatnonzero((run >= plan.flat_readings) & ~same)
    if len(ended):
        _finish_all(state, lesson, ended, plan)
    np.maximum(record, lesson, out=record)
    record -= record * (1 - 0.5 ** (1 / plan.half_life_readings))
    repeats = state["repeats"]
    repeats += np.maximum(_RATE, share) * (same - repeats)

    run *= same
    run += 1
    np.copyto(began, measured, where=~same)
    state["was_flat"] *= same
    flat = np.zeros(len(value), bool)
    rows = np.flatnonzero(run >= plan.flat_readings)
    if len(rows):
        some = {name: state[name][rows] for name in ("seen", *COLUMNS)}
        flat[rows] = _is_flat(some, measured[rows] - began[rows], value[rows], rests[:, rows], improbable, plan)
        state["was_flat"][flat] = 1.0
    return flat


def _finish_all(
    state: Mapping[str, NDArray[np.float64]], lesson: NDArray[np.float64], rows: NDArray[np.intp], plan: QualitySettings
) -> None:
    """Note at *rows* that a long run has ended; set in *lesson*, there 0 for known rests, what others it teaches."""
    value, finished, record = state["last_value"][rows], state["run"][rows], state["record"][rows]
    visits, taught, rest_record = state["rest_visits"][rows], state["rest_taught"][rows], state["rest_record"][rows]
    is_other = lesson[rows] > 0
    young = np.where(visits < _TWICE, taught, 0.0)
    told = np.where(
        state["was_flat"][rows] > 0, np.minimum(finished, plan.flat_lesson * np.maximum(record, young) + 1), finished
    )
    back = is_other & (value == state["rest_value"][rows]) & (visits > 0)
    fresh = is_other & ~back & ((visits < _TWICE) | (finished > plan.flat_factor * rest_record))
    # a candidate that gives way was a habit like others
    lesson[rows] = np.where(fresh, young, np.where(is_other & ~back, told, 0.0))
    state["rest_taught"][rows] = np.where(fresh, told, np.where(back, np.maximum(taught, told), taught))
    state["rest_record"][rows] = np.where(
        fresh, finished, np.where(back, np.maximum(rest_record, finished), rest_record)
    )
    state["rest_value"][rows[fresh]] = value[fresh]
    state["rest_visits"][rows] = np.where(fresh, 1.0, visits + back)


def _is_flat(
    state: Mapping[str, NDArray[np.float64]],
    took: NDArray[np.int64],
    value: NDArray[np.float64],
    rests: NDArray[np.float64],
    improbable: NDArray[np.float64],
    plan: QualitySettings,
) -> NDArray[np.bool_]:
    """Tell which current runs, all of them long and lasting *took* ns, nothing explains."""
    run, visits = state["run"], state["rest_visits"]
    is_rest = (value == state["rest_value"]) & (visits >= _TWICE)
    longest = np.maximum(state["record"], np.where(visits < _TWICE, state["rest_taught"], 0.0))
    most = np.where(is_rest, plan.flat_rest_factor * state["rest_record"], plan.flat_factor * longest) + 3
    flat: NDArray[np.bool_] = (state["seen"] >= plan.warm_readings) & (run > most)
    flat &= run >= improbable[np.minimum((state["repeats"] * _BINS).astype(np.intp), _BINS - 1)]
    flat &= took >= plan.flat_seconds * 1e9
    flat &= (value != rests[0]) & (value != rests[1])
    return flat


def walk(
    state: Sequence[float],
    began: int,
    measured: NDArray[np.int64],
    value: NDArray[np.float64],
    previous: NDArray[np.float64],
    seen: NDArray[np.float64],
    rests: NDArray[np.float64],
    improbable: NDArray[np.float64],
    plan: QualitySettings,
) -> tuple[NDArray[np.bool_], tuple[float, ...], int]:
    """Do what `step` does for N readings of one series, one after the other, operation by operation.

    Args:
        state: what is known of the series, by `COLUMNS`.
        began: when the current run began, ns.
        measured: int64[N] ns, ascending.
        value: float64[N], finite.
        previous: the reading before each, float64[N].
        seen: how many there were before each, float64[N].
        rests: values of which rests are known beforehand, float64[2].
        improbable: `lengths` of the decades in the settings.
        plan: settings.

    Returns:
        Which readings are in a run that nothing explains, bool[N]; the state after them; when the run began.
    """
    known = (previous == rests[0]) | (previous == rests[1])
    same = (value == previous) & (seen > 0)
    may_be_flat = (seen >= plan.warm_readings) & (value != rests[0]) & (value != rests[1])
    gains = np.maximum(_RATE, 1 / (seen + 1))
    shrink = 1 - 0.5 ** (1 / plan.half_life_readings)
    run, was_flat, record, repeats, rest_value, rest_record, taught, visits = state
    flat = np.zeros(len(value), bool)
    readings, least = plan.flat_readings, plan.flat_seconds * 1e9
    for row, (now, at, again, gain, is_known, may) in enumerate(
        zip(
            value.tolist(), measured.tolist(), same.tolist(), gains.tolist(), known.tolist(), may_be_flat.tolist(),
            strict=True,
        )
    ):  # fmt: skip
        if again:
            repeats += gain * (1.0 - repeats)
            record -= record * shrink
            run += 1.0
        else:
            if run >= readings or was_flat > 0:
                record, rest_value, rest_record, taught, visits = _finish(
                    run, float(previous[row]), was_flat, record, rest_value, rest_record, taught, visits, plan,
                    is_known=is_known,
                )  # fmt: skip
            elif run > record and not is_known:
                record = run
            record -= record * shrink
            repeats += gain * (0.0 - repeats)
            run, was_flat, began = 1.0, 0.0, at
        if not may or run < readings or float(at - began) < least:
            continue
        if now == rest_value and visits >= _TWICE:
            most = plan.flat_rest_factor * rest_record + 3
        else:
            most = plan.flat_factor * max(record, taught if visits < _TWICE else 0.0) + 3
        if run > most and run >= improbable.item(min(int(repeats * _BINS), _BINS - 1)):
            flat[row], was_flat = True, 1.0
    return flat, (run, was_flat, record, repeats, rest_value, rest_record, taught, visits), began


def _finish(
    run: float,
    value: float,
    was_flat: float,
    record: float,
    rest_value: float,
    rest_record: float,
    taught: float,
    visits: float,
    plan: QualitySettings,
    *,
    is_known: bool,
) -> tuple[float, float, float, float, float]:
    """Return record, rest value, its record, what it taught, and its visits, after a run of *value* has ended."""
    young = taught if visits < _TWICE else 0.0
    lesson = min(run, plan.flat_lesson * max(record, young) + 1) if was_flat > 0 else run
    if is_known:
        return record, rest_value, rest_record, taught, visits
    if run < plan.flat_readings:
        return max(record, lesson), rest_value, rest_record, taught, visits
    if value == rest_value and visits > 0:
        return record, rest_value, max(rest_record, run), max(taught, lesson), visits + 1
    if visits < _TWICE or run > plan.flat_factor * rest_record:
        return max(record, young), value, run, lesson, 1.0  # a candidate that gives way was a habit like others
    return max(record, lesson), rest_value, rest_record, taught, visits
