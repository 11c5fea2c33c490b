"""This module is what a score says: the terms it was made on, and every number, exact and as JSON.

Shares whose denominator is 0 are None: nothing was asked, so nothing is known.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.alerts import Priority
from core.clock import from_ns
from core.errors import SettingsError

if TYPE_CHECKING:
    from simulators.labels import Label
    from simulators.scoring_openings import Opening

__all__ = ["CodeScore", "Judged", "KindScore", "Load", "Score", "Terms", "score_json", "wilson"]

_S = 1_000_000_000
_HOUR_NS = 3600 * _S
_DAY_NS = 24 * _HOUR_NS
_Z95 = 1.959963984540054
_LISTED = 10
_RANK = {priority: rank for rank, priority in enumerate(Priority)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms is scored: span (ns UTC, both ends included), grace, and who watched how much.

    `span_from` and `sensors_from` say where these figures come from, for the reader.
    """

    start: int
    end: int
    grace_ns: int = 600 * _S
    sensors: int = 1
    operators: int = 1
    retrospective: bool = True
    span_from: str = "given"
    sensors_from: str = "given"

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise SettingsError("to", f"{_iso(self.end)} is not after {_iso(self.start)}, where the span begins")
        for name, value, least in (("grace", self.grace_ns, 0), ("sensors", self.sensors, 1)):
            if value < least:
                raise SettingsError(name, f"{value}: at least {least} expected")
        if self.operators < 1:
            raise SettingsError("operators", f"{self.operators}: at least 1 expected")

    @property
    def hours(self) -> float:
        """Return the length of the span."""
        return (self.end - self.start) / _HOUR_NS

    @property
    def sensor_days(self) -> float:
        """Return how long how many sensors were watched."""
        return self.sensors * (self.end - self.start) / _DAY_NS


@dataclass(frozen=True, slots=True)
class Judged:
    """A label and the alerts that count for it, by time."""

    label: Label
    openings: tuple[Opening, ...]

    @property
    def is_detected(self) -> bool:
        """Tell whether any alert counts for it."""
        return bool(self.openings)

    @property
    def is_after_end(self) -> bool:
        """Tell whether it was detected only when it was over, within the grace."""
        return bool(self.openings) and self.openings[0].at >= self.label.end

    @property
    def delay_seconds(self) -> float:
        """Return how long after its beginning the first alert opened."""
        return (self.openings[0].at - self.label.start) / _S


@dataclass(frozen=True, slots=True, kw_only=True)
class KindScore:
    """What became of the labels of one kind.

    Attributes:
        is_event: a city event; otherwise a sensor fault.
        after_end: detected, but only by an alert after the label's end.
        alerts: that count for these labels; those beyond the first of each are repeats.
        fitting: alerts on what these labels are about (device and metric; metrics and district), at any time.
        explained: those of them that some label explains, of this kind or another.
        delays_seconds: from the beginning of each detected label to its first alert, ascending.
    """

    is_event: bool
    what: str
    labels: int
    detected: int
    after_end: int
    alerts: int
    fitting: int
    explained: int
    delays_seconds: tuple[float, ...]

    @property
    def repeats(self) -> int:
        """Return the alerts beyond the first one of each detected label."""
        return self.alerts - self.detected

    @property
    def recall(self) -> float | None:
        """Return the share of labels that were detected."""
        return _share(self.detected, self.labels)

    @property
    def recall_interval(self) -> tuple[float, float]:
        """Return the 95 % Wilson interval of the recall."""
        return wilson(self.detected, self.labels)

    @property
    def precision(self) -> float | None:
        """Return the share of alerts on these subjects that a label explains."""
        return _share(self.explained, self.fitting)

    @property
    def delay_median(self) -> float | None:
        """Return the median delay, seconds."""
        return statistics.median(self.delays_seconds) if self.delays_seconds else None

    @property
    def delay_p90(self) -> float | None:
        """Return the smallest delay (seconds) that nine tenths of the delays do not exceed."""
        delays = self.delays_seconds
        return delays[math.ceil(0.9 * len(delays)) - 1] if delays else None


@dataclass(frozen=True, slots=True)
class CodeScore:
    """How much of what alerts of one code say is true, and which kinds of labels were behind them, most first."""

    code: str
    alerts: int
    explained: int
    behind: tuple[tuple[str, int], ...]

    @property
    def precision(self) -> float | None:
        """Return the share of its alerts that a label explains."""
        return _share(self.explained, self.alerts)


@dataclass(frozen=True, slots=True)
class Load:
    """What the operators had to look at.

    `periods` are the ten-minute periods of the span, `floods` those with more than ten alerts per operator, `busiest`
    the most alerts in one.
    """

    alerts: int
    operator_hours: float
    periods: int
    floods: int
    busiest: int

    @property
    def alerts_per_operator_hour(self) -> float:
        """Return the mean load; EEMUA 191 calls up to 6 very likely acceptable."""
        return self.alerts / self.operator_hours

    @property
    def flood_share(self) -> float:
        """Return the share of ten-minute periods in flood; ISA-18.2 asks for less than about 0.01."""
        return self.floods / self.periods


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """All that was found out.

    Attributes:
        judged: labels that begin within the span, with their alerts.
        attributed: alerts within the span, by time, each with the label that it counts for, None for a false alarm.
        retrospective_left_out: alerts that the terms left out.
        outside: alerts before or after the span, which count for nothing.
        confusion: truth -> what alerts said -> alerts.
    """

    terms: Terms
    judged: tuple[Judged, ...]
    attributed: tuple[tuple[Opening, Label | None], ...]
    retrospective_left_out: int
    outside: int
    kinds: tuple[KindScore, ...]
    codes: tuple[CodeScore, ...]
    load: Load
    confusion: dict[str, dict[str, int]]

    @property
    def detected(self) -> int:
        """Return how many labels were detected."""
        return sum(kind.detected for kind in self.kinds)

    @property
    def repeats(self) -> int:
        """Return how many alerts told of a label that an earlier one had told of."""
        return sum(kind.repeats for kind in self.kinds)

    @property
    def false_alarms(self) -> list[Opening]:
        """Return the alerts that match nothing, by time."""
        return [opening for opening, label in self.attributed if label is None]

    @property
    def of_earlier_labels(self) -> int:
        """Return how many alerts count for labels that began before the span: neither found nor false."""
        return len(self.attributed) - len(self.false_alarms) - self.detected - self.repeats

    @property
    def recall(self) -> float | None:
        """Return the share of labels that were detected."""
        return _share(self.detected, len(self.judged))

    @property
    def recall_interval(self) -> tuple[float, float]:
        """Return the 95 % Wilson interval of the recall."""
        return wilson(self.detected, len(self.judged))

    @property
    def precision(self) -> float | None:
        """Return the share of alerts that a label explains."""
        return _share(len(self.attributed) - len(self.false_alarms), len(self.attributed))

    @property
    def false_alarms_per_sensor_day(self) -> float:
        """Return the false alarms of one sensor in one day."""
        return len(self.false_alarms) / self.terms.sensor_days

    def worst_misses(self, most: int = _LISTED) -> list[Label]:
        """Return labels without an alert: those that lasted longest first."""
        missed = [item.label for item in self.judged if not item.is_detected]
        return sorted(missed, key=_longest_first)[:most]

    def worst_false_alarms(self, most: int = _LISTED) -> list[Opening]:
        """Return false alarms: those of the highest priority first, then of the highest severity."""
        return sorted(self.false_alarms, key=lambda o: (-_RANK[o.priority], -o.severity, o.at, o.id))[:most]

    def false_by_metric(self) -> dict[str, int]:
        """Return false alarms by metric, most first; those about whole devices under the empty name."""
        counts = Counter(opening.metric for opening in self.false_alarms)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def false_by_hour(self) -> list[int]:
        """Return false alarms by hour of day, UTC."""
        counts = Counter(opening.at % _DAY_NS // _HOUR_NS for opening in self.false_alarms)
        return [counts[hour] for hour in range(24)]


def wilson(found: int, of: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of *found* out of *of*; (0, 1) if there was nothing to find.

    E. B. Wilson, JASA 22 (1927): honest where counts are small, which they are per kind of fault.

    >>> [round(x, 3) for x in wilson(8, 10)]
    [0.49, 0.943]
    """
    if not of:
        return 0.0, 1.0
    share, z2 = found / of, _Z95 * _Z95
    centre = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = _Z95 * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of)) / (1 + z2 / of)
    # at the ends the formula gives 0 and 1 but for rounding
    return (0.0 if found == 0 else centre - half), (1.0 if found == of else centre + half)


def score_json(score: Score) -> dict[str, Any]:
    """Return every number of *score*; times in RFC 3339, the rest exact."""
    terms = score.terms
    return {
        "span": {"from": _iso(terms.start), "to": _iso(terms.end), "hours": terms.hours, "source": terms.span_from},
        "sensors": {"count": terms.sensors, "source": terms.sensors_from},
        "operators": terms.operators,
        "grace_seconds": terms.grace_ns / _S,
        "labels": {
            "judged": len(score.judged),
            "detected": score.detected,
            "recall": score.recall,
            "recall_interval": list(score.recall_interval),
        },
        "alerts": {
            "counted": len(score.attributed),
            "detections": score.detected,
            "repeats": score.repeats,
            "false_alarms": len(score.false_alarms),
            "of_earlier_labels": score.of_earlier_labels,
            "precision": score.precision,
            "outside_span": score.outside,
            "retrospective_left_out": score.retrospective_left_out,
        },
        "kinds": [_kind_json(kind) for kind in score.kinds],
        "codes": [
            {
                "code": code.code,
                "alerts": code.alerts,
                "explained": code.explained,
                "precision": code.precision,
                "behind": dict(code.behind),
            }
            for code in score.codes
        ],
        "load": {
            "alerts_per_operator_hour": score.load.alerts_per_operator_hour,
            "ten_minute_periods": score.load.periods,
            "periods_above_ten": score.load.floods,
            "flood_share": score.load.flood_share,
            "most_in_ten_minutes": score.load.busiest,
        },
        "false_alarms": {
            "count": len(score.false_alarms),
            "per_sensor_day": score.false_alarms_per_sensor_day,
            "by_metric": score.false_by_metric(),
            "by_hour_utc": score.false_by_hour(),
        },
        "confusion": score.confusion,
        "worst_misses": [_label_json(label) for label in score.worst_misses()],
        "worst_false_alarms": [_opening_json(opening) for opening in score.worst_false_alarms()],
    }


def _kind_json(kind: KindScore) -> dict[str, Any]:
    return {
        "class": "event" if kind.is_event else "fault",
        "what": kind.what,
        "labels": kind.labels,
        "detected": kind.detected,
        "detected_after_end": kind.after_end,
        "recall": kind.recall,
        "recall_interval": list(kind.recall_interval),
        "alerts": kind.alerts,
        "repeats": kind.repeats,
        "alerts_on_its_series": kind.fitting,
        "of_them_explained": kind.explained,
        "precision": kind.precision,
        "delay_median_seconds": kind.delay_median,
        "delay_p90_seconds": kind.delay_p90,
    }


def _label_json(label: Label) -> dict[str, Any]:
    return {
        "class": label.kind,
        "what": label.what,
        "device": label.device,
        "metric": label.metric,
        "district": label.district,
        "metrics": list(label.metrics),
        "from": _iso(label.start),
        "to": _iso(label.end),
        "size": label.size,
    }


def _opening_json(opening: Opening) -> dict[str, Any]:
    return {
        "id": opening.id,
        "opened_at": _iso(opening.at),
        "device": opening.device,
        "metric": opening.metric,
        "district": opening.district,
        "code": opening.code,
        "rule": opening.rule,
        "priority": opening.priority,
        "severity": opening.severity,
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _iso(ns: int) -> str:
    return from_ns(ns).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _longest_first(label: Label) -> tuple[int, int, str, str, str, str, tuple[str, ...]]:
    who = (label.device or "", label.metric or "", label.district or "", tuple(label.metrics))
    return label.start - label.end, label.start, label.what, *who
