"""This module judges devices as a whole: that they come and go (flapping), or that all they send comes late.

It stands between the liveness watch and the judge of silences. The silences of a device that flaps are held back: it is
one finding instead of many. When it stops, what is still silent then goes on to the judge as if it had begun just now.

Devices of one district that flap, or are late, at the same time are one finding, too: five and a fifth of them at least
(as for blackouts; those about to count), told of the one that came first. Who comes to them later joins; it ends when
the last of them is over. Then its cause is the gateway, not the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from core.alerts import Classification, Evidence
from processors.alerting.lifecycle import Phase, Subject, Timing
from processors.alerting.rules import FindingKind
from processors.alerting.triage import look
from processors.flapping import Flapping, Losses
from processors.liveness import Back, Gap, InTime, Late

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from core.city import Series
    from processors.alerting.lifecycle import Lifecycle
    from processors.alerting.rules import RuleBook
    from processors.liveness import Sign
    from processors.parts import Parts
    from processors.settings import ProcessorSettings

__all__ = ["DeviceFindings", "DeviceState"]

_KINDS = (FindingKind.FLAPPING, FindingKind.LATE)


@dataclass(frozen=True, slots=True)
class _Home:
    """Where a device stands, and which findings are looked for there."""

    district: str
    timings: dict[FindingKind, Timing]


class _Standing(msgspec.Struct, array_like=True):
    """What is told of one kind.

    Attributes:
        covered: by device that shows it, whose alert stands for it: its own name, or another of its district.
        crowds: by district, the device whose alert stands for many, and of how many it was told.
        watched: devices whose alert waits for something: to open after its cool-down, or to clear.
    """

    covered: dict[str, str] = {}
    crowds: dict[str, tuple[str, int]] = {}
    watched: list[str] = []


class DeviceState(msgspec.Struct, array_like=True):
    """All that is remembered."""

    losses: dict[str, Losses]
    late: dict[str, tuple[int, int]]
    held: dict[str, dict[int, tuple[int, int]]]
    said: list[tuple[str, int, bool]]
    standing: dict[str, _Standing]


class DeviceFindings:
    """Findings about whole devices. Use: `learn` each series; statuses as they come; per tick `tick`."""

    def __init__(self, book: RuleBook, life: Lifecycle, parts: Parts, settings: ProcessorSettings) -> None:
        self._book = book
        self._life = life
        self._parts = parts
        self._least_devices = settings.incidents.silent_devices
        self._least_share = settings.incidents.silent_share
        self._flapping = Flapping(settings.flapping)
        self._late: dict[str, tuple[int, int]] = {}  # since when, and by how much
        self._held: dict[str, dict[int, tuple[int, int]]] = {}  # device -> series -> since, expected
        self._said: list[tuple[str, int, bool]] = []  # since the last tick
        self._standing = {kind: _Standing() for kind in _KINDS}
        self._homes: dict[str, _Home] = {}
        self._sizes: dict[str, int] = {}

    @property
    def refused(self) -> int:
        """Return how many losses were not followed because too many devices were lost lately."""
        return self._flapping.refused

    @property
    def counts(self) -> dict[str, int]:
        """Return how many devices show each kind now."""
        return {kind: len(self._standing[kind].covered) for kind in _KINDS}

    def learn(self, series: Series) -> None:
        """Take note of a series; the first of a device says which rules are its own."""
        if series.device in self._homes:
            return
        timings = {}
        for kind in _KINDS:
            found = self._book.finding_for(kind, series)
            if found is not None:
                timings[kind] = Timing(found.name, found.priority, 0, found.clear_for_ns, found.clear_readings)
        self._homes[series.device] = _Home(series.district, timings)
        self._sizes[series.district] = self._sizes.get(series.district, 0) + 1

    def said(self, device: str, now: int, *, online: bool) -> None:
        """Take what *device* said of itself at log time *now* (ns), for the next tick.

        Not before: how often it reports is known for certain at ticks only, however the log is cut into calls.
        """
        self._said.append((device, now, online))

    def tick(self, now: int, signs: Sequence[Sign]) -> list[Gap | Back]:
        """Judge at a tick, log time *now* (ns), what liveness tells; return the silences that are told one by one."""
        for device, at, online in self._said:
            if online:
                self._flapping.back(device)
            elif self._looks_for(FindingKind.FLAPPING, device):
                self._flapping.offline(device, at, self._parts.interval(device))
        self._said.clear()
        passed: list[Gap | Back] = []
        for sign in signs:
            if isinstance(sign, Late):
                if self._looks_for(FindingKind.LATE, sign.device):
                    self._late[sign.device] = (sign.since_ns, sign.behind_ns)
            elif isinstance(sign, InTime):
                self._late.pop(sign.device, None)
            elif self._passes(now, sign):
                passed.append(sign)
        before = set(self._flapping.active)
        self._flapping.settle(now)
        for device in sorted(before - self._flapping.active.keys()):
            held = self._held.pop(device, {})
            passed += [Gap(device, series, since, expected) for series, (since, expected) in sorted(held.items())]
        self._stand(FindingKind.FLAPPING, self._flapping.active, now)
        self._stand(FindingKind.LATE, self._late, now)
        return passed

    def sweep(self, now: int) -> None:
        """Do the upkeep of a minute."""
        self._flapping.forget(now)

    def _passes(self, now: int, sign: Gap | Back) -> bool:
        device = sign.device
        if not self._looks_for(FindingKind.FLAPPING, device):
            return True
        if isinstance(sign, Gap):
            self._flapping.lost(device, now, sign.expected_ns)
            if device in self._flapping.active:
                self._held.setdefault(device, {})[sign.series] = (sign.since_ns, sign.expected_ns)
                return False
            return True
        self._flapping.back(device)
        held = self._held.get(device, {})
        was_held = held.pop(sign.series, None) is not None
        if not held:
            self._held.pop(device, None)
        return not was_held

    def _looks_for(self, kind: FindingKind, device: str) -> bool:
        home = self._homes.get(device)
        return home is not None and kind in home.timings

    # -- one finding for many ----------------------------------------------------------------------------------------

    def _stand(self, kind: FindingKind, devices: Collection[str], now: int) -> None:
        """Settle whose alert stands for whom, and let the alerts of *kind* see this moment."""
        standing = self._standing[kind]
        if not devices and not standing.covered and not standing.watched:
            return
        before = set(standing.covered.values())
        for device in standing.covered.keys() - devices:
            del standing.covered[device]
        founders = set(standing.covered.values())
        standing.crowds = {d: crowd for d, crowd in standing.crowds.items() if crowd[0] in founders}
        began = sorted(device for device in devices if device not in standing.covered)
        if began:
            self._cover(standing, began, self._about_to(kind, devices, now))
        after = set(standing.covered.values())
        standing.watched = [
            device
            for device in sorted({*standing.watched, *(before ^ after)})
            if self._observe(kind, device, now, lasts=device in after)
        ]

    def _about_to(self, kind: FindingKind, devices: Collection[str], now: int) -> dict[str, int]:
        """Return by district how many show *kind*, or are about to."""
        near = self._flapping.nearly(now) if kind is FindingKind.FLAPPING else self._parts.lagging()
        count: dict[str, int] = {}
        for device in {*devices, *near}:
            if self._looks_for(kind, device):
                district = self._homes[device].district
                count[district] = count.get(district, 0) + 1
        return count

    def _cover(self, standing: _Standing, began: list[str], count: dict[str, int]) -> None:
        for device in began:
            district = self._homes[device].district
            crowd = standing.crowds.get(district)
            if crowd is None and count[district] >= max(self._least_devices, self._least_share * self._sizes[district]):
                crowd = standing.crowds[district] = (device, count[district])
            standing.covered[device] = device if crowd is None else crowd[0]

    # -- alerts ------------------------------------------------------------------------------------------------------

    def _observe(self, kind: FindingKind, device: str, now: int, *, lasts: bool) -> bool:
        """Let the alert of *device* see this moment; tell whether it waits for another one."""
        home = self._homes.get(device)
        if home is None or kind not in home.timings:  # the rules changed over a restart: the upkeep clears it
            return False
        timing, subject = home.timings[kind], Subject(device, home.district)
        self._life.observe(
            timing, subject, late=False, at=now, logged=now, breach=lasts, holds=lasts, badness=0.0,
            blocked=lambda: False, evidence=lambda _: self._evidence(kind, device, home, now),
        )  # fmt: skip
        self._life.raised()  # what is behind it is known already: nobody needs to look again
        phase = self._life.phase(timing.rule, subject, late=False)
        return phase is Phase.PENDING or (phase is Phase.OPEN and not lasts)

    def _evidence(self, kind: FindingKind, device: str, home: _Home, now: int) -> Evidence:
        timing = home.timings[kind]
        founder, many = self._standing[kind].crowds.get(home.district, ("", 0))
        card = look(self._parts.peers, device, -1, 0)
        if founder == device:
            card = msgspec.structs.replace(card, silent=many, of=self._sizes[home.district])
        if kind is FindingKind.FLAPPING:
            known = self._flapping.active.get(device)
            since = known.times[0] if known is not None else now
            value, unit = float(self._flapping.settings.losses), ""
        else:
            since, behind = self._late.get(device, (now, 0))
            value, unit = round(behind / 1e9, 1), "s"
        return Evidence(
            code=kind.value, rule=timing.rule, priority=timing.priority, district=home.district, device=device,
            unit=unit, measured=now, value=value, duration_seconds=(now - since) / 1e9, card=card,
            classification=Classification.GATEWAY_FAULT if card.silent else Classification.SENSOR_FAULT,
        )  # fmt: skip

    # -- keeping -----------------------------------------------------------------------------------------------------

    def to_state(self) -> DeviceState:
        """Return what is remembered, canonically ordered."""
        standing = {
            kind.value: _Standing(dict(sorted(s.covered.items())), dict(sorted(s.crowds.items())), s.watched)
            for kind, s in self._standing.items()
        }
        held = {device: dict(sorted(gaps.items())) for device, gaps in sorted(self._held.items())}
        return DeviceState(self._flapping.to_state(), dict(sorted(self._late.items())), held, self._said, standing)

    def restore(self, state: DeviceState) -> None:
        """Take over what `to_state` returned."""
        self._flapping.restore(state.losses)
        self._late, self._held, self._said = state.late, state.held, state.said
        self._standing = {kind: state.standing.get(kind.value, _Standing()) for kind in _KINDS}
