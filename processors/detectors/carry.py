"""This module carries levels and records of one series from reading to reading, on plain floats.

It is the learning half of `processors.detectors.kernel`, in the same order, operation by operation; state is rounded
to float32 after each reading, as when it is stored. A reading costs about 4 µs here, so comparisons are spelled out:
a call of `min` or `max` costs three times as much.
"""
# ruff: noqa: FURB136, PLR1730

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from processors.detectors import state as s
from processors.detectors.formulas import HOUR_NS, LEAST_SPANS, SETTLING, TINY, UNIT, Plan, Turn, aging, center_rates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from processors.detectors.formulas import Counts, Flags, Floats
    from processors.detectors.state import State

__all__ = ["carry_levels", "carry_records"]

_LEVELS = struct.Struct(f"<{s.LO + 1}f")  # M_FAST … LO, as in the state
_ONE = struct.Struct("<f")
_RECORDS = struct.Struct(f"<{s.FLOATS - s.HIGH.start}f")  # HIGH … TOP_MID
_OLDER, _RESTART, _BEGIN, _BEGIN_JUMP = 1, 2, 4, 8


def carry_levels(  # noqa: C901, PLR0912, PLR0915 - the kernel's formula sheet once more, in the same order
    state: State,
    plan: Plan,
    slot: int,
    measured: NDArray[np.int64],
    x: Floats,
    last: Floats,
    seconds: Floats,
    older: Flags,
    same: Flags,
    n: Counts,
    *,
    set_back: bool,
) -> tuple[NDArray[np.float32], Floats, Floats, Flags, Counts, set[int]]:
    """Learn all but the records.

    Returns:
        The levels before each reading and after the last; the pace with each reading; what the profile expects; whether
        it knows; the age before each; and where a rhythm begins.
    """
    tuning = plan.tuning
    size, count = _LEVELS.size, len(x)
    book = bytearray(size * (count + 1))
    pack, unpack = _LEVELS.pack_into, _LEVELS.unpack_from
    g = state.floats[slot]
    book[:size] = g[: s.LO + 1].tobytes()
    m, r_fast, sf, recent, usual, there, run, rho, run_record, slow, scale, hi, lo = unpack(book, 0)
    pace = kept_pace = float(g[s.STEP])
    age, off = int(state.counts[slot, s.AGE]), int(state.marks[slot, s.OFF])
    profile, weight = memoryview(state.profile[slot]), memoryview(state.weight[slot])
    hour = measured // HOUR_NS
    paces, expects, knows, ages, restarts = [], [], [], [], set()
    factor, reference = tuning.rhythm_factor, tuning.reference_seconds
    least, warm = 1.0 / factor, tuning.warm_readings
    fast_rate, scale_rate, slow_rate = tuning.fast_rate, tuning.scale_rate, tuning.slow_rate
    scatter_rate, tiny, settling = tuning.scatter_rate, TINY, SETTLING
    residual_rate, profile_rate, repeat = tuning.residual_rate, tuning.profile_rate, tuning.repeat_share
    fast_clip, slow_clip, profile_clip = tuning.fast_clip_scales, tuning.slow_clip_scales, tuning.profile_clip_scales
    floor_share, reach, shrink_rate, week = tuning.floor_share, tuning.reach_widths, plan.shrink, plan.week
    at = 0
    for row, (a, d, gap, late, again, k, day_bin, week_bin) in enumerate(
        zip(
            x.tolist(),
            (x - last).tolist(),
            seconds.tolist(),
            older.tolist(),
            same.tolist(),
            n.tolist(),
            (hour % 24).tolist(),
            (24 + hour % 168).tolist(),
            strict=True,
        )
    ):
        at += size
        total = weight[day_bin]
        day = expected = profile[day_bin] if total else a
        if week:
            week_total = weight[week_bin]
            if week_total:
                expected = profile[week_bin]
        expects.append(expected)
        knows.append(total > 0)
        if late:
            paces.append(pace)
            ages.append(age)
            book[at : at + size] = book[at - size : at]
            continue

        # rhythm
        restart = k == 0 or (set_back and row == 0)
        if k <= 1:
            off, pace = 0, gap
        elif gap > pace * factor or gap * factor < pace:
            off += 1
            if off >= tuning.rhythm_readings:
                restart, pace = True, gap
        else:
            off = 0
            pace += 0.1 * (gap - pace)
        if restart:
            age = off = 0
            sf = recent = usual = there = run = rho = run_record = 0.0
            m = a
            if k == 0:
                slow = hi = lo = a
            pack(book, at - size, m, r_fast, sf, recent, usual, there, run, rho, run_record, slow, scale, hi, lo)
            restarts.add(row)
        paces.append(pace)
        ages.append(age)

        # learn
        share = gap / pace
        share = least if share < least else factor if share > factor else share
        w = pace / reference
        w = share if w > 1.0 else w * share
        one_n, one_age = 1.0 / (k + 1), 1.0 / (age + 1)
        fast = one_age if one_age > fast_rate else fast_rate
        floor = (slow if slow >= 0.0 else -slow) * floor_share + tiny
        sfe, sse = sf + floor, scale + floor
        d_fast, d_slow = a - m, a - slow
        a_fast = d_fast if d_fast >= 0.0 else -d_fast
        a_slow = d_slow if d_slow >= 0.0 else -d_slow
        lesson, day_lesson = a - expected, a - day
        r_fast += residual_rate * (lesson - r_fast)
        shrink = 0.0 if again and rho >= repeat else shrink_rate * w
        run_record -= run_record * shrink
        if again:
            run += 1.0
            rho += (one_age if one_age > slow_rate else slow_rate) * (1.0 - rho)
        else:
            if run > run_record:
                run_record = run
            run = 0.0
            rho += (one_age if one_age > slow_rate else slow_rate) * (0.0 - rho)
        bend = d - there
        if bend < 0.0:
            bend = -bend
        if age > settling:
            limit = fast_clip * (usual + scale * 1e-2 + tiny)
            if bend > limit:
                bend = limit
            limit = fast_clip * sfe
            if d_fast > limit:
                d_fast = limit
            elif d_fast < -limit:
                d_fast = -limit
            limit = 6.0 * sfe
            if a_fast > limit:
                a_fast = limit
        recent += (one_age if one_age > scatter_rate else scatter_rate) * (bend - recent)
        rate = slow_rate * w
        usual += (one_age if one_age > rate else rate) * (bend - usual)
        there = d
        m += fast * d_fast
        sf += (one_age if one_age > scale_rate else scale_rate) * (a_fast - sf)
        if k > settling:
            limit = profile_clip * sse
            if lesson > limit:
                lesson = limit
            elif lesson < -limit:
                lesson = -limit
            if day_lesson > limit:
                day_lesson = limit
            elif day_lesson < -limit:
                day_lesson = -limit
            limit = slow_clip * sse
            if d_slow > limit:
                d_slow = limit
            elif d_slow < -limit:
                d_slow = -limit
            if a_slow > limit:
                a_slow = limit
        rate = slow_rate * w
        slow += (one_n if one_n > rate else rate) * d_slow
        rate = scale_rate * w
        scale += (one_n if one_n > rate else rate) * (a_slow - scale)
        if a > hi:
            limit = hi + reach * (hi - lo + floor)
            hi = limit if k >= warm and limit < a else a
        elif a < lo:
            limit = lo - reach * (hi - lo + floor)
            lo = limit if k >= warm and limit > a else a
        part = int(w * UNIT) or 1
        least_rate = profile_rate * (part / UNIT)
        total += part
        rate = part / total
        profile[day_bin] = day + (rate if rate > least_rate else least_rate) * day_lesson
        weight[day_bin] = total if total < 255 * UNIT else 255 * UNIT
        if week:
            total = week_total + part
            rate = part / total
            if rate < least_rate:
                rate = least_rate
            profile[week_bin] = expected + (rate if week_total else tuning.first_week_share) * lesson
            weight[week_bin] = total if total < 255 * UNIT else 255 * UNIT
        age += 1
        pack(book, at, m, r_fast, sf, recent, usual, there, run, rho, run_record, slow, scale, hi, lo)
        m, r_fast, sf, recent, usual, there, run, rho, run_record, slow, scale, hi, lo = unpack(book, at)
        if pace != kept_pace:
            (pace,) = _ONE.unpack(_ONE.pack(pace))
            kept_pace = pace
    g[s.STEP] = pace
    state.marks[slot, s.OFF] = min(off, s.LONG)
    levels = np.frombuffer(book, "<f4").reshape(count + 1, s.LO + 1)
    return levels, np.array(paces), np.array(expects), np.array(knows), np.array(ages), restarts


def carry_records(  # noqa: C901, PLR0912, PLR0915 - as above
    state: State, plan: Plan, slot: int, turn: Turn, u: Floats, ones: Floats, restarts: set[int]
) -> NDArray[np.float32]:
    """Learn the records; return them before each reading and after the last."""
    tuning, size = plan.tuning, _RECORDS.size
    shrink, drift = aging(plan, turn)
    rates = center_rates(plan, turn, drift)
    reach = np.where(turn.n >= tuning.warm_readings, tuning.reach_widths, np.inf)
    reach_fast = np.where(turn.age >= tuning.warm_readings, tuning.reach_widths, np.inf)
    reach_ones = np.where(turn.age > tuning.warm_readings, tuning.reach_widths, np.inf)
    event = turn.older * _OLDER
    event |= (turn.n == tuning.start_readings) * _BEGIN | (turn.age == tuning.start_readings) * _BEGIN_JUMP
    event[list(restarts)] |= _RESTART
    book = bytearray(size * (len(turn.x) + 1))
    pack, unpack = _RECORDS.pack_into, _RECORDS.unpack_from
    book[:size] = state.floats[slot, s.HIGH.start :].tobytes()
    h0, h1, h2, l0, l1, l2, c0, c1, c2, t0, t1, t2, d0, d1, d2 = unpack(book, 0)
    least_0, least_1, least_2 = LEAST_SPANS.ravel().tolist()
    columns = (*u, *ones, shrink, *rates, reach, reach_fast, reach_ones, event)
    at = 0
    for a, b, c, p, q, r, sh, rate, rate_jump, rate_ones, far, far_fast, far_ones, what in zip(
        *(column.tolist() for column in columns), strict=True
    ):
        at += size
        if what:
            if what & _OLDER:
                book[at : at + size] = book[at - size : at]
                continue
            if what & _RESTART:
                h1, l1, c1 = h0, l0, c0
                pack(book, at - size, h0, h1, h2, l0, l1, l2, c0, c1, c2, t0, t1, t2, d0, d1, d2)
            if what & _BEGIN:
                h0 = l0 = c0 = a
                h1 = l1 = c1 = b
            if what & _BEGIN_JUMP:
                h2 = l2 = c2 = c
        c0 += rate * ((h0 if a > h0 else l0 if a < l0 else a) - c0)
        h0 -= (h0 - c0) * sh
        l0 -= (l0 - c0) * sh
        if a > h0:
            limit = h0 + far * ((h0 - l0) + abs(c0) * 1e-3 + TINY)
            h0 = limit if limit < a else a
        elif a < l0:
            limit = l0 - far * ((h0 - l0) + abs(c0) * 1e-3 + TINY)
            l0 = limit if limit > a else a
        c1 += rate * ((h1 if b > h1 else l1 if b < l1 else b) - c1)
        h1 -= (h1 - c1) * sh
        l1 -= (l1 - c1) * sh
        if b > h1:
            limit = h1 + far_fast * ((h1 - l1) + abs(c1) * 1e-3 + TINY)
            h1 = limit if limit < b else b
        elif b < l1:
            limit = l1 - far_fast * ((h1 - l1) + abs(c1) * 1e-3 + TINY)
            l1 = limit if limit > b else b
        c2 += rate_jump * ((h2 if c > h2 else l2 if c < l2 else c) - c2)
        h2 -= (h2 - c2) * sh
        l2 -= (l2 - c2) * sh
        if c > h2:
            limit = h2 + far_fast * ((h2 - l2) + abs(c2) * 1e-3 + TINY)
            h2 = limit if limit < c else c
        elif c < l2:
            limit = l2 - far_fast * ((h2 - l2) + abs(c2) * 1e-3 + TINY)
            l2 = limit if limit > c else c
        d0 += rate_ones * ((t0 if p > t0 else p) - d0)
        t0 -= (t0 - d0) * sh
        if p > t0:
            limit = t0 + far_ones * (t0 - d0 + 1e-3 * t0 + least_0)
            t0 = limit if limit < p else p
        d1 += rate_ones * ((t1 if q > t1 else q) - d1)
        t1 -= (t1 - d1) * sh
        if q > t1:
            limit = t1 + far_ones * (t1 - d1 + 1e-3 * t1 + least_1)
            t1 = limit if limit < q else q
        d2 += rate_ones * ((t2 if r > t2 else r) - d2)
        t2 -= (t2 - d2) * sh
        if r > t2:
            limit = t2 + far_ones * (t2 - d2 + 1e-3 * t2 + least_2)
            t2 = limit if limit < r else r
        pack(book, at, h0, h1, h2, l0, l1, l2, c0, c1, c2, t0, t1, t2, d0, d1, d2)
        h0, h1, h2, l0, l1, l2, c0, c1, c2, t0, t1, t2, d0, d1, d2 = unpack(book, at)
    return np.frombuffer(book, "<f4").reshape(len(turn.x) + 1, s.FLOATS - s.HIGH.start)
