"""Findings become few alerts: delays, hysteresis, cool-down, folding, lateness and limits, as tables of a day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from core.alerts import Classification, fold
from core.batch import ReadingBatch
from core.city import Series
from core.entry import LogEntry
from core.quality import Flag
from core.texts import describe
from processors.alerting.rules import parse_rules
from processors.detectors.contract import Reason, Scores
from processors.liveness import Back, Gap
from processors.peers import Comparison
from processors.pipeline import Pipeline
from processors.settings import ProcessorSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.alerts import AlertEvent
    from processors.alerting.judge import Judge

START = 1_767_225_600_000_000_000
MINUTE = 60_000_000_000
LIMIT = '[[rule]]\nname = "high"\nmetric = "pm25"\nabove = 50\nclear = 40\nfor = "2m"\nclear_for = "2m"\n'
WORSE = '[[rule]]\nname = "worse"\nmetric = "pm25"\nabove = 100\nclear_for = "0s"\npriority = "high"\n'
NOVELTY = '[[finding]]\nkind = "novelty"\nseverity = 2\nclear_for = "1m"\nclear_readings = 2\n'
FLAT = '[[finding]]\nkind = "flat"\nclear_for = "0s"\n'
RANGE = '[[finding]]\nkind = "range"\nclear_for = "0s"\n'
GAP = '[[finding]]\nkind = "gap"\n'
SKEW = '[[finding]]\nkind = "skew"\nclear_for = "0s"\n'


class _Peers:
    """A bank of peers that says of every series what the test tells it."""

    refused = 0

    def __init__(self, own: float, others: float) -> None:
        self.at = START
        self.own, self.others = own, others

    def compare(self, series: int) -> Comparison:
        del series
        return Comparison(self.own, (self.others,) * 8, None, 0.0)

    def around(self, series: int, count: int) -> tuple[list[float], list[float]]:
        del series, count
        return [], []

    def last(self, device: str, metric: str) -> None: ...


class _Script:
    """Parts that say what the test tells them: severities by value, gaps by time."""

    def __init__(self) -> None:
        self.severity: dict[float, tuple[float, float, Reason]] = {}
        self.found: dict[int, list[Gap | Back]] = {}
        self.late: dict[str, int] = {}
        self.intervals: dict[str, int] = {}
        self.behind: list[str] = []

    def learn(self, series: Series) -> None: ...

    def expect(self, series: int, interval_seconds: float | None) -> None: ...

    def judge(self, batch: ReadingBatch, heard: int) -> tuple[ReadingBatch, Scores]:
        del heard
        scores = Scores.nothing(len(batch))
        for row, value in enumerate(batch.value.tolist()):
            if value in self.severity:
                scores.severity[row], scores.raw[row], scores.reason[row] = self.severity[value]
        return batch, scores

    def tick(self, now: int) -> Sequence[Gap | Back]:
        return self.found.pop((now - START) // MINUTE, [])

    peers: Any = None  # a `_Peers`, where a test has one
    unwatched = 0

    def compare(self, now: int) -> None: ...

    def overdue(self, now: int) -> dict[str, int]:
        return {device: since for device, since in self.late.items() if since <= now}

    def interval(self, device: str) -> int:
        return self.intervals.get(device, 0)

    def lagging(self) -> Sequence[str]:
        return self.behind

    def to_bytes(self) -> list[bytes]:
        return []

    def restore(self, data: list[bytes]) -> None: ...


class _City:
    """One pipeline; each call is one minute in which some series speak."""

    def __init__(self, rules: str, **settings: float) -> None:
        self.script = _Script()
        self._fresh: Callable[[], Pipeline] = lambda: Pipeline(
            parts=self.script,
            book=parse_rules(rules, "test"),
            settings=ProcessorSettings.model_validate({"alert_cooldown_seconds": 600, **settings}),
            lookup=lambda i: Series(i, f"device-{i // 10}", "pm25" if i % 10 == 0 else f"other{i % 10}", "north"),
        )
        self._pipeline = self._fresh()
        self._minute = 0
        self.events: list[AlertEvent] = []

    def restart(self) -> None:
        state = self._pipeline.to_bytes()
        self._pipeline = self._fresh()
        self._pipeline.restore(state)

    @property
    def life(self) -> object:
        return self._pipeline.life

    @property
    def judge(self) -> Judge:
        return self._pipeline.judge

    def minute(self, values: dict[int, float], *, flag: int = 0, back: int = 0) -> list[str]:
        at = START + self._minute * MINUTE
        n = len(values)
        batch = ReadingBatch.of(
            list(values), [at - back * MINUTE] * n, list(values.values()), received=[at] * n,
            quality=np.full(n, flag, np.uint16),
        )  # fmt: skip
        self._minute += 1
        effects = self._pipeline.process([(self._minute, LogEntry(at, batch))])
        self.events += effects.events
        return [event.kind.value for event in effects.events]

    def values(self, *values: float, series: int = 0) -> list[list[str]]:
        return [self.minute({series: value}) for value in values]

    @property
    def refused(self) -> int:
        return self._pipeline.life.refused


def _raised(city: _City) -> list[tuple[str, str, int]]:
    return [
        (e.evidence.rule, e.evidence.code, e.evidence.series) for e in city.events if e.kind == "raised" and e.evidence
    ]


R, C, W = ["raised"], ["cleared"], ["worsened"]
DONE = ["resolved"]  # how late alerts end: nobody was told, so nobody has to look


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([60, 60, 60], [[], [], R], id="opens when it held for two minutes"),
        pytest.param([60, 60, 30, 60, 60, 60], [[], [], [], [], [], R], id="starts over when it stopped holding"),
        pytest.param([60, 45, 60], [[], [], R], id="between clear and limit it still holds"),
        pytest.param([60, 60, 45], [[], [], []], id="but does not open there"),
        pytest.param([50, 50, 50, 50], [[], [], [], []], id="the limit itself is not beyond it"),
        pytest.param([60, 60, 60, 30, 30, 30], [[], [], R, [], [], C], id="clears when it was gone for two minutes"),
        pytest.param(
            [60, 60, 60, 30, 45, 30, 30, 30], [[], [], R, [], [], [], [], C], id="hysteresis starts clearing over"
        ),
        pytest.param(
            [60, 60, 60, 89, 90, 134, 135, 203, 400],
            [[], [], R, [], W, [], W, W, []],
            id="tells that it got worse, three times",
        ),
    ],
)
def test_a_limit(values: list[float], expected: list[list[str]]) -> None:
    assert expected == _City(LIMIT).values(*values)


def test_the_evidence_of_a_limit() -> None:
    city = _City(LIMIT)

    city.values(60, 61, 62)

    event = city.events[0]
    evidence = event.evidence
    assert evidence is not None
    assert (evidence.code, evidence.value, evidence.limit, evidence.duration_seconds) == (
        "threshold.above",
        62,
        50,
        120,
    )
    assert (evidence.device, evidence.metric, evidence.unit, evidence.district) == (
        "device-0",
        "pm25",
        "µg/m³",
        "north",
    )
    assert (event.at, evidence.measured) == (START + 2 * MINUTE, START + 2 * MINUTE)
    assert not evidence.retrospective


def test_what_comes_back_within_the_cool_down_opens_only_after_it() -> None:
    city = _City(LIMIT)
    city.values(60, 60, 60, 30, 30, 30)

    kinds = city.values(*[60] * 12)

    assert kinds == [[]] * 9 + [R] + [[]] * 2  # cleared in minute 5, so minute 15 at the earliest
    assert len({event.alert for event in city.events}) == 2


def test_what_flaps_opens_at_most_once_per_cool_down() -> None:
    city = _City(LIMIT.replace('"2m"', '"0s"'))

    city.values(*[60, 30] * 60)

    times = [event.at for event in city.events if event.kind == "raised"]
    assert len(times) == 10  # every twelve minutes: cleared in the odd minute, over in the even one
    assert min(np.diff(times)) >= 600e9


def test_a_higher_limit_tells_again_and_a_lower_one_does_not() -> None:
    city = _City(LIMIT.replace('"2m"', '"0s"') + WORSE)

    city.values(60, 120)  # the higher one opens second: news
    both = _City(WORSE + LIMIT.replace('"2m"', '"0s"'))
    both.values(120, 120)  # the higher one opens first: the lower one adds nothing

    assert [rule for rule, _, _ in _raised(city)] == ["high", "worse"]
    assert [rule for rule, _, _ in _raised(both)] == ["worse"]

    both.values(60)  # the higher one clears, and the lower one still holds

    assert [rule for rule, _, _ in _raised(both)] == ["worse", "high"]


def test_novelty_opens_at_its_severity_and_clears_when_the_raw_score_is_calm() -> None:
    city = _City(NOVELTY)
    city.script.severity = {1: (1.9, 1.9, Reason.SEASON), 2: (2.0, 2.0, Reason.SEASON), 3: (0, 1.0, Reason.SEASON)}

    kinds = city.values(1, 2, 3, 3, 9, 3, 9, 9)

    assert kinds == [[], R, [], [], [], [], [], C]
    assert _raised(city) == [("novelty", "novelty.season", 0)]
    assert city.events[0].evidence is not None
    assert city.events[0].evidence.severity == 2.0


def test_novelty_on_a_series_with_an_open_limit_adds_nothing() -> None:
    city = _City(LIMIT.replace('"2m"', '"0s"') + NOVELTY)
    city.script.severity = {70: (5, 5, Reason.RANGE)}

    city.values(60, 70, 70)

    assert [rule for rule, _, _ in _raised(city)] == ["high"]


def test_novelty_on_several_series_of_a_device_is_one_alert() -> None:
    city = _City(NOVELTY)
    city.script.severity = {2: (5, 5, Reason.JUMP)}

    city.minute({0: 2, 1: 2, 2: 2, 10: 2})

    assert [series for _, _, series in _raised(city)] == [0, 10]


def test_flat_and_novelty_of_reason_flat_are_one() -> None:
    city = _City(NOVELTY + FLAT)
    city.script.severity = {2: (5, 5, Reason.FLAT)}

    city.values(2)
    city.minute({0: 2}, flag=Flag.FLAT)
    calm = city.values(9)

    assert _raised(city) == [("flat", "flat", 0)]
    assert calm == [C]


def test_what_repeats_for_the_detector_alone_is_no_finding() -> None:
    city = _City(NOVELTY + FLAT)
    city.script.severity = {2: (5, 5, Reason.FLAT)}

    city.values(*[2] * 20)

    assert city.events == []


def test_a_clock_that_is_off_is_one_alert_per_device_and_hides_nothing() -> None:
    city = _City(SKEW + NOVELTY)
    city.script.severity = {2: (5, 5, Reason.JUMP)}

    city.minute({0: 1, 1: 1, 10: 1}, flag=Flag.SKEW | Flag.LATE, back=20)
    city.minute({0: 1, 1: 2}, flag=Flag.SKEW, back=20)

    assert _raised(city) == [("skew", "skew", 0), ("skew", "skew", 10), ("novelty", "novelty.jump", 1)]
    evidence = city.events[0].evidence
    assert evidence is not None
    assert (evidence.value, evidence.unit, evidence.retrospective) == (-1200.0, "s", False)
    assert describe(evidence).startswith("the clock of device-0 is 1200 s behind: ")
    assert city.minute({0: 1, 1: 1}) == C


def test_a_value_that_cannot_be_is_evidence_for_nothing_else() -> None:
    city = _City(LIMIT.replace('"2m"', '"0s"') + NOVELTY + RANGE)
    city.script.severity = {5000: (9, 9, Reason.RANGE)}

    city.minute({0: 5000}, flag=Flag.RANGE)

    assert _raised(city) == [("range", "range", 0)]


def test_late_readings_open_and_clear_in_event_time_beside_the_live_ones() -> None:
    city = _City(LIMIT)
    for value in (60, 60, 60):
        city.minute({0: value}, flag=Flag.LATE, back=600)
    kinds = [city.minute({0: value}) for value in (60, 60, 60)]

    late, live = [event for event in city.events if event.kind == "raised"]

    assert kinds == [[], DONE, R]  # the late one ends with its burst; the live one has its own delay
    assert late.evidence is not None
    assert live.evidence is not None
    assert (late.evidence.retrospective, live.evidence.retrospective) == (True, False)
    assert late.at == START + (2 - 600) * MINUTE
    assert late.recorded == START + 2 * MINUTE
    assert late.alert != live.alert


def test_a_late_alert_ends_when_its_burst_is_over() -> None:
    city = _City(LIMIT.replace('"2m"', '"0s"'))
    city.minute({0: 60}, flag=Flag.LATE, back=600)

    kinds = [city.minute({10: 1}) for _ in range(3)]

    assert kinds == [[], DONE, []]
    assert city.events[-1].at == START - 600 * MINUTE


def test_a_young_series_has_to_be_stranger_and_a_new_one_stranger_still() -> None:
    city = _City(NOVELTY + 'young_severity = 4\nyoung_for = "4d"\n')
    city.script.severity = {3: (3, 3, Reason.RANGE), 5: (5, 5, Reason.RANGE), 17: (17, 17, Reason.RANGE)}
    day = 24 * 60
    city.minute(dict.fromkeys((0, 10, 20, 30), 1.0), back=4 * day)  # when each was first measured

    kinds = [
        city.minute({0: 5}, back=3 * day),  # a day old: 4 times the square of 2 days by 1
        city.minute({10: 17}, back=3 * day),
        city.minute({20: 3}, back=2 * day),  # two days old: 4
        city.minute({20: 5}, back=2 * day),
        city.minute({30: 3}),  # grown up: 2
    ]

    assert kinds == [[], R, [], R, R]


def test_an_alert_says_how_rare_its_severity_is_once_an_hour_has_ended() -> None:
    city = _City(NOVELTY)
    city.script.severity = {3: (3, 3, Reason.RANGE), 4: (0, 2.5, Reason.RANGE)}
    for _ in range(60):
        city.minute(dict.fromkeys(range(0, 500, 10), 1.0))
    city.minute({0: 3})  # of the next hour
    city.values(4, 4)  # the same incident
    city.values(*[1.0] * 60)

    city.restart()
    city.minute({10: 3})

    first, second = (e.evidence for e in city.events if e.kind == "raised" and e.evidence)
    assert first.card is not None
    assert second.card is not None
    assert (first.card.at_most, second.card.at_most) == (1 / 2951, 2 / 3007)
    assert "; severity 3.0; at most 1 in 1,500 readings of pm25 is that odd" in describe(second)


def test_other_findings_are_not_said_to_be_rare() -> None:
    city = _City(LIMIT.replace('"2m"', '"0s"'))
    for _ in range(60):
        city.minute({0: 1.0})
    city.minute({0: 60})

    card = next(e.evidence.card for e in city.events if e.kind == "raised" and e.evidence)
    assert card is not None
    assert (card.at_most, card.needed, card.budget) == (None, None, None)


def test_a_budget_lifts_the_severity_that_is_needed_and_says_so() -> None:
    city = _City(NOVELTY + "alerts_per_day = 3\n")
    city.script.severity = {v: (v, v, Reason.RANGE) for v in (2.0, 2.5, 3.0, 6.0)}
    hour = [{10 * device: 2.0 + device % 3 / 2} for device in range(12)] + [{990: 1.0}] * 108
    before = [kind for values in hour for kind in city.minute(values)]
    city.minute({990: 1.0})  # the hour in which the last candidate ended has ended

    for values in ({200: 2.5}, {210: 3.0}, {220: 6.0}):
        city.restart()
        city.minute(values)

    assert before.count("raised") == 12
    assert city.judge.floors == {("novelty", "north"): 3.25}
    *_, last = (e.evidence for e in city.events if e.kind == "raised" and e.evidence)
    assert len([e for e in city.events if e.kind == "raised"]) == 13
    assert last.card is not None
    assert (last.severity, last.card.needed, last.card.budget) == (6.0, 3.25, 3.0)
    assert "severity 3.2 is needed here, to keep to 3 alerts a day" in describe(last)


def test_what_a_budget_holds_back_is_counted() -> None:
    city = _City(NOVELTY + "alerts_per_day = 0.5\n")
    city.script.severity = {2: (2, 2, Reason.RANGE)}
    city.minute({0: 2, 10: 2})
    for _ in range(179):
        city.minute({990: 1.0})

    kinds = [city.minute({20: 2}), city.minute({30: 2})]

    assert (kinds, city.judge.held) == ([[], []], 2)


def test_young_series_do_not_use_up_a_budget() -> None:
    city = _City(NOVELTY + 'young_severity = 8\nyoung_for = "4d"\nalerts_per_day = 0.1\n')
    city.script.severity = {7: (7, 7, Reason.RANGE)}
    city.values(1.0, 7, *[1.0] * 200)

    assert (city.events, city.judge.budgets.seen, city.judge.floors) == ([], 0, {("novelty", "north"): 2.0})


def test_neither_late_readings_nor_impossible_ones_are_candidates_for_a_budget() -> None:
    city = _City(RANGE + NOVELTY + "alerts_per_day = 0.1\n")
    city.script.severity = {7: (7, 7, Reason.RANGE), 8: (8, 8, Reason.FLAT)}
    city.minute({0: 7}, flag=Flag.LATE, back=600)
    city.minute({10: 7}, flag=Flag.RANGE)
    city.minute({20: 8})
    city.values(*[1.0] * 200)

    assert city.judge.budgets.seen == 0


def test_a_far_stranger_metric_of_the_same_device_is_told_beside_the_first() -> None:
    city = _City(NOVELTY)
    city.script.severity = {3: (3, 3, Reason.RANGE), 4: (4, 4, Reason.RANGE), 9: (90, 90, Reason.RANGE)}

    kinds = [city.minute({series: value}) for series, value in enumerate((3.0, 4.0, 9.0))]

    assert kinds == [R, [], R]
    assert [series for _, _, series in _raised(city)] == [0, 2]


def test_what_was_behind_an_alert_is_not_judged_anew_when_it_is_over() -> None:
    city = _City(NOVELTY)
    city.script.severity = {3: (3, 3, Reason.RANGE)}
    city.script.peers = _Peers(own=9, others=8)
    city.minute({0: 3})
    city.script.peers.own = city.script.peers.others = 0.1
    city.values(*[1.0] * 20)

    alert = fold([event for event in city.events if event.alert == city.events[0].alert])
    assert alert.raised.classification is Classification.EVENT


def test_what_was_behind_an_alert_is_judged_anew_while_it_goes_on() -> None:
    city = _City(NOVELTY)
    city.script.severity = {3: (3, 3, Reason.RANGE)}
    city.script.peers = _Peers(own=9, others=0.1)
    city.minute({0: 3})
    city.script.peers.others = 8
    city.values(*[1.0] * 20)

    alert = fold([event for event in city.events if event.alert == city.events[0].alert])
    assert city.events[0].evidence
    assert city.events[0].evidence.classification is Classification.SENSOR_FAULT
    assert alert.raised.classification is Classification.EVENT


def test_the_last_look_tells_the_card_once_more_if_it_has_changed() -> None:
    city = _City(NOVELTY)
    city.script.severity = {3: (3, 3, Reason.RANGE)}
    city.script.peers = _Peers(own=4, others=0.1)
    city.minute({0: 3})
    city.script.peers.own = 9  # the round in which it opened has closed
    city.values(*[1.0] * 30)

    told = [event for event in city.events if event.kind == "updated"]
    assert [event.evidence.card.deviation for event in told if event.evidence and event.evidence.card] == [9]
    assert city.events[0].evidence
    assert city.events[0].evidence.card
    assert city.events[0].evidence.card.deviation == 4


def test_an_alert_that_gets_worse_is_not_a_past_of_its_own() -> None:
    city = _City(NOVELTY)
    city.script.severity = {3: (3, 3, Reason.RANGE), 9: (9, 9, Reason.RANGE)}
    city.minute({0: 3})
    city.minute({0: 9})
    city.values(*[1.0] * 60)
    city.minute({0: 3})

    past = [event.evidence.card.past for event in city.events if event.evidence and event.evidence.card]
    assert sorted(past) == [0] * (len(past) - 1) + [1]
    assert len(past) >= 2


def test_what_was_behind_something_long_past_is_unclear() -> None:
    city = _City(NOVELTY)
    city.script.severity = {3: (3, 3, Reason.RANGE)}
    city.script.peers = _Peers(own=9, others=8)
    city.minute({0: 1.0}, back=600)

    city.minute({0: 3}, flag=Flag.LATE, back=120)

    assert city.events[0].evidence
    assert city.events[0].evidence.classification is Classification.UNCLEAR


def test_silence_is_one_alert_per_device() -> None:
    city = _City(GAP)
    city.script.found = {
        2: [Gap("device-0", 0, START, MINUTE)],
        3: [Gap("device-0", 1, START, MINUTE), Gap("device-1", -1, START + MINUTE, MINUTE)],
        5: [Back("device-0", 0, START), Back("device-1", -1, START)],
        7: [Back("device-0", 1, START)],
    }

    kinds = [city.minute({0: 1, 1: 1, 10: 1}) for _ in range(8)]

    assert kinds == [[], [], R, R, [], C, [], C]
    gaps = [event.evidence for event in city.events if event.evidence]
    assert [(e.device, e.metric, e.duration_seconds) for e in gaps] == [
        ("device-0", "pm25", 120),
        ("device-1", "", 120),
    ]


def test_a_silence_that_returns_within_the_cool_down_opens_after_it() -> None:
    city = _City(GAP)
    gap: list[Gap | Back] = [Gap("device-0", -1, START, MINUTE)]
    city.script.found = {1: gap, 2: [Back("device-0", -1, START)], 4: gap}

    kinds = [city.minute({0: 1}) for _ in range(15)]

    assert [k for k, kind in enumerate(kinds) if kind] == [1, 2, 12]


def test_too_many_alerts_are_counted_not_followed() -> None:
    city = _City(LIMIT.replace('"2m"', '"0s"'), alert_machines=3)

    city.minute({10 * k: 60 for k in range(3)})
    assert city.refused == 0
    city.minute({10 * k: 60 for k in range(4)})

    assert len(_raised(city)) == 3
    assert city.refused == 1


def test_every_story_folds_into_an_alert() -> None:
    """The journal must be able to fold whatever the machines write."""
    city = _City(LIMIT + WORSE + NOVELTY)
    rng = np.random.default_rng(4)
    city.script.severity = {200: (4, 4, Reason.JUMP)}
    city.values(*rng.choice([30, 45, 60, 120, 200], 2000).tolist())

    for alert in {event.alert for event in city.events}:
        fold([event for event in city.events if event.alert == alert])

    assert len({event.id for event in city.events}) == len(city.events) > 50


def _silent(count: int) -> list[Gap | Back]:
    return [Gap(f"device-{k}", -1, START + k, MINUTE) for k in range(count)]


def test_a_blackout_is_one_finding_and_who_stays_away_gets_its_own() -> None:
    city = _City(GAP, alert_cooldown_seconds=0)
    city.minute({10 * k: 1.0 for k in range(40)})
    city.script.late = {f"device-{k}": START + k for k in range(30)}
    back: list[Gap | Back] = [Back(f"device-{k}", -1, START + 5 * MINUTE) for k in range(29)]
    city.script.found = {3: _silent(1), 4: _silent(30)[1:], 5: back}

    for _ in range(4):
        city.minute({390: 1.0})
    raised = [event for event in city.events if event.kind == "raised"]
    city.script.late = {"device-29": START}
    for _ in range(5):
        city.minute({390: 1.0})

    (blackout,) = raised
    assert blackout.evidence
    assert blackout.evidence.classification == "gateway fault"
    assert blackout.evidence.card
    assert (blackout.evidence.card.silent, blackout.evidence.card.of) == (30, 40)
    assert [(e.kind, e.alert == blackout.alert) for e in city.events if e.kind != "updated"][1:] == [
        ("cleared", True),
        ("raised", False),
    ]
    (_, straggler) = [e.evidence for e in city.events if e.kind == "raised" and e.evidence]
    assert (straggler.device, straggler.classification) == ("device-29", "sensor fault")


def test_a_blackout_goes_on_over_a_restart() -> None:
    def run(*, restart: bool) -> list[AlertEvent]:
        city = _City(GAP, alert_cooldown_seconds=0)
        city.minute({10 * k: 1.0 for k in range(40)})
        city.script.late = {f"device-{k}": START + k for k in range(30)}
        city.script.found = {2: _silent(1), 4: _silent(30)[1:]}
        for _ in range(3):
            city.minute({390: 1.0})
        if restart:
            city.restart()
        for _ in range(4):
            city.minute({390: 1.0})
        return city.events

    assert run(restart=True) == run(restart=False)
