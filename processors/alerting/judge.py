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

from core.alerts import Card, Classification, Evidence, Priority, alert_id
from core.city import Series
from core.metrics import metric
from core.quality import Flag
from processors.alerting.budget import Budgets
from processors.alerting.incidents import Blackout, EventIncident, Incidents
from processors.alerting.lifecycle import Lifecycle, Machine, Phase, Subject, Timing, is_worse
from processors.alerting.rules import FindingKind, RuleBook
from processors.alerting.triage import classify, look, tells_more
from processors.calibration import Calibration
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
    from processors.settings import ProcessorSettings

__all__ = ["Causes", "Judge"]

_RANK = {priority: rank for rank, priority in enumerate(Priority)}
_K = FindingKind
_SETTLED_NS = 2 * 86_400 * 10**9  # one day more than the daily profile needs; a guess, not measured
_LOOKS_NS = (60 * 10**9, 330 * 10**9, 630 * 10**9, 930 * 10**9)  # after the opening; rounds of peers last 300 s
_LATE_ROUND_NS = 3600 * 10**9  # a round that ended longer ago was made of readings that came late
_PEER_HOLDS = 0.7  # of the severity that opens: what is back that far is over
_WHOLE = -1  # stands for the whole device among its silent series


class _Case(msgspec.Struct, array_like=True):
    """An alert that is judged again: `looks` are done; `at` is event time, `logged` log time of its opening.

    `told` is whether its `facts` are those that were told last.
    """

    alert: str
    facts: Evidence
    at: int
    logged: int
    looks: int = 0
    told: bool = True


class Causes(msgspec.Struct, array_like=True):
    """What is remembered of causes: cases, incidents, how many alerts each rule and subject had, and severities."""

    cases: list[_Case]
    blackouts: list[Blackout]
    events: list[EventIncident]
    past: dict[str, int]
    calibration: bytes = b""
    budgets: bytes = b""


@dataclass(frozen=True, slots=True)
class _Rules:
    """What applies to one series."""

    subject: Subject
    unit: str
    thresholds: tuple[tuple[Threshold, Timing], ...]
    range: Timing | None
    flat: Timing | None
    novelty: Timing | None
    budget: Finding | None  # the rule of novelty, if it has a budget
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
    """Turns scored readings and silences into alert events.

    Attributes:
        held: readings that would have opened an alert if no budget had been in the way, since start.
        joined: alerts that came to an event that another one had opened, since start.
        rounds: comparisons with neighbours, since start.
        standing: blackouts that last, and events that may be joined still, as of the last tick.
        floors: severity that the budget of a rule asks for in a district, by (rule, district).
    """

    def __init__(self, book: RuleBook, life: Lifecycle, parts: Parts, settings: ProcessorSettings) -> None:
        self._book = book
        self._life = life
        self._parts = parts
        self._settings = settings
        self.held = self.joined = self.rounds = 0
        self.standing = (0, 0)
        self._incidents = Incidents(settings.incidents)
        self.calibration = Calibration(settings.calibration)
        self.budgets = Budgets(settings.calibration)
        self.floors: dict[tuple[str, str], float] = {}
        self._has_budgets = any(finding.alerts_per_day is not None for finding in book.findings)
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
        self._lift = np.empty(0, np.float32)  # what budgets make of the severity that is needed
        self._flags = np.empty(0, np.uint16)
        self._hot = np.empty(0, np.bool_)
        self._silent: dict[str, dict[int, int]] = {}  # device -> silent series -> last seen
        self._watched: set[str] = set()  # devices whose gap machine waits for time to pass

    def learn(self, series: Series) -> None:
        """Take note of a series; every series must be known before its first reading."""
        if series.id in self._rules:
            return
        self._grow(series.id + 1)
        self.calibration.learn(series)
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
            novelty if novelty is not None and novelty.alerts_per_day is not None else None,
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
            self._lift[series.id] = self._floor(novelty, series.district) / novelty.severity
        self._flags[series.id] = (
            (Flag.RANGE if rules.range else 0) | (Flag.FLAT if rules.flat else 0) | (Flag.SKEW if rules.skew else 0)
        )
        self._hot[series.id] = self._life.is_active(series.id)

    def readings(self, batch: ReadingBatch, scores: Scores, age: NDArray[np.int64]) -> None:
        """Judge N scored readings, in order; *age* is int64[N] ns since the first reading of its series."""
        ids = batch.series
        # the records of a young series are cheap: the next storm is the worst ever seen, and before it has lived
        # through two days, every hour is the first of its kind
        settling = np.maximum(_SETTLED_NS / np.maximum(age, 1), 1.0) ** 2
        least = np.where(age < self._young_ns[ids], self._young_severity[ids] * settling, self._severity[ids])
        self._odd(batch, scores, least)
        needed = least * self._lift[ids] if self._has_budgets else least
        trip = batch.value > self._above[ids]
        trip |= batch.value < self._below[ids]
        trip |= scores.severity >= needed
        trip |= (batch.quality & self._flags[ids]) != 0
        trip |= self._hot[ids]
        known: list[int] = []  # rows of what is pending or open already
        if trip.any():
            doubted = np.zeros(len(self._hot), np.bool_)
            doubted[ids[trip]] = True
            rows = np.flatnonzero(doubted[ids])
            columns = (
                batch.measured, batch.received, batch.value, batch.quality,
                scores.severity, scores.raw, scores.reason, scores.expected, scores.low, scores.high, needed,
            )  # fmt: skip
            for at, series, *facts in zip(
                rows.tolist(), ids[rows].tolist(), *(c[rows].tolist() for c in columns), strict=True
            ):
                if self._life.is_active(series):
                    known.append(at)
                self._reading(self._rules[series], _Row(*facts))
                self._hot[series] = self._life.is_active(series)
        self.calibration.add(ids, scores.raw, known)
        if self._has_budgets:
            self.held += int(np.count_nonzero((scores.severity >= least) & (scores.severity < needed)))

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
            self.rounds += 1
            self._peers(now, found)
        self._look_again(now)
        self.standing = self._incidents.standing(now)

    @property
    def peers_refused(self) -> int:
        """Return how many readings were of series beyond those that are compared with peers."""
        return self._parts.peers.refused if self._parts.peers is not None else 0

    def sweep(self, now: int) -> None:
        """Do the upkeep of a minute, at a tick."""
        self.calibration.begin(now)
        if self.budgets.begin(now) and self._has_budgets:
            self.floors.clear()
            for series, rules in self._rules.items():
                if rules.budget is not None:
                    floor = self._floor(rules.budget, rules.subject.district)
                    self._lift[series] = floor / rules.budget.severity
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
        return Causes(
            self._cases, *self._incidents.to_state(), dict(sorted(self._past.items())),
            self.calibration.to_bytes(), self.budgets.to_bytes(),
        )  # fmt: skip

    def restore(self, machines: list[Machine], silent: dict[str, dict[int, int]], causes: Causes | None = None) -> None:
        """Take over what `to_state` and `causes` returned, before the first `learn`.

        Raises:
            MalformedPayload: what is remembered of severities is of another version, or cut short.
        """
        if causes is not None:
            self._cases, self._past = causes.cases, causes.past
            self._incidents.restore(causes.blackouts, causes.events)
            if causes.calibration:
                self.calibration = Calibration.from_bytes(causes.calibration, self._settings.calibration)
            if causes.budgets:
                self.budgets = Budgets.from_bytes(causes.budgets, self._settings.calibration)
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
                retrospective=row.late, card=self._odds(code, rules, row),
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

    # -- severities --------------------------------------------------------------------------------------------------

    def _odd(self, batch: ReadingBatch, scores: Scores, least: NDArray[np.float64]) -> None:
        """Note what would be an alert of novelty if there were no budget, and what goes on of it."""
        odd = (scores.raw >= 1) & (scores.reason != Reason.FLAT) & (batch.quality & (Flag.LATE | Flag.RANGE) == 0)
        rows = np.flatnonzero(odd)
        if not len(rows):
            return
        series, severities, needed = batch.series[rows], scores.severity[rows], least[rows]
        opens = severities >= needed
        size = np.zeros(len(rows))
        # a young series needs more: what it shows counts for as much less
        size[opens] = severities[opens] * self._severity[series[opens]] / needed[opens]
        for number, severity, at in zip(series.tolist(), size.tolist(), batch.received[rows].tolist(), strict=True):
            subject = self._rules[number].subject
            if severity > 0 or self.budgets.is_odd(subject.device):
                self.budgets.note(subject.device, subject.district, subject.metric, severity, at)

    def _floor(self, finding: Finding, district: str) -> float:
        """Return the severity that *finding* needs in *district*, for its budget, as of the last hour."""
        if finding.alerts_per_day is None:
            return finding.severity
        key = (finding.name, district)
        if key not in self.floors:

            def counts(where: str, metric_name: str) -> bool:
                series = Series(-1, "", metric_name, where)
                return where == district and self._matching(series)[1][_K.NOVELTY] is finding

            self.floors[key] = max(self.budgets.needed(finding.alerts_per_day, counts), finding.severity)
        return self.floors[key]

    def _odds(self, code: str, rules: _Rules, row: _Row) -> Card | None:
        """Return how rare the severity of novelty is, and which one was needed; None for other findings."""
        if not code.startswith("novelty."):
            return None
        if code == "novelty.peer":
            return Card(needed=row.needed)
        return Card(
            at_most=self.calibration.bound(rules.subject.metric, row.raw),
            needed=round(row.needed, 2), budget=None if rules.budget is None else rules.budget.alerts_per_day,
        )  # fmt: skip

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
        opens = self._life.phase(timing.rule, subject, facts.retrospective) is Phase.PENDING
        past = self._past.get(f"{timing.rule}\n{subject.key}", 0)
        facts = self._judged(facts, past if opens else max(past - 1, 0))  # one that is open has been counted
        if not opens:
            return facts
        alert = alert_id(timing.rule, subject.key + ("\nlate" if facts.retrospective else ""), at)
        return self._joined(alert, facts, at)

    def _judged(self, facts: Evidence, past: int) -> Evidence:
        peers = self._parts.peers
        # what is near by is known as it is now, not as it was then
        is_past = facts.retrospective and peers is not None and peers.at - facts.measured > _LATE_ROUND_NS
        series = -1 if facts.code == "gap" or is_past else facts.series
        card = look(self._parts.peers, facts.device, series, past)
        if facts.card is not None:
            odds = facts.card
            card = msgspec.structs.replace(card, at_most=odds.at_most, needed=odds.needed, budget=odds.budget)
        blackout = self._incidents.blackout_of(facts.device) if facts.code == "gap" else None
        if blackout is not None and blackout.founder == facts.device:
            card = msgspec.structs.replace(card, silent=len(blackout.members), of=blackout.of)
        facts = msgspec.structs.replace(
            facts,
            card=card,
            classification=classify(facts.code, facts.metric, card, amid=self._incidents.is_amid(facts)),
        )
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
        self.joined += incident.alert != alert
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
            if key in self._past or len(self._past) < self._settings.incidents.past_subjects:
                self._past[key] = self._past.get(key, 0) + 1

    def _look(self, case: _Case, now: int) -> None:
        """Judge *case* once more, and tell what changed: a cause at once, the rest of the card at the last look."""
        facts = case.facts
        judged = self._judged(facts, facts.card.past if facts.card else 0)
        if judged.card is None or facts.card is None:
            return
        urgent = False
        if facts.code == "gap" or tells_more(judged.card, facts.card):
            grown = judged.card.silent > facts.card.silent
            judged = self._joined(case.alert, judged, case.at)
            urgent = judged.classification is not facts.classification or judged.incident != facts.incident or grown
            case.told, case.facts = case.told and judged == facts, judged
        if urgent or (not case.told and case.looks == len(_LOOKS_NS)):
            self._life.update(case.alert, case.facts, now)
            case.told = True

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
            self._look(case, now)
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
        self._lift = np.concatenate([self._lift, np.ones(missing, np.float32)])
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
