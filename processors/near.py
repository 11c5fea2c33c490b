"""This module finds, for each of very many places, the nearest others.

Places are split at the median, the wider way first, until few are left together, and there each is compared with each.
So the cost grows with the number of places and not with its square; who stands at such a border may be given one a
little farther away than the nearest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["nearest"]

_TOGETHER = 256  # most places that are compared with each other; above 10 times the peers wanted, a guess
_KM = 111.2  # of a degree of latitude
_OTHER_FACTOR, _OTHER_KM = 4.0, 1.0  # another kind of device measures the same under other circumstances


def nearest(
    lat: NDArray[np.float64],
    lon: NDArray[np.float64],
    kind: NDArray[np.intp],
    device: NDArray[np.intp],
    count: int,
) -> NDArray[np.int64]:
    """Return int64[N, count]: the numbers of the nearest others of each of N places (degrees), -1 = no more.

    Those of the same *device* are no others. One of another *kind* counts as four times as far away and a kilometre.
    """
    found = np.full((len(lat), count), -1, np.int64)
    if not len(lat):
        return found
    x, y = lon * np.cos(np.radians(float(np.median(lat)))) * _KM, lat * _KM
    left = [np.arange(len(lat))]
    while left:
        rows = left.pop()
        if len(rows) > _TOGETHER:
            wide = x if np.ptp(x[rows]) >= np.ptp(y[rows]) else y
            order = rows[np.argsort(wide[rows], kind="stable")]
            left += [order[len(order) // 2 :], order[: len(order) // 2]]
            continue
        rows = np.sort(rows)
        away = np.hypot(x[rows][:, None] - x[rows], y[rows][:, None] - y[rows])
        away = np.where(kind[rows][:, None] == kind[rows], away, _OTHER_FACTOR * away + _OTHER_KM)
        away[device[rows][:, None] == device[rows]] = np.inf
        order = np.argpartition(away, count, axis=1)[:, :count] if len(rows) > count else np.argsort(away, axis=1)
        near = np.take_along_axis(away, order, axis=1)
        nearest_first = np.argsort(near, axis=1, kind="stable")
        order, near = (np.take_along_axis(each, nearest_first, axis=1) for each in (order, near))
        found[rows[:, None], np.arange(order.shape[1])] = np.where(np.isfinite(near), rows[order], -1)
    return found
