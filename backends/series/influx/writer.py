"""This module writes readings, bands and rollups into an InfluxDB.

`write` sends everything before it notes the position, so a crash in between means the same points again, which
overwrite themselves. A point is overwritten field by field: the mask `q` of an older version would survive one that
has none. So a reading that may overwrite another, because it is not newer than what is known of its series, says
`q=0`; all others leave it out.

What the server refuses for good is found by halving (others of the same request are stored), and handed to
*on_rejected* in the server's words; the rest goes on.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import structlog

from backends.series.columns import DAY, HOUR, READINGS, keep_last, reading_columns, take
from backends.series.influx.answers import Away, LinesRefused, TooLarge, TooLong
from backends.series.influx.lines import encode
from backends.series.influx.rollups import Rollup
from backends.series.influx.state import NO_FLOOR, InfluxState
from backends.series.metrics import SeriesMetrics
from backends.series.settings import FOR_EVER
from core.errors import Conflict, Unavailable
from core.ports import RejectedReading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from prometheus_client import CollectorRegistry

    from backends.series.columns import Columns
    from backends.series.influx.names import Names
    from backends.series.influx.server import InfluxServer
    from core.batch import ReadingBatch
    from core.clock import Clock
    from core.ports import Bands, Capabilities, Health

__all__ = ["InfluxSeriesWriter", "OnRejected"]

OnRejected = "Callable[[int, Sequence[RejectedReading]], None]"
_UNKNOWN = (1 << 63) - 1
log = structlog.get_logger()


class InfluxSeriesWriter:
    """The one writer of an InfluxDB; see `core.ports.SeriesStore`. `write` and `maintain` may run side by side.

    *folder* holds its positions. *on_rejected* gets (position, rejected readings) before the position counts as
    written, and may get them again after a crash.

    Raises:
        Unavailable: another writer has the folder, or it cannot be opened.
    """

    def __init__(
        self,
        folder: Path,
        server: InfluxServer,
        names: Names,
        *,
        raw_days: int,
        busy_seconds: float,
        clock: Clock,
        on_rejected: Callable[[int, Sequence[RejectedReading]], None],
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._server = server
        self._names = names
        self._raw_days = raw_days
        self._clock = clock
        self._on_rejected = on_rejected
        self._metrics = SeriesMetrics(registry)
        self._writing = threading.Lock()
        self._maintaining = threading.Lock()
        self._lines_at_once = server.settings.batch_lines
        self._not_before = 0.0
        self._newest: NDArray[np.int64] | None = None
        self._never = -(1 << 63)  # what is written in `_newest` for a series that nobody wrote
        self._state = InfluxState(folder, f"{server.url} {server.settings.database}", busy_seconds=busy_seconds)
        self._floor = self._state.floor()
        self._summed = NO_FLOOR
        self._rollup = Rollup(server, names, self._state, self._send_columns)

    def close(self) -> None:
        """Wait for upkeep under way, then release connections and file."""
        with self._maintaining, self._writing:
            self._state.close()
            self._server.close()

    def health(self) -> Health:
        """Ask the server how it is."""
        return self._server.health()

    def capabilities(self) -> Capabilities:
        """Return what this kind of server can do."""
        return self._server.capabilities()

    def position(self, source: str) -> int:
        """Return the highest position written by *source*, 0 at first."""
        return self._state.position(source)

    # -- writing

    def write(self, source: str, position: int, batch: ReadingBatch, bands: Bands | None = None) -> bool:
        """Make *batch* and *bands* durable under (source, position); False if that position was written before.

        Raises:
            Unavailable: the server is away; what it took already it takes again.
            SettingsError: login, database or bucket are wrong.
        """
        with self._writing:
            if position <= self._state.position(source):
                return False
            rows = keep_last(READINGS, reading_columns(batch))
            rejected: list[RejectedReading] = []
            old = rows["measured"] < self._floor
            self._metrics.too_old.inc(int(old.sum()))
            rows = self._keep(rows, ~old & np.isfinite(rows["value"]), ~old, "not a finite number", rejected)
            known = self._names.known(rows["series"])
            rows = self._keep(rows, known, ~known, "its series is not registered", rejected)
            self._send_readings(rows, rejected)
            if bands is not None and len(bands.series):
                self._send_bands(bands)
            if rejected:
                self._metrics.rejected.inc(len(rejected))
                log.warning("store refused readings", position=position, n=len(rejected), first=rejected[0].reason)
                self._on_rejected(position, rejected)
            self._state.written(source, position, self._due(rows))
            self._metrics.written.inc(len(rows["series"]) + (0 if bands is None else len(bands.series)))
        return True

    @staticmethod
    def _keep(
        rows: Columns, good: NDArray[np.bool_], of: NDArray[np.bool_], reason: str, rejected: list[RejectedReading]
    ) -> Columns:
        """Return the *good* rows; the others, as far as *of* says, are *rejected*."""
        if good.all():
            return rows
        bad = take(rows, np.flatnonzero(of & ~good))
        columns = (bad[name].tolist() for name in ("series", "measured", "value"))
        rejected += [RejectedReading(s, m, v, reason) for s, m, v in zip(*columns, strict=True)]
        return take(rows, good)

    def _send_readings(self, rows: Columns, rejected: list[RejectedReading]) -> None:
        series, measured = rows["series"], rows["measured"]
        if len(series) == 0:
            return
        newest = self._known_newest(int(series[-1]))
        zeros = measured <= newest[series]
        prefixes = self._names.prefixes(b"reading", b"value")

        def lines(a: int, b: int) -> bytes:
            return encode(
                prefixes[series[a:b]],
                measured[a:b],
                rows["value"][a:b],
                quality=rows["quality"][a:b],
                zeros=zeros[a:b],
            )

        for row, reason in self._send(self._server.settings.database, lines, len(series)):
            rejected.append(RejectedReading(int(series[row]), int(measured[row]), float(rows["value"][row]), reason))
        last = np.flatnonzero(np.append(series[1:] != series[:-1], True))  # sorted by series, then time
        seen = newest[series[last]]
        newest[series[last]] = np.maximum(np.where(seen == _UNKNOWN, measured[last], seen), measured[last])

    def _known_newest(self, series: int) -> NDArray[np.int64]:
        """Return the newest time of each series that anybody may have written, up to *series* at least."""
        if self._newest is None:
            try:
                tables = self._server.ask(
                    self._server.settings.database, 'SELECT last("value") FROM "reading" GROUP BY "device", "metric"'
                )[0]
            except TooLong:  # what InfluxDB 3 Core does not look for may be there
                tables, self._never = [], _UNKNOWN
            ids = self._names.ids([table.get("tags", {}) for table in tables])
            self._newest = np.full(max([series, *ids]) + 1, self._never)
            for number, table in zip(ids, tables, strict=True):
                if number >= 0:
                    self._newest[number] = table["values"][0][0]
        if len(self._newest) <= series:
            more = np.full(2 * series + 1 - len(self._newest), self._never)
            self._newest = np.concatenate([self._newest, more])
        return self._newest

    def _send_bands(self, bands: Bands) -> None:
        columns = {"hour": bands.hour, "expected": bands.expected, "low": bands.low, "high": bands.high}
        good = np.all([np.isfinite(column) for column in columns.values()], axis=0) & self._names.known(bands.series)
        self._send_columns("band", bands.series[good], {name: column[good] for name, column in columns.items()})

    def _send_columns(
        self, measurement: str, series: NDArray[np.int32], columns: Columns, quality: NDArray[np.uint16] | None = None
    ) -> None:
        """Write rows of a derived *measurement*: time first, then float or integer fields; finite, of known series."""
        (_, time), (field, first), *rest = columns.items()
        prefixes = self._names.prefixes(measurement.encode(), field.encode())
        always = np.ones(len(time), bool)

        def lines(a: int, b: int) -> bytes:
            some = slice(a, b)
            return encode(
                prefixes[series[some]],
                time[some],
                first[some],
                {name: column[some] for name, column in rest},
                None if quality is None else quality[some],
                always[some],
            )

        for row, reason in self._send(self._server.settings.rollup_database, lines, len(time)):
            log.error("store refused what was derived", measurement=measurement, series=int(series[row]), reason=reason)

    def _send(self, database: str, lines: Callable[[int, int], bytes], n: int) -> list[tuple[int, str]]:
        """Send rows [0, n) as *lines* makes them; return the refused ones with the server's words.

        Raises:
            Unavailable: the server is away, or wants to be left alone for a while.
        """
        wait = self._not_before - self._clock.monotonic()
        if wait > 0:
            raise Away(f"the server asked for {wait:.0f} s more without requests", wait)
        refused: list[tuple[int, str]] = []
        size = self._lines_at_once
        todo = [(at, min(at + size, n)) for at in range(0, n, size)][::-1]
        while todo:
            a, b = todo.pop()
            middle = (a + b) // 2
            try:
                self._server.write(database, lines(a, b))
            except Away as error:
                limit = self._server.settings.retry_after_max_seconds
                self._not_before = self._clock.monotonic() + min(error.wait_seconds, limit)
                raise
            except TooLarge as error:
                self._metrics.halved.inc()
                self._lines_at_once = max(1, min(self._lines_at_once, middle - a))
                if b - a == 1:
                    refused.append((a, str(error)))
                else:
                    todo += [(middle, b), (a, middle)]
            except LinesRefused as error:
                if error.is_too_old:  # the others are stored
                    self._metrics.too_old.inc(max(error.dropped, 1))
                elif b - a == 1 or error.dropped == b - a:
                    refused += [(row, error.text) for row in range(a, b)]
                else:
                    self._metrics.bisected.inc()
                    todo += [(middle, b), (a, middle)]
        return refused

    def _due(self, rows: Columns) -> list[tuple[int, int, str]]:
        if len(rows["series"]) == 0:
            return []
        hours, districts = rows["measured"] // HOUR, self._names.districts_of(rows["series"]).astype(np.int64)
        first, n = hours.min(), int(districts.max()) + 1
        keys = np.unique((hours - first) * n + districts)  # fits: an int64 of ns has less than 2^23 hours
        return [(HOUR, int(first + key // n) * HOUR, self._names.district_name(key % n)) for key in keys.tolist()]

    # -- upkeep

    def maintain(self, now_ns: int) -> None:
        """Sum up the hours and days that changed and are over, and forget what is too old.

        Raises:
            Unavailable: the server is away; what was not finished is done the next time.
        """
        with self._maintaining:
            self._rollup.run(now_ns)
            self._metrics.due.set(self._state.waiting())
            summed = self._state.summed_to()
            if summed != self._summed:
                self._tell("summed", summed, now_ns)
                self._summed = summed
            floor = (now_ns // DAY - self._raw_days) * DAY
            if self._raw_days < FOR_EVER and floor > self._floor:
                self._forget(floor, now_ns, delete=self._server.capabilities().deletes)

    def delete_before(self, before_ns: int, now_ns: int) -> None:
        """Forget readings of the UTC days that end at or before *before_ns*; their rollups are made first and stay.

        Raises:
            Conflict: InfluxDB 3 deletes no rows.
            Unavailable: the server is away; nothing is forgotten.
        """
        if not self._server.capabilities().deletes:
            raise Conflict("InfluxDB 3 deletes no rows: set `series.raw_days` and run `urbanpulse series init`")
        with self._maintaining:
            floor = before_ns // DAY * DAY
            if floor > self._floor:
                self._rollup.run(now_ns, through=floor)
                self._forget(floor, now_ns, delete=True)

    def _forget(self, floor: int, now_ns: int, *, delete: bool) -> None:
        """Tell readers first that below *floor* only rollups count, then delete, then remember."""
        self._tell("floor", floor, now_ns)
        if delete:
            self._server.delete_before(self._server.settings.database, "reading", floor)
        with self._writing:
            self._state.raise_floor(floor)
            self._floor = floor

    def _tell(self, what: str, ns: int, now_ns: int) -> None:
        """Tell readers, in `platform`, the time below which something holds."""
        point = f"platform,kind={what} {what}={ns}i {now_ns}".encode()
        for _, reason in self._send(self._server.settings.rollup_database, lambda _a, _b: point, 1):
            raise Unavailable("series", f"what readers need to know cannot be written: {what}: {reason}")
