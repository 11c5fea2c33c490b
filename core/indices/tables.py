"""This module reads the tables of air quality indices from TOML, strictly: a wrong table must not rate a city's air.

An index is one file: a name, a way to score, and tables with the day from which each is in force. A table has
categories and terms; a term is one pollutant over one averaging time, in one unit, with its bounds.

- `score = "level"`: a term has `upper`, the inclusive upper bounds of all levels but the last, which has none.
- `score = "linear"`: a term has `bands`, rows of [from, to, index from, index to] that follow each other without a
  gap; between them the index is a straight line.

Numbers are kept as decimals, so that 0.071 ppm is 71 thousandths and not 70.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from datetime import date
from decimal import Decimal
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import msgspec

from core.city import NAME
from core.errors import SettingsError
from core.indices.units import units_for
from core.metrics import METRICS

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Category", "IndexTables", "Table", "Term", "builtin_indices", "load_index", "parse_index"]

_BUILTIN = ("eaqi", "us_aqi")
_AVERAGE = re.compile(r"nowcast|([1-9]|1\d|2[0-4])h")
_MOST_BYTES = 1_000_000


class Category(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name for index values up to and with `to`; the last one has no end."""

    name: str
    to: int


class Term(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One pollutant over one averaging time.

    Attributes:
        pollutant: code of a metric.
        average: `nowcast`, or the hours of a mean such as `1h` or `24h`.
        unit: what the bounds are in: µg/m³, mg/m³, ppb or ppm.
        digits: decimals that the average is cut to before it is looked up.
        rounding: `truncate` or `round` (half up).
        least_hours: hours that a mean needs; default three quarters.
        upper: bounds of levels.
        bands: rows of a linear index; a value below the first row is not rated by this term.
        above: beyond the last row `continue` its line, or `hold` its last index and leave more to another term.
    """

    pollutant: str
    average: str
    unit: str = "µg/m³"
    digits: int = 0
    rounding: Literal["truncate", "round"] = "round"
    least_hours: int | None = None
    upper: tuple[Decimal, ...] = ()
    bands: tuple[tuple[Decimal, Decimal, int, int], ...] = ()
    above: Literal["continue", "hold"] = "continue"

    @property
    def hours(self) -> int:
        """Return how many hours the mean covers; 0 is NowCast."""
        return 0 if self.average == "nowcast" else int(self.average[:-1])

    @property
    def needed_hours(self) -> int:
        """Return how many of them must be there."""
        return -(-self.hours * 3 // 4) if self.least_hours is None else self.least_hours

    def steps(self, bound: Decimal) -> int:
        """Return a bound in whole steps of the last digit."""
        return int(bound.scaleb(self.digits))


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is in force from a day on, until the next table is; `version` names it in every result."""

    version: str
    since: date = msgspec.field(name="from")
    source: str = ""
    categories: tuple[Category, ...]
    term: tuple[Term, ...]

    @property
    def pollutants(self) -> tuple[str, ...]:
        """Return the pollutants that the table rates, each once, in its order."""
        return tuple(dict.fromkeys(term.pollutant for term in self.term))


class IndexTables(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All tables of one index, oldest first."""

    name: str
    title: str
    score: Literal["level", "linear"]
    table: tuple[Table, ...]

    def at(self, day: date) -> Table | None:
        """Return the table in force on *day*, None before the first."""
        return next((table for table in reversed(self.table) if table.since <= day), None)


@cache
def builtin_indices() -> tuple[IndexTables, ...]:
    """Return the indices that come with urbanpulse: `eaqi` and `us_aqi`."""
    folder = resources.files("core.indices")
    return tuple(parse_index(folder.joinpath(f"{n}.toml").read_text("utf-8"), f"{n}.toml") for n in _BUILTIN)


def load_index(path: Path) -> IndexTables:
    """Read the index at *path*.

    Raises:
        SettingsError: as `parse_index`, or the file cannot be read.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise SettingsError("index", f"{path}: larger than {_MOST_BYTES} bytes")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError("index", f"{path}: {error}") from error
    return parse_index(text, str(path))


def parse_index(text: str, source: str) -> IndexTables:
    """Read an index from TOML *text*; *source* names it in errors.

    Raises:
        SettingsError: not TOML, a key unknown or missing, or a table that cannot be: the text names file and key.
    """
    try:
        index = msgspec.convert(tomllib.loads(text, parse_float=Decimal), IndexTables)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError("index", f"{source}: not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise SettingsError("index", f"{source}: {error}") from error
    _check(index, source)
    return index


def _check(index: IndexTables, source: str) -> None:
    if not NAME.fullmatch(index.name):
        raise SettingsError("name", f"{source}: name {index.name[:80]!r}: 1-64 letters, digits, '_' or '-' expected")
    if not index.table:
        raise SettingsError("table", f"{source}: no [[table]]")
    for before, after in pairwise(index.table):
        if before.since >= after.since:
            raise SettingsError("from", f"{source}: table {after.version!r} must begin after {before.version!r}")
    for number, table in enumerate(index.table):
        _check_table(index, table, f"{source}: table[{number}]")


def _check_table(index: IndexTables, table: Table, where: str) -> None:
    ends = [category.to for category in table.categories]
    if not ends or any(a >= b for a, b in pairwise(ends)):
        raise SettingsError("categories", f"{where}: categories must be there, and their 'to' must grow")
    if index.score == "level" and ends != list(range(1, len(ends) + 1)):
        raise SettingsError("categories", f"{where}: levels end at 1, 2, 3, …")
    if not table.term:
        raise SettingsError("term", f"{where}: no [[table.term]]")
    if len({(term.pollutant, term.average) for term in table.term}) < len(table.term):
        raise SettingsError("term", f"{where}: two terms of one pollutant and average")
    for place, term in enumerate(table.term):
        named = f"{where}.term[{place}] ({term.pollutant[:80]})"
        _check_term(term, named)
        if index.score == "level":
            _check_upper(term, len(table.categories) - 1, named)
        else:
            _check_bands(term, named)


def _check_term(term: Term, where: str) -> None:
    known = METRICS.get(term.pollutant)
    if known is None:
        near = difflib.get_close_matches(term.pollutant, METRICS, 1)
        raise SettingsError("pollutant", f"{where}: no such metric" + (f"; did you mean {near[0]!r}?" if near else ""))
    if not _AVERAGE.fullmatch(term.average):
        raise SettingsError("average", f"{where}: average {term.average[:80]!r}: 'nowcast' or '1h' to '24h' expected")
    units = units_for(known)
    if term.unit not in units:
        raise SettingsError("unit", f"{where}: unit {term.unit[:80]!r}: one of {', '.join(units)} expected")
    if not 0 <= term.digits <= 6:
        raise SettingsError("digits", f"{where}: digits {term.digits}: 0 to 6 expected")
    if term.least_hours is not None and not 1 <= term.least_hours <= term.hours:
        raise SettingsError("least_hours", f"{where}: least_hours {term.least_hours}: 1 to {term.hours} expected")
    for bound in (*term.upper, *(bound for row in term.bands for bound in row[:2])):
        if not bound.is_finite() or bound < 0 or bound.scaleb(term.digits) % 1:
            raise SettingsError("digits", f"{where}: {bound} is no number of at most {term.digits} decimals")


def _check_upper(term: Term, count: int, where: str) -> None:
    if term.bands or len(term.upper) != count:
        raise SettingsError("upper", f"{where}: {count} bounds in 'upper' expected, no 'bands'")
    if any(a >= b for a, b in pairwise(term.upper)):
        raise SettingsError("upper", f"{where}: bounds must grow")


def _check_bands(term: Term, where: str) -> None:
    if term.upper or not term.bands:
        raise SettingsError("bands", f"{where}: rows in 'bands' expected, no 'upper'")
    for low, high, first, last in term.bands:
        if low >= high or first >= last:
            raise SettingsError("bands", f"{where}: row [{low}, {high}, {first}, {last}] must grow")
    for (_, high, _, last), (low, _, first, _) in pairwise(term.bands):
        if term.steps(low) != term.steps(high) + 1 or first != last + 1:
            raise SettingsError("bands", f"{where}: [{low}, …, {first}] does not follow [{high}, …, {last}]")
