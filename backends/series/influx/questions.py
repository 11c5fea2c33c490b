"""This module words the questions to InfluxDB, in InfluxQL, and reads the answers as columns.

InfluxQL is what all kinds speak; used are `count sum min max last distinct`, `GROUP BY time(), tag` and `fill(none)`,
which they all know. Names stand in quotes, so nothing that a device is called can become part of a question.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.series.columns import DAY, HOUR, ROLLUP, concat, empty

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backends.series.columns import Columns
    from backends.series.influx.server import Table
    from core.city import Series

__all__ = [
    "ROLLUPS",
    "aggregate",
    "cells",
    "is_series",
    "is_text",
    "read_aggregates",
    "span",
    "where_series",
]

ROLLUPS = {HOUR: "reading_1h", DAY: "reading_1d"}
_FIRST_NS = -(1 << 63) + 2
_LAST_NS = (1 << 63) - 2
_FEW = 64  # series that are asked for one by one: a guess

_AGGREGATES = {
    "reading": 'count("value") AS n, sum("value") AS total, min("value") AS low, max("value") AS high,'
    ' last("value") AS last',
    **dict.fromkeys(
        ROLLUPS.values(),
        'sum("n") AS n, sum("sum") AS total, min("min") AS low, max("max") AS high, last("last") AS last',
    ),
}


def is_text(tag: str, value: str) -> str:
    """Return the condition that *tag* is *value*."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"\"{tag}\" = '{escaped}'"


def is_series(series: Series) -> str:
    """Return the condition that a point is of *series*."""
    return f"{is_text('device', series.device)} AND {is_text('metric', series.metric)}"


def where_series(series: Sequence[Series]) -> str:
    """Return a condition that holds for all of *series* and, if they are many, for some that share their tags."""
    if len(series) <= _FEW:
        parts = [is_series(one) for one in series]
    else:
        pairs = sorted({(one.district, one.metric) for one in series})
        parts = [f"{is_text('district', district)} AND {is_text('metric', metric)}" for district, metric in pairs]
    return "(" + " OR ".join(f"({part})" for part in parts) + ")"


def span(start: int, end: int) -> str:
    """Return the condition start <= time < end, both ns, cut to what InfluxDB can say."""
    return f"time >= {max(start, _FIRST_NS)} AND time < {min(max(end, _FIRST_NS), _LAST_NS)}"


def aggregate(
    measurement: str, conditions: Sequence[str], width: int | None, tags: Sequence[str], *, quality: bool
) -> list[str]:
    """Return the statement for aggregates by *tags* and buckets of *width* ns (None = one), and for their masks."""
    where = " AND ".join(conditions)
    by = [*([f"time({width}ns)"] if width else []), *(f'"{tag}"' for tag in tags)]
    rest = f'FROM "{measurement}" WHERE {where} GROUP BY {", ".join(by)}' + (" fill(none)" if width else "")
    statements = [f"SELECT {_AGGREGATES[measurement]} {rest}"]
    if quality:
        statements.append(f'SELECT distinct("q") AS q {rest}')
    return statements


def cells(table: Table, dtypes: dict[str, str]) -> dict[str, Any]:
    """Return the columns of *table* that *dtypes* names as arrays; what is absent is 0."""
    at = {name: i for i, name in enumerate(table["columns"])}
    columns = list(zip(*table["values"], strict=True))
    return {
        name: np.array([value or 0 for value in columns[at[name]]] if name == "q" else columns[at[name]], dtype)
        for name, dtype in dtypes.items()
    }


def read_aggregates(answer: Sequence[Sequence[Table]], ids: Callable[[list[dict[str, Any]]], list[int]]) -> Columns:
    """Return what the question of `aggregate` found as `ROLLUP` rows; *ids* turns tags into series, -1 = none of ours.

    Masks come as rows of no readings, before the others, so that `fold` adds them to their bucket.
    """
    pieces = []
    if len(answer) > 1:
        found = _rows(answer[1], ids, {"time": "<i8", "q": "<u2"})
        n = len(found["series"])
        edge = np.full(n, np.inf)
        nothing = {"n": np.zeros(n, np.int64), "total": np.zeros(n), "low": edge, "high": -edge, "last": np.zeros(n)}
        pieces.append({"series": found["series"], "hour": found["time"], **nothing, "quality": found["q"]})
    found = _rows(
        answer[0], ids, {"time": "<i8", "n": "<i8", "total": "<f8", "low": "<f8", "high": "<f8", "last": "<f8"}
    )
    found["hour"] = found.pop("time")
    pieces.append({**found, "quality": np.zeros(len(found["series"]), np.uint16)})
    return concat(ROLLUP, pieces) if pieces else empty(ROLLUP)


def _rows(
    tables: Sequence[Table], ids: Callable[[list[dict[str, Any]]], list[int]], dtypes: dict[str, str]
) -> dict[str, Any]:
    series = ids([table.get("tags", {}) for table in tables])
    ours = [(number, table) for number, table in zip(series, tables, strict=True) if number >= 0]
    counts = [len(table["values"]) for _, table in ours]
    names = ours[0][1]["columns"] if ours else list(dtypes)
    # one zip over all rows of all series: a city is ten thousand small tables
    columns = list(zip(*chain.from_iterable(table["values"] for _, table in ours), strict=True)) or [()] * len(names)
    at = {name: i for i, name in enumerate(names)}
    found: dict[str, Any] = {name: np.array(columns[at[name]], dtype) for name, dtype in dtypes.items()}
    return {"series": np.repeat(np.array([number for number, _ in ours], np.int32), counts), **found}
