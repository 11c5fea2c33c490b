"""This module is what the novelty bank computes of readings whose prior state is known: channel values and severity.

Every channel is a *record novelty*: how far its value leaves the interval that it has stayed in so far, relative to
that interval's width. Formulas are those of the study (evidence/anomaly.md, section 7), with these additions:

* *Elapsed time.* The slow statistics (profile, slow level, records' contraction) learn by elapsed time in units of the
  series' usual interval, up to `rhythm_factor` either way; where that is below the reference, by that much less.
* *Rhythm.* When a series' interval changes for good by more than a factor, all that is per reading (fast level,
  scatter, runs, JUMP, SHIFT, NOISE) starts anew; SUSTAIN takes over the record of SEASON, which bounds it; RANGE and
  the profile go on. So a city that published its past in 5-minute steps and goes on in seconds raises no storm.
* *Older readings.* A reading not measured after the newest of its series is scored on RANGE and SEASON only, and
  teaches nothing: order is what the other channels are about. After `older_readings` of them in a row time has been
  set back (or once was wrong): that is a new rhythm, and they are learned.
* *Repetition.* Where nearly every reading repeats the one before (doors, rain, lamps), a repetition is no news: records
  do not age by it.
* *Spike and noise.* Both look at how a reading lies between its neighbours in time, in usual bends of the series (mean
  second difference, slow and fast), so a day's course is nothing to them. A spike is known by its way back: it is told
  by the reading after it. Both are judged once the series has been followed for `scatter_days`.
* *Severity.* Severity 1 is where a channel says "alert". Above it tails differ, so each channel has its own power, by
  which equal severities are about equally rare: RANGE the fourth root, NOISE the square, the others as they are. An
  alert is worse by the square root for RANGE, when it comes to breaking the silence after an alert.
* *Reach.* A record gives way by a few of its widths at once, so one absurd value does not blind a channel for years.

All is float64, rounded to float32 where it is kept; only operations that IEEE 754 defines exactly are used
(`processors.detectors.exact` has the logarithm), and in what is kept none that must tell two zeros apart. So rows may
be different series at one moment (`kernel`) or one series at different moments (`single`): the bits are the same.
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
    from processors.detectors.settings import NoveltyTuning

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Counts = NDArray[np.integer]

__all__ = [
    "HOUR_NS",
    "LEAST_SPANS",
    "LIMIT",
    "SETTLING",
    "TINY",
    "UNIT",
    "Judged",
    "Plan",
    "Turn",
    "aging",
    "clips",
    "fast_rates",
    "judge",
    "reaches",
    "signals",
    "slow_rates",
    "tell",
    "weigh",
]

HOUR_NS = 3_600_000_000_000
LIMIT = 1e30  # larger magnitudes would overflow float32 on the way: treated like infinity
CEILING = 1e6  # of a score: keeps infinity out
TINY = 1e-9
SETTLING = 20  # readings in which nothing is clipped
LEAST_SPANS = np.array([[TINY], [1.0], [1.0]])  # of the records of SHIFT, NOISE, SPIKE
UNIT = 256  # profile weights are counted in 1/256 readings


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A tuning in the types of the arithmetic; `gain` and `shrink` are derived."""

    week: bool
    tuning: NoveltyTuning
    gain: Floats
    shrink: float

    @classmethod
    def of(cls, tuning: NoveltyTuning, *, week: bool) -> Plan:
        """Translate *tuning*."""
        gain = np.array([1.0 / getattr(tuning.thresholds, reason.name.lower()) for reason in Reason])
        return cls(week=week, tuning=tuning, gain=gain, shrink=1.0 - 0.5 ** (1.0 / tuning.half_life_readings))

    @property
    def bins(self) -> int:
        """Return the length of a series' profile."""
        return 24 + 168 * self.week


@dataclass(slots=True, eq=False)
class Turn:
    """N readings and what is known before each.

    Attributes:
        x: value, as float32 has it.
        expected: what the profile says.
        known: whether it knows that hour.
        same: whether the value repeats the one before, in float64.
        last: the value before, as float32 has it; of a first reading its own.
        older: whether it was not measured after the newest one.
        n: readings learned before.
        age: those of this rhythm.
        pace: usual interval, this one included, seconds.
        w: what the reading counts for the slow statistics.
        g: float64[FLOATS, N], the state.
    """

    x: Floats
    expected: Floats
    known: Flags
    same: Flags
    last: Floats
    older: Flags
    n: Counts
    age: Counts
    pace: Floats
    w: Floats
    g: Floats


@dataclass(slots=True, eq=False)
class Judged:
    """What is found of N readings, and the records as they stand when each comes (aged, but not widened)."""

    score: Floats
    told: Floats
    reason: NDArray[np.int8]
    low: Floats
    high: Floats
    records: tuple[Floats, Floats, Floats]
    widths: Floats
    tops: tuple[Floats, Floats]


def signals(plan: Plan, t: Turn) -> tuple[Floats, Floats, Floats]:
    """Return the values of SEASON, SUSTAIN and JUMP [3, N], of SHIFT, NOISE and SPIKE [3, N], and the floor [N].

    Where an hour has many readings its end is a step of the profile, not of the value: there a jump must surprise the
    last readings too.
    """
    tuning = plan.tuning
    m, r_fast, fast, usual, there = t.g[s.M_FAST], t.g[s.R_FAST], t.g[s.W_FAST], t.g[s.W_SLOW], t.g[s.D_LAST]
    slow, scale = t.g[s.M_SLOW], t.g[s.S_SLOW]
    floor = np.abs(slow) * tuning.floor_share + TINY
    r = t.x - t.expected
    surprise = r - r_fast
    r_next = r_fast + tuning.residual_rate * surprise
    d_fast = t.x - m
    brisk = (t.pace * tuning.rhythm_factor < tuning.reference_seconds) & (np.abs(d_fast) < np.abs(surprise))
    shift = np.abs(m - slow) / (scale + floor)
    least = tuning.scatter_floor * usual + scale * 1e-3 + TINY
    back = t.last - t.x
    alone = np.where((there > 0) == (back > 0), np.minimum(np.abs(there), np.abs(back)), 0.0)
    noise, spike = (fast + least) / (usual + least), alone / (np.maximum(fast, usual) + least)
    ones = np.minimum(np.array([shift, noise, spike]), CEILING)
    if (t.age < max(tuning.warm_readings, tuning.start_readings)).any():
        ones[0, t.age < tuning.warm_readings] = 0.0
        ones[1:, t.age < tuning.start_readings] = 0.0
    return np.array([r, r_next, np.where(brisk, d_fast, surprise)]), ones, floor


def weigh(plan: Plan, seconds: Floats, pace: Floats) -> Floats:
    """Return what readings count for the slow statistics, *seconds* after the one before at the usual *pace*."""
    factor = plan.tuning.rhythm_factor
    stretch = np.minimum(np.maximum(seconds / pace, 1.0 / factor), factor)
    return np.minimum(pace / plan.tuning.reference_seconds, 1.0) * stretch


def fast_rates(plan: Plan, t: Turn) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the rates of M_FAST, S_FAST, RHO and W_FAST, [N]: per reading."""
    tuning, one_age = plan.tuning, 1.0 / (t.age + 1)
    return (
        np.maximum(tuning.fast_rate, one_age),
        np.maximum(tuning.scale_rate, one_age),
        np.maximum(tuning.slow_rate, one_age),
        np.maximum(tuning.scatter_rate, one_age),
    )


def slow_rates(plan: Plan, t: Turn) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Return the rates of W_SLOW, M_SLOW and S_SLOW, [N], by elapsed time, and two for the profile.

    These are what the reading weighs there, in 1/`UNIT` readings, and the least rate of a profile value.
    """
    tuning, one_n, slow = plan.tuning, 1.0 / (t.n + 1), plan.tuning.slow_rate * t.w
    part = np.maximum(np.floor(t.w * UNIT), 1.0)
    return (
        np.maximum(slow, 1.0 / (t.age + 1)),
        np.maximum(slow, one_n),
        np.maximum(tuning.scale_rate * t.w, one_n),
        part,
        tuning.profile_rate * (part / UNIT),
    )


def clips(plan: Plan, t: Turn) -> tuple[Floats, Floats, Floats, Floats]:
    """Return how many scales count at most, [N]: of M_FAST and bends, S_FAST, slow level and scale, profile."""
    tuning, young, settling = plan.tuning, t.age <= SETTLING, t.n <= SETTLING
    return (
        np.where(young, np.inf, tuning.fast_clip_scales),
        np.where(young, np.inf, 6.0),
        np.where(settling, np.inf, tuning.slow_clip_scales),
        np.where(settling, np.inf, tuning.profile_clip_scales),
    )


def reaches(plan: Plan, t: Turn) -> tuple[Floats, Floats, Floats]:
    """Return by how many widths records give way, [N]: RANGE and SEASON; SUSTAIN and JUMP; the one-sided."""
    warm, reach = plan.tuning.warm_readings, plan.tuning.reach_widths
    return (
        np.where(t.n >= warm, reach, np.inf),
        np.where(t.age >= warm, reach, np.inf),
        np.where(t.age > warm, reach, np.inf),
    )


def aging(plan: Plan, t: Turn) -> tuple[Floats, Floats, Floats, Floats]:
    """Return by what share records contract, and the rates of their centres; [N], 0 for older readings.

    The centres are those of SEASON and SUSTAIN, of JUMP, of the one-sided.
    """
    start, still = plan.tuning.start_readings, t.older
    idle = still | (t.same & (t.g[s.RHO] >= plan.tuning.repeat_share))
    drift = plan.tuning.slow_rate * t.w
    return (
        np.where(idle, 0.0, plan.shrink * t.w),
        np.where(still, 0.0, np.maximum(drift, 1.0 / np.maximum(t.n - start + 1, 1))),
        np.where(still, 0.0, np.maximum(drift, 1.0 / np.maximum(t.age - start + 1, 1))),
        np.where(still, 0.0, np.maximum(drift, 1.0 / (t.age + 1))),
    )


def judge(
    plan: Plan, t: Turn, u: Floats, ones: Floats, floor: Floats, aged: tuple[Floats, Floats, Floats, Floats]
) -> Judged:
    """Score N readings by the records in `t.g`; `signals` and `aging` gave the rest."""
    tuning, g, gain = plan.tuning, t.g, plan.gain
    shrink, rate, rate_jump, rate_ones = aged
    judged, rhythmic = t.n >= tuning.warm_readings, (t.age >= tuning.warm_readings) & ~t.older

    x, hi, lo = t.x, g[s.HI], g[s.LO]
    beyond = np.maximum(np.maximum(x - hi, lo - x), 0.0)
    best = np.where(judged, np.minimum(beyond / (hi - lo + floor) * gain[Reason.RANGE], CEILING), 0.0)
    best = np.sqrt(best)

    begin = np.array([t.n == tuning.start_readings] * 2 + [t.age == tuning.start_readings]) & ~t.older
    high, low, mid = g[s.HIGH], g[s.LOW], g[s.MID]
    if begin.any():
        high, low, mid = (np.where(begin, u, column) for column in (high, low, mid))
    inside = np.where(u > high, high, np.where(u < low, low, u))
    mid = mid + np.array([rate, rate, rate_jump]) * (inside - mid)
    high = high - (high - mid) * shrink
    low = low - (low - mid) * shrink
    widths = (high - low) + np.abs(mid) * 1e-3 + TINY
    season, sustain, jump = np.maximum(np.maximum(u - high, low - u), 0.0) / widths
    records = (high, low, mid)

    top, top_mid = g[s.TOP], g[s.TOP_MID]
    shift, noise, spike = np.maximum((ones - top) / (top - top_mid + 1e-3 * top + LEAST_SPANS), 0.0)
    awake = rhythmic & (t.age > tuning.warm_readings)  # the first usable value only begins the record
    settled = awake & (t.age * t.pace >= tuning.scatter_days * 86_400.0)
    top_mid = top_mid + rate_ones * (np.where(ones > top, top, ones) - top_mid)
    top = top - (top - top_mid) * shrink

    channels = [
        (Reason.SEASON, season, judged),
        (Reason.SUSTAIN, sustain, rhythmic),
        (Reason.JUMP, jump, rhythmic),
        (Reason.SHIFT, shift, awake),
        (Reason.NOISE, noise, settled),
        (Reason.SPIKE, spike, settled),
    ]
    run = np.where(t.same, g[s.RUN] + 1.0, 0.0)
    long_run = rhythmic & (run > tuning.flat_factor * g[s.RUN_RECORD] + tuning.flat_readings)
    if long_run.any():
        rarity = ln(np.maximum(g[s.RHO], 1e-3)) * (-0.4342944819032518 / 8)  # -log10, an eighth of it
        channels.append((Reason.FLAT, run * rarity, long_run))
    told, reason = np.zeros(len(x)), np.zeros(len(x), np.int8)
    for channel, far, heard in channels:
        score = np.where(heard, np.minimum(far * gain[channel], CEILING), 0.0)
        if channel == Reason.NOISE:
            score = np.minimum(score * score, CEILING)
        reason[score > told] = channel
        told = np.maximum(told, score)
    reason[told <= best] = Reason.RANGE
    best, told = np.maximum(best, told), np.maximum(np.sqrt(best), told)

    bottom = np.maximum(t.expected + low[0], lo)
    ceiling = np.minimum(t.expected + high[0], hi)
    unknown = ~t.known | (t.n <= tuning.start_readings)
    band_low, band_high = np.minimum(bottom, ceiling), np.maximum(bottom, ceiling)
    band_low[unknown] = band_high[unknown] = np.nan
    return Judged(best, told, reason, band_low, band_high, records, widths, (top, top_mid))


def tell(found: Judged, t: Turn, severity: NDArray[np.float32], out: Scores, rows: NDArray[np.intp]) -> None:
    """Write what was *found* to *rows* of *out*; *severity* is after hysteresis."""
    out.raw[rows] = found.told
    out.severity[rows] = severity
    out.reason[rows] = found.reason
    out.expected[rows] = np.where(np.isnan(found.low), np.nan, t.expected)
    out.low[rows] = found.low
    out.high[rows] = found.high
