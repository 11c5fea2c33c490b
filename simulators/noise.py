"""This module is randomness that can be asked at any time: hashed noise, the same for whoever asks and in any order.

A generator that is stepped gives values that depend on how often it was asked before. Here every number is a hash of
(key, counter) instead (SplitMix64, Steele, Lea and Flood 2014), so a series can be computed forwards, backwards, in
pieces or in many processes, and always comes out the same.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["gauss", "key", "uniform", "wander"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_CHUNK = np.uint64(0xFFFF)


def key(*parts: object) -> int:
    """Return the 64-bit key of *parts*; equal parts give equal keys on every machine."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _hash(of: int, counter: NDArray[np.int64]) -> NDArray[np.uint64]:
    z = np.atleast_1d(counter).astype(np.uint64) * _GOLDEN + np.uint64(of)
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed


def uniform(of: int, counter: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return float64[N] in [0, 1), one for each of the int64[N] *counter* values under the key *of*."""
    return (_hash(of, counter) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def gauss(of: int, counter: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return float64[N] of mean 0 and variance 1: the sum of four uniform numbers out of one hash.

    It is bell shaped and ends at 3.46, as the noise of a real instrument ends somewhere, and costs one hash.
    """
    h = _hash(of, counter)
    total = np.zeros(len(h), np.uint64)
    for shift in (0, 16, 32, 48):
        total += (h >> np.uint64(shift)) & _CHUNK
    normal: NDArray[np.float64] = (total.astype(np.float64) / 65535.0 - 2.0) * 3.0**0.5
    return normal


def wander(of: int, seconds: NDArray[Any], period: float) -> NDArray[np.float64]:
    """Return a smooth random course at float64[N] *seconds*: mean 0, variance about 1, new every *period* seconds.

    A cubic B-spline through hashed knots: twice differentiable, so it looks the same smooth at every step width.
    """
    place = np.atleast_1d(np.asarray(seconds, np.float64)) / period
    knot = np.floor(place)
    u = place - knot
    first = knot.astype(np.int64)
    weights = ((1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3)
    course = np.zeros(len(u))
    for offset, weight in enumerate(weights):
        course += weight * gauss(of, first + offset)
    return course * (1.44 / 6.0)  # 1.44 undoes the variance that the spline's averaging takes away
