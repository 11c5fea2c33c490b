"""This module decides what becomes of every message: exactly one outcome each, and whole messages only.

`Admission` collects messages as they come off the socket (`judge`) into the columns of one open log entry, and closes
it (`seal`). What depends on one message alone (topic, shape, limits, a future time) is decided at once; what depends on
other readings (repetition, conflict) or is cheaper for many at a time (lateness, tallies) at the seal, in numpy.

A message that needs what only the catalog can give, a series that does not exist yet or a device registered a moment
ago, is set aside (`deferred`) and judged again when the runner has asked; see `Stage`.

Received messages are counted first thing, apart from outcomes, so that the ledger's balance is checked, not assumed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core.admission import DeviceStatus, Outcome, Quarantined, Reason, Tally
from core.batch import ReadingBatch
from core.city import check_name
from core.errors import MalformedPayload
from core.quality import Flag
from gateway.formats.json import UNDECODABLE, Item, check_depth, decode_items, decode_number, explain, time_ns
from gateway.identities import Identities
from gateway.registry import Use

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from gateway.registry import Directory, Route, Station
    from gateway.settings import GatewaySettings

__all__ = ["Admission", "Deferred", "Sealed", "Stage"]

_REFUSALS = frozenset(
    {
        Reason.TOO_LARGE,
        Reason.TOO_DEEP,
        Reason.TOO_FAST,
        Reason.TOO_MANY_VALUES,
        Reason.TOO_MANY_SERIES,
        Reason.FOREIGN_DEVICE,
    }
)

_TURNED_AWAY = dict.fromkeys(_REFUSALS, Outcome.REFUSED) | {Reason.REPEATED: Outcome.DUPLICATE}
# limits and permissions are counted and not kept; every reason not named here quarantines

_SECOND = 1_000_000_000
_DAY = 86_400 * _SECOND
_OK = (Outcome.ACCEPTED, Reason.OK)
_FATES = (_OK, (Outcome.LATE, Reason.OLD), (Outcome.DUPLICATE, Reason.REPEATED))


class Deferred(NamedTuple):
    """A message set aside until the catalog was asked; `slot` is where its arrival was counted."""

    topic: bytes
    payload: bytes
    received: int
    retained: bool
    slot: int


class Stage(Enum):
    """How much the catalog was asked about a message."""

    FRESH = "fresh"
    DEVICES_KNOWN = "devices known"
    ALL_KNOWN = "all known"


class _Missing(Exception):  # noqa: N818 - control flow within this module, never seen outside
    """A series does not exist yet."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """One closed entry: what goes into the log, and sums for the metrics."""

    batch: ReadingBatch
    tallies: tuple[Tally, ...]
    quarantined: tuple[Quarantined, ...]
    statuses: tuple[DeviceStatus, ...]
    messages: Counter[tuple[str, str]]
    conflicts: int


@dataclass(slots=True)
class _Open:
    """The columns of the open entry. `message` says which row of slot/received/newest a reading belongs to."""

    series: list[int] = field(default_factory=list)
    measured: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    message: list[int] = field(default_factory=list)
    slot: list[int] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    newest: list[int] = field(default_factory=list)
    others: Counter[tuple[int, int, Outcome, Reason]] = field(default_factory=Counter)
    quarantined: list[Quarantined] = field(default_factory=list)
    statuses: list[DeviceStatus] = field(default_factory=list)
    day: int = -1
    arrived: list[int] = field(default_factory=list)  # the slot of each message of `day`, whatever becomes of it
    came: Counter[tuple[int, int]] = field(default_factory=Counter)


class Admission:
    """Judges messages against *directory* and *settings*; see the module."""

    def __init__(self, settings: GatewaySettings, directory: Directory) -> None:
        self._settings = settings
        self._directory = directory
        self._late_ns = int(settings.late_after_seconds * 1e9)
        self._ahead_ns = int(settings.future_tolerance_seconds * 1e9)
        self._earliest_ns = settings.earliest_epoch_seconds * _SECOND
        self._identities = Identities(settings.recent_readings)
        self._open = _Open()
        self.deferred: list[Deferred] = []
        self.wanted: set[tuple[str, str]] = set()
        self.defers_strangers = True

    def warm(self, batches: Iterable[ReadingBatch]) -> None:
        """Learn the identities of what the log holds already, oldest first."""
        batch = ReadingBatch.concat(batches)
        self._identities.sift(batch.series, batch.measured, batch.value)

    def judge(self, topics: Sequence[bytes], payloads: Sequence[bytes], now_ns: int, *, retained: bool = False) -> None:
        """Decide about messages that came in one read at *now_ns*.

        Each gets its own time of receipt, a nanosecond after the one before, so that readings without a time of
        their own stay apart.
        """
        routes, resolve = self._directory.routes.get, self._directory.route
        max_bytes, max_depth = self._settings.max_payload_bytes, self._settings.max_depth
        earliest, latest = self._earliest_ns, now_ns + self._ahead_ns
        opened, decode, readings = self._open, decode_items, Use.READINGS
        add_series, add_measured = opened.series.append, opened.measured.append
        add_value, add_message = opened.value.append, opened.message.append
        add_slot, add_received, add_newest = opened.slot.append, opened.received.append, opened.newest.append
        arrived: list[int] = []
        arrive = arrived.append
        received = now_ns - 1
        for topic, payload in zip(topics, payloads, strict=True):
            received += 1
            route = routes(topic) or resolve(topic)
            station = route.station
            arrive(station.slot)
            station.tokens -= 1
            try:
                if (
                    route.use is readings
                    and station.tokens >= 0
                    and len(payload) <= max_bytes
                    and payload.count(b"[") + payload.count(b"{") <= max_depth
                    and (item := decode(payload)).__class__ is Item
                    and item.device is None
                    and item.ts.__class__ is int
                    and len(item.values) == 1
                ):
                    # nearly every message: one object, one value, a number as time; the same as `_admit`, in place
                    (name, value), *_ = item.values.items()
                    ts = item.ts
                    at = ts * 1_000_000 if 100_000_000_000 <= ts < 100_000_000_000_000 else time_ns(ts)
                    series = station.series.get(name)
                    if series is not None and earliest <= at <= latest:
                        add_message(len(opened.slot))
                        add_series(series)
                        add_measured(at)
                        add_value(value)
                        add_slot(station.slot)
                        add_received(received)
                        add_newest(at)
                        continue
            except (*UNDECODABLE, ValueError):
                pass  # the long way finds the words for it
            self._judge_slowly(route, Deferred(topic, payload, received, retained, station.slot))
        day = now_ns // _DAY
        if opened.day == day:
            opened.arrived += arrived
        else:
            self._count_arrivals()
            opened.day, opened.arrived = day, arrived

    def _judge_slowly(self, route: Route, message: Deferred) -> None:
        """Judge what `judge` could not decide in place."""
        opened, station = self._open, route.station
        try:
            if station.tokens < 0:
                self._refill(station, message.received)
            newest = self._admit(route, message.payload, message.received, message.retained)
        except (MalformedPayload, _Missing) as error:
            self._turn_away(route, message, error, Stage.FRESH)
            return
        if newest is not None:
            opened.slot.append(station.slot)
            opened.received.append(message.received)
            opened.newest.append(newest)

    def _count_arrivals(self) -> None:
        """Put aside the arrivals of the day so far: another day begins, or the entry is closed."""
        opened = self._open
        for slot, n in Counter(opened.arrived).items():
            opened.came[slot, opened.day] += n
        opened.arrived = []

    def judge_deferred(self, stage: Stage) -> None:
        """Judge what was set aside once more, now that the catalog was asked about as much as *stage* says."""
        deferred, self.deferred = self.deferred, []
        self.wanted.clear()
        opened = self._open
        for message in deferred:
            route = self._directory.route(message.topic)
            if route.station.slot != message.slot:
                # it came while its device was unknown: outcome and arrival must stand in the same account
                day = message.received // _DAY
                opened.came[message.slot, day] -= 1
                opened.came[route.station.slot, day] += 1
                message = message._replace(slot=route.station.slot)  # noqa: PLW2901 - the account it moved to
            try:
                newest = self._admit(route, message.payload, message.received, message.retained)
            except (MalformedPayload, _Missing) as error:
                self._turn_away(route, message, error, stage)
                continue
            if newest is not None:
                opened.slot.append(route.station.slot)
                opened.received.append(message.received)
                opened.newest.append(newest)

    def is_empty(self) -> bool:
        """Tell whether the open entry holds nothing at all."""
        return not self._open.arrived and not self._open.came and not self.deferred

    def _refill(self, station: Station, now_ns: int) -> None:
        """Give *station* the tokens it has earned since they last ran out.

        Only then: a message costs one subtraction. So a device may have twice its burst at first, never more after.

        Raises:
            MalformedPayload: reason `too_fast`.
        """
        if station is self._directory.nobody:
            return  # unknown devices share a slot; a limit here would let one of them silence the others' records
        settings = self._settings
        earned = (now_ns - station.refilled) / 1e9 * settings.max_rate_per_second
        if earned < 1 and station.refilled <= now_ns:
            station.tokens = 0
            rate = f"{settings.max_rate_per_second:g}"
            raise MalformedPayload(Reason.TOO_FAST, f"more than {rate} messages a second after {settings.max_burst}")
        station.tokens = min(earned, settings.max_burst) - 1 if earned > 0 else 0
        station.refilled = now_ns

    def _admit(self, route: Route, payload: bytes, received: int, retained: bool) -> int | None:  # noqa: FBT001
        """Add the readings of one message to the open entry; return the newest time, None for a message without.

        Raises:
            MalformedPayload: the message ends quarantined or refused; nothing of it was added.
            _Missing: a series does not exist yet; nothing was added.
        """
        if len(payload) > self._settings.max_payload_bytes:
            raise MalformedPayload(
                Reason.TOO_LARGE, f"{len(payload)} bytes: at most {self._settings.max_payload_bytes}"
            )
        use = route.use
        if use is Use.READINGS:
            check_depth(payload, self._settings.max_depth)
            try:
                found = decode_items(payload)
            except UNDECODABLE as error:
                raise explain(payload, error, is_number=False) from error
            mark = len(self._open.value)
            try:
                if found.__class__ is Item:
                    return self._add(route.station, found, "", received, retained)
                return self._add_list(route.station, found, received, retained)
            except (MalformedPayload, _Missing):
                opened = self._open
                del opened.series[mark:], opened.measured[mark:], opened.value[mark:], opened.message[mark:]
                raise
        if use is Use.NUMBER:
            try:
                value = decode_number(payload)
            except UNDECODABLE as error:
                raise explain(payload, error, is_number=True) from error
            return self._add(route.station, Item({route.metric: value}), "", received, retained)
        if use is Use.STATUS:
            self._note_status(route.station, payload, received)
            return None
        raise MalformedPayload(route.reason, route.detail)

    def _add_list(self, station: Station, items: list[Item], received: int, retained: bool) -> int:  # noqa: FBT001
        if not items:
            raise MalformedPayload(Reason.BAD_SHAPE, "an empty list")
        total = sum(len(item.values) for item in items)
        if total > self._settings.max_values:
            raise MalformedPayload(
                Reason.TOO_MANY_VALUES, f"{total} values: at most {self._settings.max_values} in a message"
            )
        newest = -1
        missing: _Missing | None = None
        for index, item in enumerate(items):
            try:
                newest = max(newest, self._add(station, item, f"[{index}].", received, retained))
            except _Missing as error:
                missing = error  # look on: the catalog is asked once for all that the message needs
        if missing is not None:
            raise missing
        return newest

    def _add(self, station: Station, item: Item, where: str, received: int, retained: bool) -> int:  # noqa: FBT001
        if item.device is not None and item.device != station.id:
            raise MalformedPayload(
                Reason.FOREIGN_DEVICE, f"{where}device: {item.device[:80]!r} on the topic of {station.id!r}"
            )
        at = received if item.ts is None else self._time(item.ts, where, received)
        if retained and item.ts is None:
            # the broker repeats it with every subscription, and when it was true nobody knows
            raise MalformedPayload(Reason.REPEATED, "a retained message without a time")
        opened = self._open
        message = len(opened.slot)
        series_of = station.series
        for name, value in item.values.items():
            series = series_of.get(name)
            if series is None:
                self._want(station, item, where)
            else:
                opened.series.append(series)
                opened.measured.append(at)
                opened.value.append(value)
                opened.message.append(message)
        if len(item.values) > self._settings.max_values:
            raise MalformedPayload(
                Reason.TOO_MANY_VALUES, f"{len(item.values)} values: at most {self._settings.max_values} in a message"
            )
        if not item.values:
            raise MalformedPayload(Reason.BAD_SHAPE, f"{where}values: at least one expected")
        return at

    def _time(self, ts: float | str, where: str, received: int) -> int:
        try:
            at = time_ns(ts)
        except ValueError as error:
            raise MalformedPayload(Reason.BAD_TIME, f"{where}ts: {error}, got {str(ts)[:40]!r}") from error
        if at > received + self._ahead_ns:
            ahead = (at - received) / 1e9
            raise MalformedPayload(
                Reason.FUTURE, f"{where}ts: {ahead:.0f} s ahead: at most {self._settings.future_tolerance_seconds:g} s"
            )
        if at < self._earliest_ns:
            raise MalformedPayload(Reason.BAD_TIME, f"{where}ts: {str(ts)[:40]} is before the year 2000")
        return at

    def _want(self, station: Station, item: Item, where: str) -> None:
        """Ask for the series of *item* that do not exist, if they may.

        Raises:
            MalformedPayload: an impossible metric name, or too many metrics.
            _Missing: always otherwise.
        """
        names = [name for name in item.values if name not in station.series]
        for name in names:
            try:
                check_name("metric", name)
            except MalformedPayload as error:
                raise MalformedPayload(Reason.BAD_NAME, f"{where}values: {error.detail}") from error
        limit = self._settings.max_series_per_device
        asked = {(station.id, name) for name in names}
        others = sum(1 for device, name in self.wanted if device == station.id and (device, name) not in asked)
        if len(station.series) + others + len(names) > limit:
            raise MalformedPayload(
                Reason.TOO_MANY_SERIES, f"{where}values.{names[0]}: a device may have {limit} metrics"
            )
        self.wanted |= asked
        raise _Missing

    def _note_status(self, station: Station, payload: bytes, received: int) -> None:
        if payload not in {b"online", b"offline"}:
            raise MalformedPayload(Reason.BAD_SHAPE, f"expected online or offline, got {payload[:40]!r}")
        online = payload == b"online"
        if station.online is not online:  # retained states come again with every subscription: news only
            station.online = online
            self._open.statuses.append(DeviceStatus(station.id, online, received))
        self._open.others[station.slot, received // _DAY, Outcome.ACCEPTED, Reason.OK] += 1

    def _turn_away(self, route: Route, message: Deferred, error: MalformedPayload | _Missing, stage: Stage) -> None:
        if isinstance(error, _Missing):
            if stage is not Stage.ALL_KNOWN:
                self.deferred.append(message)
                return
            error = MalformedPayload(Reason.UNKNOWN_DEVICE, f"device {route.station.id!r} is no longer registered")
        reason = Reason(error.reason)
        if reason is Reason.UNKNOWN_DEVICE and stage is Stage.FRESH and self.defers_strangers:
            self.deferred.append(message)
            return
        outcome = _TURNED_AWAY.get(reason, Outcome.QUARANTINED)
        self._open.others[route.station.slot, message.received // _DAY, outcome, reason] += 1
        if outcome is Outcome.QUARANTINED:
            self._keep(route, message, reason, error.detail)

    def _keep(self, route: Route, message: Deferred, reason: Reason, detail: str) -> None:
        limit = self._settings.max_quarantine_bytes
        kept = message.payload[:limit]
        if len(kept) < len(message.payload):
            detail = f"{detail} (first {limit} of {len(message.payload)} bytes kept)"
        self._open.quarantined.append(
            Quarantined(
                route.name[:512], kept, message.received, route.station.id, reason, f"{route.name[:120]}: {detail}"
            )
        )

    def seal(self) -> Sealed:
        """Close the open entry and start the next; nothing may be deferred."""
        opened = self._open
        series = np.array(opened.series, np.int32)
        measured = np.array(opened.measured, np.int64)
        value = np.array(opened.value, np.float64)
        message = np.array(opened.message, np.intp)
        received = np.array(opened.received, np.int64)
        duplicate, conflict = self._identities.sift(series, measured, value)
        arrival = received[message]
        is_late, is_ahead = measured < arrival - self._late_ns, measured > arrival
        quality = np.zeros(len(series), np.uint16)
        for marked, flag in ((is_late, Flag.LATE), (is_ahead, Flag.FUTURE), (conflict, Flag.CONFLICT)):
            if marked.any():
                quality[marked] |= np.uint16(flag)
        batch = ReadingBatch(series, measured, arrival, value, quality)
        if not opened.others and not opened.came and not duplicate.any() and not is_late.any():
            tallies, messages = self._plain_tallies(message), Counter({(_OK[0].value, _OK[1].value): len(received)})
        else:
            if duplicate.any():
                fresh = ~duplicate
                batch, message = batch.take(fresh), message[fresh]
            kept = np.bincount(message, minlength=len(received))
            fate = np.where(kept == 0, 2, np.array(opened.newest, np.int64) < received - self._late_ns)
            self._count_arrivals()
            tallies, messages = self._tallies(_count(np.array(opened.slot, np.int64), received // _DAY, fate, kept))
        self._open = _Open()
        return Sealed(
            batch, tallies, tuple(opened.quarantined), tuple(opened.statuses), messages, int(np.count_nonzero(conflict))
        )

    def _plain_tallies(self, message: NDArray[np.intp]) -> tuple[Tally, ...]:
        """Return the tallies of an entry of one day in which every message was accepted in full."""
        opened, slots, day = self._open, self._directory.slots, self._open.day
        outcome, reason = _OK
        received = Counter(opened.arrived)
        accepted = received if opened.arrived == opened.slot else Counter(opened.slot)
        readings = accepted
        if len(message) != len(opened.slot):
            readings = Counter(np.array(opened.slot, np.int64)[message].tolist())
        return tuple(
            [
                Tally(slots[slot].id, day, outcome, reason, received[slot], n, readings[slot])
                for slot, n in accepted.items()
            ]
        )

    def _tallies(self, counts: _Counts) -> tuple[tuple[Tally, ...], Counter[tuple[str, str]]]:
        """Return the tallies that *counts*, other outcomes and arrivals make, and messages by outcome and reason."""
        slots, came = self._directory.slots, self._open.came
        for key, n in self._open.others.items():
            before, readings = counts.get(key, (0, 0))
            counts[key] = before + n, readings
        messages: Counter[tuple[str, str]] = Counter()
        rows: list[Tally] = []
        for (slot, day, outcome, reason), (n, readings) in counts.items():
            messages[outcome, reason] += n
            rows.append(Tally(slots[slot].id, day, outcome, reason, came.pop((slot, day), 0), n, readings))
        # an arrival without any outcome: unless a message was lost, only at midnight
        rows += [Tally(slots[slot].id, day, *_OK, n, 0, 0) for (slot, day), n in came.items() if n]
        return tuple(rows), messages


_Counts = dict[tuple[int, int, Outcome, Reason], tuple[int, int]]


def _count(
    slot: NDArray[np.int64], day: NDArray[np.int64], fate: NDArray[np.int64], kept: NDArray[np.int64]
) -> _Counts:
    """Return {(slot, day, outcome, reason): (messages, readings stored)}."""
    if not len(slot):
        return {}
    first = int(day.min())
    days = int(day.max()) - first + 1
    keys, row, messages = np.unique((slot * days + day - first) * 4 + fate, return_inverse=True, return_counts=True)
    readings = np.bincount(row, kept)
    counts: _Counts = {}
    for key, n, stored in zip(keys.tolist(), messages.tolist(), readings.tolist(), strict=True):
        where, which = divmod(key, 4)
        at, later = divmod(where, days)
        counts[at, first + later, *_FATES[which]] = n, int(stored)
    return counts
