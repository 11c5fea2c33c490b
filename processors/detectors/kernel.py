"""This module is one step of the novelty bank: score and learn one reading of each of many series at once.

`processors.detectors.formulas` says what is computed; `processors.detectors.single` is the same for many readings of
one series.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from processors.detectors import state as s
from processors.detectors.formulas import (
    HOUR_NS,
    LEAST_SPANS,
    TINY,
    UNIT,
    Plan,
    Turn,
    aging,
    clips,
    fast_rates,
    judge,
    reaches,
    signals,
    slow_rates,
    tell,
    weigh,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from processors.detectors.contract import Scores
    from processors.detectors.formulas import Floats
    from processors.detectors.state import State

__all__ = ["step"]


def _clip(x: Floats, limit: Floats) -> Floats:
    """Return *x* kept within +-*limit*."""
    return np.minimum(np.maximum(x, -limit), limit)


def step(  # noqa: PLR0915 - one formula sheet; parts would hide the order that the exactness rests on
    state: State,
    plan: Plan,
    slot: NDArray[np.integer],
    measured: NDArray[np.int64],
    value: NDArray[np.float64],
    out: Scores,
    rows: NDArray[np.intp],
) -> None:
    """Score and learn one reading of each series in *slot* (all different), writing to *rows* of *out*."""
    tuning = plan.tuning
    slot = slot.astype(np.intp)
    g = state.floats.take(slot, axis=0).T.astype(np.float64, order="C")
    n, age = np.ascontiguousarray(state.counts.take(slot, axis=0).T)
    marks = state.marks.take(slot, axis=0)
    quiet, off, back = marks[:, s.QUIET], marks[:, s.OFF], marks[:, s.BACK]
    x = value.astype(np.float32).astype(np.float64) + 0.0  # no negative zero
    new = n == 0
    elapsed = measured - state.last_ns.take(slot)
    older = (elapsed <= 0) & ~new
    seconds: Floats = elapsed.astype(np.float64) * 1e-9

    # rhythm
    pace = g[s.STEP]
    reset = new
    if older.any():
        seconds = np.where(older, pace, seconds)  # nothing to go by
        back = np.where(older, np.minimum(back + 1, s.LONG), 0).astype(np.int16)
        set_back = older & (back >= tuning.older_readings)
        older &= ~set_back
        back[set_back] = 0
        reset = new | set_back
    else:
        back = np.zeros_like(back)
    seconds = np.where(new, tuning.reference_seconds, seconds)
    other = (seconds > pace * tuning.rhythm_factor) | (seconds * tuning.rhythm_factor < pace)
    first = n <= 1
    off = np.where(older, off, np.where(other & ~first, np.minimum(off + 1, s.LONG), 0))
    changed = (off >= tuning.rhythm_readings) & ~older
    pace = np.where(first | changed, seconds, np.where(other, pace, pace + 0.1 * (seconds - pace)))
    reset = reset | changed
    if reset.any():
        _restart(g, np.flatnonzero(reset), np.flatnonzero(new), x)
        age = np.where(reset, 0, age)
        off = np.where(reset, 0, off)
    w = weigh(plan, seconds, pace)

    # profile
    hour = measured // HOUR_NS
    of_day = hour % 24
    day_bin = slot * plan.bins + of_day
    p_flat, w_flat = state.profile.reshape(-1), state.weight.reshape(-1)
    day_weight = w_flat.take(day_bin)
    known = day_weight > 0
    expected = day = np.where(known, p_flat.take(day_bin), x)
    if plan.week:
        week_bin = day_bin + (24 + hour % 168 - of_day)
        week_weight = w_flat.take(week_bin)
        expected = np.where(week_weight > 0, p_flat.take(week_bin), day)

    last = state.last_value.take(slot)
    same = (value == last) & ~new
    last = np.where(new, x, last.astype(np.float32).astype(np.float64) + 0.0)
    turn = Turn(x, expected, known, same, last, older, n, age, pace, w, g)
    u, ones, floor = signals(plan, turn)
    aged = aging(plan, turn)
    found = judge(plan, turn, u, ones, floor, aged)

    # after an alert, silence, unless it gets worse
    best = found.score.astype(np.float32)
    quiet = np.minimum(quiet + 1, s.LONG).astype(np.int16)
    hot = best >= 1
    mute = hot & (quiet <= tuning.rest_readings) & (best <= tuning.rearm_factor * g[s.PEAK])
    tell(found, turn, np.where(mute, np.float32(0), found.told.astype(np.float32)), out, rows)
    fire = hot & ~mute
    quiet[fire] = 0
    np.copyto(g[s.PEAK], best, where=fire)

    # learn
    rate_fast, rate_scale, rate_rho, rate_recent = fast_rates(plan, turn)
    rate_usual, rate_slow, rate_slow_scale, part, least = slow_rates(plan, turn)
    clip_fast, clip_scale, clip_slow, clip_profile = clips(plan, turn)
    reach, reach_fast, reach_ones = reaches(plan, turn)
    m, sf, slow, scale = g[s.M_FAST], g[s.S_FAST], g[s.M_SLOW], g[s.S_SLOW]
    sfe, sse = sf + floor, scale + floor
    d_fast, d_slow = x - m, x - slow
    limit = clip_profile * sse
    lesson, day_lesson = _clip(u[0], limit), _clip(x - day, limit)
    kept = g[s.RUN_RECORD] - g[s.RUN_RECORD] * aged[0]
    g[s.RUN_RECORD] = np.where(same, kept, np.maximum(kept, g[s.RUN]))  # only finished runs
    g[s.RUN] = np.where(same, g[s.RUN] + 1.0, 0.0)
    g[s.RHO] += rate_rho * (same - g[s.RHO])
    d = x - last
    usual, recent = g[s.W_SLOW], g[s.W_FAST]
    bend = np.minimum(np.abs(d - g[s.D_LAST]), clip_fast * (usual + scale * 1e-2 + TINY))
    g[s.W_FAST] = recent + rate_recent * (bend - recent)
    g[s.W_SLOW] = usual + rate_usual * (bend - usual)
    g[s.D_LAST] = d
    g[s.M_FAST] = m + rate_fast * _clip(d_fast, clip_fast * sfe)
    g[s.S_FAST] = sf + rate_scale * (np.minimum(np.abs(d_fast), clip_scale * sfe) - sf)
    limit = clip_slow * sse
    g[s.M_SLOW] = slow + rate_slow * _clip(d_slow, limit)
    g[s.S_SLOW] = scale + rate_slow_scale * (np.minimum(np.abs(d_slow), limit) - scale)
    g[s.R_FAST], g[s.STEP] = u[1], pace
    hi, lo = g[s.HI], g[s.LO]
    give = reach * (hi - lo + floor)
    g[s.HI], g[s.LO] = (
        np.where(x > hi, np.minimum(x, hi + give), hi),
        np.where(x < lo, np.maximum(x, lo - give), lo),
    )
    high, low, mid = found.records
    give = np.array([reach, reach_fast, reach_fast]) * found.widths
    g[s.HIGH] = np.where(u > high, np.minimum(u, high + give), high)
    g[s.LOW] = np.where(u < low, np.maximum(u, low - give), low)
    g[s.MID] = mid
    top, top_mid = found.tops
    give = reach_ones * (top - top_mid + 1e-3 * top + LEAST_SPANS)
    g[s.TOP_MID] = top_mid
    g[s.TOP] = np.where(ones > top, np.minimum(ones, top + give), top)

    if older.any():
        state.marks[slot[older], s.BACK] = back[older]
        keep = np.flatnonzero(~older)
        slot, measured, value, g = slot[keep], measured[keep], value[keep], g[:, keep]
        n, age, quiet, off, back, kind = n[keep], age[keep], quiet[keep], off[keep], back[keep], marks[keep, s.KIND]
        day, expected, lesson, day_lesson = day[keep], expected[keep], lesson[keep], day_lesson[keep]
        part, least = part[keep], least[keep]
        day_bin, day_weight = day_bin[keep], day_weight[keep]
        if plan.week:
            week_bin, week_weight = week_bin[keep], week_weight[keep]
    else:
        kind = marks[:, s.KIND]
    total = day_weight + part
    p_flat[day_bin] = day + np.maximum(least, part / total) * day_lesson
    w_flat[day_bin] = np.minimum(total, 255 * UNIT)
    if plan.week:
        total = week_weight + part
        rate = np.maximum(least, part / total)
        p_flat[week_bin] = expected + np.where(week_weight > 0, rate, tuning.first_week_share) * lesson
        w_flat[week_bin] = np.minimum(total, 255 * UNIT)
    state.floats[slot] = g.T
    state.counts[slot] = np.stack([n + 1, age + 1], axis=1)
    state.marks[slot] = np.stack([quiet, off, back, kind], axis=1)
    state.last_ns[slot] = measured
    state.last_value[slot] = value


def _restart(g: Floats, again: NDArray[np.intp], fresh: NDArray[np.intp], x: Floats) -> None:
    """Begin the statistics per reading anew for the columns *again*, and everything for *fresh*."""
    g[s.S_FAST : s.M_SLOW, again] = 0
    g[s.M_FAST, again] = x[again]
    for record in (s.HIGH, s.LOW, s.MID):
        g[record.start + 1, again] = g[record.start, again]
    g[s.M_SLOW, fresh] = g[s.HI, fresh] = g[s.LO, fresh] = x[fresh]
