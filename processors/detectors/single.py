"""This module is the step of the novelty bank for many readings of one series, one after the other.

A step of the kernel costs about as much for one series as for a hundred: a burst of one sensor would be a cliff. But
only levels and records hang on the reading before. So these are carried forward by themselves
(`processors.detectors.carry`); channel values and severities are computed for all readings at once, by the very
functions that the kernel uses. The property tests hold both to the same bits.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from processors.detectors import state as s
from processors.detectors.carry import carry_levels, carry_records, carry_rhythm
from processors.detectors.formulas import Judged, Plan, Turn, aging, judge, signals, tell, weigh

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from processors.detectors.contract import Scores
    from processors.detectors.formulas import Counts, Floats
    from processors.detectors.state import State

__all__ = ["walk"]


def walk(
    state: State,
    plan: Plan,
    slot: int,
    measured: NDArray[np.int64],
    value: NDArray[np.float64],
    out: Scores,
    rows: NDArray[np.intp],
) -> None:
    """Score and learn readings of the series in *slot*, one after the other, writing to *rows* of *out*."""
    cuts = _set_backs(state, plan, slot, measured)
    edges = sorted({0, *cuts, len(measured)})
    for begin, end in pairwise(edges):
        part = slice(begin, end)
        _stretch(state, plan, slot, measured[part], value[part], out, rows[part], set_back=begin in cuts)


def _set_backs(state: State, plan: Plan, slot: int, measured: NDArray[np.int64]) -> list[int]:
    """Return the rows with which so many older readings have come in a row that time must have been set back."""
    newest, back = int(state.last_ns[slot]), int(state.marks[slot, s.BACK])
    if state.counts[slot, s.N] == 0:
        newest = int(measured[0]) - 1
    if newest < measured[0] and (measured[1:] > measured[:-1]).all():
        return []
    cuts = []
    for row, at in enumerate(measured.tolist()):
        if at > newest:
            newest, back = at, 0
        elif (back := min(back + 1, s.LONG)) >= plan.tuning.older_readings:
            cuts.append(row)
            newest, back = at, 0
    return cuts


def _stretch(
    state: State,
    plan: Plan,
    slot: int,
    measured: NDArray[np.int64],
    value: NDArray[np.float64],
    out: Scores,
    rows: NDArray[np.intp],
    *,
    set_back: bool,
) -> None:
    """Take readings in which time is not set back, but perhaps with the first."""
    tuning, count = plan.tuning, len(measured)
    n_first, is_new = int(state.counts[slot, s.N]), state.counts[slot, s.N] == 0
    newest = measured[0] - 1 if is_new or set_back else state.last_ns[slot]
    before = np.maximum.accumulate(np.concatenate([[newest], measured[:-1]]))
    older = measured <= before
    seconds: Floats = (measured - before).astype(np.float64) * 1e-9
    if is_new:
        seconds[0] = tuning.reference_seconds
    elif set_back:
        seconds[0] = state.floats[slot, s.STEP]
    newer = ~older
    learned = np.flatnonzero(newer)
    place: Counts = np.cumsum(newer) - newer  # how many of these were learned before each reading
    n: Counts = n_first + place
    previous = np.concatenate([[state.last_value[slot]], value[learned]])[place]
    same = (value == previous) & (n > 0)
    x = value.astype(np.float32).astype(np.float64) + 0.0
    last = np.where(n > 0, previous.astype(np.float32).astype(np.float64) + 0.0, x)

    pace, restart = carry_rhythm(state, plan, slot, seconds, older, n, set_back=set_back)
    age = place - np.maximum.accumulate(np.where(restart, place, -int(state.counts[slot, s.AGE])))
    turn = Turn(
        x=x,
        expected=np.empty(count),
        known=np.full(count, fill_value=True),
        same=same,
        last=last,
        older=older,
        n=n,
        age=age,
        pace=pace,
        w=weigh(plan, seconds, pace),
        g=np.empty((s.FLOATS, count)),
    )
    carry_levels(state, plan, slot, turn, measured, restart)
    u, ones, floor = signals(plan, turn)
    aged = aging(plan, turn)
    carry_records(state, plan, slot, turn, u, ones, aged, restart)
    found = judge(plan, turn, u, ones, floor, aged)
    _silence(state, plan, slot, turn, found, out, rows)

    if len(learned):
        state.counts[slot] = n[-1] + (not older[-1]), age[-1] + (not older[-1])
        state.last_ns[slot], state.last_value[slot] = measured[learned[-1]], value[learned[-1]]
        state.marks[slot, s.BACK] = count - 1 - learned[-1]
    else:
        state.marks[slot, s.BACK] = min(int(state.marks[slot, s.BACK]) + count, s.LONG)


def _silence(
    state: State, plan: Plan, slot: int, turn: Turn, found: Judged, out: Scores, rows: NDArray[np.intp]
) -> None:
    """After an alert, keep silent, unless it gets worse; tell what was found."""
    tuning = plan.tuning
    best = found.score.astype(np.float32)
    severity = found.told.astype(np.float32)
    quiet, peak = int(state.marks[slot, s.QUIET]), float(state.floats[slot, s.PEAK])
    done = 0  # readings learned up to where `quiet` stands
    place = turn.n - turn.n[0]
    for row in np.flatnonzero(best >= 1).tolist():
        now, score = quiet + int(place[row]) - done + 1, float(best[row])
        if now <= tuning.rest_readings and score <= tuning.rearm_factor * peak:
            severity[row] = 0
        elif not turn.older[row]:
            quiet, peak, done = 0, score, int(place[row]) + 1
    tell(found, turn, severity, out, rows)
    total = int(place[-1]) + (not turn.older[-1])
    state.marks[slot, s.QUIET] = min(quiet + total - done, s.LONG)
    state.floats[slot, s.PEAK] = peak
