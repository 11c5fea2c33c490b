"""This module makes samples of the rows of a recording: which column is what, what a time is, what a number is.

It knows no files. A row is a sequence of cells, text (CSV) or typed (JSON, Parquet), read by a `Layout` that was made
of the column names. Nothing is guessed of values: a bad cell is an error that names it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from core.city import check_name
from core.errors import MalformedPayload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["ALIASES", "Choice", "Layout", "Rows", "Sample", "device_name", "layout_of", "time_ns"]

ALIASES = {
    "time": frozenset({"timestamp", "time", "ts", "date", "datetime", "measured", "measured_at", "at", "_time"}),
    "device": frozenset({"device", "device_id", "deviceid", "sensor", "sensor_id", "station", "station_id"}),
    "metric": frozenset({"metric", "measurement", "parameter", "variable", "field", "_field"}),
    "value": frozenset({"value", "reading", "val", "_value"}),
}
"""What the columns are called, in lower case."""

_ASIDE = frozenset({"received", "received_at", "seq", "quality", "unit"})
"""Columns that are no metrics."""

_EXPECTED = (
    "expected: timestamp,value | timestamp,device,metric,value | timestamp,<metric>,<metric>,… with or without device"
)
_NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_FINE = re.compile(r"(.*\d{2}:\d{2}:\d{2})\.(\d{7,9})(.*)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_NS = (1 << 63) - 1
_SEEN = 100  # names that are remembered to be told of


class Sample(NamedTuple):
    """What one device measured at one time (ns UTC): finite values by metric."""

    at: int
    device: str
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which device and metric are meant: names where the file has none, filters where it has. Empty = all."""

    device: str = ""
    metric: str = ""

    def __post_init__(self) -> None:
        """Check the names.

        Raises:
            MalformedPayload: reason `bad_name`.
        """
        if self.device:
            check_name("device", self.device)
        if self.metric:
            check_name("metric", self.metric)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where in a row what stands; either `value` is set (with or without `metric`), or `columns` is not empty."""

    width: int
    time: int
    device: int | None
    metric: int | None
    value: int | None
    columns: tuple[tuple[int, str], ...] = ()


def layout_of(names: Sequence[str]) -> Layout:
    """Return how rows with the columns *names* are read.

    Raises:
        MalformedPayload: reason `bad_shape`: none of the known layouts; `bad_name`: a metric cannot be called so.

    >>> layout_of(["Time", "Sensor_ID", "pm25"])
    Layout(width=3, time=0, device=1, metric=None, value=None, columns=((2, 'pm25'),))
    """
    place: dict[str, int] = {}
    rest: list[tuple[int, str]] = []
    for index, name in enumerate(names):
        lower = name.strip().lower()
        role = next((role for role, aliases in ALIASES.items() if lower in aliases and role not in place), None)
        if role is not None:
            place[role] = index
        elif lower and lower not in _ASIDE:
            rest.append((index, name.strip()))
    found = f"found: {', '.join(names) or 'no columns'}; {_EXPECTED}"
    if "time" not in place:
        raise MalformedPayload("bad_shape", f"no column with the time; {found}")
    if "metric" in place and "value" not in place:
        raise MalformedPayload("bad_shape", f"a metric column without a value column; {found}")
    if "value" in place and ("metric" in place or not rest):
        return Layout(len(names), place["time"], place.get("device"), place.get("metric"), place["value"])
    if "value" in place:
        rest.append((place["value"], names[place["value"]].strip()))
    if not rest:
        raise MalformedPayload("bad_shape", f"no column with values; {found}")
    columns = tuple((index, _metric_column(name)) for index, name in sorted(rest))
    return Layout(len(names), place["time"], place.get("device"), None, None, columns)


def _metric_column(name: str) -> str:
    try:
        return check_name("metric", name)
    except MalformedPayload as error:
        raise MalformedPayload("bad_name", f"column {name!r} cannot be a metric: {error.detail}") from error


class Rows:
    """Reads rows as samples; remembers names and times that repeat, and counts what is bad."""

    def __init__(self, choice: Choice, *, skip_bad: bool = False) -> None:
        self.bad = 0
        self._choice = choice
        self._skip_bad = skip_bad
        self._names: set[tuple[str, str]] = set()
        self._others: dict[str, None] = {}
        self._last_time: object = object()  # equals nothing
        self._last_ns = 0

    def default_device(self, path: Path) -> str:
        """Return who measured what is in *path* where its rows do not say."""
        return self._choice.device or device_name(path)

    def reject(self, error: MalformedPayload, where: str, *, is_fatal: bool = False) -> None:
        """Count *error*, or raise it with *where* before its text."""
        if is_fatal or not self._skip_bad:
            raise MalformedPayload(error.reason, f"{where}: {error.detail}") from error
        self.bad += 1

    def seen_instead(self) -> str:
        """Return what else there was, if a filter has left nothing."""
        if not self._others:
            return ""
        names = ", ".join(list(self._others)[:8])
        wanted = " ".join(name for name in (self._choice.device, self._choice.metric) if name)
        return f" for {wanted}; it has {names}"

    def sample(self, layout: Layout, cells: Sequence[Any], device: str) -> Sample | None:
        """Return the sample of a row, None if it is not among those that were asked for, or has no value.

        Raises:
            MalformedPayload: reason `bad_shape`, `bad_time`, `bad_name` or `bad_value`.
        """
        if len(cells) != layout.width and (len(cells) < layout.width or any(cells[layout.width :])):
            raise MalformedPayload("bad_shape", f"{layout.width} columns expected, not {len(cells)}: {list(cells)!r}")
        if layout.value is not None:
            if layout.metric is None:
                metric = self._choice.metric or "value"
            else:
                metric = self._name("metric", cells[layout.metric])
            values = {metric: _number(cells[layout.value])}
        else:
            values = {
                metric: _number(cells[index], f" in column {metric!r}")
                for index, metric in layout.columns
                if not _is_missing(cells[index])
            }
        at = self._time(cells[layout.time])
        if layout.device is not None:
            device = self._name("device", cells[layout.device])
        return self._chosen(at, device, values)

    def readings_object(self, item: Mapping[str, Any], device: str) -> Sample | None:
        """Return the sample of a readings object of ours; see `sample`."""
        keys = {key.lower(): key for key in item}
        time = next((keys[key] for key in keys if key in ALIASES["time"]), None)
        if time is None:
            raise MalformedPayload("bad_time", "a readings object without ts: when it was measured, nobody can tell")
        said_by = next((keys[key] for key in keys if key in ALIASES["device"]), None)
        values = {
            self._name("metric", metric): _number(value, f" of {metric!r}")
            for metric, value in item["values"].items()
            if not _is_missing(value)
        }
        name = device if said_by is None else self._name("device", item[said_by])
        return self._chosen(self._time(item[time]), name, values)

    def _chosen(self, at: int, device: str, values: Mapping[str, float]) -> Sample | None:
        wanted = self._choice
        if wanted.device and device != wanted.device:
            self._note(device)
            return None
        if wanted.metric and (len(values) != 1 or wanted.metric not in values):
            for metric in values:
                self._note(metric)
            values = {wanted.metric: values[wanted.metric]} if wanted.metric in values else {}
        return Sample(at, device, values) if values else None

    def _note(self, name: str) -> None:
        if len(self._others) < _SEEN:
            self._others[name] = None

    def _name(self, what: str, cell: object) -> str:
        name = cell.strip() if isinstance(cell, str) else str(cell) if type(cell) is int else None
        if name is None:
            raise MalformedPayload("bad_name", f"{what} {cell!r}: a name expected")
        if (what, name) not in self._names:
            check_name(what, name)
            if len(self._names) < 100_000:
                self._names.add((what, name))
        return name

    def _time(self, cell: object) -> int:
        if cell != self._last_time or type(cell) is not type(self._last_time):
            self._last_ns = time_ns(cell)
            self._last_time = cell
        return self._last_ns


def time_ns(cell: object) -> int:
    """Return ns UTC of a time: `YYYY-MM-DD HH:MM:SS`, RFC 3339 (up to ns; no zone = UTC), or a number.

    A number counts since the epoch, and its size tells the unit, as in our payloads: below 1e11 seconds, below 1e14
    milliseconds, below 1e17 microseconds, else nanoseconds.

    Raises:
        MalformedPayload: reason `bad_time`.
    """
    try:
        if isinstance(cell, str):
            text = cell.strip()
            ns = _epoch_ns(Decimal(text)) if _NUMBER.fullmatch(text) else _text_ns(text)
        elif isinstance(cell, (int, float, Decimal)) and not isinstance(cell, bool):
            ns = _epoch_ns(cell if isinstance(cell, int) else Decimal(str(cell)))  # as written, not as in binary
        else:
            raise ValueError("no time")  # noqa: TRY004, TRY301 - told below, with what was expected
        if not -_MAX_NS <= ns <= _MAX_NS:
            raise ValueError("beyond what nanoseconds can tell")  # noqa: TRY301
    except (ValueError, OverflowError, ArithmeticError) as error:
        raise MalformedPayload(
            "bad_time", f"{cell!r} is not a time; YYYY-MM-DD HH:MM:SS, RFC 3339 or time since the epoch expected"
        ) from error
    return ns


def _epoch_ns(number: int | Decimal) -> int:
    size = abs(Decimal(number))
    return int(number * (10**9 if size < 10**11 else 10**6 if size < 10**14 else 10**3 if size < 10**17 else 1))


def _text_ns(text: str) -> int:
    fine = _FINE.fullmatch(text)  # datetime cuts what is finer than a microsecond
    at = datetime.fromisoformat(fine[1] + fine[3] if fine else text)
    since = (at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH
    return since // timedelta(microseconds=1) * 1000 + (int(fine[2].ljust(9, "0")) if fine else 0)


def device_name(path: Path) -> str:
    """Return the device id that a file's name suggests.

    >>> from pathlib import Path
    >>> device_name(Path("data/nyc_taxi.csv"))
    'nyc_taxi'
    """
    stem = path.name.removesuffix(".gz").rpartition(".")[0] or path.name
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_")[:64]
    return name or "replay"


def _is_missing(cell: object) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip()) or cell != cell  # noqa: PLR0124 - NaN


def _number(cell: object, where: str = "") -> float:
    if isinstance(cell, str) and "_" not in cell:
        try:
            value = float(cell)
        except ValueError as error:
            raise MalformedPayload("bad_value", f"{cell!r}{where} is not a number") from error
    elif isinstance(cell, (int, float, Decimal)) and not isinstance(cell, bool):
        try:
            value = float(cell)
        except OverflowError:
            value = math.inf
    else:
        raise MalformedPayload("bad_value", f"{cell!r}{where} is not a number")
    if not math.isfinite(value):
        raise MalformedPayload("bad_value", f"{cell!r}{where} is not a finite number")
    return value
