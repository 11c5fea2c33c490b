"""Liveness says what a plain account of it, series by series and reading by reading, says."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core.batch import ReadingBatch
from core.quality import Flag
from processors.detectors.settings import LivenessSettings
from processors.liveness import Back, Gap, InTime, Late, Liveness, Sign

S = 1_000_000_000
T0 = 1_767_225_600 * S
PLAN = LivenessSettings(floor_seconds=15, late_for_seconds=40, learn_intervals=3)


@dataclass
class _Series:
    id: int
    device: str
    heard: int = 0
    live: int = 0
    interval: int = 0
    seen: int = 0
    given: int = 0
    silent: bool = False
    late: int = 0
    behind: int = 0

    @property
    def expected(self) -> int:
        return self.given or (self.interval if self.seen >= PLAN.learn_intervals else 0)

    @property
    def patience(self) -> float:
        wanted = max(self.expected * PLAN.missed_intervals, PLAN.floor_seconds * 1e9)
        return wanted if self.expected else float("inf")

    def hear(self, measured: int, received: int, quality: int, now: int) -> None:
        self.heard = now
        if quality & Flag.LATE:
            self.late = self.late or now
            self.behind = received - measured
            return
        self.late = 0
        if received - measured > PLAN.late_seconds * 1e9:
            return
        since = received - self.live
        if self.live and 0 < since <= PLAN.ceiling_seconds * 1e9:
            half = self.interval // 2
            move = min(max(since - self.interval, -half), half) * max(PLAN.rate, 1 / (self.seen + 1))
            self.interval = since if not self.seen else self.interval + int(move)
            self.seen += 1
        self.live = max(self.live, received)


@dataclass
class _Plain:
    """The account: every series is looked at, at every tick."""

    devices: dict[int, str]
    given: dict[int, int]
    series: dict[int, _Series] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    late: set[str] = field(default_factory=set)
    ticked: int = 0
    watching: int = 0

    def hear(self, batch: ReadingBatch, now: int) -> None:
        columns = (batch.series, batch.measured, batch.received, batch.quality)
        for series, measured, received, quality in zip(*(column.tolist() for column in columns), strict=True):
            one = self.series.setdefault(
                series, _Series(series, self.devices[series], given=self.given.get(series, 0) * S)
            )
            one.hear(measured, received, quality, now)

    def tick(self, now: int) -> list[Sign]:
        if now - self.ticked > PLAN.blind_seconds * 1e9:
            self.watching = now
        self.ticked = now
        names = sorted({one.device for one in self.series.values()})
        of = {name: [one for _, one in sorted(self.series.items()) if one.device == name] for name in names}
        devices = [sign for name in names for sign in self._device(name, of[name], now)]
        single = [sign for name in names if name not in self.silent for sign in self._singles(of[name], now)]
        back = [sign for name in self.silent & of.keys() for sign in self._singles(of[name], now, mute=True)]
        late = [sign for name in names for sign in self._late(name, of[name])]
        over = [InTime(name, now) for name in names if self._is_over(name, of[name])]
        return [*devices, *sorted([*single, *back], key=lambda sign: sign.series), *late, *over]

    def _device(self, name: str, members: list[_Series], now: int) -> list[Gap | Back]:
        heard = max(one.heard for one in members)
        since = heard if name in self.silent else max(heard, self.watching)
        quiet = now - since >= min(one.patience for one in members)
        if quiet == (name in self.silent):
            return []
        self.silent ^= {name}
        if not quiet:
            return [Back(name, -1, heard)]
        return [Gap(name, -1, heard, min(one.expected for one in members if one.expected))]

    def _singles(self, members: list[_Series], now: int, *, mute: bool = False) -> list[Gap | Back]:
        found: list[Gap | Back] = []
        for one in members:
            quiet = now - (one.heard if one.silent else max(one.heard, self.watching)) >= one.patience
            if quiet and not one.silent and not mute:
                found.append(Gap(one.device, one.id, one.heard, one.expected))
            elif not quiet and one.silent:
                found.append(Back(one.device, one.id, one.heard))
            else:
                continue
            one.silent = quiet
        return found

    def _span(self, name: str, members: list[_Series]) -> tuple[int, int] | None:
        """Return since when nothing but late readings came, and by how much, if that is for long enough."""
        in_time = max((one.heard for one in members if not one.late), default=0)
        counted = [one for one in members if one.late > in_time and one.live]
        if not counted or name in self.silent:
            return None
        patience = min(one.patience for one in members)
        needed = max(PLAN.late_for_seconds * 1e9, 0 if patience == float("inf") else patience)
        begin = min(one.late for one in counted)
        if max(one.heard for one in counted) - begin < needed:
            return None
        return begin, max(one.behind for one in counted)

    def _late(self, name: str, members: list[_Series]) -> list[Late]:
        span = self._span(name, members)
        if span is None or name in self.late:
            return []
        self.late.add(name)
        return [Late(name, *span)]

    def _is_over(self, name: str, members: list[_Series]) -> bool:
        over = name in self.late and self._span(name, members) is None
        if over:
            self.late.discard(name)
        return over


def _city(rng: np.random.Generator) -> tuple[dict[int, str], dict[int, int]]:
    count = int(rng.integers(1, 90))
    devices = {series: f"d{int(rng.integers(0, 1 + count // 3))}" for series in range(count)}
    return devices, {series: int(rng.integers(5, 40)) for series in range(count) if rng.random() < 0.2}


def _said(rng: np.random.Generator, count: int, now: int, mood: float) -> ReadingBatch:
    """Return what *count* series say in a second: most once, some in bursts, some late."""
    series = np.concatenate(
        [np.flatnonzero(rng.random(count) < mood), rng.integers(0, count, int(rng.integers(0, 40)))]
    )
    received = now - S + np.sort(rng.integers(0, 4, len(series))) * S // 4
    behind = rng.choice([0, 1, 70, 400], len(series), p=[0.6, 0.2, 0.05, 0.15]) * S
    late = np.where(behind >= 400 * S, np.uint16(Flag.LATE), np.uint16(0))
    return ReadingBatch.of(series, received - behind, np.ones(len(series)), received=received, quality=late)


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_told_is_what_a_plain_account_tells(seed: int) -> None:
    rng = np.random.default_rng(seed)
    devices, given_seconds = _city(rng)
    plain, live = _Plain(devices, given_seconds), Liveness(PLAN)
    live.assign(devices)
    for series, seconds in given_seconds.items():
        live.expect(series, seconds)
    now, mood = T0, 0.2
    late_hours = False
    for _ in range(150):
        now += int(rng.choice([1, 1, 1, 1, 2, 5, 20])) * S
        if rng.random() < 0.1:
            mood = float(rng.choice([0.0, 0.02, 0.2, 0.8]))
            late_hours = rng.random() < 0.3
        batch = _said(rng, len(devices), now, mood) if mood else ReadingBatch.empty()
        if late_hours:
            batch = batch.with_quality(batch.quality | np.uint16(Flag.LATE))
        cut = int(rng.integers(0, len(batch) + 1))
        live.hear(batch.take(np.arange(cut)), now)
        live.hear(batch.take(np.arange(cut, len(batch))), now)
        plain.hear(batch, now)
        if rng.random() < 0.1:
            live = Liveness.from_bytes(live.to_bytes())
            live.assign(devices)
            for series, seconds in given_seconds.items():
                live.expect(series, seconds)

        found = live.tick(now)

        assert found == plain.tick(now)
        for name in set(devices.values()):
            known = [one.expected for one in plain.series.values() if one.device == name and one.expected]
            assert live.interval_ns(name) == min(known, default=0)
