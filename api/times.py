"""This module reads and writes the times of the HTTP contract, and picks bucket widths."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import numpy as np

from api.problems import bad_field
from core.clock import from_ns, to_ns

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["WIDTHS", "bucket_width", "day_number", "day_text", "iso", "iso_column", "parse_time", "time_field"]

SECOND = 1_000_000_000
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
WIDTHS = (
    *(1, 2, 5, 10, 15, 30),
    *(n * _MINUTE for n in (1, 2, 5, 10, 15, 30)),
    *(n * _HOUR for n in (1, 2, 3, 6, 12)),
    *(n * _DAY for n in (1, 2, 7, 14, 28, 91, 182, 364)),
)
"""Bucket widths in seconds that people can read off an axis."""

_LATEST = 7_258_118_400 * SECOND  # 2200-01-01: well inside int64 nanoseconds
_UNITS = ((11, SECOND), (14, 1_000_000), (17, 1000), (20, 1))  # digits of an epoch tell its unit
_EPOCH = date(1970, 1, 1)
_NUMBER = re.compile(r"\d{1,20}(\.\d{1,9})?", re.ASCII)
_LOST_PLUS = re.compile(r"(T[\d:.]+) (\d\d:\d\d)$", re.ASCII)


def iso(ns: int) -> str:
    """Return *ns* (UTC) in RFC 3339 with milliseconds and Z.

    >>> iso(1_767_225_600_123_456_789)
    '2026-01-01T00:00:00.123Z'
    """
    return from_ns(ns).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_column(ms: Sequence[int]) -> list[str]:
    """Return `iso` of many milliseconds at once.

    >>> iso_column([1_767_225_600_123])
    ['2026-01-01T00:00:00.123Z']
    """
    times: list[str] = np.datetime_as_string(np.array(ms, "datetime64[ms]"), timezone="UTC").tolist()
    return times


def parse_time(text: str) -> int:
    """Return the nanoseconds UTC that *text* means: RFC 3339, or an epoch in s, ms, us or ns told by its size.

    A `+` of an offset that a query string turned into a space is read as `+`.

    Raises:
        ValueError: neither; without a time zone; before 1970 or after 2199.

    >>> parse_time("2026-01-01T00:00:00Z") == parse_time("1767225600") == parse_time("1767225600000")
    True
    """
    if _NUMBER.fullmatch(text):
        whole, _, part = text.partition(".")
        unit = next(unit for digits, unit in _UNITS if len(whole) <= digits)
        ns = int(whole) * unit + int((part + "0" * 9)[:9]) * unit // SECOND
    else:
        at = datetime.fromisoformat(_LOST_PLUS.sub(r"\1+\2", text))
        if at.tzinfo is None:
            raise ValueError("no time zone: end it with Z or an offset")
        try:
            ns = to_ns(at)
        except OverflowError as error:
            raise ValueError("out of range") from error
    if not 0 <= ns < _LATEST:
        raise ValueError("before 1970 or after 2199")
    return ns


def time_field(name: str, text: str) -> int:
    """Return `parse_time` of *text*, what a request says in its field *name*.

    Raises:
        Refusal: 422: it is no time.
    """
    try:
        return parse_time(text)
    except ValueError as error:
        raise bad_field(name, f"{text[:40]!r} is no time: {error}") from error


def bucket_width(start: int, end: int, points: int) -> int:
    """Return the smallest readable width in ns that covers [*start*, *end*) with at most *points* aligned buckets.

    Beyond the table widths are multiples of its last one.

    >>> bucket_width(0, 6 * 3600 * SECOND, 360) // SECOND
    60
    """
    for seconds in WIDTHS:
        if _buckets(start, end, seconds * SECOND) <= points:
            return seconds * SECOND
    width = step = WIDTHS[-1] * SECOND
    while _buckets(start, end, width) > points and width < _LATEST:
        width += step
    return width


def _buckets(start: int, end: int, width: int) -> int:
    return -(-end // width) - start // width


def day_number(day: date) -> int:
    """Return days since 1970-01-01."""
    return (day - _EPOCH).days


def day_text(number: int) -> str:
    """Return the date of day *number*."""
    return datetime.fromtimestamp(number * _DAY, UTC).date().isoformat()
