"""This module looks at the step from one reading to the next: a spike, or a change of unit.

*SPIKE*: a step larger than any before (`spike_factor` times the record, which shrinks), many times the usual one, and
away from the last reading *and* the one before it. So the way back from a spike is none. What comes after is not known
yet when a reading is judged: a level shift begins with one SPIKE, and only its next reading shows that it is none.

*UNIT*: from one reading to the next the value leaves its level for what another unit would show of that level, and
stays: then the level goes on being followed in the old unit, until it comes back. A new level that is no conversion is
learned within some dozen readings. It fails for quantities around zero, where all units are alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from processors.quality_settings import QualitySettings

__all__ = ["COLUMNS", "step", "walk"]

COLUMNS = (
    "before",  # the reading before the last one
    "away",  # how far the last one was from the two before it
    "usual",  # mean step
    "largest",  # largest of these, shrinking
    "level",  # in the unit that it had first
    "scatter",  # mean distance from it
    "unit",  # 0 = as it was; k = the k-th other unit of the metric
    "fits",  # readings in a row that fit that unit
)

_RATE = 0.02  # of the usual step and the scatter; a guess that held on three simulated cities
_LEVEL_RATE = 0.1
_LESSON = 1.1  # most that a spike may lengthen the record
_NEAR = 4.0  # scatters: as far as a reading lies from its level every day
_SHARE = 0.05  # of the level: what is nearer is the level all the same
_CLOSE = 5.0  # units whose factor is less than this are close: chance may mimic them, so more readings are asked for
_MOST_FITS = 1e6


def step(
    state: Mapping[str, NDArray[np.float64]],
    value: NDArray[np.float64],
    share: NDArray[np.float64],
    units: NDArray[np.float64],
    kind: NDArray[np.int16],
    plan: QualitySettings,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell which of N series, one reading each, show a spike and which another unit, bool[N] each; learn the reading.

    Args:
        state: columns of `COLUMNS` and `last_value`, `seen`, float64[N], changed in place.
        value: float64[N], finite.
        share: of each reading in all of its series so far, 1 / (seen + 1), float64[N].
        units: factor and offset of other units, float64[K, M, 2], NaN = none.
        kind: row of each reading in *units*, int16[N].
        plan: settings.
    """
    seen, last = state["seen"], state["last_value"]
    new = np.flatnonzero(seen == 0)
    if len(new):
        state["before"][new] = state["level"][new] = value[new]
    usual, largest = state["usual"], state["largest"]
    size = np.abs(value - last)
    away = np.minimum(size, np.abs(value - state["before"]))
    spike = (away > plan.spike_steps * usual) & (away > plan.spike_factor * largest)
    spike &= (seen >= plan.warm_readings) & (usual > 0)
    gain = np.maximum(_RATE, share)
    usual += gain * (np.where(usual > 0, np.minimum(size, plan.spike_steps * usual), size) - usual)
    largest -= largest * (1 - 0.5 ** (1 / plan.half_life_readings))
    stayed = size < state["away"] / 2  # the step before was no spike: a counter begins anew, a bin is emptied
    np.maximum(largest, np.where(stayed, state["away"], 0.0), out=largest)
    np.maximum(largest, np.where(spike, np.minimum(away, _LESSON * largest), away), out=largest)
    state["before"][:], state["away"][:] = last, away
    return spike, _unit(state, value, units, kind, gain, plan)


def _unit(
    state: Mapping[str, NDArray[np.float64]],
    value: NDArray[np.float64],
    units: NDArray[np.float64],
    kind: NDArray[np.int16],
    gain: NDArray[np.float64],
    plan: QualitySettings,
) -> NDArray[np.bool_]:
    level, scatter, unit, fits = state["level"], state["scatter"], state["unit"], state["fits"]
    near = np.maximum(_NEAR * scatter, _SHARE * np.abs(level))
    distance = value - level
    far = np.abs(distance) > 2 * near
    far &= state["seen"] >= plan.warm_readings
    found = np.zeros(len(value), bool)
    unit *= far
    fits *= far
    rows = np.flatnonzero(far)
    if len(rows):
        others = units[kind[rows]]
        back = (value[rows, None] - others[:, :, 1]) / others[:, :, 0]
        off = np.abs(back - level[rows, None])
        off[np.isnan(off)] = np.inf
        each, pick = np.arange(len(rows)), off.argmin(axis=1)
        factor, offset = others[each, pick].T
        fit = off[each, pick] <= near[rows]
        fit &= (offset != 0) | (np.abs(level[rows]) > near[rows])  # around zero all units are alike
        # a change of unit is a step from the level, and the unit stays the same
        stays = unit[rows] == pick + 1
        fit &= stays | (np.abs(state["last_value"][rows] - level[rows]) <= near[rows])
        close = (factor < _CLOSE) & (factor > 1 / _CLOSE)
        fits[rows] = np.where(fit, np.minimum(np.where(stays, fits[rows], 0) + 1, _MOST_FITS), 0)
        unit[rows] = np.where(fit, pick + 1, 0)
        distance[rows[fit]] = (back[each, pick] - level[rows])[fit]  # in the unit that the series had first
        found[rows] = fit & (fits[rows] >= plan.unit_readings * np.where(close, 4, 1))
    limit = np.where(scatter > 0, 3 * near, np.inf)
    distance = np.maximum(np.minimum(distance, limit), -limit)
    scatter += gain * (np.abs(distance) - scatter)
    level += np.maximum(_LEVEL_RATE, gain) * distance
    return found


def walk(
    state: Sequence[float],
    value: NDArray[np.float64],
    previous: NDArray[np.float64],
    seen: NDArray[np.float64],
    units: NDArray[np.float64],
    plan: QualitySettings,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], tuple[float, ...]]:
    """Do what `step` does for N readings of one series, one after the other, operation by operation.

    Args:
        state: what is known of the series, by `COLUMNS`.
        value: float64[N], finite.
        previous: the reading before each, float64[N].
        seen: how many there were before each, float64[N].
        units: factor and offset of other units, float64[M, 2], NaN = none.
        plan: settings.

    Returns:
        Which readings are a spike and which are in another unit, bool[N] each; the state after them.
    """
    first, before_away, usual, largest, *of_unit = state
    if seen[0] == 0:
        first = of_unit[0] = float(value[0])
    size = np.abs(value - previous)
    away = np.minimum(size, np.abs(value - np.concatenate([[first], previous[:-1]])))
    gain = np.maximum(_RATE, 1 / (seen + 1))
    warm = seen >= plan.warm_readings
    shrink = 1 - 0.5 ** (1 / plan.half_life_readings)
    most, factor = plan.spike_steps, plan.spike_factor
    spike = np.zeros(len(value), bool)
    for row, (step_size, now, rate, is_warm) in enumerate(
        zip(size.tolist(), away.tolist(), gain.tolist(), warm.tolist(), strict=True)
    ):
        top = most * usual
        is_spike = is_warm and now > top and now > factor * largest and usual > 0
        usual += rate * ((top if top < step_size and usual > 0 else step_size) - usual)
        largest -= largest * shrink
        if step_size < before_away / 2 and before_away > largest:
            largest = before_away
        if is_spike:
            spike[row] = True
            largest = max(largest, min(now, _LESSON * largest))
        elif now > largest:
            largest = now
        before_away = now
    unit, of_unit = _walk_unit(of_unit, value, previous, gain, warm, units, plan)
    return spike, unit, (float(previous[-1]), before_away, usual, largest, *of_unit)


def _walk_unit(
    state: Sequence[float],
    value: NDArray[np.float64],
    previous: NDArray[np.float64],
    gain: NDArray[np.float64],
    warm: NDArray[np.bool_],
    units: NDArray[np.float64],
    plan: QualitySettings,
) -> tuple[NDArray[np.bool_], list[float]]:
    level, scatter, unit, fits = state
    pairs = [(factor, offset) for factor, offset in units.tolist() if factor == factor]  # noqa: PLR0124 - NaN
    found = np.zeros(len(value), bool)
    rates = np.maximum(_LEVEL_RATE, gain)
    for row, (now, rate, level_rate, is_warm) in enumerate(
        zip(value.tolist(), gain.tolist(), rates.tolist(), warm.tolist(), strict=True)
    ):
        near, share = _NEAR * scatter, _SHARE * abs(level)
        near = share if share > near else near  # noqa: FURB136 - a call of `max` costs three times as much
        distance = now - level
        if is_warm and abs(distance) > 2 * near:
            pick, off = 0, np.inf
            for k, (factor, offset) in enumerate(pairs, 1):
                back = (now - offset) / factor
                if abs(back - level) < off:
                    pick, off, plain = k, abs(back - level), back
            fit = off <= near and (pairs[pick - 1][1] != 0 or abs(level) > near)
            if fit and (unit == pick or abs(float(previous[row]) - level) <= near):
                fits = min((fits if unit == pick else 0) + 1, _MOST_FITS)
                unit, distance = float(pick), plain - level
                is_close = 1 / _CLOSE < pairs[pick - 1][0] < _CLOSE
                found[row] = fits >= plan.unit_readings * (4 if is_close else 1)
            else:
                unit = fits = 0.0
        else:
            unit = fits = 0.0
        if scatter > 0:
            limit = 3 * near
            if distance > limit:
                distance = limit
            elif distance < -limit:
                distance = -limit
        scatter += rate * (abs(distance) - scatter)
        level += level_rate * distance
    return found, [level, scatter, unit, fits]
