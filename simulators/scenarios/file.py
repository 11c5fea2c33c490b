"""This module is a scenario as its TOML file tells it: tables with the keys and types that there are.

What they say is not checked here (`simulators.scenarios.check`).
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from core.errors import SettingsError
from simulators.scenarios.lines import Source, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "LEAST_INTERVAL_SECONDS",
    "LONGEST_HOURS",
    "MOST_INTERVAL_SECONDS",
    "EventTable",
    "FaultTable",
    "OutageTable",
    "ScenarioFile",
    "duration_ns",
    "parse_scenario",
]

LONGEST_HOURS = 24 * 366
LEAST_INTERVAL_SECONDS, MOST_INTERVAL_SECONDS = 0.1, 86_400
_S = 1_000_000_000
_UNITS = (86_400 * _S, 3600 * _S, 60 * _S, _S)  # of the groups of
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)
_AT = re.compile(r"(.*) - at `\$(?:\.(\w+)(?:\[(\d+)\](?:\.(\w+))?)?)?.*`", re.DOTALL)
_WORDS = {" | null": "", "`": "", "float": "number", "int": "whole number", "str": "text", "array": "list"}
_TIMES = frozenset({"at", "for", "every", "spread"})

_Count = Annotated[int, msgspec.Meta(ge=1)]
_Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
_Word = Annotated[str, msgspec.Meta(min_length=1)]


class EventTable(msgspec.Struct, forbid_unknown_fields=True, rename={"length": "for"}, kw_only=True, frozen=True):
    """What happens in the city: `[[event]]`. `size` is by default what is usual, `district` the whole city."""

    kind: _Word
    at: _Word
    length: _Word
    size: float | None = None
    district: _Word | None = None


class OutageTable(msgspec.Struct, forbid_unknown_fields=True, rename={"length": "for"}, kw_only=True, frozen=True):
    """A gateway that is down: `[[outage]]`. Its devices keep everything back and send it all afterwards."""

    at: _Word
    length: _Word
    devices: list[_Word] | None = None
    kind: _Word | None = None
    district: _Word | None = None
    count: _Count | None = None
    share: _Share | None = None


class FaultTable(msgspec.Struct, forbid_unknown_fields=True, rename={"length": "for"}, kw_only=True, frozen=True):
    """What goes wrong: `[[fault]]`. Who is hit is named by `devices`, or picked by the seed.

    Attributes:
        what: kind of the fault.
        at: when it begins, after the run's start.
        length: how long it is on; `for` in the file.
        size: how much, or [least, most] for the seed to pick from.
        metric: which one of the device; all, where the kind hits the whole device.
        every: begins again so long after each begin, as long as it ends within the run; each time others are picked.
        spread: the devices do not begin together but one by one within this time.
        devices: who is hit.
        kind: pick among devices of this kind.
        district: pick among devices of this district.
        count: how many are picked; so many must be free.
        share: this part of those that could be is picked, one at least; fewer if fewer are free. Without both: one.
    """

    what: _Word
    at: _Word
    length: _Word
    size: float | list[float] | None = None
    metric: _Word | None = None
    every: _Word | None = None
    spread: _Word | None = None
    devices: list[_Word] | None = None
    kind: _Word | None = None
    district: _Word | None = None
    count: _Count | None = None
    share: _Share | None = None


class _Tables(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    title: _Word
    hours: Annotated[float, msgspec.Meta(gt=0, le=LONGEST_HOURS)]
    interval_seconds: Annotated[float, msgspec.Meta(ge=LEAST_INTERVAL_SECONDS, le=MOST_INTERVAL_SECONDS)] = 60.0
    devices: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 200
    event: list[EventTable] = msgspec.field(default_factory=list)
    outage: list[OutageTable] = msgspec.field(default_factory=list)
    fault: list[FaultTable] = msgspec.field(default_factory=list)


_KEYS: Mapping[str, tuple[str, ...]] = {
    "": _Tables.__struct_encode_fields__,
    "event": EventTable.__struct_encode_fields__,
    "outage": OutageTable.__struct_encode_fields__,
    "fault": FaultTable.__struct_encode_fields__,
}


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """A scenario that was read.

    Attributes:
        name: the file's stem.
        title: one line for people.
        hours: how long it is.
        interval_seconds: how often each device reports.
        devices: how many the city has, if nobody says otherwise.
        events: what happens.
        outages: gateways that are down.
        faults: what goes wrong.
        source: for naming lines.
    """

    name: str
    title: str
    hours: float
    interval_seconds: float
    devices: int
    events: tuple[EventTable, ...]
    outages: tuple[OutageTable, ...]
    faults: tuple[FaultTable, ...]
    source: Source


def parse_scenario(name: str, file: str, content: bytes) -> ScenarioFile:
    """Return the scenario *name* that *content* tells; errors call the place *file*.

    Raises:
        SettingsError: no TOML, an unknown or missing key, or a value of the wrong type.
    """
    try:
        text = content.decode()
        tree = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError("scenario", f"{file}:{line}: not UTF-8: {error.reason}") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, or a number of thousands of digits
        raise _bad_syntax(file, content.decode(), error) from error
    source = Source(file, text)
    _check_keys(source, tree)
    try:
        tables = msgspec.convert(tree, _Tables)
    except msgspec.ValidationError as error:
        raise _bad_type(source, error) from error
    return ScenarioFile(
        name=name,
        title=tables.title,
        hours=tables.hours,
        interval_seconds=tables.interval_seconds,
        devices=tables.devices,
        events=tuple(tables.event),
        outages=tuple(tables.outage),
        faults=tuple(tables.fault),
        source=source,
    )


def duration_ns(text: str) -> int:
    """Return the nanoseconds that *text* tells, such as `1d2h30m`.

    Raises:
        ValueError: it tells none.

    >>> duration_ns("1d2h30m") // 1_000_000_000
    95400
    """
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"{text!r} is no time; one like '1d2h30m' or '90s' expected")
    return sum(int(n) * unit for n, unit in zip(match.groups("0"), _UNITS, strict=True))


def _bad_syntax(file: str, text: str, error: Exception) -> SettingsError:
    """Return the error with the line in front; at the end of the document it is the last one."""
    match = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
    line = int(match[1]) if match else max(1, len(text.splitlines()))
    return SettingsError("scenario", f"{file}:{line}: no TOML: {error}")


def _bad_type(source: Source, error: msgspec.ValidationError) -> SettingsError:
    """Return the error with the line of the key that msgspec names as `$.fault[2].size`, in TOML's words."""
    match = _AT.fullmatch(str(error))
    what, table, index, key = match.groups() if match else (str(error), None, None, None)
    if index is None:  # a key of the file itself
        table, key = "", table
    missing = re.fullmatch(r"Object missing required field `(\w+)`", what)
    if missing:
        return source.wrong(f"{missing[1]!r} is missing", table or "", int(index or 0))
    for word, text in _WORDS.items():
        what = what.replace(word, text)
    hint = ", like '6h'" if key in _TIMES else ""
    return source.wrong(f"{key}: {what[:1].lower()}{what[1:]}{hint}", table or "", int(index or 0), key or "")


def _check_keys(source: Source, tree: dict[str, Any]) -> None:
    """Pass *tree* if it has no unknown keys: msgspec would name neither the line nor the nearest one."""
    for key, value in tree.items():
        if key not in _KEYS[""]:
            detail = f"{key!r} is unknown; {nearest(key, _KEYS[''])}"
            raise source.wrong(detail, key) if isinstance(value, (dict, list)) else source.wrong(detail, key=key)
    for table in ("event", "outage", "fault"):
        rows = tree.get(table, [])
        if isinstance(rows, dict):
            raise source.wrong(f"write [[{table}]]: there may be several", table)
        for index, row in enumerate(rows if isinstance(rows, list) else ()):
            for key in row if isinstance(row, dict) else ():
                if key not in _KEYS[table]:
                    raise source.wrong(f"{key!r} is unknown; {nearest(key, _KEYS[table])}", table, index, key)
