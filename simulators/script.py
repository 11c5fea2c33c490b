"""This module is what one device says in a run, in order: computed a stretch of slots before it is due.

However the stretches are cut, the emissions are the same (`simulators.reports.emissions`).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from simulators.reports import emissions, overtime

if TYPE_CHECKING:
    from simulators.faults import FaultPlan
    from simulators.messages import Emission
    from simulators.reports import Grid
    from simulators.world import World

__all__ = ["Script"]


class Script:
    """The emissions of one device, for as long as its run lasts and what it says late comes."""

    def __init__(
        self,
        world: World,
        plan: FaultPlan,
        grid: Grid,
        run: range,
        *,
        stretch: int,
        first: int = 0,
        pack: int = 1,
        seq: int = 0,
    ) -> None:
        """Prepare what *grid*'s device says in the slots of *run*, numbered from *seq*.

        *stretch* slots are computed at once; the first time *first* of them, if that is not 0.
        """
        self._world = world
        self._plan = plan
        self._grid = grid
        self._run = run
        self._pack = pack
        self._offset = seq - run.start
        self._next = run.start
        self._stop = run.stop + overtime(plan, grid, run)
        self._count = first or stretch
        self._stretch = stretch
        self._ahead: deque[Emission] = deque()

    @property
    def due(self) -> int | None:
        """Return when the device says the next thing, ns UTC of the world's time; None when it has said all."""
        while not self._ahead and self._next < self._stop:
            count = min(self._count, self._stop - self._next)
            self._ahead.extend(
                emissions(
                    self._world,
                    self._plan,
                    self._grid,
                    self._next,
                    count,
                    pack=self._pack,
                    run=self._run,
                    offset=self._offset,
                )
            )
            self._next += count
            self._count = self._stretch
        return self._ahead[0].due if self._ahead else None

    def say(self) -> Emission:
        """Return what is said next; there must be something (`due`)."""
        return self._ahead.popleft()
