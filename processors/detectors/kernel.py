"""This module is one step of the novelty bank: score and learn one reading of each of many series at once.

Every channel is a *record novelty*: how far its value leaves the interval that it has stayed in so far, relative to
that interval's width. Formulas and constants are those of the study (evidence/anomaly.md, section 7), with three
additions for the field:

* *Elapsed time.* Where readings come faster than the reference interval, the slow statistics (profile, slow level,
  records' contraction) learn each reading by that much less. At or above it, all is per reading, as studied.
* *Rhythm.* When a series' interval changes for good by more than a factor, all that is per reading (fast level,
  scatter, runs, JUMP, SHIFT, NOISE) starts anew; SUSTAIN takes over the record of SEASON, which bounds it; RANGE and
  the profile go on. So a city that published its past in 5-minute steps and goes on in seconds raises no storm.
* *Older readings.* A reading not measured after the newest of its series is scored on RANGE and SEASON only, and
  teaches nothing: order is what the other channels are about.

Only float32 operations that IEEE 754 defines exactly are used (`processors.detectors.exact` has the logarithm), so
results depend on no batch size and no processor. `processors.detectors.single` is the same step for one reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from processors.detectors import state as s
from processors.detectors.contract import Reason
from processors.detectors.exact import ln

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from processors.detectors.contract import Scores
    from processors.detectors.settings import NoveltySettings
    from processors.detectors.state import State

__all__ = ["CEILING", "HOUR_NS", "LIMIT", "SETTLING", "TINY", "UNIT", "Plan", "step"]

HOUR_NS = 3_600_000_000_000
LIMIT = 1e30  # larger magnitudes would overflow float32 on the way: treated like infinity
CEILING = np.float32(1e6)  # of severity: keeps infinity, and so 0 * infinity, out
TINY = np.float32(1e-9)
SETTLING = 20  # readings in which nothing is clipped
UNIT = 256  # profile weights are counted in 1/256 readings
_RECIPROCALS = 65_536
_f4 = np.float32


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The settings of a bank, in the types and shapes of the arithmetic."""

    week: bool
    warm: int
    start: int
    fast: np.float32
    slow: np.float32
    scale: np.float32
    profile: np.float32
    clip: np.float32
    shrink: np.float32
    reference: np.float32
    factor: np.float32
    rhythm: int
    rest: int
    rearm: np.float32
    gain: NDArray[np.float32]
    reciprocal: NDArray[np.float32]

    @classmethod
    def of(cls, settings: NoveltySettings) -> Plan:
        """Translate *settings*."""
        levels = settings.thresholds
        gain = np.array([1.0 / getattr(levels, reason.name.lower()) for reason in Reason]).astype(_f4)
        return cls(
            week=settings.profile == "week",
            warm=settings.warm_readings,
            start=settings.start_readings,
            fast=_f4(settings.fast_rate),
            slow=_f4(settings.slow_rate),
            scale=_f4(settings.scale_rate),
            profile=_f4(settings.profile_rate),
            clip=_f4(settings.profile_clip_scales),
            shrink=_f4(1) - _f4(0.5 ** (1.0 / settings.half_life_readings)),
            reference=_f4(settings.reference_seconds),
            factor=_f4(settings.rhythm_factor),
            rhythm=settings.rhythm_readings,
            rest=settings.rest_readings,
            rearm=_f4(settings.rearm_factor),
            gain=gain,
            reciprocal=(1.0 / np.maximum(np.arange(_RECIPROCALS), 1)).astype(_f4),
        )

    @property
    def bins(self) -> int:
        """Return the length of a series' profile."""
        return 24 + 168 * self.week

    def one_over(self, n: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return 1/n, float32, with n kept in [1, 65535]."""
        return self.reciprocal[np.minimum(np.maximum(n, 1), _RECIPROCALS - 1)]


def _clip(x: NDArray[np.float32], limit: NDArray[np.float32], free: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return *x* kept within +-*limit*, except where *free*."""
    return np.where(free, x, np.minimum(np.maximum(x, -limit), limit))


def step(  # noqa: PLR0915 - one formula sheet; parts would hide the order that the exactness rests on
    state: State,
    plan: Plan,
    slot: NDArray[np.int32],
    measured: NDArray[np.int64],
    value: NDArray[np.float64],
    out: Scores,
    rows: NDArray[np.intp],
) -> None:
    """Score and learn one reading of each series in *slot* (all different), writing to *rows* of *out*."""
    g = np.ascontiguousarray(state.floats[slot].T)
    n, age, quiet, off = np.ascontiguousarray(state.counts[slot].T)
    x = value.astype(_f4) + _f4(0)  # no negative zero: which of two zeros is the larger is anybody's choice
    new = n == 0
    elapsed = measured - state.last_ns[slot]
    older = (elapsed <= 0) & ~new

    # rhythm
    seconds = np.where(new, plan.reference, (elapsed * 1e-9).astype(_f4))
    pace = g[s.STEP]
    other = (seconds > pace * plan.factor) | (seconds * plan.factor < pace)
    first = n <= 1
    off = np.where(other & ~first, off + 1, 0)
    changed = off >= plan.rhythm
    pace = np.where(first | changed, seconds, np.where(other, pace, pace + _f4(0.1) * (seconds - pace)))
    restart = (changed & ~older) | new
    if restart.any():
        again = np.flatnonzero(restart)
        age[again] = 0
        off[again] = 0
        g[s.S_FAST : s.M_SLOW, again] = 0
        g[s.M_FAST, again] = x[again]
        for record in (s.HIGH, s.LOW, s.MID):
            g[record.start + 1, again] = g[record.start, again]
        fresh = np.flatnonzero(new)
        g[s.M_SLOW, fresh] = g[s.HI, fresh] = g[s.LO, fresh] = x[fresh]
    m, r_fast, sf, v, run, rho, run_record, slow, scale, hi, lo = g[: s.LO + 1]

    # rates
    w = np.minimum(seconds / plan.reference, _f4(1))
    one_n, one_age = plan.one_over(n + 1), plan.one_over(age + 1)
    fast, fast_scale = np.maximum(plan.fast, one_age), np.maximum(plan.scale, one_age)
    shrink = plan.shrink * w
    eps = np.abs(slow) * _f4(1e-3) + TINY
    sfe, sse = sf + eps, scale + eps
    d_fast, d_slow = x - m, x - slow
    a_fast, a_slow = np.abs(d_fast), np.abs(d_slow)

    # profile
    hour = measured // HOUR_NS
    day_bin = slot.astype(np.int64) * plan.bins + hour % 24
    p_flat, w_flat = state.profile.reshape(-1), state.weight.reshape(-1)
    day_weight = w_flat[day_bin]
    unknown = day_weight == 0
    day = np.where(unknown, x, p_flat[day_bin])
    expected = day
    if plan.week:
        week_bin = day_bin - hour % 24 + 24 + hour % 168
        week_weight = w_flat[week_bin]
        first_week = week_weight == 0
        expected = np.where(first_week, day, p_flat[week_bin])
    r = x - expected
    r_next = r_fast + _f4(0.1) * (r - r_fast)

    # RANGE
    judged, rhythmic = n >= plan.warm, age >= plan.warm
    best = np.maximum(np.maximum(x - hi, lo - x), _f4(0)) / (hi - lo + eps) * plan.gain[Reason.RANGE]
    best = np.where(judged, best, _f4(0))
    reason = np.zeros(len(x), np.int8)

    # SEASON, SUSTAIN, JUMP; where an hour has many readings its end is a step of the profile, not of the value: there
    # a jump must surprise the last readings too
    surprise = r - r_fast
    brisk = (pace * plan.factor < plan.reference) & (a_fast < np.abs(surprise))
    jump = np.where(brisk, d_fast, surprise)
    u = np.stack([r, r_next, jump])
    high, low, mid = g[s.HIGH], g[s.LOW], g[s.MID]
    begin = np.stack([n == plan.start, n == plan.start, age == plan.start])
    np.copyto(high, u, where=begin)
    np.copyto(low, u, where=begin)
    np.copyto(mid, u, where=begin)
    seen = np.stack([n, n, age]) - plan.start
    mid += np.maximum(plan.slow * w, plan.one_over(seen + 1)) * (np.minimum(np.maximum(u, low), high) - mid)
    high -= (high - mid) * shrink
    low -= (low - mid) * shrink
    e = np.maximum(np.maximum(u - high, low - u), _f4(0)) / ((high - low) + np.abs(mid) * _f4(1e-3) + TINY)
    band_low, band_high = expected + low[0], expected + high[0]
    np.maximum(high, u, out=high)
    np.minimum(low, u, out=low)
    in_order = rhythmic & ~older
    for k, (channel, awake) in enumerate(
        ((Reason.SEASON, judged), (Reason.SUSTAIN, in_order), (Reason.JUMP, in_order))
    ):
        score = np.where(awake, e[k] * plan.gain[channel], _f4(0))
        reason[score > best] = channel
        best = np.maximum(best, score)

    # SHIFT, NOISE; the first usable value only begins the record
    u = np.stack([np.abs(m - slow) / sse, np.abs(ln((v + _f4(0.05) * sf + eps) / sfe))])
    u = np.where(rhythmic, np.minimum(u, CEILING), _f4(0))
    top, top_mid = g[s.TOP], g[s.TOP_MID]
    e = np.maximum((u - top) / (top - top_mid + _f4(1e-3) * top + TINY), _f4(0))
    e = np.where(in_order & (age > plan.warm), e, _f4(0))
    top_mid += np.maximum(plan.slow * w, one_age) * (np.minimum(u, top) - top_mid)
    top -= (top - top_mid) * shrink
    np.maximum(top, u, out=top)
    for k, channel in enumerate((Reason.SHIFT, Reason.NOISE)):
        score = e[k] * plan.gain[channel]
        reason[score > best] = channel
        best = np.maximum(best, score)

    # FLAT
    same = (value == state.last_value[slot]) & ~new
    run_next = (run + _f4(1)) * same
    rarity = ln(np.maximum(rho, _f4(1e-3))) * _f4(-0.4342945 / 8)  # -log10, an eighth of it
    score = run_next * rarity * plan.gain[Reason.FLAT]
    score = np.where((run_next > _f4(1.5) * run_record + _f4(3)) & in_order, score, _f4(0))
    reason[score > best] = Reason.FLAT
    best = np.minimum(np.maximum(best, score), CEILING) + _f4(0)

    # after an alert, silence, unless it gets worse
    quiet += 1
    hot = best >= 1
    mute = hot & (quiet <= plan.rest) & (best <= plan.rearm * g[s.PEAK])
    fire = hot & ~mute
    out.raw[rows] = best
    out.severity[rows] = np.where(mute, _f4(0), best)
    out.reason[rows] = reason
    known = (n > plan.start) & ~unknown
    band_low, band_high = np.maximum(band_low, lo), np.minimum(band_high, hi)
    out.expected[rows] = np.where(known, expected, _f4(np.nan))
    out.low[rows] = np.where(known, np.minimum(band_low, band_high), _f4(np.nan))
    out.high[rows] = np.where(known, np.maximum(band_low, band_high), _f4(np.nan))

    # learn
    quiet[fire] = 0
    np.copyto(g[s.PEAK], best, where=fire)
    young, settling = age <= SETTLING, n <= SETTLING
    slow_rate, slow_scale = np.maximum(plan.slow * w, one_n), np.maximum(plan.scale * w, one_n)
    run_record -= run_record * shrink
    np.maximum(run_record, run * ~same, out=run_record)  # only finished runs
    rho += np.maximum(plan.slow, one_age) * (same - rho)
    v += fast * (a_fast - v)
    m += fast * _clip(d_fast, _f4(9) * sfe, young)
    sf += fast_scale * (_clip(a_fast, _f4(6) * sfe, young) - sf)
    slow += slow_rate * _clip(d_slow, _f4(3) * sse, settling)
    lesson = _clip(r, plan.clip * sse, settling)
    scale += slow_scale * (_clip(a_slow, _f4(3) * sse, settling) - scale)
    np.maximum(hi, x, out=hi)
    np.minimum(lo, x, out=lo)
    r_fast[:] = r_next
    run[:] = run_next
    g[s.STEP] = pace

    if older.any():
        keep = np.flatnonzero(~older)
        slot, measured, value, g, n, age, quiet, off = (
            slot[keep], measured[keep], value[keep], g[:, keep], n[keep], age[keep], quiet[keep], off[keep]
        )  # fmt: skip
        day_bin, day_weight, day, w, x, lesson = (
            day_bin[keep], day_weight[keep], day[keep], w[keep], x[keep], lesson[keep]
        )  # fmt: skip
        if plan.week:
            week_bin, week_weight, first_week = week_bin[keep], week_weight[keep], first_week[keep]
            expected = expected[keep]
    part = np.maximum((w * _f4(UNIT)).astype(np.int32), 1)
    share = part.astype(_f4) / _f4(UNIT)
    total = day_weight.astype(np.int32) + part
    p_flat[day_bin] = day + np.maximum(plan.profile * share, share / (total.astype(_f4) / _f4(UNIT))) * (x - day)
    w_flat[day_bin] = np.minimum(total, 255 * UNIT)
    if plan.week:
        total = week_weight.astype(np.int32) + part
        gain = np.maximum(plan.profile * share, share / (total.astype(_f4) / _f4(UNIT)))
        p_flat[week_bin] = expected + np.where(first_week, _f4(0.5), gain) * lesson
        w_flat[week_bin] = np.minimum(total, 255 * UNIT)
    state.floats[slot] = g.T
    state.counts[slot] = np.stack([n + 1, age + 1, quiet, off], axis=1)
    state.last_ns[slot] = measured
    state.last_value[slot] = value
