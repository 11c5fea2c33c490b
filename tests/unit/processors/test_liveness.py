"""Silence is told once, for the device where it is the device, and only from log time."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from core.batch import ReadingBatch
from core.errors import MalformedPayload
from core.quality import Flag
from processors.detectors.settings import LivenessSettings
from processors.liveness import Back, Gap, InTime, Late, Liveness, Sign

S = 1_000_000_000
T0 = 1_767_225_600 * S
DEVICES = {0: "a", 1: "a", 2: "b"}


def say(live: Liveness, at: int, *series: int, behind: int = 0, quality: int = 0) -> None:
    """Let *series* speak at *at* seconds, measured *behind* seconds ago."""
    n = len(series)
    now = T0 + at * S
    batch = ReadingBatch.of(
        series, [now - behind * S] * n, [1.0] * n, received=[now] * n, quality=[quality] * n
    )  # fmt: skip
    live.hear(batch, now)


def taught(settings: LivenessSettings | None = None, until: int = 200) -> Liveness:
    """Return a check that heard 0, 1 and 2 every 20 s and was ticked every 10 s, up to *until*."""
    live = Liveness(settings)
    live.assign(DEVICES)
    for at in range(0, until + 1, 10):
        if at % 20 == 0:
            say(live, at, 0, 1, 2)
        assert live.tick(T0 + at * S) == []
    return live


def ticks(live: Liveness, begin: int, end: int) -> list[tuple[int, Sign]]:
    return [(at, event) for at in range(begin, end, 5) for event in live.tick(T0 + at * S)]


def test_a_silent_device_is_one_finding_after_three_intervals_and_is_told_once() -> None:
    live = taught()

    found = []
    for at in range(205, 400, 5):
        if at % 20 == 0:
            say(live, at, 2)
        found += [(at, event) for event in live.tick(T0 + at * S)]

    assert found == [(260, Gap("a", -1, T0 + 200 * S, 20 * S))]


def test_one_silent_series_of_a_speaking_device_is_a_finding_of_its_own() -> None:
    live = taught()

    found = []
    for at in range(205, 400, 5):
        if at % 20 == 0:
            say(live, at, 0, 2)
        found += [(at, event) for event in live.tick(T0 + at * S)]

    assert found == [(260, Gap("a", 1, T0 + 200 * S, 20 * S))]
    say(live, 400, 0, 1, 2)
    assert live.tick(T0 + 400 * S) == [Back("a", 1, T0 + 400 * S)]


def test_a_device_that_speaks_again_is_back() -> None:
    live = taught()
    assert [event for _, event in ticks(live, 205, 300)] == [
        Gap("a", -1, T0 + 200 * S, 20 * S),
        Gap("b", -1, T0 + 200 * S, 20 * S),
    ]

    say(live, 300, 2)

    assert live.tick(T0 + 300 * S) == [Back("b", -1, T0 + 300 * S)]


def test_no_gap_is_shorter_than_the_floor() -> None:
    live = taught(LivenessSettings(floor_seconds=90))

    assert [at for at, _ in ticks(live, 205, 400)] == [290, 290]


def test_a_given_interval_replaces_the_learned_one() -> None:
    live = taught()
    live.expect(2, 50)

    assert [(at, event.device) for at, event in ticks(live, 205, 400)] == [(260, "a"), (350, "b")]


@pytest.mark.parametrize(
    ("behind", "quality"),
    [pytest.param(3600, 0, id="measured an hour ago"), pytest.param(0, int(Flag.LATE), id="flagged late")],
)
def test_late_readings_are_signs_of_life_but_teach_no_interval(behind: int, quality: int) -> None:
    live = taught()
    for at in range(201, 231):
        say(live, at, 2, behind=behind, quality=quality)
        assert live.tick(T0 + at * S) == []

    found = ticks(live, 235, 400)

    assert [(at, event.device) for at, event in found] == [(260, "a"), (290, "b")]
    assert found[1][1] == Gap("b", -1, T0 + 230 * S, 20 * S)


def test_a_series_that_only_ever_sent_its_past_is_not_judged() -> None:
    live = Liveness()
    live.assign(DEVICES)
    for at in range(0, 100, 5):
        say(live, at, 0, behind=86_400)
        live.tick(T0 + at * S)

    assert ticks(live, 100, 1000) == []


def test_one_outage_moves_the_learned_interval_by_little() -> None:
    live = taught()
    found = ticks(live, 205, 3600)
    say(live, 3600, 0, 1, 2)
    live.tick(T0 + 3600 * S)

    again = ticks(live, 3605, 3800)

    assert len(found) == 2
    assert {event.expected_ns for _, event in again if isinstance(event, Gap)} == {21 * S}


def test_time_that_nobody_watched_is_no_silence_and_no_sign_of_life() -> None:
    live = taught()
    assert len(ticks(live, 205, 300)) == 2
    say(live, 300, 2)
    assert live.tick(T0 + 300 * S) == [Back("b", -1, T0 + 300 * S)]

    found = ticks(live, 10_000, 10_100)

    assert found == [(10_065, Gap("b", -1, T0 + 300 * S, 21 * S))]


def test_series_without_a_device_are_not_judged() -> None:
    live = taught()
    live.assign({2: "b"})

    assert [event.device for _, event in ticks(live, 205, 400)] == ["b"]


def test_series_beyond_the_limit_are_counted_and_not_watched() -> None:
    live = Liveness(LivenessSettings(max_series=2))
    live.assign(DEVICES)

    for at in range(0, 200, 10):
        say(live, at, 0, 1, 2)
        live.tick(T0 + at * S)

    assert live.refused == 20
    assert [event.device for _, event in ticks(live, 200, 400)] == ["a"]


def test_readings_in_one_batch_or_one_by_one_make_the_same_state() -> None:
    together, apart = Liveness(), Liveness()
    rng = np.random.default_rng(5)
    for at in range(0, 300, 10):
        series = rng.integers(0, 4, 12)
        received = T0 + at * S + np.sort(rng.integers(0, 10 * S, 12))
        batch = ReadingBatch.of(series, received, np.ones(12), received=received)
        together.hear(batch, T0 + at * S)
        for k in range(12):
            apart.hear(batch.take(np.array([k])), T0 + at * S)

    assert together.to_bytes() == apart.to_bytes()


def test_a_snapshot_goes_on_as_if_nothing_had_happened() -> None:
    live = taught()
    ticks(live, 205, 270)
    copy = Liveness.from_bytes(live.to_bytes())
    copy.assign(DEVICES)

    assert copy.to_bytes() == live.to_bytes()
    for each in (live, copy):
        say(each, 270, 1)
    assert ticks(copy, 270, 500) == ticks(live, 270, 500)
    assert copy.to_bytes() == live.to_bytes()


def test_a_damaged_snapshot_raises_the_one_documented_error() -> None:
    data = taught().to_bytes()

    for end in range(0, len(data), 7):
        with pytest.raises(MalformedPayload):
            Liveness.from_bytes(data[:end])
    with pytest.raises(MalformedPayload, match="liveness version 9"):
        Liveness.from_bytes(data.replace(b"\xa7version\x02", b"\xa7version\x09"))


def test_a_snapshot_of_version_1_goes_on() -> None:
    live = taught()
    columns = msgspec.msgpack.decode(live.to_bytes())
    columns["version"] = 1
    columns["seen"] = np.frombuffer(columns["seen"], "<i8").astype("<i4").tobytes()
    columns["given_ns"] = bytes(8 * 3)
    for name in ("late_ns", "behind_ns", "late_devices"):
        del columns[name]
    columns["settings"].pop("late_for_seconds")

    old = Liveness.from_bytes(msgspec.msgpack.encode(columns))
    old.assign(DEVICES)

    assert old.to_bytes() == live.to_bytes()
    assert ticks(old, 205, 400) == ticks(live, 205, 400) != []


def test_a_snapshot_takes_the_settings_of_today() -> None:
    live = Liveness.from_bytes(taught().to_bytes(), LivenessSettings(floor_seconds=90))
    live.assign(DEVICES)

    assert [at for at, _ in ticks(live, 205, 400)] == [290, 290]


def test_a_declared_interval_is_judged_from_the_first_reading_on() -> None:
    live = Liveness()
    live.assign(DEVICES)
    live.expect(2, 50)
    say(live, 0, 0, 2)

    assert live.interval_ns("b") == 50 * S
    assert live.interval_ns("a") == 0
    assert ticks(live, 0, 400) == [(150, Gap("b", -1, T0, 50 * S))]


def test_a_device_whose_readings_all_come_late_is_told_once_and_when_it_is_in_time_again() -> None:
    live = taught(LivenessSettings(late_for_seconds=100))

    found = []
    for at in range(205, 450, 5):
        if at % 20 == 0:
            late = 220 <= at <= 360
            say(live, at, 0, behind=500 if late else 0, quality=int(Flag.LATE) if late else 0)
            say(live, at, 2)
        found += [(at, event) for event in live.tick(T0 + at * S) if not isinstance(event, Gap)]

    assert found == [
        (320, Late("a", T0 + 220 * S, 500 * S)),
        (380, InTime("a", T0 + 380 * S)),
    ]


@pytest.mark.parametrize(
    ("fresh", "late"),
    [
        pytest.param((1,), (), id="another series of the device is in time"),
        pytest.param((), (220, 240, 260, 280, 300), id="a backlog that ends before it is long enough"),
    ],
)
def test_a_device_that_is_partly_or_briefly_late_is_not(fresh: tuple[int, ...], late: tuple[int, ...]) -> None:
    live = taught(LivenessSettings(late_for_seconds=100))

    found = []
    for at in range(220, 700, 20):
        is_late = not late or at in late
        say(live, at, 0, behind=500 if is_late else 0, quality=int(Flag.LATE) if is_late else 0)
        if fresh:
            say(live, at, *fresh)
        found += [event for event in live.tick(T0 + at * S) if isinstance(event, Late)]

    assert found == []


def test_what_was_never_in_time_is_not_late() -> None:
    live = Liveness(LivenessSettings(late_for_seconds=100))
    live.assign(DEVICES)

    found = []
    for at in range(0, 600, 10):
        say(live, at, 0, 1, behind=5000, quality=int(Flag.LATE))
        found += live.tick(T0 + at * S)

    assert found == []


def test_a_late_device_that_falls_silent_is_silent_and_no_longer_late() -> None:
    live = taught(LivenessSettings(late_for_seconds=100))
    for at in range(205, 400, 5):
        say(live, at, 0, 1, 2, behind=500, quality=int(Flag.LATE))
        live.tick(T0 + at * S)
    assert live.lagging() == ["a", "b"]

    found = ticks(live, 400, 600)

    silence = [Gap(device, -1, T0 + 395 * S, 20 * S) for device in ("a", "b")]
    over = [InTime(device, T0 + 455 * S) for device in ("a", "b")]
    assert found == [(455, sign) for sign in (*silence, *over)]
    assert live.lagging() == []
