"""This module computes logarithms that are the same to the last bit for one number and for a million.

numpy's own `log` may take another code path by length, alignment or processor, so that a state would depend on how
readings were batched and on which machine replayed them. Here only IEEE-exact operations are used: bits are taken
apart, and a short series for the inverse hyperbolic tangent is summed in a fixed order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ln"]

_LN2 = 0.6931471805599453
_HALF_ROOT = np.int64(0x3FE6A09E667F3BCD)  # bits of sqrt(1/2): puts the mantissa in [sqrt(1/2), sqrt(2))


def ln(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the natural logarithm of *x*, float64[N], positive and normal; error below 1e-6.

    >>> ln(np.array([1.0, 2.0])).tolist()
    [0.0, 0.6931471805599453]
    """
    shifted = x.view(np.int64) - _HALF_ROOT
    exponent = shifted >> 52
    mantissa = ((shifted & 0xFFFFFFFFFFFFF) + _HALF_ROOT).view(np.float64)
    t = (mantissa - 1.0) / (mantissa + 1.0)
    square = t * t
    series: NDArray[np.float64] = t * (((square * (2 / 7) + 0.4) * square + (2 / 3)) * square + 2.0)
    return exponent * _LN2 + series
