"""This module judges a batch: one vectorised look finds the few readings in doubt, and only these reach the machines.

Every series has its tightest limits in arrays. A reading is looked at in Python when it is beyond one of them, when a
check or the detector speaks, or when a machine of its series waits for news. How findings fold into few alerts:

- a value that the metric cannot have is a `range` finding and evidence for nothing else;
- a limit waits while a limit on the same side with the same or a higher priority is open on that series;
- novelty of reason FLAT is a finding only where the flat check agrees, which knows rests: then it is that one;
- a clock that is off is one alert per device, on the series that showed it first, and explains nothing else;
- novelty waits while any other alert is open on its series, or novelty on another series of its device;
- silence is one alert per device, whichever of its series are silent, and one for all devices of a district that fell
  silent together (`processors.alerting.incidents`).

Every alert is classified when it opens (`processors.alerting.triage`), and again in the quarter of an hour after it,
since neighbours may show an event later than the first sensor did.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from core.alerts import Classification, Evidence, Priority, alert_id
from core.city import Series
from core.metrics import metric
from core.quality import Flag
from processors.alerting.incidents import Blackout, EventIncident, Incidents
from processors.alerting.lifecycle import Lifecycle, Machine, Phase, Subject, Timing, is_worse
from processors.alerting.rules import FindingKind, RuleBook
from processors.alerting.triage import classify, look
from processors.detectors.contract import Reason
from processors.liveness import Gap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from core.alerts import AlertEvent
    from core.batch import ReadingBatch
    from processors.alerting.rules import Finding, Threshold
    from processors.detectors.contract import Scores
    from processors.liveness import Back
    from processors.parts import Parts
    from processors.peers import Round

__all__ = ["Causes", "Judge"]

_RANK = {priority: rank for rank, priority in enumerate(Priority)}
_K = FindingKind
_SETTLED_NS = 2 * 86_400 * 10**9  # one day more than the daily profile needs; a guess, not measured
_LOOKS_NS = (60 * 10**9, 330 * 10**9, 630 * 10**9, 930 * 10**9)  # after the opening; rounds of peers last 300 s
_MOST_PAST = 100_000  # subjects whose alerts are counted; further ones have no past
_LATE_ROUND_NS = 3600 * 10**9  # a round that ended longer ago was made of readings that came late
_PEER_HOLDS = 0.7  # of the severity that opens: what is back that far is over
_WHOLE = -1  # stands for the whole device among its silent series


class _Case(msgspec.Struct, array_like=True):
    """An alert that is judged again: `looks` are done; `at` is event time, `logged` log time of its opening."""

    alert: str
    facts: Evidence
    at: int
    logged: int
    looks: int = 0


class Causes(msgspec.Struct, array_like=True):
    """What is remembered of causes: cases, incidents, and how many alerts each rule and subject had."""

    cases: list[_Case]
    blackouts: list[Blackout]
    events: list[EventIncident]
    past: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Rules:
    """What applies to one series."""

    subject: Subject
    unit: str
    thresholds: tuple[tuple[Threshold, Timing], ...]
    range: Timing | None
    flat: Timing | None
    novelty: Timing | None
    gap: Timing | None
    peer: Timing | None
    peer_severity: float
    skew: Timing | None


@dataclass(frozen=True, slots=True)
class _Row:
    """One reading in doubt, as plain numbers."""

    at: int
    logged: int
    value: float
    quality: int
    severity: float
    raw: float
    reason: int
    expected: float
    low: float
    high: float
    needed: float  # the severity from which novelty speaks here and now

    @property
    def late(self) -> bool:
        return bool(self.quality & Flag.LATE)


class Judge:
    """Turns scored readings and silences into alert events."""

    def __init__(self, book: RuleBook, life: Lifecycle, parts: Parts) -> None:
        self._book = book
        self._life = life
        self._parts = parts
        self._incidents = Incidents()
        self._cases: list[_Case] = []
        self._past: dict[str, int] = {}
        self._sizes: dict[str, int] = {}  # devices that may fall silent, by district
        self._rules: dict[int, _Rules] = {}
        self._by_device: dict[str, _Rules] = {}  # of the first of its series that may fall silent
        self._names_devices = book.names_devices
        self._matched: dict[tuple[str, str, str], tuple[tuple[Threshold, ...], dict[FindingKind, Finding | None]]] = {}
        self._above = np.empty(0)
        self._below = np.empty(0)
        self._severity = np.empty(0, np.float32)
        self._young_severity = np.empty(0, np.float32)
        self._young_ns = np.empty(0, np.int64)
        self._flags = np.empty(0, np.uint16)
        self._hot = np.empty(0, np.bool_)
        self._silent: dict[str, dict[int, int]] = {}  # device -> silent series -> last seen
        self._watched: set[str] = set()  # devices whose gap machine waits for time to pass

    def learn(self, series: Series) -> None:
        """Take note of a series; every series must be known before its first reading."""
        if series.id in self._rules:
            return
        self._grow(series.id + 1)
        subject = Subject(series.device, series.district, series.metric, series.id)
        thresholds, findings = self._matching(series)
        novelty = findings[_K.NOVELTY]
        rules = _Rules(
            subject,
            metric(series.metric).unit,
            tuple((t, Timing(t.name, t.priority, t.for_ns, t.clear_for_ns)) for t in thresholds),
            _timing(findings[_K.RANGE]),
            _timing(findings[_K.FLAT]),
            _timing(novelty),
            _timing(findings[_K.GAP]),
            _timing(findings[_K.PEER]),
            peer.severity if (peer := findings[_K.PEER]) is not None else math.inf,
            _timing(findings[_K.SKEW]),
        )
        self._rules[series.id] = rules
        if rules.gap is not None and series.device not in self._by_device:
            self._by_device[series.device] = rules
            self._sizes[series.district] = self._sizes.get(series.district, 0) + 1
        self._above[series.id] = min((t.limit for t in thresholds if t.above), default=math.inf)
        self._below[series.id] = max((t.limit for t in thresholds if not t.above), default=-math.inf)
        if novelty is not None:
            self._severity[series.id] = novelty.severity
            self._young_severity[series.id] = novelty.young_severity
            self._young_ns[series.id] = novelty.young_for_ns
        self._flags[series.id] = (
            (Flag.RANGE if rules.range else 0) | (Flag.FLAT if rules.flat else 0) | (Flag.SKEW if rules.skew else 0)
        )
        self._hot[series.id] = self._life.is_active(series.id)

    def readings(self, batch: ReadingBatch, scores: Scores, age: NDArray[np.int64]) -> None:
        """Judge N scored readings, in order; *age* is int64[N] ns since the first reading of its series."""
        ids = batch.series
        # the records of a young series are cheap: the next storm is the worst ever seen, and before it has lived
        # through two days, every hour is the first of its kind
        settling = np.maximum(_SETTLED_NS / np.maximum(age, 1), 1.0)
        needed = np.where(age < self._young_ns[ids], self._young_severity[ids] * settling, self._severity[ids])
        trip = batch.value > self._above[ids]
        trip |= batch.value < self._below[ids]
        trip |= scores.severity >= needed
        trip |= (batch.quality & self._flags[ids]) != 0
        trip |= self._hot[ids]
        if not trip.any():
            return
        doubted = np.zeros(len(self._hot), np.bool_)
        doubted[ids[trip]] = True
        rows = np.flatnonzero(doubted[ids])
        columns = (
            batch.measured, batch.received, batch.value, batch.quality,
            scores.severity, scores.raw, scores.reason, scores.expected, scores.low, scores.high, needed,
        )  # fmt: skip
        for series, *facts in zip(ids[rows].tolist(), *(c[rows].tolist() for c in columns), strict=True):
            self._reading(self._rules[series], _Row(*facts))
            self._hot[series] = self._life.is_active(series)

    def silence(self, now: int, found: Sequence[Gap | Back]) -> None:
        """Judge at a tick, log time *now* (ns): who fell silent, and who was heard again."""
        for item in found:
            silent = self._silent.setdefault(item.device, {})
            if isinstance(item, Gap):
                silent[item.series] = item.since_ns
            else:
                silent.pop(item.series, None)
            self._watched.add(item.device)
        self._together(found, now)
        for device in sorted(self._watched):
            self._gap(device, now)

    def beside(self, now: int, found: Round | None) -> None:
        """Judge at a tick what a comparison with neighbours *found*, then look again at alerts that are young."""
        if found is not None:
            self._peers(now, found)
        self._look_again(now)

    def sweep(self, now: int) -> None:
        """Do the upkeep of a minute."""
        self._life.sweep(now, self._applies)
        for series in np.flatnonzero(self._hot).tolist():
            self._hot[series] = self._life.is_active(series)

    def drain(self) -> list[AlertEvent]:
        """Return the events since the last call."""
        return self._life.drain()

    def to_state(self) -> tuple[list[Machine], dict[str, dict[int, int]]]:
        """Return machines and silences, canonically ordered."""
        silent = {d: dict(sorted(s.items())) for d, s in sorted(self._silent.items()) if s}
        return self._life.to_state(), silent

    def causes(self) -> Causes:
        """Return what is remembered of causes."""
        return Causes(self._cases, *self._incidents.to_state(), dict(sorted(self._past.items())))

    def restore(self, machines: list[Machine], silent: dict[str, dict[int, int]], causes: Causes | None = None) -> None:
        """Take over what `to_state` and `causes` returned, before the first `learn`."""
        if causes is not None:
            self._cases, self._past = causes.cases, causes.past
            self._incidents.restore(causes.blackouts, causes.events)
        self._life.restore(machines)
        self._silent = silent
        self._watched = {
            machine.subject.device
            for machine in machines
            if machine.subject.series < 0 and _waits(machine.phase, is_silent=machine.subject.device in silent)
        }

    # -- one reading -------------------------------------------------------------------------------------------------

    def _reading(self, rules: _Rules, row: _Row) -> None:
        if rules.skew is not None:
            self._clock(rules, rules.skew, row)
        ranged = bool(row.quality & Flag.RANGE)
        if rules.range is not None:
            self._observe(rules, rules.range, row, code="range", breach=ranged, holds=ranged)
        if ranged:
            return
        for rule, timing in rules.thresholds:
            self._threshold(rules, rule, timing, row)
        is_flat = rules.flat is not None and row.reason == Reason.FLAT
        if rules.flat is not None:
            flagged = bool(row.quality & Flag.FLAT)
            self._observe(rules, rules.flat, row, code="flat", breach=flagged, holds=flagged)
        if rules.novelty is not None:
            breach = not is_flat and self._speaks(rules, rules.novelty, row)
            self._observe(
                rules, rules.novelty, row, code=Reason(row.reason).code, breach=breach, holds=row.raw >= 1,
                badness=row.raw, severity=row.raw,
            )  # fmt: skip

    def _clock(self, rules: _Rules, timing: Timing, row: _Row) -> None:
        """Judge the device's clock by our time: its own cannot be trusted, and being late is what is told."""
        off = bool(row.quality & Flag.SKEW)
        ahead = round((row.at - row.logged) / 1e9, 1)
        nan = math.nan
        row = replace(
            row, at=row.logged, value=ahead, quality=row.quality & ~int(Flag.LATE), expected=nan, low=nan, high=nan
        )
        self._observe(rules, timing, row, code="skew", breach=off, holds=off, unit="s")

    def _speaks(self, rules: _Rules, timing: Timing, row: _Row) -> bool:
        """Tell whether novelty is strong enough; one that already waits is judged without the detector's silence."""
        waits = self._life.phase(timing.rule, rules.subject, row.late) is Phase.PENDING
        return (row.raw if waits else row.severity) >= row.needed

    def _threshold(self, rules: _Rules, rule: Threshold, timing: Timing, row: _Row) -> None:
        self._observe(
            rules, timing, row, code=rule.code, breach=rule.breaches(row.value), holds=rule.holds(row.value),
            badness=rule.badness(row.value), limit=rule.limit,
        )  # fmt: skip

    def _observe(
        self,
        rules: _Rules,
        timing: Timing,
        row: _Row,
        *,
        code: str,
        breach: bool,
        holds: bool,
        badness: float = 0.0,
        limit: float | None = None,
        severity: float = 0.0,
        unit: str | None = None,
    ) -> None:
        def blocked() -> bool:
            return self._is_blocked(code, timing, rules.subject, badness, late=row.late)

        def evidence(since: int) -> Evidence:
            subject = rules.subject
            facts = Evidence(
                code=code, rule=timing.rule, priority=timing.priority, district=subject.district,
                device=subject.device, metric=subject.metric, series=subject.series,
                unit=rules.unit if unit is None else unit, measured=row.at, value=row.value,
                expected=_known(row.expected), low=_known(row.low),
                high=_known(row.high), limit=limit, duration_seconds=(row.at - since) / 1e9, severity=severity,
                retrospective=row.late,
            )  # fmt: skip
            return self._classified(facts, timing, subject, row.at)

        self._life.observe(
            timing, rules.subject, late=row.late, at=row.at, logged=row.logged, breach=breach, holds=holds,
            badness=badness, blocked=blocked, evidence=evidence,
        )  # fmt: skip
        self._follow()

    def _is_blocked(self, code: str, timing: Timing, subject: Subject, badness: float, *, late: bool) -> bool:
        for other in self._life.open_on(subject.device, late):
            is_here = other.subject.series == subject.series
            # one strange metric explains another of the same device, but not one that is far stranger
            explains = is_here or (self._is_novelty(other) and not is_worse(badness, other.badness))
            if code == "skew" and other.rule == timing.rule:
                return True  # all series of a device share its clock
            if code.startswith("novelty.") and explains and not self._is_skew(other):
                return True
            if code.startswith("threshold.") and is_here and _RANK[other.priority] >= _RANK[timing.priority]:
                rule = self._book.threshold(other.rule)
                if rule is not None and rule.code == code:
                    return True
        return False

    def _is_skew(self, machine: Machine) -> bool:
        rules = self._rules.get(machine.subject.series)
        return rules is not None and rules.skew is not None and rules.skew.rule == machine.rule

    def _is_novelty(self, machine: Machine) -> bool:
        rules = self._rules.get(machine.subject.series)
        strange = () if rules is None else (rules.novelty, rules.peer)
        return any(timing is not None and timing.rule == machine.rule for timing in strange)

    # -- silence -----------------------------------------------------------------------------------------------------

    def _gap(self, device: str, now: int) -> None:
        silent = self._silent.get(device, {})
        if not silent:
            self._silent.pop(device, None)
        rules = self._by_device.get(device)
        if rules is None or rules.gap is None:
            self._watched.discard(device)
            return
        timing = rules.gap
        subject = Subject(device, rules.subject.district)
        phase = self._life.phase(timing.rule, subject, late=False)
        blackout = self._incidents.blackout_of(device)
        if blackout is not None and blackout.founder != device and phase is not Phase.OPEN:
            self._watched.discard(device)  # the founder's alert stands for it
            return
        lasts = bool(silent) or (blackout is not None and blackout.founder == device and blackout.over < 0)
        seen = max(silent.values(), default=now)
        first = None if not silent or _WHOLE in silent else self._rules[min(silent)]

        def evidence(_since: int) -> Evidence:
            facts = Evidence(
                code="gap", rule=timing.rule, priority=timing.priority, district=subject.district, device=device,
                metric=first.subject.metric if first else "", series=first.subject.series if first else -1,
                measured=seen, duration_seconds=(now - seen) / 1e9,
            )  # fmt: skip
            return self._classified(facts, timing, subject, now)

        self._life.observe(
            timing, subject, late=False, at=now, logged=now, breach=lasts, holds=lasts, badness=0.0,
            blocked=lambda: False, evidence=evidence,
        )  # fmt: skip
        self._follow()
        phase = self._life.phase(timing.rule, subject, late=False)
        if not _waits(phase, is_silent=lasts):
            self._watched.discard(device)

    def _together(self, found: Sequence[Gap | Back], now: int) -> None:
        """Find out who fell silent with whom, and who of them is back."""
        fresh = [
            (gap.device, gap.since_ns, gap.expected_ns) for gap in found if isinstance(gap, Gap) and gap.series < 0
        ]
        if not fresh and not self._incidents.blackouts:
            return
        overdue = self._parts.overdue(now)
        district_of = {device: rules.subject.district for device, rules in self._by_device.items()} if fresh else {}
        self._incidents.silences(fresh, overdue, district_of, self._sizes)
        founders = {blackout.founder for blackout in self._incidents.blackouts if blackout.over < 0}
        freed = self._incidents.watch(self._silent, overdue, now)
        ended = founders - {blackout.founder for blackout in self._incidents.blackouts if blackout.over < 0}
        self._watched.update(ended, (device for device in freed if device in self._silent))

    # -- causes ------------------------------------------------------------------------------------------------------

    def _peers(self, now: int, found: Round) -> None:
        """Judge a round: those far from their peers, and those whose alert waits for them to be back."""
        active = self._hot[found.series]
        rows = np.flatnonzero(active | (found.severity >= 1.0))
        columns = (found.series, found.severity, found.value)
        for series, severity, value in zip(*(c[rows].tolist() for c in columns), strict=True):
            rules = self._rules[series]
            if rules.peer is not None:
                late = now - found.at > _LATE_ROUND_NS
                nan = math.nan
                row = _Row(
                    found.at, now, value, int(Flag.LATE) if late else 0, severity, severity, 0, nan, nan, nan,
                    rules.peer_severity,
                )  # fmt: skip
                self._observe(
                    rules, rules.peer, row, code="novelty.peer", breach=severity >= rules.peer_severity,
                    holds=severity >= _PEER_HOLDS * rules.peer_severity, badness=severity, severity=severity,
                )  # fmt: skip
                self._hot[series] = self._life.is_active(series)

    def _classified(self, facts: Evidence, timing: Timing, subject: Subject, at: int) -> Evidence:
        """Return *facts* of what opens, or got worse, at *at* (ns, event time) with what is behind it."""
        past = self._past.get(f"{timing.rule}\n{subject.key}", 0)
        facts = self._judged(facts, past)
        if self._life.phase(timing.rule, subject, facts.retrospective) is not Phase.PENDING:
            return facts
        alert = alert_id(timing.rule, subject.key + ("\nlate" if facts.retrospective else ""), at)
        return self._joined(alert, facts, at)

    def _judged(self, facts: Evidence, past: int) -> Evidence:
        series = facts.series if facts.code != "gap" else -1
        card = look(self._parts.peers, facts.device, series, past)
        blackout = self._incidents.blackout_of(facts.device) if facts.code == "gap" else None
        if blackout is not None and blackout.founder == facts.device:
            card = msgspec.structs.replace(card, silent=len(blackout.members), of=blackout.of)
        facts = msgspec.structs.replace(facts, card=card, classification=classify(facts.code, facts.metric, card))
        if facts.code == "novelty.peer" and self._parts.peers is not None:
            beside = self._parts.peers.compare(facts.series)
            if beside.expected is not None:
                low, high = beside.expected - 3 * beside.scatter, beside.expected + 3 * beside.scatter
                facts = msgspec.structs.replace(facts, expected=beside.expected, low=low, high=high)
        return facts

    def _joined(self, alert: str, facts: Evidence, at: int) -> Evidence:
        if facts.classification is not Classification.EVENT or facts.incident:
            return facts
        incident = self._incidents.join(alert, facts, at)
        return msgspec.structs.replace(facts, incident=incident.alert)

    def _follow(self) -> None:
        """Take note of what opened, to look at it again."""
        for event in self._life.raised():
            if event.evidence is None:
                continue
            facts = event.evidence
            self._cases.append(_Case(event.alert, facts, event.at, event.recorded))
            key = (
                f"{facts.rule}\n{facts.device}/{facts.metric}"
                if facts.code != "gap"
                else f"{facts.rule}\n{facts.device}"
            )
            if key in self._past or len(self._past) < _MOST_PAST:
                self._past[key] = self._past.get(key, 0) + 1

    def _look_again(self, now: int) -> None:
        """Judge young alerts again when their neighbours have had time to speak, and tell what changed."""
        rounds = self._parts.peers.at if self._parts.peers is not None else 0
        left = []
        for case in self._cases:
            due = _LOOKS_NS[case.looks]
            late = case.facts.retrospective
            if rounds < case.at + due if late else now < case.logged + due:
                left.append(case)
                continue
            case.looks += 1
            facts = case.facts
            judged = self._joined(case.alert, self._judged(facts, facts.card.past if facts.card else 0), case.at)
            grown = judged.card is not None and facts.card is not None and judged.card.silent > facts.card.silent
            if judged.classification is not facts.classification or judged.incident != facts.incident or grown:
                case.facts = judged
                self._life.update(case.alert, judged, now)
            if case.looks < len(_LOOKS_NS):
                left.append(case)
        self._cases = left
        for event in self._incidents.grown():
            event.facts = msgspec.structs.replace(event.facts, incident=event.alert, joined=event.joined)
            self._life.update(event.alert, event.facts, now)

    # -- upkeep ------------------------------------------------------------------------------------------------------

    def _applies(self, rule: str, subject: Subject) -> bool:
        if subject.series < 0:
            return rule in self._book.names
        return self._book.applies(rule, Series(subject.series, subject.device, subject.metric, subject.district))

    def _matching(self, series: Series) -> tuple[tuple[Threshold, ...], dict[FindingKind, Finding | None]]:
        """Ask the rule book once per metric and district: thousands of series share them."""
        key = (series.metric, series.district, series.device if self._names_devices else "")
        found = self._matched.get(key)
        if found is None:
            findings = {kind: self._book.finding_for(kind, series) for kind in _K}
            found = self._matched[key] = self._book.thresholds_for(series), findings
        return found

    def _grow(self, size: int) -> None:
        missing = size - len(self._hot)
        if missing <= 0:
            return
        missing = max(missing, len(self._hot))  # doubling keeps growth linear
        self._above = np.concatenate([self._above, np.full(missing, np.inf)])
        self._below = np.concatenate([self._below, np.full(missing, -np.inf)])
        never = np.full(missing, np.inf, np.float32)
        self._severity = np.concatenate([self._severity, never])
        self._young_severity = np.concatenate([self._young_severity, never])
        self._young_ns = np.concatenate([self._young_ns, np.zeros(missing, np.int64)])
        self._flags = np.concatenate([self._flags, np.zeros(missing, np.uint16)])
        self._hot = np.concatenate([self._hot, np.zeros(missing, np.bool_)])


def _waits(phase: Phase | None, *, is_silent: bool) -> bool:
    """Tell whether a gap machine waits for time to pass: for its cool-down to end, or for its off-delay."""
    return phase is Phase.PENDING or (phase is Phase.OPEN and not is_silent)


def _timing(finding: Finding | None) -> Timing | None:
    if finding is None:
        return None
    return Timing(finding.name, finding.priority, 0, finding.clear_for_ns, finding.clear_readings)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
