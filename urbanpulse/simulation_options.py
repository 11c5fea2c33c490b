"""This module is what `urbanpulse simulate` was asked for: checked, and refused where it contradicts itself."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.clock import to_ns
from core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["ScenarioOptions", "check_options", "parse_part", "parse_speed", "parse_start"]

_FASTEST = 1_000_000.0
_SPEED = re.compile(r"(\d+\.?\d*|\.\d+)\s*[x×]?", re.ASCII)
_PART = re.compile(r"(\d{1,6})/(\d{1,6})", re.ASCII)
_EARLIEST, _LATEST = 2000, 2100  # years

_RUN = {"seed", "hours", "devices", "interval", "start", "part", "format"}
_ALLOWED: dict[str, set[str]] = {
    "scenario": _RUN | {"speed", "labels", "broker", "credentials"},
    "fast": _RUN | {"scenario", "force", "speed"},  # any speed means the same files
    "load": {"seed", "devices", "format", "broker", "credentials", "rate", "sockets", "seconds", "qos"},
    "replay": {"device", "metric", "speed", "shift", "skip-bad", "broker", "credentials"},
    "demo": {"seed", "interval", "labels", "no-backfill"},
}
"""What each way of simulating can make use of, beside `--config` and `--json`."""


@dataclass(frozen=True, slots=True)
class ScenarioOptions:
    """A run of a scenario; None means: as the scenario says.

    Attributes:
        scenario: name or TOML file.
        speed: times real time.
        wire: what devices speak.
        hours: how long the world's time is.
        devices: how many the city has.
        interval_seconds: how often each one reports.
        start: of the world's time, ns UTC.
        part: (k, n): every n-th device, from the k-th on.
        labels: file that gets the truth; None: `labels.jsonl` in the data folder.
        elsewhere: whether the broker was named on the command line: then nothing is registered with the platform.
        credentials: JSON file with {device: secret}.
    """

    scenario: str
    speed: float = 1.0
    wire: str = "json"
    hours: float | None = None
    devices: int | None = None
    interval_seconds: float | None = None
    start: int | None = None
    part: tuple[int, int] = (1, 1)
    labels: Path | None = None
    elsewhere: bool = False
    credentials: Path | None = None


def check_options(given: Mapping[str, Any]) -> str:
    """Return what to do (`demo`, `scenario`, `fast`, `load` or `replay`) for the options in *given* that are set.

    Raises:
        SettingsError: two options contradict each other; the text names both.

    >>> check_options({"scenario": "inversion", "speed": 600.0})
    'scenario'
    """
    told = [name for name, value in given.items() if value is not None and value is not False and value != []]
    ways = [way for way in ("replay", "load", "fast") if way in told]
    if len(ways) > 1:
        raise SettingsError(f"--{ways[0]}", f"contradicts --{ways[1]}: choose one")
    way = ways[0] if ways else "scenario" if "scenario" in told else "demo"
    for name in told:
        if name not in _ALLOWED[way] | {way}:
            if way != "demo":
                raise SettingsError(f"--{name}", f"contradicts --{way}, which makes no use of it")
            others = [f"--{other}" for other, allowed in _ALLOWED.items() if name in allowed]
            hint = "; the plain week is --scenario normal" if "--scenario" in others else ""
            raise SettingsError(f"--{name}", f"the demo city makes no use of it; give {' or '.join(others)}{hint}")
    return way


def parse_speed(text: str) -> float:
    """Return what *text* says, as times real time.

    Raises:
        SettingsError: it is no number above 0, or out of reach.

    >>> parse_speed("600x")
    600.0
    """
    match = _SPEED.fullmatch(text.strip())
    speed = float(match[1]) if match else math.nan
    if not 0 < speed <= _FASTEST:
        raise SettingsError(
            "--speed", f"{text[:40]!r}: a number above 0 and up to {_FASTEST:.0f} expected, like 600x or 0.5"
        )
    return speed


def parse_start(text: str) -> int:
    """Return the moment that *text* names (RFC 3339), ns UTC.

    Raises:
        SettingsError: it names none, or has no time zone, or lies outside this century.
    """
    example = "RFC 3339 with a time zone expected, like 2026-11-01T00:00:00+05:00"
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise SettingsError("--start", f"{text[:40]!r} is no time: {example}") from error
    if at.tzinfo is None:
        raise SettingsError("--start", f"{text[:40]!r} has no time zone: {example}")
    if not _EARLIEST <= at.year < _LATEST:
        raise SettingsError("--start", f"{text[:40]!r}: a year from {_EARLIEST} to {_LATEST - 1} expected")
    return to_ns(at) // 1_000_000 * 1_000_000


def parse_part(text: str) -> tuple[int, int]:
    """Return (k, n) for *text* `k/n`.

    Raises:
        SettingsError: it is not of that form, or k is not from 1 to n.

    >>> parse_part("2/3")
    (2, 3)
    """
    match = _PART.fullmatch(text.strip())
    k, n = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= k <= n:
        raise SettingsError("--part", f"{text[:40]!r}: K/N with K from 1 to N expected, like 1/4")
    return k, n
