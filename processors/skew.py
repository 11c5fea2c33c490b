"""This module estimates how far a device's clock is off, from when its readings were measured and when received.

The lag of a reading is received minus measured: way and clock together. One that stays the same is a clock (or a
device that always waits as long, which is as bad for who reads its times); lags of a backlog run down within seconds,
and jitter scatters. So the estimate counts readings that agree with it, to 5 s or 2 %, and forgives some that don't;
SKEW needs enough of them over enough *received* time. A clock that drifts is followed, and one that is set right is
believed after a few readings. All series of a device share its clock; each finds the same by itself.

It fails where the way takes longer and scatters more than the clock is off, and below `skew_seconds` it says nothing.
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
    "lag",  # estimate, seconds: positive = the clock is behind
    "agreed",  # readings that agree with it, less those that don't, 0 = nothing known
    "since",  # received time of the first that agreed, seconds
)

_NEAR_SECONDS, _NEAR_SHARE = 5.0, 0.02
_GAIN = 0.1
_FORGIVES = 4.0  # agreeing readings that one which does not agree takes away
_MOST = 40.0


def step(
    state: Mapping[str, NDArray[np.float64]],
    measured: NDArray[np.int64],
    received: NDArray[np.int64],
    plan: QualitySettings,
) -> NDArray[np.bool_]:
    """Tell of N series, one reading each, whose clock is off, bool[N]; learn the reading.

    Args:
        state: columns of `COLUMNS`, float64[N], changed in place.
        measured: int64[N] ns by the device's clock, in any order.
        received: int64[N] ns by ours.
        plan: settings.
    """
    lag, agreed, since = state["lag"], state["agreed"], state["since"]
    now = received * 1e-9
    off = (received - measured) * 1e-9 - lag
    agrees = (np.abs(off) <= np.maximum(_NEAR_SECONDS, _NEAR_SHARE * np.abs(lag))) & (agreed > 0)
    agreed[:] = np.where(agrees, np.minimum(agreed + 1, _MOST), agreed - _FORGIVES)
    anew = agreed <= 0
    lag += np.where(agrees, _GAIN * off, np.where(anew, off, 0.0))
    since[:] = np.where(anew, now, since)
    agreed[anew] = 1.0
    found: NDArray[np.bool_] = agrees & (np.abs(lag) >= plan.skew_seconds)
    found &= (agreed >= plan.skew_readings) & (now - since >= plan.skew_for_seconds)
    return found


def walk(
    state: Sequence[float], measured: NDArray[np.int64], received: NDArray[np.int64], plan: QualitySettings
) -> tuple[NDArray[np.bool_], tuple[float, ...]]:
    """Do what `step` does for N readings of one series, one after the other: what is off, and the state after it."""
    lag, agreed, since = state
    found = np.zeros(len(measured), bool)
    for row, (delay, now) in enumerate(
        zip(((received - measured) * 1e-9).tolist(), (received * 1e-9).tolist(), strict=True)
    ):
        off = delay - lag
        distance = abs(off)
        if agreed > 0 and (distance <= _NEAR_SECONDS or distance <= _NEAR_SHARE * abs(lag)):
            agreed = agreed + 1 if agreed < _MOST else _MOST
            lag += _GAIN * off
            if abs(lag) >= plan.skew_seconds and agreed >= plan.skew_readings:
                found[row] = now - since >= plan.skew_for_seconds
            continue
        agreed -= _FORGIVES
        if agreed <= 0:
            lag, since, agreed = lag + off, now, 1.0
    return found, (lag, agreed, since)
