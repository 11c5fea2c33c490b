"""This module decides what becomes of every message: exactly one outcome each, and whole messages only.

`Admission` collects messages as they come off the socket (`judge`) into the columns of one `OpenEntry`, and closes it
(`seal`). What depends on one message alone (topic, shape, limits, a future time) is decided at once; what depends on
other readings (repetition, conflict) or is cheaper for many at a time (tallies) at the seal.

A message that needs what only the catalog can give, a series that does not exist yet or a device registered a moment
ago, is set aside (`deferred`) and judged again when the runner has asked; see `Stage`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from core.admission import DeviceStatus, Outcome, Quarantined, Reason
from core.batch import ReadingBatch
from core.city import check_name
from core.errors import MalformedPayload
from gateway.formats.json import UNDECODABLE, Item, check_depth, decode_items, decode_number, explain, time_ns
from gateway.identities import Identities
from gateway.open_entry import OpenEntry
from gateway.registry import Use

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.open_entry import Sealed
    from gateway.registry import Directory, Route, Station
    from gateway.settings import GatewaySettings

__all__ = ["Admission", "Deferred", "Stage"]

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
_NOT_PLAIN = (*UNDECODABLE, ValueError, KeyError)  # undecodable, not one value, a strange time, an unknown metric


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


class Admission:
    """Judges messages against *directory* and *settings*; see the module."""

    def __init__(self, settings: GatewaySettings, directory: Directory) -> None:
        self._settings = settings
        self._directory = directory
        self._late_ns = int(settings.late_after_seconds * 1e9)
        self._ahead_ns = int(settings.future_tolerance_seconds * 1e9)
        self._earliest_ns = settings.earliest_epoch_seconds * _SECOND
        self._identities = Identities(settings.recent_readings)
        self._open = OpenEntry()
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
        # not late for the last of these messages, and not ahead of the first
        usual = max(earliest, now_ns + len(topics) - self._late_ns)
        opened, decode, readings = self._open, decode_items, Use.READINGS
        slots, add_slot = opened.slot, opened.slot.append
        add_series, add_measured = opened.series.append, opened.measured.append
        add_value, add_message = opened.value.append, opened.message.append
        add_received, add_newest = opened.received.append, opened.newest.append
        arrived: list[int] = []
        arrive = arrived.append
        received = now_ns - 1
        for topic, payload in zip(topics, payloads, strict=True):
            received += 1
            route = routes(topic) or resolve(topic)
            station = route.station
            slot = station.slot
            arrive(slot)
            station.tokens -= 1
            try:
                if (
                    route.use is readings
                    and station.tokens >= 0
                    and len(payload) <= max_bytes
                    and b"[" not in payload
                    and payload.count(b"{") <= max_depth
                    and (item := decode(payload)).__class__ is Item
                    and item.device is None
                    and (ts := item.ts).__class__ is int
                ):
                    # nearly every message: one object, one value, a number as time; the same as `_admit`, in place
                    values = item.values
                    (name,) = values
                    series = station.series[name]
                    at = ts * 1_000_000 if 100_000_000_000 <= ts < 100_000_000_000_000 else time_ns(ts)
                    if (is_usual := usual <= at <= now_ns) or earliest <= at <= latest:
                        if not is_usual:
                            opened.is_usual = False
                        add_message(len(slots))
                        add_series(series)
                        add_measured(at)
                        add_value(values[name])
                        add_slot(slot)
                        add_received(received)
                        add_newest(at)
                        continue
            except _NOT_PLAIN:
                pass  # the long way finds the words for it
            self._judge_slowly(route, Deferred(topic, payload, received, retained, slot))
        opened.arrive(now_ns // _DAY, arrived)

    def _judge_slowly(self, route: Route, message: Deferred) -> None:
        """Judge what `judge` could not decide in place."""
        station = route.station
        try:
            if station.tokens < 0:
                self._refill(station, message.received)
            newest = self._admit(route, message.payload, message.received, message.retained)
        except (MalformedPayload, _Missing) as error:
            self._turn_away(route, message, error, Stage.FRESH)
            return
        if newest is not None:
            self._open.add_message(station.slot, message.received, newest)

    def refuse_long(self, topic: bytes, now_ns: int) -> None:
        """Count a message whose packet was so long that its payload was skipped unread."""
        station = self._directory.route(topic).station
        day = now_ns // _DAY
        self._open.arrive(day, [station.slot])
        self._open.others[station.slot, day, Outcome.REFUSED, Reason.TOO_LARGE] += 1

    def judge_deferred(self, stage: Stage, n: int) -> int:
        """Judge the first *n* messages set aside once more, now that the catalog was asked for them; see `Stage`.

        Those behind them came while it was asked, and wait for their own turn. Return how many of the *n* still wait;
        they stay in front.
        """
        deferred, younger, self.deferred = self.deferred[:n], self.deferred[n:], []
        self.wanted.clear()
        for message in deferred:
            route = self._directory.route(message.topic)
            if route.station.slot != message.slot:
                # it came while its device was unknown: outcome and arrival must stand in the same account
                self._open.move_arrival(message.received // _DAY, message.slot, to=route.station.slot)
                message = message._replace(slot=route.station.slot)  # noqa: PLW2901 - the account it moved to
            try:
                newest = self._admit(route, message.payload, message.received, message.retained)
            except (MalformedPayload, _Missing) as error:
                self._turn_away(route, message, error, stage)
                continue
            if newest is not None:
                self._open.add_message(route.station.slot, message.received, newest)
        left = len(self.deferred)
        self.deferred += younger
        return left

    def is_empty(self) -> bool:
        """Tell whether the open entry holds nothing at all."""
        return self._open.is_empty() and not self.deferred

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
                self._open.cut_back(mark)
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
        if not received - self._late_ns <= at <= received:
            opened.is_usual = False
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
        if reason is Reason.UNKNOWN_DEVICE and stage is Stage.FRESH and (self.defers_strangers or not route.asked):
            # a device may publish in the moment after its registration: nobody is unknown before the catalog said so
            self.deferred.append(message)
            return
        route.asked = True
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
        opened, self._open = self._open, OpenEntry()
        return opened.seal(self._identities, self._directory.slots, self._late_ns)
