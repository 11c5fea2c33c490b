"""This module computes the noise indicators of Directive 2002/49/EC, annex I, for one day: Lden and Lnight.

The directive's indicators are those of a year: the energy mean of its days. A sound level is a logarithm, so levels
are averaged as energies: two hours of 50 and 60 dB are together one of 57.4, not of 55.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.indices.rating import Index

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["NoisePeriods", "day_noise", "energy_mean"]

_VERSION = "2002-06-25"
_EVENING, _NIGHT = 5.0, 10.0  # dB added, annex I
_LDEN = ((55, "below 55"), (60, "55-59"), (65, "60-64"), (70, "65-69"), (75, "70-74"), (math.inf, "75 and more"))
_LNIGHT = ((50, "below 50"), (55, "50-54"), (60, "55-59"), (65, "60-64"), (70, "65-69"), (math.inf, "70 and more"))


@dataclass(frozen=True, slots=True)
class NoisePeriods:
    """Local hours at which day, evening and night begin; the directive's default is 7, 19 and 23.

    A country may shorten the evening by one or two hours and begin the day when it wants, so all three are settings.
    """

    day: int = 7
    evening: int = 19
    night: int = 23

    def __post_init__(self) -> None:
        if not 0 <= self.day < self.evening < self.night <= 24:
            raise ValueError(f"noise periods {self.day}, {self.evening}, {self.night}: hours of a day, growing")

    @property
    def lengths(self) -> tuple[int, int, int]:
        """Return the hours of day, evening and night."""
        return self.evening - self.day, self.night - self.evening, 24 - self.night + self.day


def energy_mean(levels: Iterable[float]) -> float | None:
    """Return the level in dB of the mean energy of *levels*, NaN left out; None of nothing.

    >>> round(energy_mean([50.0, 60.0]), 1)
    57.4
    """
    energies = [10 ** (level / 10) for level in levels if math.isfinite(level)]
    return 10 * math.log10(math.fsum(energies) / len(energies)) if energies else None


def day_noise(hours: Sequence[float], periods: NoisePeriods | None = None, *, share: float = 0.75) -> dict[str, Index]:
    """Return `lden` and `lnight` of one day, as far as they can be told.

    *hours* are the 24 hourly equivalent levels (LAeq, dB) from the hour at which `periods.day` begins, NaN where one
    is missing. A period of which less than *share* of its hours is there is named in `missing`; Lden needs at least
    one hour of each period, Lnight one of the night.

    Raises:
        ValueError: not 24 hours.
    """
    if len(hours) != 24:
        raise ValueError(f"{len(hours)} hours: 24 expected")
    lengths = (periods or NoisePeriods()).lengths
    levels: list[float | None] = []
    missing: list[str] = []
    at = 0
    for name, length in zip(("day", "evening", "night"), lengths, strict=True):
        part = [level for level in hours[at : at + length] if math.isfinite(level)]
        at += length
        levels.append(energy_mean(part))
        if len(part) < share * length:
            missing.append(name)
    day, evening, night = levels
    found: dict[str, Index] = {}
    if day is not None and evening is not None and night is not None:
        weighted = ((day, lengths[0]), (evening + _EVENING, lengths[1]), (night + _NIGHT, lengths[2]))
        total = math.fsum(hours * 10 ** (level / 10) for level, hours in weighted) / 24
        found["lden"] = _index("lden", 10 * math.log10(total), _LDEN, tuple(missing))
    if night is not None:
        found["lnight"] = _index("lnight", night, _LNIGHT, tuple(name for name in missing if name == "night"))
    return found


def _index(name: str, level: float, bands: tuple[tuple[float, str], ...], missing: tuple[str, ...]) -> Index:
    value = round(level, 1)
    category = next(category for end, category in bands if value < end)
    return Index(name, value, category, "noise", missing, _VERSION)
