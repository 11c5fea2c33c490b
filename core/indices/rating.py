"""This module rates air: hourly means of pollutants in, an index with its dominant pollutant out.

The index is the worst of its pollutants. A pollutant that the table asks for and that is not there makes the result
incomplete, and is named: an index from two of five pollutants is not the index, and must not pass for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING

from core.indices.averages import nowcast, running_mean
from core.indices.units import convert
from core.metrics import metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from core.indices.tables import IndexTables, Table, Term

__all__ = ["Index", "Part", "air_index"]

_NOISE_DIGITS = 6  # a mean of 9.1 may be 9.0999999999999996: cutting must not make 9.0 of it


@dataclass(frozen=True, slots=True)
class Part:
    """What one pollutant contributes: its index, and the concentration as it was looked up."""

    pollutant: str
    value: int
    concentration: float
    unit: str
    average: str


@dataclass(frozen=True, slots=True)
class Index:
    """The answer of an index.

    Attributes:
        name: of the index.
        value: an AQI is a whole number, a level of sound or heat is not.
        category: what people call it.
        dominant: the pollutant that made it; of equal ones the first of the table.
        missing: pollutants that the table asks for and that could not be rated.
        version: of the table.
        parts: per pollutant, in the table's order.
        beyond: the value is above the last row of its table, on the continued line.
        reference_celsius: what volumes of gas were converted at, None if nothing was.
    """

    name: str
    value: float
    category: str
    dominant: str
    missing: tuple[str, ...]
    version: str
    parts: tuple[Part, ...] = ()
    beyond: bool = False
    reference_celsius: int | None = None

    @property
    def incomplete(self) -> bool:
        """Tell whether something that the index asks for is missing."""
        return bool(self.missing)


@dataclass(frozen=True, slots=True)
class _Rated:
    part: Part
    beyond: bool


def air_index(
    index: IndexTables, hours: Mapping[str, Sequence[float]], *, day: date, reference_celsius: int = 25
) -> Index | None:
    """Rate the air at the end of an hour.

    *hours* holds hourly means per metric in the metric's unit, newest first, NaN where an hour is missing (see
    `averages`); 24 of them serve every table. *day* chooses the table; *reference_celsius* is the temperature that
    micrograms per cubic metre were told for.

    Returns:
        None when nothing can be rated, or no table was in force yet.
    """
    table = index.at(day)
    if table is None:
        return None
    best: dict[str, _Rated] = {}
    converted = False
    for term in table.term:
        average = _average(term, hours.get(term.pollutant, ()))
        if average is None:
            continue
        unit = metric(term.pollutant).unit
        rated = _rate(index, term, convert(average, term.pollutant, unit, term.unit, celsius=reference_celsius))
        if rated is None:
            continue
        converted = converted or term.unit.startswith("pp")
        before = best.get(term.pollutant)
        if before is None or rated.part.value > before.part.value:
            best[term.pollutant] = rated
    if not best:
        return None
    worst = max(best.values(), key=lambda rated: rated.part.value)
    return Index(
        name=index.name,
        value=worst.part.value,
        category=_category(table, worst.part.value),
        dominant=worst.part.pollutant,
        missing=tuple(pollutant for pollutant in table.pollutants if pollutant not in best),
        version=table.version,
        parts=tuple(best[pollutant].part for pollutant in table.pollutants if pollutant in best),
        beyond=worst.beyond,
        reference_celsius=reference_celsius if converted else None,
    )


def _average(term: Term, hours: Sequence[float]) -> float | None:
    return running_mean(hours, term.hours, term.needed_hours) if term.hours else nowcast(hours)


def _category(table: Table, value: int) -> str:
    return next((category.name for category in table.categories if value <= category.to), table.categories[-1].name)


def _rate(index: IndexTables, term: Term, value: float) -> _Rated | None:
    """Return the index of *value*, in the term's unit; None below the first row of a linear term."""
    steps = _cut(term, max(value, 0.0))
    if index.score == "level":
        score, beyond = 1 + sum(steps > term.steps(bound) for bound in term.upper), False
    else:
        first, *_, top = (term.bands[0], *term.bands)
        if steps < term.steps(first[0]):
            return None
        beyond = steps > term.steps(top[1])
        if beyond and term.above == "hold":
            score, beyond = top[3], False
        else:
            low, high, start, end = next((row for row in term.bands if steps <= term.steps(row[1])), top)
            below, above = term.steps(low), term.steps(high)
            rise, width = (end - start) * (steps - below), above - below
            score = start + (2 * rise + width) // (2 * width)  # to the nearest whole number, a half up
    concentration = float(Decimal(steps).scaleb(-term.digits))
    return _Rated(Part(term.pollutant, score, concentration, term.unit, term.average), beyond)


def _cut(term: Term, value: float) -> int:
    """Return *value* in whole steps of the term's last digit, truncated or rounded as it says."""
    exact = Decimal(repr(round(value, term.digits + _NOISE_DIGITS))).scaleb(term.digits)
    return int(exact.to_integral_value(ROUND_DOWN if term.rounding == "truncate" else ROUND_HALF_UP))
