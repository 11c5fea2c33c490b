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

__all__ = ["SPLINE", "chance", "gauss", "key", "log10", "spline_weights", "uniform", "wander"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_ALL = (1 << 64) - 1
_PAIRS = np.uint64(0x0000FFFF0000FFFF)
_LOW = np.uint64(0xFFFFFFFF)

SPLINE = 1.44 / 6.0
"""1.44 undoes the variance that a spline's averaging takes away."""


def key(*parts: object) -> int:
    """Return the 64-bit key of *parts*; equal parts give equal keys on every machine."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _hash(of: int | NDArray[np.uint64], counter: NDArray[np.int64]) -> NDArray[np.uint64]:
    z = np.atleast_1d(counter).astype(np.uint64)
    z *= _GOLDEN
    z = z + (np.uint64(of) if isinstance(of, int) else of)
    z ^= z >> np.uint64(30)
    z *= _MIX_1
    z ^= z >> np.uint64(27)
    z *= _MIX_2
    z ^= z >> np.uint64(31)
    return z


def chance(of: int) -> float:
    """Return the one number in [0, 1) that hangs on the key *of*: `uniform` of counter 0, without an array."""
    z = ((of ^ (of >> 30)) * int(_MIX_1)) & _ALL
    z = ((z ^ (z >> 27)) * int(_MIX_2)) & _ALL
    return float(((z ^ (z >> 31)) >> 11) * 2.0**-53)


def uniform(of: int, counter: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return float64[N] in [0, 1), one for each of the int64[N] *counter* values under the key *of*."""
    return (_hash(of, counter) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def gauss(of: int | NDArray[np.uint64], counter: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return float64[N] of mean 0 and variance 1: the sum of four uniform numbers out of one hash.

    It is bell shaped and ends at 3.46, as the noise of a real instrument ends somewhere, and costs one hash. With
    uint64[M, 1] keys it returns float64[M, N].
    """
    h = _hash(of, counter)
    total = h >> np.uint64(16)  # two 16-bit numbers in each half of the word, added at once
    total &= _PAIRS
    h &= _PAIRS
    total += h
    total += total >> np.uint64(32)
    total &= _LOW
    normal = total.astype(np.float64)
    normal /= 65535.0
    normal -= 2.0
    normal *= 3.0**0.5
    return normal


def wander(of: int, seconds: NDArray[Any], period: float) -> NDArray[np.float64]:
    """Return a smooth random course at float64[N] *seconds*: mean 0, variance about 1, new every *period* seconds.

    A cubic B-spline through hashed knots: twice differentiable, so it looks the same smooth at every step width.
    """
    place = np.atleast_1d(np.asarray(seconds, np.float64)) / period
    knot = np.floor(place)
    u = place - knot
    first = knot.astype(np.int64)
    weights = spline_weights(u)
    least, most = (int(first.min()), int(first.max())) if len(first) else (0, 0)
    course = np.zeros(len(u))
    if most - least < len(u):  # each knot is hashed once
        knots = gauss(of, np.arange(least, most + 4, dtype=np.int64))
        for offset, weight in enumerate(weights):
            course += weight * knots[first - least + offset]
    else:
        for offset, weight in enumerate(weights):
            course += weight * gauss(of, first + offset)
    return course * SPLINE


def spline_weights(u: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return what the four knots around a place count there, times 6; *u* is how far it is between them, 0-1."""
    v = 1 - u
    square, cube = u * u, u * u * u
    return v * v * v, 3 * cube - 6 * square + 4, -3 * cube + 3 * square + 3 * u + 1, cube


def log10(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithm of float64[…] *x* > 0 to 1e-6, from IEEE-exact operations alone.

    So it is the same bits for one number and within any array, on every machine; numpy's own promises neither.
    """
    mantissa, exponent = np.frexp(x)
    s = (mantissa - _ROOT) / (mantissa + _ROOT)  # artanh series around the middle of [0.5, 1)
    z = s * s
    natural = s * (2.0 + z * (2.0 / 3.0 + z * (2.0 / 5.0 + z * (2.0 / 7.0))))
    scaled: NDArray[np.float64] = natural * 0.4342944819032518 + (exponent - 0.5) * 0.3010299956639812
    return scaled


_ROOT = 0.5**0.5
