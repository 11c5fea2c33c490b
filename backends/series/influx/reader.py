"""This module answers questions about readings from an InfluxDB.

Readings come from `reading`. For days whose readings are forgotten (`platform` says which) their sums come from
`reading_1h`, an hour counting at its start. Whatever is wrong on the other side is `Unavailable` here: who reads
cannot repair settings, and the writer stops and names them.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from backends.series.columns import HOUR, ROLLUP, concat, empty, take
from backends.series.influx.answers import TooLong
from backends.series.influx.questions import ROLLUPS, aggregate, cells, is_series, read_aggregates, span, where_series
from backends.series.statistics import WHOLE, check_groups, check_rollup, fold, to_groups, to_ranking, to_rollups
from core.batch import ReadingBatch
from core.errors import SettingsError, Unavailable
from core.ports import Bands, Buckets, Capabilities, Groups, Health, RankBy, Ranking, Rollups

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from backends.series.columns import Columns
    from backends.series.influx.names import Names
    from backends.series.influx.server import InfluxServer, Table
    from core.city import Series

__all__ = ["InfluxSeriesReader"]

_BEGIN, _END = -(1 << 63), (1 << 63) - 1
_MOST_SLICES = 400
"""A range that would take more questions is asked in one, and refused by the server if it is too long for it."""


class InfluxSeriesReader:
    """See `core.ports.SeriesQueries`. Safe from any thread."""

    def __init__(self, server: InfluxServer, names: Names) -> None:
        self._server = server
        self._names = names
        self._raw = server.settings.database
        self._coarse = server.settings.rollup_database

    def close(self) -> None:
        """Close all connections."""
        self._server.close()

    def health(self) -> Health:
        """Ask the server how it is, and whether our databases are there."""
        found = self._server.health()
        if not found.ok:
            return found
        try:
            for database in dict.fromkeys((self._raw, self._coarse)):
                self._server.ask(database, 'SELECT last("floor") FROM "platform"')
        except (SettingsError, Unavailable) as error:
            return Health(ok=False, flavour=found.flavour, version=found.version, text=str(error))
        return found

    def capabilities(self) -> Capabilities:
        """Return what this kind of server can do."""
        with _asking():
            return self._server.capabilities()

    # -- one series

    def latest(self) -> ReadingBatch:
        """Return the newest reading of every series; of the last two days only where InfluxDB 3 Core refuses more."""
        try:
            tables = self._latest(span(self._lowest(), _END))
        except TooLong:
            tables = self._latest("time > now() - 2d")
        series = self._names.ids([table.get("tags", {}) for table in tables])
        rows = [(number, *table["values"][0]) for number, table in zip(series, tables, strict=True) if number >= 0]
        rows.sort()
        ids, at, value, quality = zip(*rows, strict=True) if rows else ((), (), (), ())
        return ReadingBatch.of(ids, at, value, quality=[mask or 0 for mask in quality])

    def _latest(self, when: str) -> list[Table]:
        question = f'SELECT last("value") AS value, "q" FROM "reading" WHERE {when} GROUP BY "device", "metric"'  # noqa: S608
        with _asking():
            return self._server.ask(self._raw, question)[0]

    def readings(self, series: int, start: int, end: int, limit: int) -> ReadingBatch:
        """Return at most *limit* readings of *series* with start <= measured < end, ascending, oldest first."""
        batches: list[ReadingBatch] = []
        left = limit
        start = max(start, self._lowest())
        for one in self._names.of([series]):
            for first, stop in self._slices(start, end):
                if left <= 0:
                    break
                with _asking():
                    tables = self._server.ask(
                        self._raw,
                        f'SELECT "value", "q" FROM "reading" WHERE {is_series(one)} AND {span(first, stop)}'  # noqa: S608 - quoted
                        f" ORDER BY time ASC LIMIT {left}",
                    )[0]
                for table in tables:
                    found = cells(table, {"time": "<i8", "value": "<f8", "q": "<u2"})
                    ids = np.full(len(found["time"]), series, np.int32)
                    batches.append(ReadingBatch.of(ids, found["time"], found["value"], quality=found["q"]))
                    left -= len(ids)
        return ReadingBatch.concat(batches)

    def buckets(self, series: int, start: int, end: int, width: int) -> Buckets:
        """Return aggregates of the readings in [start, end) over buckets of *width* ns aligned to multiples of it.

        Raises:
            ValueError: *width* is not positive.
        """
        if width <= 0:
            raise ValueError(f"bucket width {width} ns: a positive one expected")
        rows = self._scan(self._names.of([series]), start, end, width, quality=True)
        return Buckets(
            rows["hour"], rows["n"], rows["total"] / rows["n"], rows["low"], rows["high"], rows["last"], rows["quality"]
        )

    def bands(self, series: int, start: int, end: int) -> Bands:
        """Return the bands of *series* for the hours that touch [start, end), ascending."""
        names = ("expected", "low", "high")
        pieces = [{name: np.empty(0, dtype) for name, dtype in {"time": "<i8", **dict.fromkeys(names, "<f8")}.items()}]
        for one in self._names.of([series]):
            for first, stop in self._slices(start // HOUR * HOUR, end):
                with _asking():
                    tables = self._server.ask(
                        self._coarse,
                        f'SELECT "expected", "low", "high" FROM "band" WHERE {is_series(one)} AND {span(first, stop)}',  # noqa: S608
                    )[0]
                pieces += [cells(table, {"time": "<i8", **dict.fromkeys(names, "<f8")}) for table in tables]
        columns = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
        ids = np.full(len(columns["time"]), series, np.int32)
        return Bands(ids, columns["time"], columns["expected"], columns["low"], columns["high"])

    def count(self) -> int:
        """Return how many distinct readings are stored; the server looks at all of them."""
        with _asking():
            tables = self._server.ask(
                self._raw,
                f'SELECT count("value") FROM "reading" WHERE {span(self._lowest(), _END)}',  # noqa: S608
            )[0]
        return int(tables[0]["values"][0][1]) if tables else 0

    # -- many series

    def grouped(self, series: NDArray[np.int32], group: NDArray[np.int32], start: int, end: int, width: int) -> Groups:
        """Return aggregates of [start, end) per group over buckets of *width* ns; see `core.ports.SeriesStatistics`."""
        check_groups(series, group, width)
        wanted = self._names.of(series.tolist())
        of = dict(zip(series.tolist(), group.tolist(), strict=True))
        # whole metrics of whole districts are added up by the server: a hundredth of the answer
        rows = self._scan(wanted, start, end, width, heads=self._heads(wanted, of), by_hours=True)
        return to_groups(rows, series, group)

    def _heads(self, wanted: Sequence[Series], of: dict[int, int]) -> dict[tuple[str, str], int] | None:
        """Return one series for each (district, metric) if each pair is in one group, with all its series."""
        heads: dict[tuple[str, str], int] = {}
        for one in wanted:
            head = heads.setdefault((one.district, one.metric), one.id)
            if of[head] != of[one.id]:
                return None
        return heads if self._names.complete(set(heads), set(of)) else None

    def top(self, series: NDArray[np.int32], start: int, end: int, n: int, by: RankBy) -> Ranking:
        """Return the *n* of *series* with the greatest value over [start, end)."""
        return to_ranking(self._scan(self._names.of(series.tolist()), start, end, WHOLE, by_hours=True), n, by)

    def rollups(self, series: NDArray[np.int32], start: int, end: int, width: int) -> Rollups:
        """Return the kept aggregates of *series* that begin in [start, end), as of the writer's last upkeep."""
        first, stop = check_rollup(start, end, width)
        wanted = self._names.of(series.tolist())
        rows = self._aggregates(ROLLUPS[width], wanted, first, stop, width, quality=True)
        return to_rollups(_floored(fold([rows], width), width))

    # -- aggregates

    def _marks(self) -> tuple[int, int]:
        """Return the time below which only rollups are left, and the one below which they are up to date."""
        with _asking():
            found = self._server.ask(
                self._coarse, 'SELECT max("floor") FROM "platform"', 'SELECT last("summed") FROM "platform"'
            )
        floor, summed = (int(tables[0]["values"][0][1]) if tables else _BEGIN for tables in found)
        return floor, summed

    def _lowest(self) -> int:
        """Return the time below which there may be readings that count as forgotten: where rows cannot be deleted."""
        with _asking():
            deletes = self._server.flavour.deletes
        return _BEGIN if deletes else self._marks()[0]

    def _scan(
        self,
        series: Sequence[Series],
        start: int,
        end: int,
        width: int,
        *,
        quality: bool = False,
        heads: Mapping[tuple[str, str], int] | None = None,
        by_hours: bool = False,
    ) -> Columns:
        """Return aggregates of [start, end); *by_hours* from the sums of whole hours where those are up to date."""
        floor, summed = self._marks()
        first = max(start, min(end, floor))  # below it only rollups are left
        from_hour = to_hour = first
        if by_hours and width % HOUR == 0:
            from_hour = -(-first // HOUR) * HOUR
            to_hour = max(min(end, summed) // HOUR * HOUR, from_hour)
            if from_hour >= to_hour:
                from_hour = to_hour = first
        spans = (
            (ROLLUPS[HOUR], start, first),
            ("reading", first, from_hour),
            (ROLLUPS[HOUR], from_hour, to_hour),
            ("reading", to_hour, end),
        )
        pieces = [
            self._aggregates(measurement, series, a, b, width, quality=quality, heads=heads)
            for measurement, a, b in spans
            if a < b
        ]
        return _floored(fold(pieces, width), width)

    def _aggregates(
        self,
        measurement: str,
        series: Sequence[Series],
        start: int,
        end: int,
        width: int,
        *,
        quality: bool,
        heads: Mapping[tuple[str, str], int] | None = None,
    ) -> Columns:
        """Return the aggregates of *series*, or of each (district, metric) under the series that *heads* has for it."""
        if not series:
            return empty(ROLLUP)
        database = self._raw if measurement == "reading" else self._coarse
        tags = ("device", "metric") if heads is None else ("district", "metric")

        def ids(found: Sequence[dict[str, str]]) -> list[int]:
            if heads is None:
                return self._names.ids(found)
            return [heads.get((tag.get("district", ""), tag.get("metric", "")), -1) for tag in found]

        pieces = []
        for first, stop in self._slices(start, end):
            statements = aggregate(
                measurement,
                [where_series(series), span(first, stop)],
                None if width == WHOLE else width,
                tags,
                quality=quality,
            )
            with _asking():
                answer = self._server.ask(database, *statements)
            pieces.append(read_aggregates(answer, ids))
        rows = concat(ROLLUP, pieces)
        wanted = np.array([one.id for one in series], np.int32)
        return take(rows, np.isin(rows["series"], wanted))

    def _span(self) -> int:
        with _asking():
            return self._server.flavour.span_ns

    def _slices(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield [start, end) in ranges that the server answers in one question, cut at its multiples."""
        step = self._span()
        if not step or (end - start) // step > _MOST_SLICES:
            yield start, end
            return
        while start < end:
            stop = min(end, (start // step + 1) * step)
            yield start, stop
            start = stop


def _floored(rows: Columns, width: int) -> Columns:
    return {**rows, "hour": rows["hour"] // width * width}


@contextmanager
def _asking() -> Iterator[None]:
    """Turn wrong settings into `Unavailable`: whoever reads can only try again later."""
    try:
        yield
    except SettingsError as error:
        raise Unavailable("series", str(error)) from error
