"""This module scores alerts against labels: what was found, how late, and what was found that is not there.

The rules, which docs/scoring.md tells in full:

    fits      an alert fits a fault label of its device (and metric), or an event label of its metric and district
    matches   it fits, and opened between the label's `from` and its `to` plus the grace, both included
    counts    for one label only: of those that it matches the one that says most (`_rank`), then begun last

A label with an alert of its own is detected, by the first one; the rest are repeats. An alert that matches nothing is
a false alarm. An alert never counts twice, so two labels at one time need two alerts. Everything is a function of the
two sets; the order in which labels and alerts come changes nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from core.errors import SettingsError
from simulators.faults import FaultKind
from simulators.labels import LabelClass
from simulators.scoring_openings import Said
from simulators.scoring_result import CodeScore, Judged, KindScore, Load, Score, Terms

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from simulators.labels import Label
    from simulators.scoring_openings import Opening

__all__ = ["labels_span", "score"]

_S = 1_000_000_000
_PERIOD_NS = 600 * _S
_FLOOD = 10  # more alerts than this in ten minutes per operator are a flood (ISA-18.2, EEMUA 191)


def labels_span(labels: Iterable[Label], grace_ns: int) -> tuple[int, int]:
    """Return the span of *labels* widened by the grace at both ends: from, to, in ns UTC.

    Raises:
        SettingsError: there are no labels, so nothing tells what was watched.
    """
    found = list(labels)
    if not found:
        raise SettingsError("labels", "there are none, so say with --from and --to what to score")
    return min(label.start for label in found) - grace_ns, max(label.end for label in found) + grace_ns


def score(labels: Iterable[Label], openings: Iterable[Opening], terms: Terms) -> Score:
    """Return how well *openings* tell of *labels*, on *terms*.

    Labels that begin within the span are judged. Alerts that open within the span are counted, both ends included.
    """
    known = sorted(labels, key=_order)
    given = sorted(openings, key=lambda opening: (opening.at, opening.id))
    wanted = [o for o in given if terms.retrospective or not o.retrospective]
    counted = [o for o in wanted if terms.start <= o.at <= terms.end]
    truth = _Truth(known, terms.grace_ns)
    causes = [(opening, truth.cause(opening)) for opening in counted]
    found: dict[int, list[Opening]] = defaultdict(list)
    for opening, cause in causes:
        if cause is not None:
            found[cause].append(opening)
    judged = tuple(
        Judged(label, tuple(found.get(n, ())))
        for n, label in enumerate(known)
        if terms.start <= label.start <= terms.end
    )
    attributed = tuple((opening, None if cause is None else known[cause]) for opening, cause in causes)
    return Score(
        terms=terms,
        judged=judged,
        attributed=attributed,
        retrospective_left_out=len(given) - len(wanted),
        outside=len(wanted) - len(counted),
        kinds=_kinds(judged, attributed),
        codes=_codes(attributed),
        load=_load([opening for opening in counted if not opening.joins], terms),
        confusion=_confusion(known, attributed),
    )


class _Truth:
    """The labels, sorted for being asked what is behind an alert."""

    def __init__(self, labels: Sequence[Label], grace_ns: int) -> None:
        self._labels = labels
        self._grace_ns = grace_ns
        groups: dict[str | None, list[int]] = defaultdict(list)  # device -> labels; None -> events
        for n, label in enumerate(labels):
            groups[None if _is_event(label) else label.device].append(n)
        self._groups = {key: (members, [labels[n].start for n in members]) for key, members in groups.items()}
        self._longest = {key: max(labels[n].end - labels[n].start for n in members) for key, members in groups.items()}

    def cause(self, opening: Opening) -> int | None:
        """Return the number of the label that *opening* counts for, None for a false alarm."""
        best: tuple[int, int, int] | None = None
        for key in (opening.device, None):
            members, starts = self._groups.get(key, ([], []))
            last = bisect_right(starts, opening.at)
            for place in range(last - 1, -1, -1):
                if starts[place] + self._longest[key] + self._grace_ns < opening.at:
                    break
                n = members[place]
                label = self._labels[n]
                rank = _rank(opening, label)
                if rank and opening.at <= label.end + self._grace_ns:
                    best = max(best or (0, 0, 0), (rank, label.start, n))
        return best[2] if best else None


def _rank(opening: Opening, label: Label) -> int:
    """Tell how much *label* says about the subject of *opening*, whatever the time; 0 if it does not fit."""
    if _is_event(label):
        if not ({opening.metric, "*"} & set(label.metrics)) or label.district not in {None, opening.district}:
            return 0
        return 1 if label.district is None else 2
    if label.device != opening.device:
        return 0
    if label.metric == "*":
        return 4
    if label.metric == opening.metric:
        return 5
    # silence of a device, or of a part of it, may be how a fault of one metric shows
    return 3 if opening.is_gap or not opening.metric else 0


def _is_event(label: Label) -> bool:
    return label.kind is LabelClass.EVENT


def _order(label: Label) -> tuple[object, ...]:
    return (label.start, label.end, label.what, label.device or "", label.metric or "", label.district or "")


# -- what is counted ---------------------------------------------------------------------------------------------------


def _kinds(judged: Sequence[Judged], attributed: Sequence[tuple[Opening, Label | None]]) -> tuple[KindScore, ...]:
    groups: dict[tuple[bool, str], list[Judged]] = defaultdict(list)
    for item in judged:
        groups[_is_event(item.label), item.label.what].append(item)
    return tuple(
        KindScore(
            is_event=is_event,
            what=what,
            labels=len(items),
            detected=sum(item.is_detected for item in items),
            after_end=sum(item.is_after_end for item in items),
            alerts=sum(len(item.openings) for item in items),
            fitting=len(fitting := _fitting([item.label for item in items], attributed)),
            explained=sum(label is not None for label in fitting),
            delays_seconds=tuple(sorted(item.delay_seconds for item in items if item.is_detected)),
        )
        for (is_event, what), items in sorted(groups.items())
    )


def _fitting(labels: Sequence[Label], attributed: Sequence[tuple[Opening, Label | None]]) -> list[Label | None]:
    """Return what is behind each alert that fits some of *labels* at whatever time."""
    devices: dict[str | None, list[Label]] = defaultdict(list)
    for label in labels:
        devices[None if _is_event(label) else label.device].append(label)
    once = {
        key: {(label.metric, label.metrics, label.district): label for label in group} for key, group in devices.items()
    }
    return [
        cause
        for opening, cause in attributed
        if any(_rank(opening, label) for key in (opening.device, None) for label in once.get(key, {}).values())
    ]


def _codes(attributed: Sequence[tuple[Opening, Label | None]]) -> tuple[CodeScore, ...]:
    alerts, explained = Counter[str](), Counter[str]()
    behind: dict[str, Counter[str]] = defaultdict(Counter)
    for opening, label in attributed:
        alerts[opening.code] += 1
        if label is not None:
            explained[opening.code] += 1
            behind[opening.code][label.what] += 1
    return tuple(
        CodeScore(
            code, count, explained[code], tuple(sorted(behind[code].items(), key=lambda item: (-item[1], item[0])))
        )
        for code, count in sorted(alerts.items(), key=lambda item: (-item[1], item[0]))
    )


def _load(openings: Sequence[Opening], terms: Terms) -> Load:
    periods = max(1, -(-(terms.end - terms.start) // _PERIOD_NS))
    counts = Counter(min((o.at - terms.start) // _PERIOD_NS, periods - 1) for o in openings)
    floods = sum(count > _FLOOD * terms.operators for count in counts.values())
    return Load(
        alerts=len(openings),
        operator_hours=terms.hours * terms.operators,
        periods=periods,
        floods=floods,
        busiest=max(counts.values(), default=0),
    )


def _confusion(
    labels: Sequence[Label], attributed: Sequence[tuple[Opening, Label | None]]
) -> dict[str, dict[str, int]]:
    together = Counter(_moment(label) for label in labels)

    def truth(label: Label | None) -> str:
        if label is None:
            return "nothing"
        if _is_event(label):
            return "event"
        # a gateway's outage is labelled as a backlog of each device behind it, all of the same moment
        is_gateway = label.what == FaultKind.LATE_BACKLOG and together[_moment(label)] > 1
        return "gateway fault" if is_gateway else "sensor fault"

    table = {row: dict.fromkeys(map(str, Said), 0) for row in ("event", "sensor fault", "gateway fault", "nothing")}
    for opening, label in attributed:
        table[truth(label)][str(opening.said)] += 1
    return table


def _moment(label: Label) -> tuple[str, int, int]:
    return label.what, label.start, label.end
