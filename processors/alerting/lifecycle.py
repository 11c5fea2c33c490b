"""This module is the machine behind each alert: pending, open, cooling; and the events that its steps write.

One machine per (rule, subject, lane). The lane is live or late: late readings are judged on their own, their alerts
are *retrospective*, and they can neither open nor clear what an operator is looking at.

    nothing  --breach-->  PENDING  --held for long enough, not blocked-->  OPEN        writes RAISED
    PENDING  --no longer holds-->  nothing
    OPEN     --1.5 times as bad-->  OPEN                                              writes WORSENED, at most a few
    OPEN     --does not hold for long enough-->  COOLING           writes CLEARED, or RESOLVED if late
    COOLING  --breach-->  PENDING, which opens only when the cool-down is over

*Blocked* (a worse alert stands on the same subject) and *cooling* defer the opening and never forget it: if the
condition still holds when the reason to wait is gone, the alert opens then. So nothing that lasts is ever silent,
and nothing that flaps opens more than once per cool-down. The one exception: something 1.5 times as severe as the
alert that cleared opens at once. Time here is event time; it never goes back within a machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import msgspec

from core.alerts import AlertEvent, EventKind, Evidence, Priority, alert_id, event_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Lifecycle", "Machine", "Phase", "Subject", "Timing", "is_worse"]

_WORSE = 1.5
_LATE_IDLE_NS = 60_000_000_000  # late readings come in a burst; after a minute without any, the burst is over


class Phase(IntEnum):
    """Where a machine stands."""

    PENDING = 0
    OPEN = 1
    COOLING = 2


class Subject(msgspec.Struct, frozen=True, array_like=True):
    """What an alert is about: a series, or a whole device (`series` -1, `metric` empty)."""

    device: str
    district: str
    metric: str = ""
    series: int = -1

    @property
    def key(self) -> str:
        """Return the name that goes into the alert's id."""
        return f"{self.device}/{self.metric}" if self.metric else self.device


@dataclass(frozen=True, slots=True)
class Timing:
    """What a rule asks of time."""

    rule: str
    priority: Priority
    for_ns: int
    clear_for_ns: int
    clear_readings: int = 1


class Machine(msgspec.Struct, array_like=True):
    """The state of one (rule, subject, lane); all times int64 ns."""

    rule: str
    subject: Subject
    late: bool
    priority: Priority
    phase: Phase
    since: int  # event time at which the condition began
    last: int  # event time of the newest observation
    logged: int  # log time of it
    alert: str = ""
    cleared: int = -1  # event time at which the last alert cleared, -1: never
    clear_since: int = -1
    clear_count: int = 0
    badness: float = 0.0  # the worst that was told of
    worsened: int = 0


_Key = tuple[str, str, bool]  # rule, subject, late


class Lifecycle:
    """All machines. `events` collects what happened until `drain`."""

    def __init__(self, *, limit: int, cooldown_ns: int, worsened_limit: int) -> None:
        self._limit = limit
        self._cooldown_ns = cooldown_ns
        self._worsened_limit = worsened_limit
        self._machines: dict[_Key, Machine] = {}
        self._open: dict[tuple[str, bool], set[_Key]] = {}  # (device, lane) -> open machines
        self._active: dict[int, int] = {}  # series -> machines that want to see every reading
        self._events: list[AlertEvent] = []
        self._raised: list[AlertEvent] = []
        self.refused = 0
        self.deferred = 0

    def __len__(self) -> int:
        return sum(machine.phase is not Phase.COOLING for machine in self._machines.values())

    def drain(self) -> list[AlertEvent]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events

    def raised(self) -> list[AlertEvent]:
        """Return the openings since the last call; `drain` gives them, too."""
        raised, self._raised = self._raised, []
        return raised

    def update(self, alert: str, facts: Evidence, now: int) -> None:
        """Say what is behind *alert* as of log time *now* (ns)."""
        kind = EventKind.UPDATED
        self._events.append(
            AlertEvent(id=event_id(alert, kind, now), alert=alert, kind=kind, at=now, recorded=now, evidence=facts)
        )

    def phase(self, rule: str, subject: Subject, late: bool) -> Phase | None:  # noqa: FBT001 - part of the key
        """Return where the machine of this key stands, None if there is none."""
        machine = self._machines.get((rule, subject.key, late))
        return machine.phase if machine else None

    def is_active(self, series: int) -> bool:
        """Tell whether some machine wants to see every reading of *series*."""
        return series in self._active

    def active_series(self) -> Iterable[int]:
        """Return the series with active machines."""
        return self._active.keys()

    def open_on(self, device: str, late: bool) -> Iterable[Machine]:  # noqa: FBT001 - part of the key
        """Return the machines of *device* whose alert is open."""
        return [self._machines[key] for key in self._open.get((device, late), ())]

    def observe(
        self,
        timing: Timing,
        subject: Subject,
        *,
        late: bool,
        at: int,
        logged: int,
        breach: bool,
        holds: bool,
        badness: float,
        blocked: Callable[[], bool],
        evidence: Callable[[int], Evidence],
    ) -> None:
        """Let the machine of (*timing*, *subject*, *late*) see one moment.

        *breach* would open, *holds* keeps open or pending (a breach always holds). *badness* is compared with itself.
        *evidence* is asked for facts only when an event is written, with the event time at which the condition began.
        """
        key = (timing.rule, subject.key, late)
        machine = self._machines.get(key)
        if machine is None or machine.phase is Phase.COOLING:
            if not breach or (machine is not None and at <= machine.last):
                return
            machine = self._begin(key, machine, timing, subject, at=at, logged=logged)
            if machine is None:
                return
        elif at <= machine.last:
            return
        machine.last, machine.logged = at, logged
        if machine.phase is Phase.OPEN:
            self._watch_open(key, machine, timing, breach=breach, holds=holds, badness=badness, evidence=evidence)
        elif not (holds or breach):
            self._forget(key, machine)
        elif breach and at - machine.since >= timing.for_ns:
            cooling = machine.cleared >= 0 and at - machine.cleared < self._cooldown_ns
            if blocked() or (cooling and not is_worse(badness, machine.badness)):
                self.deferred += 1
            else:
                self._raise(key, machine, evidence(machine.since), badness)

    def sweep(self, now: int, applies: Callable[[str, Subject], bool]) -> None:
        """Do the upkeep of a minute: end late bursts, forget what has cooled, clear what no rule speaks for."""
        for key, machine in sorted(self._machines.items()):
            if machine.phase is Phase.COOLING:
                if now - machine.logged > self._cooldown_ns:
                    del self._machines[key]
            elif not applies(machine.rule, machine.subject):
                self._end(key, machine, "rule no longer applies")
            elif machine.late and now - machine.logged > _LATE_IDLE_NS:
                self._end(key, machine, "")

    def to_state(self) -> list[Any]:
        """Return all machines in the order of their keys."""
        return [machine for _, machine in sorted(self._machines.items())]

    def restore(self, machines: Iterable[Machine]) -> None:
        """Take over what `to_state` returned."""
        for machine in machines:
            key = (machine.rule, machine.subject.key, machine.late)
            self._machines[key] = machine
            if machine.phase is not Phase.COOLING:
                self._count(machine, 1)
            if machine.phase is Phase.OPEN:
                self._open.setdefault((machine.subject.device, machine.late), set()).add(key)

    # -- steps -------------------------------------------------------------------------------------------------------

    def _begin(
        self, key: _Key, before: Machine | None, timing: Timing, subject: Subject, *, at: int, logged: int
    ) -> Machine | None:
        if before is None and len(self._machines) >= self._limit:
            self.refused += 1
            return None
        machine = Machine(timing.rule, subject, key[2], timing.priority, Phase.PENDING, at, at, logged)
        if before is not None:
            machine.cleared, machine.badness = before.cleared, before.badness
        self._machines[key] = machine
        self._count(machine, 1)
        return machine

    def _forget(self, key: _Key, machine: Machine) -> None:
        self._count(machine, -1)
        if machine.cleared >= 0:
            machine.phase = Phase.COOLING
        else:
            del self._machines[key]

    def _raise(self, key: _Key, machine: Machine, facts: Evidence, badness: float) -> None:
        machine.phase = Phase.OPEN
        # the lane is part of the identity: a late and a live alert may open at the same event time
        name = machine.subject.key + ("\nlate" if machine.late else "")
        machine.alert = alert_id(machine.rule, name, machine.last)
        machine.badness, machine.worsened, machine.clear_since, machine.clear_count = badness, 0, -1, 0
        machine.priority = facts.priority
        self._open.setdefault((machine.subject.device, machine.late), set()).add(key)
        self._write(machine, EventKind.RAISED, facts)
        self._raised.append(self._events[-1])

    def _watch_open(
        self,
        key: _Key,
        machine: Machine,
        timing: Timing,
        *,
        breach: bool,
        holds: bool,
        badness: float,
        evidence: Callable[[int], Evidence],
    ) -> None:
        if holds or breach:
            machine.clear_since, machine.clear_count = -1, 0
            if breach and is_worse(badness, machine.badness) and machine.worsened < self._worsened_limit:
                machine.badness, machine.worsened = badness, machine.worsened + 1
                self._write(machine, EventKind.WORSENED, evidence(machine.since))
            return
        if machine.clear_since < 0:
            machine.clear_since = machine.last
        machine.clear_count += 1
        if machine.last - machine.clear_since >= timing.clear_for_ns and machine.clear_count >= timing.clear_readings:
            self._clear(key, machine, "")

    def _end(self, key: _Key, machine: Machine, comment: str) -> None:
        if machine.phase is Phase.OPEN:
            self._clear(key, machine, comment)
        else:
            self._forget(key, machine)

    def _clear(self, key: _Key, machine: Machine, comment: str) -> None:
        # nobody was told of a late alert, so nobody has to look at its end
        self._write(machine, EventKind.RESOLVED if machine.late else EventKind.CLEARED, None, comment)
        machine.phase, machine.cleared, machine.alert = Phase.COOLING, machine.last, ""
        self._count(machine, -1)
        peers = self._open[machine.subject.device, machine.late]
        peers.discard(key)
        if not peers:
            del self._open[machine.subject.device, machine.late]

    def _write(self, machine: Machine, kind: EventKind, facts: Evidence | None, comment: str = "") -> None:
        self._events.append(
            AlertEvent(
                id=event_id(machine.alert, kind, machine.last),
                alert=machine.alert,
                kind=kind,
                at=machine.last,
                recorded=machine.logged,
                evidence=facts,
                comment=comment,
            )
        )

    def _count(self, machine: Machine, by: int) -> None:
        series = machine.subject.series
        if series >= 0:
            count = self._active.get(series, 0) + by
            if count:
                self._active[series] = count
            else:
                self._active.pop(series, None)


def is_worse(badness: float, than: float) -> bool:
    """Tell whether it is notably worse; what has no measure of badness (0) never is."""
    return than > 0 and badness >= _WORSE * than
