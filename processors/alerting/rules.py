"""This module is the rule book: what counts as an alert, read strictly from TOML.

Two tables. `[[rule]]` sets a limit on the value of a metric. `[[finding]]` says what becomes of what the checks and
detectors find by themselves: `novelty`, `peer`, `range`, `flat`, `gap`, `skew`, `flapping` and `late`; of several that
match a series the first applies, so a special case stands above the general one, and `enabled = false` silences it.

Filters are `metric`, `sector`, `district` and `device` (a name or a list of names). A device's kind is no filter:
it is forgotten when the device is removed, and a replay of the log must judge as the first run did.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from typing import TYPE_CHECKING, Any

from core.alerts import Priority
from core.errors import SettingsError
from core.metrics import METRICS, metric

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from core.city import Series

__all__ = ["Filter", "Finding", "FindingKind", "RuleBook", "Threshold", "load_rules", "parse_rules"]

_SECOND = 1_000_000_000
_UNITS = {"s": _SECOND, "m": 60 * _SECOND, "h": 3600 * _SECOND, "d": 86_400 * _SECOND}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_LONGEST = 30 * _UNITS["d"]
_FILTERS = ("metric", "sector", "district", "device")
_RULE_KEYS = ("name", "above", "below", "clear", "for", "clear_for", "priority", *_FILTERS)
_FINDING_KEYS = (
    "kind",
    "name",
    "severity",
    "young_severity",
    "young_for",
    "clear_for",
    "clear_readings",
    "alerts_per_day",
    "priority",
    "enabled",
    *_FILTERS,
)
_TABLES = ("rule", "finding")
_MAX_BUDGET = 100_000
_MAX_RULES = 500  # each costs a look per reading of a series in doubt; a guess, not measured


class FindingKind(StrEnum):
    """What the platform finds by itself."""

    NOVELTY = "novelty"
    RANGE = "range"
    FLAT = "flat"
    GAP = "gap"
    PEER = "peer"
    SKEW = "skew"
    FLAPPING = "flapping"
    LATE = "late"


_OF_DEVICES = frozenset({FindingKind.GAP, FindingKind.FLAPPING, FindingKind.LATE})


@dataclass(frozen=True, slots=True)
class Filter:
    """Which series something applies to; an empty set means any."""

    metric: frozenset[str] = frozenset()
    sector: frozenset[str] = frozenset()
    district: frozenset[str] = frozenset()
    device: frozenset[str] = frozenset()

    def matches(self, series: Series) -> bool:
        """Tell whether *series* passes every part."""
        return (
            (not self.metric or series.metric in self.metric)
            and (not self.sector or metric(series.metric).sector in self.sector)
            and (not self.district or series.district in self.district)
            and (not self.device or series.device in self.device)
        )


@dataclass(frozen=True, slots=True)
class Threshold:
    """A limit on a value. Beyond `limit` for `for_ns` opens; not beyond `clear` for `clear_for_ns` clears."""

    name: str
    where: Filter
    above: bool
    limit: float
    clear: float
    for_ns: int
    clear_for_ns: int
    priority: Priority

    @property
    def code(self) -> str:
        """Return the message code of its alerts."""
        return "threshold.above" if self.above else "threshold.below"

    def breaches(self, value: float) -> bool:
        """Tell whether *value* is beyond the limit."""
        return value > self.limit if self.above else value < self.limit

    def holds(self, value: float) -> bool:
        """Tell whether *value* keeps an open alert open (hysteresis)."""
        return value > self.clear if self.above else value < self.clear

    def badness(self, value: float) -> float:
        """Return 1 at the limit and one more for each time the limit's own size beyond it (at least one unit)."""
        beyond = value - self.limit if self.above else self.limit - value
        return 1.0 + beyond / max(abs(self.limit), 1.0)


@dataclass(frozen=True, slots=True)
class Finding:
    """What becomes of a finding of `kind`.

    `severity` is the novelty from which it opens; while a series is younger than `young_for_ns` (by measured time, from
    its first reading), `young_severity` is, and in its first two days more: in proportion to what is missing of them.
    `alerts_per_day` is a budget: how many alerts of novelty a day each district is meant to have at most; None: none.
    """

    name: str
    kind: FindingKind
    where: Filter
    priority: Priority
    severity: float
    young_severity: float
    young_for_ns: int
    clear_for_ns: int
    clear_readings: int
    enabled: bool
    alerts_per_day: float | None = None


@dataclass(frozen=True, slots=True)
class RuleBook:
    """All rules, in the order of the file."""

    thresholds: tuple[Threshold, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Return the names of all rules and findings in force."""
        return frozenset(r.name for r in self.thresholds) | frozenset(f.name for f in self.findings if f.enabled)

    @property
    def names_devices(self) -> bool:
        """Tell whether some rule is for devices by name."""
        return any(t.where.device for t in self.thresholds) or any(f.where.device for f in self.findings)

    def threshold(self, name: str) -> Threshold | None:
        """Return the limit named *name*, None if there is none."""
        return next((rule for rule in self.thresholds if rule.name == name), None)

    def applies(self, name: str, series: Series) -> bool:
        """Tell whether the rule or finding named *name* is in force for *series*."""
        rule = self.threshold(name)
        if rule is not None:
            return rule.where.matches(series)
        return any(found.name == name for kind in FindingKind if (found := self.finding_for(kind, series)))

    def thresholds_for(self, series: Series) -> tuple[Threshold, ...]:
        """Return the limits that apply to *series*."""
        return tuple(rule for rule in self.thresholds if rule.where.matches(series))

    def finding_for(self, kind: FindingKind, series: Series) -> Finding | None:
        """Return the first finding rule of *kind* that applies to *series*, None if there is none or it is off."""
        for finding in self.findings:
            if finding.kind is kind and finding.where.matches(series):
                return finding if finding.enabled else None
        return None


def load_rules(path: Path | None = None) -> RuleBook:
    """Read the rules at *path*, or the ones that come with urbanpulse.

    Raises:
        SettingsError: the file cannot be read, or says something impossible; the text names file, rule and key.
    """
    if path is None:
        return parse_rules(resources.files("processors").joinpath("rules.toml").read_text("utf-8"), "rules.toml")
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError("rules", f"{path}: {error}") from error
    return parse_rules(text, str(path))


def parse_rules(text: str, source: str) -> RuleBook:
    """Read rules from TOML *text*; *source* names it in errors.

    Raises:
        SettingsError: as `load_rules`.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError("rules", f"{source}: not TOML: {error}") from error
    for key, value in tables.items():
        if key not in _TABLES:
            raise _unknown(source, key, _TABLES)
        if not isinstance(value, list):
            raise SettingsError(key, f"{source}: a list of tables [[{key}]] expected")
    thresholds = tuple(_threshold(_Table(source, "rule", i, t)) for i, t in enumerate(tables.get("rule", ())))
    findings = tuple(_finding(_Table(source, "finding", i, t)) for i, t in enumerate(tables.get("finding", ())))
    if len(thresholds) + len(findings) > _MAX_RULES:
        raise SettingsError("rules", f"{source}: {len(thresholds) + len(findings)} rules: at most {_MAX_RULES}")
    seen: set[str] = set()
    for name in (*(t.name for t in thresholds), *(f.name for f in findings)):
        if name in seen:
            raise SettingsError("name", f"{source}: two rules are named {name!r}")
        seen.add(name)
    return RuleBook(thresholds, findings)


class _Table:
    """One TOML table, asked key by key; every complaint names file, table and key."""

    def __init__(self, source: str, what: str, index: int, raw: Any) -> None:
        name = raw.get("name", raw.get("kind")) if isinstance(raw, dict) else None
        self.label = f"{source}: {what} {name!r}" if isinstance(name, str) else f"{source}: {what} number {index + 1}"
        if not isinstance(raw, dict):
            raise SettingsError(what, f"{self.label}: a table expected")
        self.raw: dict[str, Any] = raw

    def fail(self, key: str, detail: str) -> SettingsError:
        return SettingsError(key, f"{self.label}: {detail}")

    def allow(self, keys: Sequence[str]) -> None:
        for key in self.raw:
            if key not in keys:
                raise _unknown(self.label, key, keys)

    def name(self, default: str | None = None) -> str:
        value = self.raw.get("name", default)
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            raise self.fail("name", f"name {value!r}: 1-64 small letters, digits or '-' expected")
        return value

    def number(self, key: str) -> float | None:
        value = self.raw.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.fail(key, f"{key} = {value!r}: a finite number expected")
        return float(value)

    def duration(self, key: str, default: str) -> int:
        value = self.raw.get(key, default)
        match = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise self.fail(key, f'{key} = {value!r}: a duration such as "90s", "5m", "2h" or "1d" expected')
        ns = round(float(match[1]) * _UNITS[match[2]])
        if ns > _LONGEST:
            raise self.fail(key, f"{key} = {value!r}: at most 30d")
        return ns

    def priority(self, default: Priority) -> Priority:
        value = self.raw.get("priority", default)
        try:
            return Priority(value)
        except ValueError:
            raise self.fail("priority", f"priority {value!r}: one of {', '.join(Priority)} expected") from None

    def where(self) -> Filter:
        parts: dict[str, frozenset[str]] = {}
        for key in _FILTERS:
            value = self.raw.get(key, [])
            names = [value] if isinstance(value, str) else value
            if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
                raise self.fail(key, f"{key} = {value!r}: a name or a list of names expected")
            parts[key] = frozenset(names)
        for sector in sorted(parts["sector"]):
            known = sorted({m.sector for m in METRICS.values()})
            if sector not in known:
                raise self.fail("sector", f"sector {sector!r}: one of {', '.join(known)} expected")
        return Filter(**parts)


def _threshold(table: _Table) -> Threshold:
    table.allow(_RULE_KEYS)
    where = table.where()
    above, below = table.number("above"), table.number("below")
    if (above is None) == (below is None):
        raise table.fail("above", "exactly one of 'above' and 'below' expected")
    if not where.metric and not where.device:
        raise table.fail("metric", "a limit needs a 'metric'")
    limit = above if above is not None else below
    if limit is None:  # pragma: no cover - one of them is there, as checked above
        raise table.fail("above", "no limit")
    given = table.number("clear")
    clear = limit if given is None else given
    if (above is not None and clear > limit) or (below is not None and clear < limit):
        side = "at or below 'above'" if above is not None else "at or above 'below'"
        raise table.fail("clear", f"clear = {clear:g}: must be {side} = {limit:g}")
    return Threshold(
        table.name(),
        where,
        above is not None,
        limit,
        clear,
        table.duration("for", "0s"),
        table.duration("clear_for", "1m"),
        table.priority(Priority.MEDIUM),
    )


def _finding(table: _Table) -> Finding:
    table.allow(_FINDING_KEYS)
    raw_kind = table.raw.get("kind")
    try:
        kind = FindingKind(str(raw_kind))
    except ValueError:
        raise table.fail("kind", f"kind {raw_kind!r}: one of {', '.join(FindingKind)} expected") from None
    severity = _severity(table, "severity", kind, 1.0 if kind is FindingKind.PEER else 2.0)
    young_severity = _severity(table, "young_severity", kind, severity)
    readings = table.raw.get("clear_readings", 1)
    if isinstance(readings, bool) or not isinstance(readings, int) or not 1 <= readings <= 1000:
        raise table.fail("clear_readings", f"clear_readings = {readings!r}: a whole number from 1 to 1000 expected")
    enabled = table.raw.get("enabled", True)
    if not isinstance(enabled, bool):
        raise table.fail("enabled", f"enabled = {enabled!r}: true or false expected")
    return Finding(
        table.name(kind),
        kind,
        table.where(),
        table.priority(Priority.LOW),
        severity,
        young_severity,
        table.duration("young_for", "14d" if "young_severity" in table.raw else "0s"),
        table.duration("clear_for", "0s" if kind in _OF_DEVICES else "5m"),
        readings,
        enabled,
        _budget(table, kind),
    )


def _budget(table: _Table, kind: FindingKind) -> float | None:
    value = table.number("alerts_per_day")
    if value is None:
        return None
    if kind is not FindingKind.NOVELTY:
        raise table.fail("alerts_per_day", f"alerts_per_day = {value:g}: for kind 'novelty' only")
    if not 0 < value <= _MAX_BUDGET:
        raise table.fail("alerts_per_day", f"alerts_per_day = {value:g}: above 0, and at most {_MAX_BUDGET} expected")
    if table.raw.get("device"):
        raise table.fail("alerts_per_day", "a budget is for districts: it cannot stand beside 'device'")
    return value


def _severity(table: _Table, key: str, kind: FindingKind, default: float) -> float:
    value = table.number(key)
    if value is None:
        return default
    if kind not in {FindingKind.NOVELTY, FindingKind.PEER} or value < 1:
        raise table.fail(key, f"{key} = {value:g}: at least 1, and for kinds 'novelty' and 'peer' only")
    return value


def _unknown(where: str, key: str, known: Sequence[str]) -> SettingsError:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    return SettingsError(key, f"{where}: unknown key {key!r}, did you mean {near[0]!r}?")
