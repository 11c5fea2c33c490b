"""The pipeline is a function of the log: however entries are cut into calls, and wherever it restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core.admission import DeviceStatus
from core.batch import ReadingBatch
from core.city import Series
from core.entry import LogEntry
from core.quality import Flag
from processors.alerting.rules import load_rules, parse_rules
from processors.indices import DistrictIndices
from processors.pipeline import Effects, LiveRows, Pipeline
from processors.settings import ProcessorSettings
from processors.standard import StandardParts
from processors.windows import Windows, WindowSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

_START = 1_767_225_600_000_000_000
_SECOND = 1_000_000_000
_METRICS = ("pm25", "noise", "battery", "temperature")
_RULES = """
[[rule]]
name = "high"
metric = ["pm25", "noise"]
above = 60
clear = 55
for = "20s"
clear_for = "10s"
priority = "high"

[[rule]]
name = "higher"
metric = "pm25"
above = 90
for = "0s"
clear_for = "0s"

[[rule]]
name = "flat-battery"
metric = "battery"
below = 30
clear = 40
priority = "low"

[[finding]]
kind = "range"
[[finding]]
kind = "flat"
[[finding]]
kind = "novelty"
severity = 1.5
clear_for = "30s"
alerts_per_day = 0.2
[[finding]]
kind = "gap"
[[finding]]
kind = "flapping"
[[finding]]
kind = "late"
"""
_SETTINGS = ProcessorSettings.model_validate(
    {
        "alert_cooldown_seconds": 30,
        "liveness": {"late_for_seconds": 20},
        "flapping": {"losses": 3, "window_seconds": 900, "window_intervals": 2},
    }
)


def _lookup(series: int) -> Series:
    return Series(series, f"device-{series // 2}", _METRICS[series % 4], "north" if series < 6 else "south")


def _fresh() -> Pipeline:
    return Pipeline(
        parts=StandardParts(liveness=_SETTINGS.liveness),
        book=parse_rules(_RULES, "test"),
        settings=_SETTINGS,
        lookup=_lookup,
        indices=DistrictIndices(Windows(WindowSettings(lateness_seconds=60, idle_seconds=120))),
    )


def _log(seed: int, entries: int, *, pace: int = 1) -> list[tuple[int, LogEntry]]:
    """Return a log in which everything happens: repeats, late and disordered readings, silences, jumps, restarts.

    With a higher *pace* it takes as many times as long: hours end in it.
    """
    rng = np.random.default_rng(seed)
    logged, position, log = _START, 0, []
    level = rng.uniform(35, 65, 12)
    for k in range(entries):
        logged += int(rng.choice([0, 40_000_000, 300_000_000, _SECOND, 7 * _SECOND, 90 * _SECOND], p=_STEPS)) * pace
        position += int(rng.integers(1, 3))  # positions may have holes
        n = int(rng.choice([0, 1, 3, 25], p=[0.2, 0.3, 0.3, 0.2]))
        series = rng.integers(0, 12, n).astype(np.int32)
        measured = logged - rng.integers(0, 2 * _SECOND, n)
        quality = np.zeros(n, np.uint16)
        late = rng.random(n) < 0.1
        measured[late] -= 5 * 3600 * _SECOND
        quality[late] = Flag.LATE
        value = level[series] + rng.normal(0, 2, n)
        calm = series >= 10  # two series that are steady until the last fifth: something for the detector
        value[(rng.random(n) < 0.1) & ~calm] += 50
        value[(rng.random(n) < 0.02) & ~calm] = 5000
        value[calm & (k > 0.8 * entries)] += 15
        statuses = [DeviceStatus(f"device-{rng.integers(0, 6)}", bool(rng.integers(2)), logged)] * (rng.random() < 0.1)
        batch = ReadingBatch.of(series, measured, value, received=np.full(n, logged), quality=quality)
        log.append((position, LogEntry(logged, batch, statuses=tuple(statuses))))
    return log


_STEPS = [0.15, 0.3, 0.25, 0.2, 0.08, 0.02]


def _together(parts: Sequence[Effects]) -> dict[str, object]:
    """Return *parts* put together in a form that `==` compares to the last bit."""
    bands = [(b.series, b.hour, b.expected, b.low, b.high) for b in (part.bands for part in parts)]
    live = LiveRows.newest(part.live for part in parts)
    online: dict[str, bool] = {}
    for part in parts:
        online.update(dict.fromkeys(part.online, True))
        online.update(dict.fromkeys(part.offline, False))
    return {
        "batch": ReadingBatch.concat(part.batch for part in parts).to_bytes(),
        "bands": [np.concatenate(columns).tobytes() for columns in zip(*bands, strict=True)],
        "events": [event for part in parts for event in part.events],
        "live": (live.batch.to_bytes(), live.severity.tobytes()),
        "online": online,
        "end": (parts[-1].position, parts[-1].logged),
    }


@settings(max_examples=8)
@given(seed=st.integers(0, 10_000), data=st.data())
def test_cutting_and_restarting_change_nothing(seed: int, data: st.DataObject) -> None:
    log = _log(seed, 300)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(log) - 1), max_size=12)))
    whole = _fresh()

    at_once = _together([whole.process(log)])
    pieces, cut = [], _fresh()
    for begin, end in zip([0, *cuts], [*cuts, len(log)], strict=True):
        pieces.append(cut.process(log[begin:end]))
        restored = _fresh()
        restored.restore(cut.to_bytes())
        cut = restored

    assert at_once == _together(pieces)
    assert whole.state_hash() == cut.state_hash()


def test_one_by_one_is_all_at_once() -> None:
    log = _log(1, 800)
    whole, single = _fresh(), _fresh()

    at_once = _together([whole.process(log)])
    one_by_one = _together([single.process([item]) for item in log])

    assert at_once == one_by_one
    assert whole.state_hash() == single.state_hash()


@settings(max_examples=3)
@given(seed=st.integers(0, 10_000), data=st.data())
def test_severities_of_past_hours_hang_on_nothing_but_the_log(seed: int, data: st.DataObject) -> None:
    log = _log(seed, 600, pace=60)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(log) - 1), min_size=3, max_size=9)))
    whole, cut = _fresh(), _fresh()

    at_once = _together([whole.process(log)])
    pieces = []
    for begin, end in zip([0, *cuts], [*cuts, len(log)], strict=True):
        pieces.append(cut.process(log[begin:end]))
        restored = _fresh()
        restored.restore(cut.to_bytes())
        cut = restored

    assert at_once == _together(pieces)
    assert whole.state_hash() == cut.state_hash()
    assert whole.judge.calibration.bound("pm25", 1.0) is not None


def test_the_log_of_this_test_fills_a_budget() -> None:
    """Guards the test above."""
    pipeline = _fresh()
    effects = pipeline.process(_log(1, 1500, pace=60))

    cards = [event.evidence.card for event in effects.events if event.evidence and event.evidence.card]
    assert pipeline.judge.budgets.seen > 2
    assert max(pipeline.judge.floors.values()) > 1.5
    assert {card.at_most is None for card in cards} == {True, False}


def test_the_log_of_this_test_makes_every_kind_of_alert() -> None:
    """Guards the tests above: a log in which nothing happens would prove nothing."""
    effects = _fresh().process(_log(1, 3000))

    codes = {event.evidence.code.split(".")[0] for event in effects.events if event.evidence}
    kinds = {event.kind.value for event in effects.events}
    retrospective = {event.evidence.retrospective for event in effects.events if event.evidence}
    assert codes >= {"threshold", "range", "novelty", "gap", "flapping"}
    assert kinds == {"raised", "worsened", "cleared", "resolved", "updated"}
    assert retrospective == {False, True}
    assert len(effects.bands.series)
    assert effects.online
    assert effects.offline


def test_the_rules_that_come_along_can_be_read() -> None:
    book = load_rules()

    assert {"novelty", "range", "flat", "gap"} <= book.names
