"""This module is the bank of peers: it notices a sensor that leaves those beside it, slowly or at once.

The peers of a series are its nearest series of the same metric. Comparison happens in *rounds* of five minutes of
measured time, at ticks of the log and nowhere else, so nothing hangs on how readings were cut into batches or on the
order in which devices spoke:

    r = mean of the round - own value for this hour of the day          what the series does that it does not usually do
    z = r / usual |r|                                                   in its own measure
    e = z - b x (median z of the peers)                                 what the peers do not explain; b is learned
    u = e / usual |e|, less while the peers themselves are far off      a storm makes neighbours differ, too
    E = u smoothed over half a day and two days; drift = |E| / (usual |E| x threshold)
    S = mean e of the last hour - mean e of the hour before; step = |S| / (usual |S| x threshold), each half hour

Severity is the greater of drift to the third power and step to the second: so equal severities are about equally rare.
All is scored before it is learned, and learned clipped. A round closes when half of the series that spoke in the last
one have measured past its end; a device whose clock runs ahead cannot close it, one that is silent cannot hold it for
long. The bank says nothing of a series without a place, with fewer than three peers, in its first two days, or one that
mostly stands still (a rain gauge, a lamp) or is restless by nature (`core.metrics`): there the neighbours' differences
are the truth. It fails where half of the peers go wrong together in the same way; then the one that is right is called
strange.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import ValidationError

from core.errors import MalformedPayload
from core.metrics import metric
from processors.detectors.slots import Slots, pack_rows, unpack_rows
from processors.detectors.state import decode, encode
from processors.near import nearest
from processors.peer_settings import PeerSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.batch import ReadingBatch
    from core.city import Device, Series

__all__ = ["Comparison", "PeerBank", "Round"]

_VERSION = 2
_S = 1_000_000_000
_DAY = 86_400.0
_HOURS = 24
_CLIP = 50.0  # measures beyond which a deviation says no more
_LEARN_CLIP = 4.0  # usual sizes up to which one is learned
_WANDER_CLIP = 1.3  # a fault must not teach that it is usual; one that stays is learned by the profile
_STEP_CLIP = 5.0
_SEVEREST = 1e3
_TRUST = 3.0  # deviations up to which the peers' weight b is learned
_TINY = 1e-9
_COLUMNS: tuple[tuple[str, str], ...] = (
    ("newest_ns", "<i8"),  # newest measured time that counted
    ("total", "<f8"),  # of the readings since the series' last round, and how many
    ("count", "<i4"),
    ("closed_ns", "<i8"),  # end of its last round, 0 = none
    ("seen", "<f4"),  # seconds that it has been compared with itself
    ("last", "<f4"),  # mean of its last round
    ("rest", "<f4"),  # share of rounds equal to the one before
    ("z", "<f4"),
    ("usual", "<f4"),  # |r|
    ("shared", "<f4"),  # z x (median z of the peers), and that median squared
    ("common", "<f4"),
    ("left", "<f4"),  # |e|
    ("off_short", "<f4"),  # E, and its usual size
    ("off_long", "<f4"),
    ("wander_short", "<f4"),
    ("wander_long", "<f4"),
    ("block", "<i8"),  # number of the current half hour
    ("block_total", "<f4"),  # of e in it, and how many
    ("block_count", "<f4"),
    ("block_1", "<f4"),  # mean e of the three half hours before it, the newest first; NaN = not known
    ("block_2", "<f4"),
    ("block_3", "<f4"),
    ("usual_step", "<f4"),  # |S|
    ("step", "<f4"),  # as of the end of the last half hour
    ("severity", "<f4"),  # of its last round
    ("lat", "<f8"),  # NaN = unknown
    ("lon", "<f8"),
)
_UNKNOWN = {"lat": np.nan, "lon": np.nan, "block_1": np.nan, "block_2": np.nan, "block_3": np.nan}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A series beside its peers, now.

    Attributes:
        own: its deviation from what it usually does at this hour, in its own usual deviations; None = not known.
        others: those of the peers that spoke lately.
        expected: what its own habits and its peers make of the hour; None = not known.
        scatter: how far it usually is from that, in its unit.
    """

    own: float | None
    others: tuple[float, ...]
    expected: float | None
    scatter: float


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """What a round found: columns of equal length, ascending series.

    Attributes:
        at: end of the round, int64 ns UTC, measured time.
        series: int32, those that spoke in it and could be judged.
        severity: float32, 1 = alert level.
        value: float32, mean of the round.
    """

    at: int
    series: NDArray[np.int32]
    severity: NDArray[np.float32]
    value: NDArray[np.float32]


class PeerBank:
    """The state of all series that have peers.

    Use: `place` each series once; per batch, in order, `hear`; per tick `close`.

    Attributes:
        settings: what it was made with; travels in `to_bytes`.
        refused: readings of series beyond `max_series`.
        at: end of the last round, ns UTC, 0 = none yet.
    """

    def __init__(self, settings: PeerSettings | None = None) -> None:
        self.settings = settings or PeerSettings()
        self.refused = 0
        self.at = 0
        self._closed_log = 0
        self._speakers = 0  # series in the last round
        self._slots = Slots(self.settings.max_series)
        self._columns: dict[str, NDArray[Any]] = {name: np.empty(0, dtype) for name, dtype in _COLUMNS}
        self._profile = np.zeros((0, _HOURS), np.float32)
        self._weight = np.zeros((0, _HOURS), np.float32)  # seconds
        self._groups: dict[int, tuple[str, str, str]] = {}  # series -> metric, kind, device
        self._waiting: dict[int, tuple[tuple[str, str, str], float, float]] = {}  # those that have not spoken yet
        self._of_device: dict[str, list[int]] = {}  # slots
        self._stale: set[str] = set()  # metrics whose peers must be looked for again
        self._looked = 0  # series that were known when that was done last
        self._peers = np.zeros((0, self.settings.peers), np.int32)
        self._restless = np.zeros(0, bool)

    # -- who stands where --------------------------------------------------------------------------------------------

    def place(self, series: Series, device: Device | None) -> None:
        """Take note of where *series* stands, before its first reading; without a place it has no peers.

        A device that has been removed keeps the place that it had.
        """
        group, lat, lon = (series.metric, "", series.device), np.nan, np.nan
        if device is not None and device.lat is not None and device.lon is not None:
            group, lat, lon = (series.metric, device.kind, series.device), device.lat, device.lon
        slot = self._find(series.id)
        if slot < 0:
            self._waiting[series.id] = (group, lat, lon)  # rows are given in the order of readings
        elif not np.isnan(lat) and (group, lat, lon) != self._standing(slot):
            self._stand(slot, group, lat, lon)

    def _stand(self, slot: int, group: tuple[str, str, str], lat: float, lon: float) -> None:
        self._groups[int(self._slots.ids[slot])] = group
        self._restless[slot] = metric(group[0]).restless
        self._columns["lat"][slot], self._columns["lon"][slot] = lat, lon
        if not np.isnan(lat):
            self._stale.add(group[0])

    def _standing(self, slot: int) -> tuple[tuple[str, str, str], float, float]:
        c = self._columns
        return self._groups[int(self._slots.ids[slot])], float(c["lat"][slot]), float(c["lon"][slot])

    def peers(self, series: int) -> NDArray[np.int32]:
        """Return the series that *series* is compared with, nearest first."""
        slot = self._find(series)
        if slot < 0:
            return np.empty(0, np.int32)
        row = self._peers[slot]
        found: NDArray[np.int32] = self._slots.ids[row[row >= 0]]
        return found

    # -- readings ----------------------------------------------------------------------------------------------------

    def hear(self, batch: ReadingBatch) -> NDArray[np.bool_]:
        """Take readings, and tell of each whether its series was strange to its peers in its last round, bool[N].

        What was measured a round or more before the last one counts no more.
        """
        known = self._slots.count
        slot = self._slots.claim(batch.series)
        if self._slots.count > known:
            self._reserve()
            for row in range(known, self._slots.count):
                group, lat, lon = self._waiting.pop(int(self._slots.ids[row]), (("", "", ""), np.nan, np.nan))
                self._of_device.setdefault(group[2], []).append(row)
                self._stand(row, group, lat, lon)
        good = (slot >= 0) & (np.abs(batch.value) <= 1e30)
        self.refused += int(np.count_nonzero(slot < 0))
        good &= batch.measured >= self.at - round(self.settings.round_seconds * _S)
        c = self._columns
        strange: NDArray[np.bool_] = (slot >= 0) & (c["severity"][slot] >= 1)
        slot = slot[good]
        # one after the other, so that a sum does not hang on where batches were cut
        np.add.at(c["total"], slot, batch.value[good])
        np.add.at(c["count"], slot, 1)
        np.maximum.at(c["newest_ns"], slot, batch.measured[good])
        return strange

    def close(self, now: int) -> Round | None:
        """Close the round at log time *now* (ns) if it is over, and say what it found."""
        c, count = self._columns, self._slots.count
        step = round(self.settings.round_seconds * _S)
        if not count:
            return None
        newest = c["newest_ns"][:count]
        ahead = int(np.count_nonzero(newest >= self.at + step)) if self.at else count
        patient = now - self._closed_log < 3 * step
        if ahead * 2 < max(self._speakers, 1) and (patient or not self.at):
            return None
        rows = np.flatnonzero(c["count"][:count])
        if not len(rows):
            return None
        middle = np.partition(newest[rows], len(rows) // 2)[len(rows) // 2]
        at = max(int(middle) // step * step, self.at + step) if self.at else int(middle) // step * step
        self.at, self._closed_log, self._speakers = at, now, len(rows)
        self._look(count)
        return self._judge(rows, at)

    # -- a round -----------------------------------------------------------------------------------------------------

    def _judge(self, rows: NDArray[np.intp], at: int) -> Round:
        c, settings = self._columns, self.settings
        f4 = np.float32
        x = (c["total"][rows] / c["count"][rows]).astype(f4)
        c["total"][rows], c["count"][rows] = 0.0, 0
        before = c["closed_ns"][rows]
        most = 6 * 3600.0
        gone = np.where(before > 0, np.clip((at - before) / _S, 1.0, most), settings.round_seconds).astype(f4)
        c["closed_ns"][rows] = at
        hour = (at - 1) // (3600 * _S) % _HOURS
        profile, weight = self._profile[rows, hour], self._weight[rows, hour]
        seen, usual = c["seen"][rows], c["usual"][rows]
        has = weight > 0
        r = np.where(has, x - profile, f4(0))

        measure = usual + f4(1e-6) * np.abs(profile) + f4(_TINY)
        ready = has & (seen >= 30 * settings.round_seconds)
        z = np.where(ready, np.clip(r / measure, -_CLIP, _CLIP), f4(np.nan)).astype(f4)
        c["z"][rows] = z
        middle, peers = self._median(rows, at)
        both = ~np.isnan(middle) & ready
        m = np.where(both, middle, f4(0))
        e = np.where(both, z - self._gain(rows) * m, f4(0))
        left = c["left"][rows]
        u = e / np.maximum(left, f4(0.05)) / (f4(1) + np.maximum(np.abs(m) - f4(1), f4(0)))
        u = np.clip(u, f4(-6), f4(6))

        grow = gone / (seen + gone)
        pace = np.maximum(grow, gone / f4(settings.slow_days * _DAY))
        ripe_s = f4(settings.ripe_days * _DAY)
        ripe = seen >= ripe_s
        # of a young series it is not known yet how far it wanders
        sure = np.clip(peers, 1, settings.sure_peers).astype(f4) / f4(settings.sure_peers)
        patience = (f4(1) + f4(2 * _DAY) / np.maximum(seen, ripe_s)) / np.sqrt(sure)
        drift = np.zeros(len(rows), f4)
        for name, hours, least in (("short", settings.short_hours, 0.3), ("long", settings.long_hours, 0.15)):
            off, wander = c[f"off_{name}"][rows], np.maximum(c[f"wander_{name}"][rows], f4(least))
            off = np.where(both, off + gone / (f4(hours * 3600) + gone) * (u - off), off)
            needed = f4(settings.threshold) * patience * wander
            drift = np.maximum(drift, np.where(both & ripe, np.abs(off) / needed, f4(0)))
            c[f"off_{name}"][rows] = off
            held = np.where(ripe, np.minimum(np.abs(off), f4(_WANDER_CLIP) * wander), np.abs(off))
            old = c[f"wander_{name}"][rows]
            c[f"wander_{name}"][rows] = np.where(both, old + pace * (held - old), old)

        self._turn(rows, at, e, both, seen)
        step = np.where(both & ripe, c["step"][rows] / (f4(settings.step_threshold) * patience), f4(0))
        severity = np.minimum(np.maximum(drift * drift * drift, step * step), f4(_SEVEREST))

        same = ((x == c["last"][rows]) & (seen > 0)).astype(f4)
        rest = c["rest"][rows] + np.maximum(grow, f4(0.005)) * (same - c["rest"][rows])
        c["rest"][rows], c["last"][rows] = rest, x
        severity = np.where((rest < settings.still) & ~self._restless[rows], severity, f4(0))
        c["severity"][rows] = severity
        self._learn(rows, hour, r=r, z=z, m=m, e=e, both=both, ready=ready, has=has, x=x, gone=gone, pace=pace)
        judged = np.flatnonzero(both & ripe)
        order = judged[np.argsort(self._slots.ids[rows[judged]], kind="stable")]
        return Round(at, self._slots.ids[rows[order]], severity[order].astype(f4), x[order])

    def _turn(
        self,
        rows: NDArray[np.intp],
        at: int,
        e: NDArray[np.float32],
        both: NDArray[np.bool_],
        seen: NDArray[np.float32],
    ) -> None:
        """Compare the last hour with the one before, where a half hour has ended, and book *e*."""
        c, f4, length = self._columns, np.float32, self.settings.block_seconds
        block = (at - 1) // round(length * _S)
        ended = block - c["block"][rows]
        over, gone = rows[ended > 0], ended[ended > 0]
        if len(over):
            count = c["block_count"][over]
            one = np.where(count > 0, c["block_total"][over] / np.maximum(count, f4(1)), f4(np.nan)).astype(f4)
            two, three, four = (c[f"block_{k}"][over] for k in (1, 2, 3))
            turn = np.abs((one + two) - (three + four)) / f4(2)
            usual = c["usual_step"][over]
            known = ~np.isnan(turn) & (gone == 1)
            c["step"][over] = np.where(known & (usual > 0), turn / np.maximum(usual, f4(_TINY)), f4(0))
            rate = f4(length) / np.clip(seen[ended > 0], f4(length), f4(self.settings.slow_days * _DAY))
            held = np.where(usual > 0, np.minimum(turn, f4(_STEP_CLIP) * usual), turn)
            c["usual_step"][over] = np.where(known, usual + rate * (held - usual), usual)
            for k, mean in enumerate((one, two, three), 1):  # a half hour without a word breaks the row
                c[f"block_{k}"][over] = np.where(gone == 1, mean, f4(np.nan))
            c["block"][over] = block
            c["block_total"][over], c["block_count"][over] = 0.0, 0.0
        c["block_total"][rows] += np.where(both, e, f4(0))
        c["block_count"][rows] += both

    def _median(self, rows: NDArray[np.intp], at: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Return the median deviation of the peers of *rows* that spoke lately, NaN where too few did, and how many."""
        others = self._others(rows, at)
        others.sort(axis=1)  # NaN comes last
        n = np.count_nonzero(~np.isnan(others), axis=1)
        line = np.arange(len(rows))
        low, high = others[line, np.maximum(n - 1, 0) // 2], others[line, n // 2 % others.shape[1]]
        high = np.where(n % 2 == 1, low, high)
        return np.where(n >= self.settings.least_peers, (low + high) / np.float32(2), np.float32(np.nan)), n

    def _others(self, rows: NDArray[np.intp], at: int) -> NDArray[np.float32]:
        peers = self._peers[rows]
        fresh = (peers >= 0) & (self._columns["closed_ns"][peers] > at - round(self.settings.fresh_seconds * _S))
        return np.where(fresh, self._columns["z"][peers], np.float32(np.nan))

    def _gain(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return how much of what its peers do a series usually does itself, float32, 0-1.5."""
        c, f4 = self._columns, np.float32
        gain: NDArray[np.float32] = np.clip(c["shared"][rows] / (c["common"][rows] + f4(0.05)), f4(0), f4(1.5))
        return gain

    def _learn(
        self,
        rows: NDArray[np.intp],
        hour: int,
        *,
        r: NDArray[np.float32],
        z: NDArray[np.float32],
        m: NDArray[np.float32],
        e: NDArray[np.float32],
        both: NDArray[np.bool_],
        ready: NDArray[np.bool_],
        has: NDArray[np.bool_],
        x: NDArray[np.float32],
        gone: NDArray[np.float32],
        pace: NDArray[np.float32],
    ) -> None:
        c, f4, settings = self._columns, np.float32, self.settings
        seen, usual, left = c["seen"][rows], c["usual"][rows], c["left"][rows]
        young = seen < _DAY
        weekly = np.maximum(gone / (seen + gone), gone / f4(7 * _DAY))
        own, common = np.clip(np.where(both, z, f4(0)), -_TRUST, _TRUST), np.clip(m, -_TRUST, _TRUST)
        for name, product in (("shared", own * common), ("common", common * common)):
            c[name][rows] = np.where(both, c[name][rows] + weekly * (product - c[name][rows]), c[name][rows])
        size = np.where(left < f4(_TINY), np.abs(e), np.minimum(np.abs(e), np.where(young, f4(_CLIP), f4(4) * left)))
        c["left"][rows] = np.where(both, left + pace * (size - left), left)
        clipped = np.where(young, r, np.clip(r, -f4(_LEARN_CLIP) * usual, f4(_LEARN_CLIP) * usual))
        weight = self._weight[rows, hour]
        rate = np.maximum(gone / (weight + gone), gone / f4(settings.slow_days * _DAY / _HOURS))
        rate = np.minimum(rate, f4(1))
        profile = self._profile[rows, hour]
        self._profile[rows, hour] = np.where(has, profile + rate * clipped, x)
        self._weight[rows, hour] = np.minimum(weight + gone, f4(settings.slow_days * _DAY))
        size = np.where(ready, np.minimum(np.abs(r), f4(5) * usual), np.abs(r))
        c["usual"][rows] = np.where(has, usual + pace * (size - usual), usual)
        c["seen"][rows] = np.minimum(np.where(has, seen + gone, seen), f4(4 * settings.slow_days * _DAY))

    # -- one series --------------------------------------------------------------------------------------------------

    def compare(self, series: int) -> Comparison:
        """Return how *series* stands beside its peers as of the last round."""
        slot = self._find(series)
        if slot < 0 or not self.at:
            return Comparison(None, (), None, 0.0)
        row = np.array([slot], np.intp)
        others = np.sort(self._others(row, self.at)[0])
        z = float(self._columns["z"][slot])
        middle, _ = self._median(row, self.at)
        usual = float(self._columns["usual"][slot])
        hour = (self.at - 1) // (3600 * _S) % _HOURS
        m = 0.0 if np.isnan(middle[0]) else float(middle[0])
        known = self._weight[slot, hour] > 0 and not np.isnan(z)
        return Comparison(
            own=None if np.isnan(z) else z,
            others=tuple(others[~np.isnan(others)].tolist()),
            expected=float(self._profile[slot, hour]) + float(self._gain(row)[0]) * m * usual if known else None,
            scatter=float(self._columns["left"][slot]) * usual,
        )

    def around(self, series: int, count: int) -> tuple[list[float], list[float]]:
        """Return how far off, at most, each of *count* nearest other devices is, and each other series of its own one.

        Sizes of deviations in their own measures, as of the last round; who did not speak lately is left out.
        """
        slot = self._find(series)
        if slot < 0 or series not in self._groups:
            return [], []
        c, n = self._columns, self._slots.count
        fresh = c["closed_ns"][:n] > self.at - round(self.settings.fresh_seconds * _S)
        fresh &= ~np.isnan(c["z"][:n]) & (c["rest"][:n] < self.settings.still)
        device = self._groups[series][2]
        away = _kilometres(c["lat"][:n], c["lon"][:n], float(c["lat"][slot]), float(c["lon"][slot]))
        rows = np.flatnonzero(fresh & ~np.isnan(away))
        rows = rows[np.argsort(away[rows], kind="stable")][: count * 8]
        most: dict[str, float] = {}
        for row in rows.tolist():
            name = self._groups[int(self._slots.ids[row])][2]
            if name != device and (name in most or len(most) < count):
                most[name] = max(most.get(name, 0.0), abs(float(c["z"][row])))
        own = [abs(float(c["z"][row])) for row in self._of_device[device] if row != slot and row < n and fresh[row]]
        return list(most.values()), own

    def last(self, device: str, metric: str) -> float | None:
        """Return what *device* last said of *metric*, as of the last round; None if nothing."""
        for row in self._of_device.get(device, ()):
            if self._groups[int(self._slots.ids[row])][0] == metric and self._columns["closed_ns"][row] > 0:
                return float(self._columns["last"][row])
        return None

    # -- keeping -----------------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """Return settings, counters, places and state; equal histories and settings give equal bytes."""
        n = self._slots.count
        head: dict[str, Any] = {
            "version": _VERSION,
            "settings": self.settings.model_dump(),
            "refused": self.refused,
            "at": self.at,
            "closed_log": self._closed_log,
            "speakers": self._speakers,
            "looked": self._looked,
            "groups": [list(self._groups[series]) for series in self._slots.ids.tolist()],
            "profile": np.ascontiguousarray(self._profile[:n], "<f4").tobytes(),
            "weight": np.ascontiguousarray(self._weight[:n], "<f4").tobytes(),
        }
        return encode(head | pack_rows(self._slots, self._columns, _COLUMNS))

    @classmethod
    def from_bytes(cls, data: bytes, settings: PeerSettings | None = None) -> Self:
        """Read what `to_bytes` wrote; *settings* go before those that it was made with.

        Raises:
            MalformedPayload: reason `bad_state`: another version, cut short, or not a bank of peers.
        """
        columns = decode(data, "bank of peers")
        try:
            if columns["version"] != _VERSION:
                raise MalformedPayload("bad_state", f"peers version {columns['version']!r}: {_VERSION} expected")
            before = PeerSettings.model_validate(columns["settings"])
            bank = cls(settings or before)
            bank.refused, bank.at = columns["refused"], columns["at"]
            bank._closed_log, bank._speakers = columns["closed_log"], columns["speakers"]
            bank._slots, arrays = unpack_rows(columns, _COLUMNS, before.max_series, "bank of peers")
            bank._slots.limit = bank.settings.max_series
            bank._columns.update(arrays)
            n = bank._slots.count
            for name in ("profile", "weight"):
                setattr(bank, f"_{name}", np.frombuffer(columns[name], "<f4").reshape(n, _HOURS).astype(np.float32))
            groups = [(str(code), str(kind), str(device)) for code, kind, device in columns["groups"]]
            bank._groups = dict(zip(bank._slots.ids.tolist(), groups, strict=True))
            for slot, (_, _, device) in enumerate(groups):
                bank._of_device.setdefault(device, []).append(slot)
            bank._peers = np.full((n, bank.settings.peers), -1, np.int32)
            bank._restless = np.array([metric(code).restless for code, _, _ in groups], bool)
            bank._stale = {code for code, _, _ in groups}
            bank._look(columns["looked"])
            bank._stale = {code for code, _, _ in groups[columns["looked"] :]}
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            raise MalformedPayload("bad_state", f"not a bank of peers: {error!r}") from error
        return bank

    def _find(self, series: int) -> int:
        return int(self._slots.find(np.array([series], np.int32))[0])

    def _reserve(self) -> None:
        size = len(self._profile)
        if self._slots.count <= size:
            return
        more = max(self._slots.count, 2 * size, 256) - size
        for name, dtype in _COLUMNS:
            self._columns[name] = np.concatenate([self._columns[name], np.full(more, _UNKNOWN.get(name, 0), dtype)])
        self._profile = np.concatenate([self._profile, np.zeros((more, _HOURS), np.float32)])
        self._weight = np.concatenate([self._weight, np.zeros((more, _HOURS), np.float32)])
        self._peers = np.concatenate([self._peers, np.full((more, self.settings.peers), -1, np.int32)])
        self._restless = np.concatenate([self._restless, np.zeros(more, bool)])

    def _look(self, count: int) -> None:
        """Look among the first *count* series for the peers of the metrics that have new ones, or ones that moved.

        Only at ticks: what is known in between hangs on how batches are cut.
        """
        self._looked = count
        if not self._stale:
            return
        members: dict[str, list[int]] = {}
        for slot, series in enumerate(self._slots.ids[:count].tolist()):
            if (code := self._groups[series][0]) in self._stale:
                members.setdefault(code, []).append(slot)
        self._stale.clear()
        for slots in members.values():
            rows = np.array(slots, np.intp)
            rows = rows[~np.isnan(self._columns["lat"][rows])]
            groups = [self._groups[series] for series in self._slots.ids[rows].tolist()]
            kinds = np.unique([kind for _, kind, _ in groups], return_inverse=True)[1]
            devices = np.unique([device for _, _, device in groups], return_inverse=True)[1]
            found = nearest(self._columns["lat"][rows], self._columns["lon"][rows], kinds, devices, self.settings.peers)
            self._peers[rows] = np.where(found >= 0, rows[found], -1)


def _kilometres(lat: NDArray[Any], lon: NDArray[Any], lat0: float, lon0: float) -> NDArray[np.float64]:
    away: NDArray[np.float64] = np.hypot((lon - lon0) * np.cos(np.radians(lat0)), lat - lat0) * 111.2
    return away
