"""This module is the ports in memory, for tests of other rooms; they pass the same contract suites as the real ones."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from core.admission import LedgerRow, Outcome
from core.alerts import TRANSITIONS, Alert, AlertEvent, apply
from core.city import SERIES_BLOCK, Device, Series
from core.errors import NotFound
from core.notices import notices_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.admission import DeviceStatus, Quarantined, Tally
    from core.city import District
    from core.clock import Clock
    from core.ports import OutboxItem

__all__ = ["MemoryJournal", "MemoryLedger", "MemoryLog", "MemoryRegistry"]


class MemoryLog:
    """`LogAppender` and `LogConsumer`; `SpoolLog` too."""

    def __init__(self, clock: Clock, *, retention_hours: float = 72.0) -> None:
        self._clock = clock
        self._retention_ns = int(retention_hours * 3600e9)
        self._entries: list[tuple[int, int, bytes]] = []
        self._cursors: dict[str, int] = {}
        self._head = 0

    def append(self, entries: Sequence[bytes]) -> int:
        for body in entries:
            self._head += 1
            self._entries.append((self._head, self._clock.now_ns(), body))
        return self._head

    def head(self) -> int:
        return self._head

    def used_bytes(self) -> int:
        return sum(len(body) for _, _, body in self._entries)

    def tail(self, limit: int) -> list[tuple[int, bytes]]:
        return [(position, body) for position, _, body in self._entries[-limit:]]

    def read(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        return [(position, body) for position, _, body in self._entries if position > after][:limit]

    def cursor(self, consumer: str) -> int:
        return self._cursors.setdefault(consumer, 0)

    def commit(self, consumer: str, position: int) -> None:
        self._cursors[consumer] = max(position, self._cursors.get(consumer, 0))

    def trim(self, now_ns: int) -> int:
        committed, cutoff, n = min(self._cursors.values(), default=0), now_ns - self._retention_ns, 0
        while self._entries and self._entries[0][0] <= committed and self._entries[0][1] < cutoff:
            del self._entries[0]
            n += 1
        return n

    def close(self) -> None:
        pass


class MemoryRegistry:
    """`Registry`, over devices given at the start or put in later."""

    def __init__(self, devices: Sequence[Device] = (), districts: Sequence[District] = ()) -> None:
        self._devices = {device.id: device for device in devices}
        self._districts = {district.id: district for district in districts}
        self._series: dict[tuple[str, str], Series] = {}
        self._next: dict[str, int] = {}
        self._blocks = 0
        self._revision = 0

    def put(self, device: Device) -> None:
        self._devices[device.id] = device
        self._series |= {
            pair: replace(series, interval_seconds=device.interval_seconds)
            for pair, series in self._series.items()
            if series.device == device.id
        }
        self._revision += 1

    def drop(self, device: str) -> None:
        del self._devices[device]
        self._revision += 1

    def revision(self) -> int:
        return self._revision

    def districts(self) -> list[District]:
        return sorted(self._districts.values(), key=lambda district: district.id)

    def devices(self) -> list[Device]:
        return sorted(self._devices.values(), key=lambda device: device.id)

    def series(self) -> list[Series]:
        return sorted(self._series.values(), key=lambda series: series.id)

    def allocate(self, pairs: Sequence[tuple[str, str]]) -> list[Series]:
        missing = [pair for pair in dict.fromkeys(pairs) if pair not in self._series]
        for device, _ in missing:
            if device not in self._devices:
                raise NotFound(f"device {device}: not registered")
        for device, metric in sorted(missing, key=lambda pair: self._devices[pair[0]].district):
            known = self._devices[device]
            district = known.district
            number = self._next.get(district, 0)
            if number % SERIES_BLOCK == 0:
                number = self._blocks * SERIES_BLOCK
                self._blocks += 1
            self._next[district] = number + 1
            self._series[device, metric] = Series(number, device, metric, district, known.interval_seconds)
        self._revision += bool(missing)
        return [self._series[pair] for pair in pairs]


class MemoryLedger:
    """`LedgerBook` and `LedgerReader`."""

    def __init__(self, *, quarantine_keep: int = 10_000) -> None:
        self._keep = quarantine_keep
        self._positions: dict[str, int] = {}
        self._tallies: list[Tally] = []
        self._quarantined: list[Quarantined] = []
        self._statuses: dict[str, tuple[bool, int, int]] = {}
        self.dropped = 0

    def position(self, source: str) -> int:
        return self._positions.get(source, 0)

    def book(
        self,
        source: str,
        position: int,
        tallies: Sequence[Tally],
        quarantined: Sequence[Quarantined],
        statuses: Sequence[DeviceStatus],
    ) -> None:
        if position <= self.position(source):
            return
        self._positions[source] = position
        self._tallies.extend(tallies)
        self._quarantined.extend(quarantined)
        surplus = max(len(self._quarantined) - self._keep, 0)
        del self._quarantined[:surplus]
        self.dropped += surplus
        for status in statuses:
            online, since, said = self._statuses.get(status.device, (not status.online, 0, -1))
            if status.received >= said:
                kept = since if online == status.online else status.received
                self._statuses[status.device] = (status.online, kept, status.received)

    def ledger(self, device: str | None = None, first_day: int = 0, last_day: int = 1 << 31) -> list[LedgerRow]:
        rows: dict[tuple[str, int], list[Tally]] = defaultdict(list)
        for tally in self._tallies:
            if device in {None, tally.device} and first_day <= tally.day <= last_day:
                rows[tally.device, tally.day].append(tally)
        return [_balance(name, day, tallies) for (name, day), tallies in sorted(rows.items())]

    def quarantine(self, limit: int) -> list[Quarantined]:
        return self._quarantined[::-1][:limit]

    def quarantine_dropped(self) -> int:
        return self.dropped

    def statuses(self) -> dict[str, tuple[bool, int]]:
        return {device: (online, since) for device, (online, since, _) in self._statuses.items()}


def _balance(device: str, day: int, tallies: Sequence[Tally]) -> LedgerRow:
    reasons: dict[str, int] = defaultdict(int)
    for tally in tallies:
        reasons[f"{tally.outcome}:{tally.reason}"] += tally.messages
    counts = {
        outcome.value: sum(tally.messages for tally in tallies if tally.outcome == outcome) for outcome in Outcome
    }
    received, readings = sum(tally.received for tally in tallies), sum(tally.readings for tally in tallies)
    return LedgerRow(device, day, received=received, readings=readings, reasons=dict(reasons), **counts)


class MemoryJournal:
    """`AlertJournal`; `events`, `alerts` and `notices` show what came in and out."""

    def __init__(self, channels: Sequence[str] = ("mqtt", "webhook")) -> None:
        self._channels = channels
        self._positions: dict[str, int] = {}
        self.events: dict[str, AlertEvent] = {}
        self.alerts: dict[str, Alert] = {}
        self.notices: list[OutboxItem] = []

    def position(self, source: str) -> int:
        return self._positions.get(source, 0)

    def record(self, source: str, position: int, events: Sequence[AlertEvent]) -> list[str]:
        if position <= self.position(source):
            return []
        self._positions[source] = position
        changed: dict[str, None] = {}
        for event in events:
            if event.id in self.events:
                continue
            self.events[event.id] = event
            before = self.alerts.get(event.alert)
            if (before.state if before else None, event.kind) in TRANSITIONS:
                after = self.alerts[event.alert] = apply(before, event)
                self.notices.extend(notices_for(after, event, self._channels))
                changed[event.alert] = None
        return list(changed)
