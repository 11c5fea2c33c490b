"""This module asks a score for what a build demands of it: `recall.spike>=0.75`, so that CI can fail on less."""

from __future__ import annotations

import difflib
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulators.scoring_result import Score

__all__ = ["Requirement", "figures"]

_SIGNS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_OF_KINDS = ("recall", "precision", "delay_median_seconds", "delay_p90_seconds")
_OVERALL = ("recall", "precision", "false_alarms_per_sensor_day", "alerts_per_operator_hour", "flood_share")
_FORM = re.compile(r"\s*([a-z0-9_]+)(?:\.([\w-]+))?\s*(>=|<=|>|<)\s*(\d+(?:\.\d+)?(?:e-?\d+)?)\s*", re.ASCII)


def figures(score: Score) -> dict[str, float | None]:
    """Return the figures that may be required, by name; None where nothing was there to be measured."""
    found: dict[str, float | None] = {
        "recall": score.recall,
        "precision": score.precision,
        "false_alarms_per_sensor_day": score.false_alarms_per_sensor_day,
        "alerts_per_operator_hour": score.load.alerts_per_operator_hour,
        "flood_share": score.load.flood_share,
    }
    for kind in score.kinds:
        of_kind = (kind.recall, kind.precision, kind.delay_median, kind.delay_p90)
        found |= {f"{name}.{kind.what}": value for name, value in zip(_OF_KINDS, of_kind, strict=True)}
    return found


@dataclass(frozen=True, slots=True)
class Requirement:
    """One demand: the figure *name* stands in the relation *sign* to *bound*."""

    name: str
    sign: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Return the demand that *text* states.

        Raises:
            SettingsError: it states none, or of a figure that no score has; the text names the nearest one.
        """
        match = _FORM.fullmatch(text)
        if not match:
            raise SettingsError("require", f"{text!r}: such as recall.spike>=0.75 expected")
        name, kind, sign, bound = match.groups()
        known = _OF_KINDS if kind else _OVERALL
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            of = " of a kind" if kind else ""
            raise SettingsError("require", f"{text!r}: {name} is no figure{of}; the nearest is {nearest}")
        return cls(f"{name}.{kind}" if kind else name, sign, float(bound))

    def unmet(self, score: Score) -> str | None:
        """Return why *score* does not meet it, None if it does. What was not measured meets nothing."""
        found = figures(score)
        demanded = f"{self.name}{self.sign}{self.bound:g}"
        if self.name not in found:
            kinds = ", ".join(kind.what for kind in score.kinds) or "none at all"
            return f"{demanded}: no labels of this kind in the span; there are: {kinds}"
        value = found[self.name]
        if value is None:
            return f"{demanded}: nothing was there to measure it by"
        return None if _SIGNS[self.sign](value, self.bound) else f"{demanded}: it is {value:.6g}"
