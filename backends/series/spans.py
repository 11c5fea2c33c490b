"""This module finds where ranges of time overlap: only there can one reading stand in two places."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["overlaps"]


def overlaps(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the smallest ranges (inclusive) in which two or more of *spans* meet.

    >>> overlaps([(0, 10), (8, 20), (30, 40)])
    [(8, 10)]
    """
    found: list[tuple[int, int]] = []
    reach: int | None = None
    for lo, hi in sorted(spans):
        if reach is not None and lo <= reach:
            shared = (lo, min(hi, reach))
            if found and shared[0] <= found[-1][1]:
                found[-1] = (found[-1][0], max(found[-1][1], shared[1]))
            else:
                found.append(shared)
        reach = hi if reach is None else max(reach, hi)
    return found
