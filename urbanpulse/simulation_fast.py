"""This module wires `simulate --fast OUT`: a simulated city's readings and labels straight to files, no broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from urbanpulse.settings import Settings

__all__ = ["run_fast"]


async def run_fast(
    settings: Settings,
    out: Path,
    *,
    scenario: str | None = None,
    seed: int | None = None,
    hours: float | None = None,
    devices: int | None = None,
    interval_seconds: float | None = None,
    start: int | None = None,
    part: tuple[int, int] = (1, 1),
    wire: str | None = None,
    force: bool = False,
    as_json: bool = False,
) -> None:
    """Write the readings and labels of one run to the folder *out*; nothing is connected to.

    None means: as the scenario says (the plain week `normal` where none is named). *start* is ns UTC, by default the
    latest local midnight such that the run has ended by now. *part* (k, n) writes the k-th of n parts of the city,
    1 <= k <= n. *wire* names a wire format: then the encoded messages are written in place of Parquet. *force*
    replaces what an earlier run has written to *out*.
    """
    raise NotImplementedError
