"""This module folds alerts of one cause into one incident: the first opens it, those that come later join it.

Two causes are known:

- *silence*: the devices of a district that fell silent at the same time, five or more and a fifth of the district at
  least. Which gateway a device uses is not in its readings, so a district and a moment stand for it; silences of
  several districts that began together are one incident, too. The devices that joined have no alert of their own as
  long as it lasts: those still silent two minutes after most are back get theirs then.
- *event*: alerts that are classified as an event of the city, of a metric or a district that the incident has already,
  within half an hour of the last that joined. They keep an alert each, which names the incident and is told to nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from core.alerts import Evidence
from processors.alerting.settings import IncidentSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Blackout", "EventIncident", "Incidents"]

_SECOND = 1_000_000_000
_OTHERS = 2  # that joined, until an event tells something of another alert; of 0 more sensors are taken for the city


class Blackout(msgspec.Struct, array_like=True):
    """A silence of many. `founder` is the device whose alert stands for all; `members` maps devices to their last word.

    `since` and `until` bound the last words of the members, `slack` is their interval (ns). `over` is the log time at
    which most were back, -1 before.
    """

    founder: str
    district: str
    since: int
    until: int
    slack: int
    of: int
    members: dict[str, int]
    over: int = -1


class EventIncident(msgspec.Struct, array_like=True):
    """What is known of an event: the alert that opened first, what it touches, and when it was joined last (ns)."""

    alert: str
    facts: Evidence
    last: int
    late: bool
    metrics: list[str]
    districts: list[str]
    joined: int = 0
    told: int = 0


class Incidents:
    """All incidents that something may still join."""

    def __init__(self, settings: IncidentSettings | None = None) -> None:
        self._settings = settings or IncidentSettings()
        self.blackouts: list[Blackout] = []
        self.events: list[EventIncident] = []

    # -- silence -----------------------------------------------------------------------------------------------------

    def silences(
        self,
        fresh: Sequence[tuple[str, int, int]],
        overdue: Mapping[str, int],
        district_of: Mapping[str, str],
        sizes: Mapping[str, int],
    ) -> None:
        """Take devices that were told silent: *fresh* (device, last heard ns, expected interval ns), at one tick.

        *overdue* are all devices whose next word is late, with their last one; *sizes* the devices of each district.
        """
        self._release({device: since for device, since, _ in fresh} | dict(overdue))
        for device, since, expected in fresh:
            if device not in district_of or self.blackout_of(device) is not None:
                continue
            slack = max(round(self._settings.together_seconds * _SECOND), expected + expected // 4)
            running = next(
                (b for b in self.blackouts if b.over < 0 and b.since - b.slack <= since <= b.until + b.slack), None
            )
            together = {
                name: at for name, at in overdue.items() if abs(at - since) <= slack and self.blackout_of(name) is None
            }
            together[device] = since
            by_district: dict[str, dict[str, int]] = {}
            for name, at in together.items():
                if name in district_of:
                    by_district.setdefault(district_of[name], {})[name] = at
            members: dict[str, int] = {}
            of = 0
            for district, silent in sorted(by_district.items()):
                if running is not None and district in {district_of[m] for m in running.members if m in district_of}:
                    members |= silent
                elif len(silent) >= self._least(sizes.get(district, 0)):
                    members |= silent
                    of += sizes.get(district, 0)
            if device not in members:
                continue
            if running is None:
                running = Blackout(device, district_of[device], since, since, slack, 0, {})
                self.blackouts.append(running)
            running.members |= dict(sorted(members.items()))
            running.of += of
            running.since = min(running.since, *members.values())
            running.until = max(running.until, *members.values())

    def _release(self, heard: Mapping[str, int]) -> None:
        """Let go of who came back from a silence that is over, and fell silent again; *heard* is its last word."""
        for blackout in self.blackouts:
            if blackout.over >= 0:
                for device in [device for device in blackout.members if heard.get(device, -1) > blackout.over]:
                    del blackout.members[device]

    def _least(self, devices: int) -> float:
        """Return how many of so many *devices* must fall silent together."""
        return max(self._settings.silent_devices, self._settings.silent_share * devices)

    def blackout_of(self, device: str) -> Blackout | None:
        """Return the silence that *device* is a part of."""
        return next((b for b in self.blackouts if device in b.members), None)

    def watch(self, silent: Mapping[str, object], overdue: Mapping[str, int], now: int) -> list[str]:
        """End silences at log time *now* (ns) when most are back; return the devices that none covers any more."""
        freed: list[str] = []
        for blackout in list(self.blackouts):
            if blackout.over < 0:
                still = sum(device in silent or device in overdue for device in blackout.members)
                if still <= self._settings.back_share * len(blackout.members):
                    blackout.over = now
            elif now - blackout.over >= self._settings.straggler_seconds * _SECOND:
                self.blackouts.remove(blackout)
                freed += blackout.members
        return freed

    # -- events ------------------------------------------------------------------------------------------------------

    def join(self, alert: str, facts: Evidence, at: int) -> EventIncident:
        """Return the incident of the event behind *alert*, which opened at *at* (ns); a new one if needed."""
        late = facts.retrospective
        self.events = [e for e in self.events if e.late is not late or at - e.last <= self._join_ns]
        for event in self.events:
            if event.late is late and (facts.metric in event.metrics or facts.district in event.districts):
                event.last = max(event.last, at)
                event.joined += alert != event.alert
                event.metrics = sorted({*event.metrics, facts.metric})
                event.districts = sorted({*event.districts, facts.district})
                return event
        event = EventIncident(alert, facts, at, late, [facts.metric], [facts.district])
        self.events = [*self.events[max(len(self.events) - self._settings.events + 1, 0) :], event]
        return event

    def is_amid(self, facts: Evidence) -> bool:
        """Tell whether an event goes on in the district of *facts*, by three alerts at least."""
        return any(
            event.late is facts.retrospective
            and facts.district in event.districts
            and event.joined >= _OTHERS
            and abs(facts.measured - event.last) <= self._join_ns
            for event in self.events
        )

    def grown(self) -> Iterator[EventIncident]:
        """Yield the events that have grown notably (by half) since that was told."""
        for event in self.events:
            if event.joined > event.told * 3 // 2:
                event.told = event.joined
                yield event

    @property
    def _join_ns(self) -> int:
        return round(self._settings.join_seconds * _SECOND)

    def standing(self, now: int) -> tuple[int, int]:
        """Return how many blackouts last, and how many events may be joined still at *now* (ns)."""
        events = sum(not event.late and now - event.last <= self._join_ns for event in self.events)
        return sum(blackout.over < 0 for blackout in self.blackouts), events

    # -- keeping -----------------------------------------------------------------------------------------------------

    def to_state(self) -> tuple[list[Blackout], list[EventIncident]]:
        """Return all, in order of their begin."""
        return self.blackouts, self.events

    def restore(self, blackouts: list[Blackout], events: list[EventIncident]) -> None:
        """Take over what `to_state` returned."""
        self.blackouts, self.events = blackouts, events
