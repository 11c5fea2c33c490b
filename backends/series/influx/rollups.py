"""This module sums up hours and days in an InfluxDB, so that every kind of server keeps them alike.

An hour of a district is due when anything in it was written, late readings included, and is summed up again from all
that the database holds of it: the result does not depend on the order of arrival or on crashes. Its day is due then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from backends.series.columns import DAY, HOUR, take
from backends.series.influx.questions import ROLLUPS, aggregate, is_text, read_aggregates, span
from backends.series.statistics import fold
from core.errors import SettingsError, Unavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backends.series.columns import Columns
    from backends.series.influx.names import Names
    from backends.series.influx.server import InfluxServer
    from backends.series.influx.state import Due, InfluxState

__all__ = ["Rollup"]


class _Send(Protocol):
    def __call__(
        self, measurement: str, series: NDArray[np.int32], columns: Columns, quality: NDArray[np.uint16]
    ) -> None: ...


class Rollup:
    """The summing up of one writer; one thread at a time."""

    def __init__(self, server: InfluxServer, names: Names, state: InfluxState, send: _Send) -> None:
        self._server = server
        self._names = names
        self._state = state
        self._send = send

    def run(self, now_ns: int, *, through: int | None = None) -> None:
        """Sum up what is due and over at *now_ns*, `rollups_at_once` at most; all of it that begins before *through*.

        Raises:
            Unavailable: the server is away.
        """
        settings = self._server.settings
        delay = int(settings.rollup_delay_seconds * 1e9)
        for width in ROLLUPS:
            if through is None:
                before, limit, age = now_ns - delay - width + 1, settings.rollups_at_once, delay
            else:
                before, limit, age = through, 1 << 62, 0
            for due in self._state.due(width, before, limit, now_ns=now_ns, age_ns=age):
                self._sum_up(due)

    def _sum_up(self, due: Due) -> None:
        settings = self._server.settings
        source, database = (
            ("reading", settings.database) if due.width == HOUR else (ROLLUPS[HOUR], settings.rollup_database)
        )
        conditions = [is_text("district", due.district), span(due.start, due.start + due.width)]
        statements = aggregate(source, conditions, due.width, ("device", "metric"), quality=True)
        try:
            answer = self._server.ask(database, *statements)
        except SettingsError as error:  # the writer stops for it; upkeep waits
            raise Unavailable("series", str(error)) from error
        rows = fold([read_aggregates(answer, self._names.ids)], due.width)
        rows = take(rows, (rows["n"] > 0) & (rows["series"] >= 0) & np.isfinite(rows["total"]))
        columns: dict[str, NDArray[Any]] = {
            "hour": np.full(len(rows["series"]), due.start),
            "sum": rows["total"],
            "min": rows["low"],
            "max": rows["high"],
            "last": rows["last"],
            "n": rows["n"],
        }
        self._send(ROLLUPS[due.width], rows["series"], columns, rows["quality"])
        day = [(DAY, due.start // DAY * DAY, due.district)] if due.width == HOUR and len(rows["series"]) else []
        self._state.done(due, day)
