"""This module carries rhythm, levels and records of one series from reading to reading, on plain floats.

It is the learning half of `processors.detectors.kernel`, in the same order, operation by operation; state is rounded
to float32 after each reading, as when it is stored. A reading costs about 3 µs here, so comparisons are spelled out (a
call of `min` or `max` costs three times as much), and rates are looked at only where they change.
"""
# ruff: noqa: FURB136, PLR1730

from __future__ import annotations

import math
import struct
from itertools import islice, pairwise
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
    clips,
    fast_rates,
    reaches,
    slow_rates,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from processors.detectors.formulas import Counts, Flags, Floats
    from processors.detectors.state import State

__all__ = ["carry_levels", "carry_records", "carry_rhythm"]

# of the machine's own byte order: these are packed and unpacked faster than little-endian ones
_LEVELS = struct.Struct(f"{s.LO + 3}f")  # M_FAST … LO, as in the state, and the profile of this hour: day, week
_ONE = struct.Struct("f")
_RECORDS = struct.Struct(f"{s.FLOATS - s.HIGH.start}f")  # HIGH … TOP_MID
_SWAY, _CHANGE, _OLDER, _RESTART, _BEGIN, _BEGIN_JUMP = 1, 2, 4, 8, 16, 32  # all but the first are rare


def _changes(flag: int, *rows: Floats) -> tuple[NDArray[np.int64], Iterator[tuple[float, ...]]]:
    """Return where a column of *rows* is not the one before, as *flag*, and these columns: rates seldom change."""
    table = np.array(rows)
    change = np.full(table.shape[1], flag)
    change[1:] *= (table[:, 1:] != table[:, :-1]).any(axis=0)
    return change, struct.iter_unpack(f"{len(rows)}d", table.T[change > 0].tobytes())


def carry_rhythm(
    state: State, plan: Plan, slot: int, seconds: Floats, older: Flags, n: Counts, *, set_back: bool
) -> tuple[Floats, Flags]:
    """Learn the usual interval; return it with each reading, and where a rhythm begins."""
    factor, patience = plan.tuning.rhythm_factor, plan.tuning.rhythm_readings
    pace, off = float(state.floats[slot, s.STEP]), int(state.marks[slot, s.OFF])
    paces, restart = [], np.zeros(len(seconds), np.bool_)
    restart[0] = set_back or n[0] == 0
    never = now = math.nan  # `now` is the pace before it is rounded
    still = never  # an interval that leaves the rounded pace as it is
    for row, (gap, late, k) in enumerate(zip(seconds.tolist(), older.tolist(), n.tolist(), strict=True)):
        if late:
            now, still = pace, never
        elif gap != still:
            now = pace
            if k <= 1:
                off, now = 0, gap
            elif gap > pace * factor or gap * factor < pace:
                off += 1
                if off >= patience:
                    off, now, restart[row] = 0, gap, True
            else:
                off = 0
                now += 0.1 * (gap - pace)
            (kept,) = _ONE.unpack(_ONE.pack(now))
            still = gap if kept == pace and k > 1 and off == 0 else never
            pace = kept
        paces.append(now)
    state.floats[slot, s.STEP], state.marks[slot, s.OFF] = pace, off
    return np.array(paces), restart


def carry_levels(  # noqa: C901, PLR0912, PLR0915 - the kernel's formula sheet once more, in the same order
    state: State, plan: Plan, slot: int, turn: Turn, measured: NDArray[np.int64], restart: Flags
) -> None:
    """Learn all but rhythm and records; set what *turn* is to know of them and of the profile before each reading."""
    tuning, size, count = plan.tuning, _LEVELS.size, len(turn.x)
    book = bytearray(size * (count + 1))
    pack, unpack = _LEVELS.pack_into, _LEVELS.unpack_from
    book[: 4 * (s.LO + 1)] = state.floats[slot, : s.LO + 1].tobytes()
    m, r_fast, sf, recent, usual, there, run, rho, run_record, slow, scale, hi, lo, _, weekly = unpack(book, 0)
    if turn.n[0] == 0:
        slow = hi = lo = float(turn.x[0])
    profile, weight = memoryview(state.profile[slot]), memoryview(state.weight[slot])
    hour = measured // HOUR_NS
    edges = [0, *(np.flatnonzero(hour[1:] != hour[:-1]) + 1).tolist(), count]
    change, changes = _changes(_CHANGE, *fast_rates(plan, turn), *clips(plan, turn), reaches(plan, turn)[0])
    sway, sways = _changes(_SWAY, *slow_rates(plan, turn), plan.shrink * turn.w)
    expects: list[float] = []
    unknown: list[int] = []
    tiny, full, week, first_share = TINY, 255.0 * UNIT, plan.week, tuning.first_week_share
    residual_rate, repeat, floor_share = tuning.residual_rate, tuning.repeat_share, tuning.floor_share
    at, week_total = 0, 0.0
    readings = zip(
        turn.x.tolist(),
        (turn.x - turn.last).tolist(),
        turn.same.tolist(),
        (change | sway | turn.older * _OLDER | restart * _RESTART).tolist(),
        strict=True,
    )
    for begin, end in pairwise(edges):  # hour by hour: what is expected of it stays at hand
        when = int(hour[begin])
        day_bin, week_bin = when % 24, 24 + when % 168
        day, total = profile[day_bin], float(weight[day_bin])
        if week:
            weekly, week_total = profile[week_bin], float(weight[week_bin])
        for a, d, again, what in islice(readings, end - begin):
            at += size
            if not total:
                day = a
                unknown.append(len(expects))
            expected = weekly if week_total else day
            expects.append(expected)
            if what & _SWAY:
                rate_usual, rate_slow, rate_slow_scale, part, least, shrink = next(sways)
            if what > _SWAY:
                if what & _CHANGE:
                    (
                        rate_fast, rate_scale, rate_rho, rate_recent,
                        clip_fast, clip_scale, clip_slow, clip_profile, reach,
                    ) = next(changes)  # fmt: skip
                if what & _OLDER:
                    book[at : at + size] = book[at - size : at]
                    continue
                if what & _RESTART:
                    sf = recent = usual = there = run = rho = run_record = 0.0
                    m = a
                    pack(book, at - size, m, r_fast, 0, 0, 0, 0, 0, 0, 0, slow, scale, hi, lo, 0, 0)

            floor = (slow if slow >= 0.0 else -slow) * floor_share + tiny
            sfe, sse = sf + floor, scale + floor
            lesson = a - expected
            r_fast += residual_rate * (lesson - r_fast)
            if again:
                if rho < repeat:
                    run_record -= run_record * shrink
                run += 1.0
                rho += rate_rho * (1.0 - rho)
            else:
                run_record -= run_record * shrink
                if run > run_record:
                    run_record = run
                run = 0.0
                rho -= rate_rho * rho
            bend = d - there
            if bend < 0.0:
                bend = -bend
            limit = clip_fast * (usual + scale * 1e-2 + tiny)
            if bend > limit:
                bend = limit
            recent += rate_recent * (bend - recent)
            usual += rate_usual * (bend - usual)
            d_fast = a - m
            size_fast = d_fast if d_fast >= 0.0 else -d_fast
            limit = clip_fast * sfe
            if size_fast > limit:
                d_fast = limit if d_fast > 0.0 else -limit
            limit = clip_scale * sfe
            m += rate_fast * d_fast
            sf += rate_scale * ((limit if size_fast > limit else size_fast) - sf)
            d_slow = a - slow
            size_slow = d_slow if d_slow >= 0.0 else -d_slow
            limit = clip_slow * sse
            if size_slow > limit:
                size_slow = limit
                d_slow = limit if d_slow > 0.0 else -limit
            slow += rate_slow * d_slow
            scale += rate_slow_scale * (size_slow - scale)
            if a > hi:
                limit = hi + reach * (hi - lo + floor)
                hi = limit if limit < a else a
            elif a < lo:
                limit = lo - reach * (hi - lo + floor)
                lo = limit if limit > a else a
            limit = clip_profile * sse
            if lesson > limit:
                lesson = limit
            elif lesson < -limit:
                lesson = -limit
            if week:
                rate = first_share
                if week_total:
                    rate = part / (week_total + part)
                    if rate < least:
                        rate = least
                weekly = expected + rate * lesson
                week_total += part
                if week_total > full:
                    week_total = full
                lesson = a - day
                if lesson > limit:
                    lesson = limit
                elif lesson < -limit:
                    lesson = -limit
            total += part
            rate = part / total
            day += (rate if rate > least else least) * lesson
            if total > full:
                total = full
            pack(book, at, m, r_fast, sf, recent, usual, d, run, rho, run_record, slow, scale, hi, lo, day, weekly)
            (
                m, r_fast, sf, recent, usual, there, run, rho, run_record, slow, scale, hi, lo, day, weekly,
            ) = unpack(book, at)  # fmt: skip
        if total:
            profile[day_bin], weight[day_bin] = day, int(total)
        if week_total:
            profile[week_bin], weight[week_bin] = weekly, int(week_total)
    levels = np.frombuffer(book, np.float32).reshape(count + 1, -1)[:, : s.LO + 1]
    turn.g[: s.LO + 1] = levels[:-1].T
    turn.expected[:] = expects
    turn.known[unknown] = False
    state.floats[slot, : s.LO + 1] = levels[-1]


def carry_records(  # noqa: C901, PLR0912, PLR0915 - as above
    state: State,
    plan: Plan,
    slot: int,
    turn: Turn,
    u: Floats,
    ones: Floats,
    aged: tuple[Floats, Floats, Floats, Floats],
    restart: Flags,
) -> None:
    """Learn the records; set what *turn* is to know of them before each reading."""
    tuning, size = plan.tuning, _RECORDS.size
    change, changes = _changes(_CHANGE, *reaches(plan, turn))
    sway, sways = _changes(_SWAY, *aged)
    change |= sway | turn.older * _OLDER | restart * _RESTART
    change |= (turn.n == tuning.start_readings) * _BEGIN | (turn.age == tuning.start_readings) * _BEGIN_JUMP
    book = bytearray(size * (len(turn.x) + 1))
    pack, unpack = _RECORDS.pack_into, _RECORDS.unpack_from
    book[:size] = state.floats[slot, s.HIGH.start :].tobytes()
    h0, h1, h2, l0, l1, l2, c0, c1, c2, t0, t1, t2, d0, d1, d2 = unpack(book, 0)
    least_0, least_1, least_2 = LEAST_SPANS.ravel().tolist()
    at = 0
    for a, b, c, p, q, r, what in zip(*u.tolist(), *ones.tolist(), change.tolist(), strict=True):
        at += size
        if what & _SWAY:
            sh, rate, rate_jump, rate_ones = next(sways)
        if what > _SWAY:
            if what & _CHANGE:
                far, far_fast, far_ones = next(changes)
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
    records = np.frombuffer(book, np.float32).reshape(len(turn.x) + 1, -1)
    turn.g[s.HIGH.start :] = records[:-1].T
    state.floats[slot, s.HIGH.start :] = records[-1]
