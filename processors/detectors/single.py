"""This module is the step of the novelty bank for a run of readings of one series, one after the other.

A step of the kernel costs about as much for one series as for a hundred: a burst of one sensor would be a cliff.
Here the same formulas run on float32 scalars, operation by operation in the kernel's order; the property tests hold
both to the same bits. Read `processors.detectors.kernel` for what the formulas mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from processors.detectors import state as s
from processors.detectors.contract import Reason
from processors.detectors.exact import ln
from processors.detectors.kernel import CEILING, HOUR_NS, SETTLING, TINY, UNIT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from processors.detectors.contract import Scores
    from processors.detectors.kernel import Plan
    from processors.detectors.state import State

__all__ = ["walk"]

_f4 = np.float32
_ZERO = _f4(0)
_ONE = _f4(1)
_TENTH = _f4(0.1)
_MILLI = _f4(1e-3)
_NAN = _f4(np.nan)


def _ln(x: np.float32) -> np.float32:
    return ln(np.array([x], _f4))[0]  # type: ignore[no-any-return]


def _clip(x: Any, limit: Any, *, free: bool) -> Any:
    if free:
        return x
    return min(max(x, -limit), limit)


def walk(  # noqa: C901, PLR0912, PLR0915 - the kernel's formula sheet once more, in the same order
    state: State,
    plan: Plan,
    slot: int,
    measured: NDArray[np.int64],
    value: NDArray[np.float64],
    out: Scores,
    rows: NDArray[np.intp],
) -> None:
    """Score and learn readings of the series in *slot*, one after the other, writing to *rows* of *out*."""
    g: list[Any] = list(state.floats[slot])
    n, age, quiet, off = state.counts[slot].tolist()
    last_ns, last_value = int(state.last_ns[slot]), float(state.last_value[slot])
    profile, weight = state.profile[slot], state.weight[slot]
    triples = tuple(
        (s.HIGH.start + k, s.LOW.start + k, s.MID.start + k, channel)
        for k, channel in enumerate((Reason.SEASON, Reason.SUSTAIN, Reason.JUMP))
    )
    pairs = ((s.TOP.start, s.TOP_MID.start, Reason.SHIFT), (s.TOP.start + 1, s.TOP_MID.start + 1, Reason.NOISE))
    gains, inverse, last_inverse = plan.gain, plan.reciprocal, len(plan.reciprocal) - 1
    for row, at, number in zip(rows.tolist(), measured.tolist(), value.tolist(), strict=True):
        x = _f4(number) + _ZERO
        new = n == 0
        elapsed = at - last_ns
        older = elapsed <= 0 and not new
        kept = (g.copy(), n, age, quiet, off) if older else None

        # rhythm
        seconds = plan.reference if new else _f4(elapsed * 1e-9)
        pace = g[s.STEP]
        other = seconds > pace * plan.factor or seconds * plan.factor < pace
        off = off + 1 if other and n > 1 else 0
        changed = off >= plan.rhythm
        if n <= 1 or changed:
            pace = seconds
        elif not other:
            pace += _TENTH * (seconds - pace)
        if (changed and not older) or new:
            age = off = 0
            g[s.S_FAST : s.M_SLOW] = [_ZERO] * (s.M_SLOW - s.S_FAST)
            g[s.M_FAST] = x
            for record in (s.HIGH, s.LOW, s.MID):
                g[record.start + 1] = g[record.start]
            if new:
                g[s.M_SLOW] = g[s.HI] = g[s.LO] = x
        m, r_fast, sf, v, run, rho, run_record, slow, scale, hi, lo = g[: s.LO + 1]

        # rates
        w = min(seconds / plan.reference, _ONE)
        one_n, one_age = inverse[min(n + 1, last_inverse)], inverse[min(age + 1, last_inverse)]
        fast, fast_scale = max(plan.fast, one_age), max(plan.scale, one_age)
        shrink = plan.shrink * w
        eps = abs(slow) * _MILLI + TINY
        sfe, sse = sf + eps, scale + eps
        d_fast, d_slow = x - m, x - slow
        a_fast, a_slow = abs(d_fast), abs(d_slow)
        drift = plan.slow * w

        # profile
        hour = at // HOUR_NS
        day_bin, week_bin = hour % 24, 24 + hour % 168
        day_weight = int(weight[day_bin])
        day = profile[day_bin] if day_weight else x
        expected, week_weight = day, 0
        if plan.week:
            week_weight = int(weight[week_bin])
            if week_weight:
                expected = profile[week_bin]
        r = x - expected
        r_next = r_fast + _TENTH * (r - r_fast)

        # RANGE
        judged, rhythmic = n >= plan.warm, age >= plan.warm
        in_order = rhythmic and not older
        best, reason = _ZERO, 0
        if judged:
            best = max(x - hi, lo - x, _ZERO) / (hi - lo + eps) * gains[Reason.RANGE]

        # SEASON, SUSTAIN, JUMP
        surprise = r - r_fast
        brisk = pace * plan.factor < plan.reference and a_fast < abs(surprise)
        band_low = band_high = _ZERO
        for (high, low, mid, channel), u, k, awake in zip(
            triples, (r, r_next, d_fast if brisk else surprise), (n, n, age), (judged, in_order, in_order), strict=True
        ):
            top, bottom, center = (u, u, u) if k == plan.start else (g[high], g[low], g[mid])
            rate = max(drift, inverse[min(max(k - plan.start + 1, 1), last_inverse)])
            center += rate * (min(max(u, bottom), top) - center)
            top -= (top - center) * shrink
            bottom -= (bottom - center) * shrink
            if channel == Reason.SEASON:
                band_low, band_high = expected + bottom, expected + top
            if awake:
                e = max(u - top, bottom - u, _ZERO) / ((top - bottom) + abs(center) * _MILLI + TINY)
                score = e * gains[channel]
                if score > best:
                    best, reason = score, int(channel)
            g[high], g[low], g[mid] = max(top, u), min(bottom, u), center

        # SHIFT, NOISE
        rate = max(drift, one_age)
        us = (_ZERO, _ZERO)
        if rhythmic:
            us = (min(abs(m - slow) / sse, CEILING), min(abs(_ln((v + _f4(0.05) * sf + eps) / sfe)), CEILING))
        for (high, mid, channel), u in zip(pairs, us, strict=True):
            top, center = g[high], g[mid]
            if in_order and age > plan.warm:
                score = max((u - top) / (top - center + _MILLI * top + TINY), _ZERO) * gains[channel]
                if score > best:
                    best, reason = score, int(channel)
            center += rate * (min(u, top) - center)
            top -= (top - center) * shrink
            g[high], g[mid] = max(top, u), center

        # FLAT
        same = number == last_value and not new
        run_next = run + _ONE if same else _ZERO
        if in_order and run_next > _f4(1.5) * run_record + _f4(3):
            score = run_next * (_ln(max(rho, _MILLI)) * _f4(-0.4342945 / 8)) * gains[Reason.FLAT]
            if score > best:
                best, reason = score, int(Reason.FLAT)
        best = min(best, CEILING) + _ZERO

        # after an alert, silence, unless it gets worse
        quiet += 1
        hot = best >= 1
        mute = hot and quiet <= plan.rest and best <= plan.rearm * g[s.PEAK]
        out.raw[row], out.severity[row], out.reason[row] = best, _ZERO if mute else best, reason
        if n > plan.start and day_weight:
            band_low, band_high = max(band_low, lo), min(band_high, hi)
            out.expected[row] = expected
            out.low[row], out.high[row] = min(band_low, band_high), max(band_low, band_high)
        if kept is not None:
            g, n, age, quiet, off = kept
            continue

        # learn
        if hot and not mute:
            quiet, g[s.PEAK] = 0, best
        young, settling = age <= SETTLING, n <= SETTLING
        slow_rate, slow_scale = max(drift, one_n), max(plan.scale * w, one_n)
        run_record -= run_record * shrink
        g[s.RUN_RECORD] = run_record if same else max(run_record, run)
        g[s.RHO] = rho + max(plan.slow, one_age) * (_f4(same) - rho)
        g[s.V_FAST] = v + fast * (a_fast - v)
        g[s.M_FAST] = m + fast * _clip(d_fast, _f4(9) * sfe, free=young)
        g[s.S_FAST] = sf + fast_scale * (_clip(a_fast, _f4(6) * sfe, free=young) - sf)
        g[s.M_SLOW] = slow + slow_rate * _clip(d_slow, _f4(3) * sse, free=settling)
        lesson = _clip(r, plan.clip * sse, free=settling)
        g[s.S_SLOW] = scale + slow_scale * (_clip(a_slow, _f4(3) * sse, free=settling) - scale)
        g[s.HI], g[s.LO] = max(hi, x), min(lo, x)
        g[s.R_FAST], g[s.RUN], g[s.STEP] = r_next, run_next, pace
        part = max(int(w * _f4(UNIT)), 1)
        share = _f4(part) / _f4(UNIT)
        total = day_weight + part
        profile[day_bin] = day + max(plan.profile * share, share / (_f4(total) / _f4(UNIT))) * (x - day)
        weight[day_bin] = min(total, 255 * UNIT)
        if plan.week:
            total = week_weight + part
            gain = max(plan.profile * share, share / (_f4(total) / _f4(UNIT))) if week_weight else _f4(0.5)
            profile[week_bin] = expected + gain * lesson
            weight[week_bin] = min(total, 255 * UNIT)
        n, age, last_ns, last_value = n + 1, age + 1, at, number

    state.floats[slot] = g
    state.counts[slot] = (n, age, quiet, off)
    state.last_ns[slot], state.last_value[slot] = last_ns, last_value
