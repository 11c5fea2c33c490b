"""Tests of scoring: one case with every number worked out by hand, the edges, and what never changes the numbers."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.alerts import Priority
from core.clock import to_ns
from core.errors import MalformedPayload, SettingsError
from simulators.labels import Label, LabelClass
from simulators.scoring import labels_span, score
from simulators.scoring_openings import Opening, Openings, Said, read_openings
from simulators.scoring_require import Requirement
from simulators.scoring_result import KindScore, Score, Terms, score_json, wilson

T0 = to_ns(datetime(2026, 5, 1, tzinfo=UTC))
MINUTE = 60_000_000_000
MS = 1_000_000
DAY = Terms(start=T0, end=T0 + 1440 * MINUTE, grace_ns=10 * MINUTE, sensors=10, operators=2)


def fault(what: str, device: str, metric: str, start: float, end: float) -> Label:
    metrics = ("pm25", "no2") if metric == "*" else (metric,)
    return Label(LabelClass.FAULT, what, device, metric, "merkez", metrics, _at(start), _at(end), 1.0, 7)


def event(what: str, metrics: tuple[str, ...], start: float, end: float, district: str | None = None) -> Label:
    return Label(LabelClass.EVENT, what, None, None, district, metrics, _at(start), _at(end), 1.0, 7)


def alert(
    name: str, minute: float, device: str, metric: str, code: str = "novelty.range", *,
    district: str = "merkez", said: Said = Said.NOT_SAID, priority: Priority = Priority.MEDIUM, severity: float = 1.0,
    retrospective: bool = False,
) -> Opening:  # fmt: skip
    return Opening(
        name, _at(minute), device, district, metric, code, code.split(".", maxsplit=1)[0], priority, severity,
        retrospective, said,
    )  # fmt: skip


def _at(minute: float) -> int:
    return T0 + round(minute * MINUTE)


def kind(found: Score, what: str) -> KindScore:
    return next(item for item in found.kinds if item.what == what)


# -- the case worked out by hand: one day, ten sensors, two operators, grace of ten minutes ---------------------------

LABELS = [
    fault("spike", "air-1", "pm25", 60, 70),  # a1 after 2 min, and again a2
    fault("spike", "air-2", "pm25", 100, 110),  # a3 after 20 min: over already, exactly at the end of the grace
    fault("spike", "air-1", "pm25", 300, 310),  # missed: a4 comes 1 ms after the grace
    fault("spike", "air-3", "pm25", 400, 410),  # missed: a17 is of another metric
    fault("dropout", "air-2", "*", 200, 230),  # a5 after 4 min, and again a6: a metric of the device
    fault("dropout", "air-4", "*", 500, 530),  # missed
    fault("stuck", "air-3", "no2", 600, 660),  # a7 after 0 min: exactly at the beginning
    fault("drift", "air-1", "no2", 700, 900),  # a8 after 100 min
    fault("drift", "air-2", "no2", 700, 900),  # a9 after 205 min, when it is over
    event("inversion", ("pm25", "no2"), 1000, 1120),  # a10 after 10 min, and again a11, in whatever district
    event("event_night", ("noise",), 1200, 1260, "gala"),  # a13 after 5 min
    event("event_night", ("noise",), 1300, 1360, "gala"),  # missed: a14 is of another district
]
ALERTS = [
    alert("a1", 62, "air-1", "pm25", "novelty.jump", said=Said.SENSOR_FAULT),
    alert("a2", 65, "air-1", "pm25", "threshold.above"),
    alert("a3", 120, "air-2", "pm25", "novelty.range"),
    alert("a4", 320 + 1 / 60_000, "air-1", "pm25", "novelty.range", severity=3.0),
    alert("a5", 204, "air-2", "", "gap", severity=0.0),
    alert("a6", 206, "air-2", "pm25", "novelty.shift"),
    alert("a7", 600, "air-3", "no2", "flat", said=Said.EVENT),
    alert("a8", 800, "air-1", "no2", "novelty.shift"),
    alert("a9", 905, "air-2", "no2", "novelty.shift"),
    alert("a10", 1010, "air-9", "pm25", "novelty.season", district="gala", said=Said.EVENT),
    alert("a11", 1011, "air-8", "no2", "novelty.season"),
    alert("a12", 1015, "noise-1", "noise", "novelty.season", district="gala", said=Said.EVENT, severity=9.0),
    alert("a13", 1205, "noise-1", "noise", "novelty.season", district="gala", said=Said.UNCLEAR),
    alert("a14", 1306, "noise-2", "noise", "novelty.season", priority=Priority.HIGH),
    alert("a15", 1500, "air-1", "pm25"),  # after the span
    alert("a16", -5, "air-1", "pm25"),  # before it: warm-up
    alert("a17", 401, "air-3", "no2", "novelty.range", severity=2.0),
]


@pytest.fixture
def day() -> Score:
    return score(LABELS, ALERTS, DAY)


def test_every_alert_is_a_detection_a_repeat_or_false(day: Score) -> None:
    # 17 alerts, a15 and a16 outside: 15. First alerts a1 a3 a5 a7 a8 a9 a10 a13: 8. Further ones a2 a6 a11: 3.
    # Nothing behind a4 a12 a14 a17: 4. Precision (8 + 3) / 15.
    alerts = score_json(day)["alerts"]

    assert alerts == {
        "counted": 15, "detections": 8, "repeats": 3, "false_alarms": 4, "of_earlier_labels": 0,
        "precision": 11 / 15, "outside_span": 2, "retrospective_left_out": 0,
    }  # fmt: skip


def test_recall_is_of_labels(day: Score) -> None:
    # 8 of 12; missed: the third and fourth spike, the second dropout, the second event night
    found = score_json(day)["labels"]

    assert (found["judged"], found["detected"], found["recall"]) == (12, 8, 8 / 12)


@pytest.mark.parametrize(
    ("what", "labels", "detected", "after_end", "alerts", "fitting", "explained", "delays"),
    [
        # on pm25 of air-1, air-2, air-3, or silence of these: a1 a2 a3 a4 a5 a6; all but a4 are explained
        pytest.param("spike", 4, 2, 1, 3, 6, 5, (120, 1200), id="spike"),
        # on air-2 and air-4: a3 a5 a6 a9, all explained
        pytest.param("dropout", 2, 1, 0, 2, 4, 4, (240,), id="dropout"),
        # on no2 of air-3: a7 and a17; a17 is false
        pytest.param("stuck", 1, 1, 0, 1, 2, 1, (0,), id="stuck"),
        # on no2 of air-1 and air-2, or silence of these: a5 a8 a9
        pytest.param("drift", 2, 2, 1, 2, 3, 3, (6000, 12_300), id="drift"),
        # on pm25 or no2 anywhere: all but a5 a12 a13 a14, so 11; a4 and a17 are false
        pytest.param("inversion", 1, 1, 0, 2, 11, 9, (600,), id="inversion"),
        # on noise in gala: a12 (false) and a13
        pytest.param("event_night", 2, 1, 0, 1, 2, 1, (300,), id="event night"),
    ],
)
def test_each_kind_has_its_numbers(
    day: Score, what: str, labels: int, detected: int, after_end: int, alerts: int, fitting: int, explained: int,
    delays: tuple[int, ...],
) -> None:  # fmt: skip
    found = kind(day, what)

    assert (labels, detected, after_end) == (found.labels, found.detected, found.after_end)
    assert (alerts, alerts - detected) == (found.alerts, found.repeats)
    assert (fitting, explained, explained / fitting) == (found.fitting, found.explained, found.precision)
    assert detected / labels == found.recall
    assert delays == found.delays_seconds


def test_delay_is_told_as_median_and_ninetieth_percentile(day: Score) -> None:
    # two delays: the median lies between them, nine tenths are not exceeded only by the longer one
    assert (kind(day, "spike").delay_median, kind(day, "spike").delay_p90) == (660, 1200)
    assert (kind(day, "drift").delay_median, kind(day, "drift").delay_p90) == (9150, 12_300)


def test_p90_is_the_nearest_rank() -> None:
    # ten delays of 1 to 10 min: nine of them do not exceed 9 min
    labels = [fault("spike", f"air-{n}", "pm25", 0, 60) for n in range(1, 11)]
    alerts = [alert(f"a{n}", n, f"air-{n}", "pm25") for n in range(1, 11)]

    found = kind(score(labels, alerts, DAY), "spike")

    assert (found.delay_median, found.delay_p90) == (330, 540)


def test_wilson_interval_by_hand(day: Score) -> None:
    # 2 of 4, z^2 = 3.841459: centre (0.5 + 0.480182) / 1.960365 = 0.5
    # half 1.959964 sqrt(0.25/4 + 3.841459/64) / 1.960365 = 1.959964 * 0.350033 / 1.960365 = 0.349961
    low, high = kind(day, "spike").recall_interval

    assert (round(low, 6), round(high, 6)) == (0.150039, 0.849961)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 5)[0] == 0.0
    assert wilson(5, 5)[1] == 1.0


def test_false_alarms_are_told_per_sensor_and_day_by_metric_and_by_hour(day: Score) -> None:
    # 4 in 10 sensors x 1 day; a4 at 05:20, a17 at 06:41, a12 at 16:55, a14 at 21:46
    found = score_json(day)["false_alarms"]

    assert (found["count"], found["per_sensor_day"]) == (4, 0.4)
    assert found["by_metric"] == {"noise": 2, "no2": 1, "pm25": 1}
    assert {hour: n for hour, n in enumerate(found["by_hour_utc"]) if n} == {5: 1, 6: 1, 16: 1, 21: 1}


def test_load_is_per_operator_and_hour(day: Score) -> None:
    # 15 alerts in 24 h of 2 operators; a10 a11 a12 fall into one of the 144 ten-minute periods
    assert score_json(day)["load"] == {
        "alerts_per_operator_hour": 15 / 48, "ten_minute_periods": 144, "periods_above_ten": 0, "flood_share": 0.0,
        "most_in_ten_minutes": 3,
    }  # fmt: skip


def test_confusion_is_of_what_there_was_and_what_alerts_said(day: Score) -> None:
    zero = dict.fromkeys(map(str, Said), 0)

    assert {
        # a10 a11 a13
        "event": zero | {"event": 1, "not said": 1, "unclear": 1},
        # a1 a2 a3 a5 a6 a7 a8 a9
        "sensor fault": zero | {"sensor fault": 1, "event": 1, "not said": 6},
        "gateway fault": zero,
        # a4 a12 a14 a17
        "nothing": zero | {"event": 1, "not said": 3},
    } == day.confusion


def test_a_backlog_of_several_devices_at_one_moment_is_a_gateways_fault() -> None:
    labels = [
        fault("late_backlog", "air-1", "*", 60, 120),
        fault("late_backlog", "air-2", "*", 60, 120),
        fault("late_backlog", "air-3", "*", 300, 360),
        fault("dropout", "air-4", "*", 60, 120),
    ]
    openings = [alert(f"a{n}", minute, f"air-{n}", "", "gap") for n, minute in ((1, 70), (2, 70), (3, 310), (4, 70))]

    found = score(labels, openings, DAY).confusion

    assert (found["gateway fault"]["not said"], found["sensor fault"]["not said"]) == (2, 2)


def test_each_code_says_how_often_it_is_true_and_what_is_behind_it(day: Score) -> None:
    found = {code["code"]: code for code in score_json(day)["codes"]}

    # a10 a11 a12 a13 a14; a12 and a14 are false
    assert tuple(found["novelty.season"][name] for name in ("alerts", "explained", "precision")) == (5, 3, 0.6)
    assert found["novelty.season"]["behind"] == {"inversion": 2, "event_night": 1}
    # a6 a8 a9
    assert found["novelty.shift"]["behind"] == {"drift": 2, "dropout": 1}
    # a3 a4 a17: one of three
    assert found["novelty.range"]["precision"] == 1 / 3
    assert list(found)[:3] == ["novelty.season", "novelty.range", "novelty.shift"]


def test_the_worst_come_first(day: Score) -> None:
    # misses by length: event night 60 min, dropout 30, spikes 10 each, the earlier first
    misses = [(item["what"], item["from"][11:16]) for item in score_json(day)["worst_misses"]]
    # false alarms: a14 has a higher priority, then by severity 9, 3, 2
    alarms = [item["id"] for item in score_json(day)["worst_false_alarms"]]

    assert misses == [("event_night", "21:40"), ("dropout", "08:20"), ("spike", "05:00"), ("spike", "06:40")]
    assert alarms == ["a14", "a12", "a4", "a17"]


# -- edges -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("late_ms", "is_found"),
    [
        pytest.param(-1, False, id="1 ms before the label begins"),
        pytest.param(0, True, id="when it begins"),
        pytest.param(20 * 60_000, True, id="when the grace ends"),
        pytest.param(20 * 60_000 + 1, False, id="1 ms after the grace"),
    ],
)
def test_both_ends_of_a_label_count(late_ms: int, is_found: bool) -> None:
    spike = fault("spike", "air-1", "pm25", 60, 70)
    opening = replace(alert("a", 60, "air-1", "pm25"), at=spike.start + late_ms * MS)

    found = score([spike], [opening], DAY)

    assert (is_found, not is_found) == (found.detected == 1, len(found.false_alarms) == 1)


def test_without_alerts_nothing_is_found_and_precision_is_unknown() -> None:
    found = score(LABELS, [], DAY)

    assert (found.recall, found.precision, found.load.alerts_per_operator_hour) == (0.0, None, 0.0)
    assert all(item.delay_median is None and item.delay_p90 is None for item in found.kinds)


def test_without_labels_every_alert_is_false_and_recall_is_unknown() -> None:
    found = score([], ALERTS, DAY)

    assert (found.recall, found.precision, len(found.false_alarms)) == (None, 0.0, 15)


def test_the_span_of_labels_is_widened_by_the_grace() -> None:
    assert (_at(50), _at(1370)) == labels_span(LABELS, 10 * MINUTE)
    with pytest.raises(SettingsError, match=r"labels: there are none, so say with --from and --to"):
        labels_span([], 0)


def test_an_alert_counts_for_one_label_the_one_that_says_most() -> None:
    city = event("inversion", ("pm25",), 0, 600)
    district = event("fire", ("pm25",), 0, 600, "merkez")
    silence = fault("dropout", "air-1", "*", 0, 600)
    spike = fault("spike", "air-1", "pm25", 0, 600)
    order = [spike, silence, district, city]

    for n in range(4):
        found = score(order[n:], [alert("a", 100, "air-1", "pm25")], DAY)
        assert [order[n]] == [item.label for item in found.judged if item.is_detected]


def test_of_two_labels_on_one_series_the_one_that_began_last_counts() -> None:
    long, short = fault("drift", "air-1", "pm25", 0, 600), fault("spike", "air-1", "pm25", 300, 310)

    early = score([long, short], [alert("a", 299, "air-1", "pm25")], DAY)
    within = score([long, short], [alert("a", 300, "air-1", "pm25")], DAY)
    both = score([long, short], [alert("a", 299, "air-1", "pm25"), alert("b", 301, "air-1", "pm25")], DAY)

    assert (kind(early, "drift").detected, kind(early, "spike").detected) == (1, 0)
    assert (kind(within, "drift").detected, kind(within, "spike").detected) == (0, 1)
    assert both.recall == 1.0


def test_silence_tells_of_a_dropout_before_it_tells_of_a_fault_of_one_metric() -> None:
    labels = [fault("dropout", "air-1", "*", 0, 60), fault("firmware_type", "air-1", "pm25", 10, 60)]

    both = score(labels, [alert("a", 20, "air-1", "", "gap")], DAY)
    alone = score(labels[1:], [alert("a", 20, "air-1", "", "gap")], DAY)

    assert [item.label.what for item in both.judged if item.is_detected] == ["dropout"]
    assert alone.detected == 1


@pytest.mark.parametrize(
    ("metric", "code", "detected"),
    [
        pytest.param("no2", "gap", 1, id="silence of another metric"),
        pytest.param("", "offline", 1, id="the device as a whole"),
        pytest.param("no2", "novelty.jump", 0, id="another metric"),
    ],
)
def test_a_fault_of_one_metric_may_show_as_silence_or_on_the_device(metric: str, code: str, detected: int) -> None:
    spike = fault("spike", "air-1", "pm25", 60, 70)

    assert detected == score([spike], [alert("a", 61, "air-1", metric, code)], DAY).detected


@pytest.mark.parametrize(("minute", "late"), [(69, 0), (70, 1), (71, 1)])
def test_what_is_found_only_when_it_is_over_is_told_apart(minute: float, late: int) -> None:
    spike = fault("spike", "air-1", "pm25", 60, 70)

    assert late == kind(score([spike], [alert("a", minute, "air-1", "pm25")], DAY), "spike").after_end


def test_alerts_of_labels_that_began_before_the_span_are_neither_found_nor_false() -> None:
    terms = replace(DAY, start=_at(65))
    found = score([fault("spike", "air-1", "pm25", 60, 70)], [alert("a", 66, "air-1", "pm25")], terms)

    assert (len(found.judged), found.of_earlier_labels, found.false_alarms) == (0, 1, [])
    assert found.precision == 1.0


def test_retrospective_alerts_count_unless_left_out() -> None:
    openings = [alert("a", 61, "air-1", "pm25", retrospective=True), alert("b", 500, "air-1", "pm25")]

    with_them = score(LABELS[:1], openings, DAY)
    without = score(LABELS[:1], openings, replace(DAY, retrospective=False))

    assert (with_them.detected, with_them.retrospective_left_out) == (1, 0)
    assert (without.detected, without.retrospective_left_out) == (0, 1)


@pytest.mark.parametrize(("alerts", "floods"), [(10, 0), (11, 1)])
def test_more_than_ten_alerts_in_ten_minutes_are_a_flood(alerts: int, floods: int) -> None:
    openings = [alert(f"a{n}", 120 + n / 2, f"air-{n}", "pm25") for n in range(alerts)]

    found = score([], openings, replace(DAY, operators=1)).load

    assert (floods, floods / 144, alerts) == (found.floods, found.flood_share, found.busiest)
    assert score([], openings, DAY).load.floods == 0, "two operators share them"


def test_an_alert_at_the_very_end_falls_into_the_last_period() -> None:
    found = score([], [alert("a", 1440, "air-1", "pm25")], DAY)

    assert (len(found.attributed), found.load.busiest) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"end": T0}, "to: 2026-05-01T00:00:00.000Z is not after 2026-05-01T00:00:00.000Z", id="span"),
        pytest.param({"grace_ns": -1}, "grace: -1: at least 0", id="grace"),
        pytest.param({"sensors": 0}, "sensors: 0: at least 1", id="sensors"),
        pytest.param({"operators": 0}, "operators: 0: at least 1", id="operators"),
    ],
)
def test_impossible_terms_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        replace(DAY, **changes)  # type: ignore[arg-type]


# -- what never changes the numbers ------------------------------------------------------------------------------------

minutes = st.integers(0, 1440).map(float)
devices = st.sampled_from(["air-1", "air-2"])
metrics = st.sampled_from(["pm25", "no2"])
labels_of_any_kind = st.one_of(
    st.builds(
        lambda what, device, metric, start, length: fault(what, device, metric, start, start + length),
        st.sampled_from(["spike", "dropout"]), devices, st.sampled_from(["pm25", "no2", "*"]), minutes,
        st.integers(1, 300),
    ),
    st.builds(
        lambda metric, start, length, district: event("inversion", (metric,), start, start + length, district),
        metrics, minutes, st.integers(1, 300), st.sampled_from([None, "merkez", "gala"]),
    ),
)  # fmt: skip
label_lists = st.lists(labels_of_any_kind, max_size=8)
opening_lists = st.lists(
    st.builds(
        lambda number, minute, device, metric, district: alert(
            f"a{number}", minute, device, metric, "novelty.range" if metric else "gap", district=district
        ),
        st.integers(0, 10**6), minutes, devices, st.sampled_from(["pm25", "no2", ""]),
        st.sampled_from(["merkez", "gala"]),
    ),
    max_size=12, unique_by=lambda opening: opening.id,
)  # fmt: skip


@given(label_lists, opening_lists, st.randoms())
def test_the_order_of_labels_and_alerts_changes_nothing(
    labels: list[Label], openings: list[Opening], rng: object
) -> None:
    mixed_labels, mixed_openings = list(labels), list(openings)
    rng.shuffle(mixed_labels)  # type: ignore[attr-defined]
    rng.shuffle(mixed_openings)  # type: ignore[attr-defined]

    assert score_json(score(labels, openings, DAY)) == score_json(score(mixed_labels, mixed_openings, DAY))


@given(label_lists, opening_lists, minutes)
def test_an_alert_that_matches_nothing_changes_only_false_alarms_precision_and_load(
    labels: list[Label], openings: list[Opening], minute: float
) -> None:
    stranger = alert("stranger", minute, "nobody", "nothing", "strange")

    before = score_json(score(labels, openings, DAY))
    after = score_json(score(labels, [*openings, stranger], DAY))

    assert before["false_alarms"]["count"] + 1 == after["false_alarms"]["count"]
    assert before["alerts"]["counted"] + 1 == after["alerts"]["counted"]
    assert math.isclose(before["load"]["alerts_per_operator_hour"] + 1 / 48, after["load"]["alerts_per_operator_hour"])
    for name in ("labels", "kinds", "worst_misses"):
        assert before[name] == after[name]
    for name in ("detections", "repeats"):
        assert before["alerts"][name] == after["alerts"][name]
    assert [code for code in after["codes"] if code["code"] != "strange"] == before["codes"]


@given(label_lists, opening_lists)
def test_what_is_behind_an_alert_is_found_as_by_asking_every_label(
    labels: list[Label], openings: list[Opening]
) -> None:
    """The rule of the docs in plain words, without index or early ends."""

    def rank(opening: Opening, label: Label) -> int:
        if not label.start <= opening.at <= label.end + DAY.grace_ns:
            return 0
        if label.kind is LabelClass.EVENT:
            is_there = opening.metric in label.metrics and label.district in {None, opening.district}
            return (2 if label.district else 1) if is_there else 0
        if label.device != opening.device:
            return 0
        return 5 if label.metric == opening.metric else 4 if label.metric == "*" else 3 if not opening.metric else 0

    found = score(labels, openings, DAY)

    assert len(found.attributed) == len(openings)
    for opening, label in found.attributed:
        ranked = [(rank(opening, other), other.start) for other in labels if rank(opening, other)]
        assert (label is None) == (not ranked)
        if label is not None:
            assert max(ranked) == (rank(opening, label), label.start)


@given(label_lists, opening_lists)
def test_alerts_and_labels_are_all_accounted_for(labels: list[Label], openings: list[Opening]) -> None:
    found = score(labels, openings, DAY)

    assert len(openings) == found.detected + found.repeats + len(found.false_alarms) + found.of_earlier_labels
    assert len(labels) == sum(item.labels for item in found.kinds)
    assert len(openings) == sum(sum(row.values()) for row in found.confusion.values())
    assert len(openings) == sum(code.alerts for code in found.codes)


# -- reading alerts ----------------------------------------------------------------------------------------------------

ONE = (
    '{"id": "x", "opened_at": "2026-05-01T00:02:00.500Z", "device": "air-1", "district": "merkez", "metric": "pm25", '
    '"code": "novelty.jump", "rule": "novelty", "priority": "high", "severity": 2.5, '
    '"retrospective": true, "owner": null}'
)
READ = Opening(
    "x", T0 + 2 * MINUTE + 500 * MS, "air-1", "merkez", "pm25", "novelty.jump", "novelty", Priority.HIGH, 2.5, True
)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(f"[{ONE}]", id="an array"),
        pytest.param(f'{{"items": [{ONE}], "next_cursor": null}}', id="as the API answers"),
        pytest.param(ONE, id="one line without an end"),
        pytest.param(f"\n{ONE}\n\n", id="lines"),
        pytest.param(f"{ONE}\n{ONE}\n", id="lines that say it twice"),
    ],
)
def test_alerts_are_read_in_every_form(content: str) -> None:
    assert Openings((READ,)) == read_openings(content.encode(), "a.json")


@pytest.mark.parametrize("content", ["", " \n", "[]", '{"items": []}'])
def test_no_alerts_are_no_alerts(content: str) -> None:
    assert Openings(()) == read_openings(content.encode(), "a.json")


def test_a_page_that_names_a_next_one_is_cut() -> None:
    assert read_openings(f'{{"items": [{ONE}], "next_cursor": "1.x"}}'.encode(), "a.json").more


@pytest.mark.parametrize(
    ("word", "said"),
    [("event", Said.EVENT), ("sensor_fault", Said.SENSOR_FAULT), ("Gateway fault", Said.GATEWAY_FAULT)],
)
def test_a_classification_is_read_if_there_is_one(word: str, said: Said) -> None:
    content = ONE.replace('"owner": null', f'"classification": "{word}"')

    assert said == read_openings(content.encode(), "a.json").items[0].said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param('{"a": 1}', r"^a.json: a JSON array of alerts, an object with `items`, or", id="another object"),
        pytest.param("7", r"^a.json: a JSON array of alerts", id="a number"),
        pytest.param(f"[{ONE}, 7]", r"^a.json: item 2: not an alert: Expected `object`", id="a number inside"),
        pytest.param(
            f"[{ONE.replace('opened_at', 'at')}]", r"item 1: not an alert: .*missing required field `opened_at`",
            id="a field is missing",
        ),
        pytest.param(
            ONE.replace("00.500Z", "00"), r"item 1: not an alert: .*no time zone", id="a time without a zone"
        ),
        pytest.param(f"{ONE}\n{ONE[:50]}\n", r"^a.json:2: not JSON: ", id="a line that is cut off"),
        pytest.param(f"{ONE}\n{{}}\n", r"^a.json:2: not an alert: ", id="a line that is none"),
        pytest.param("\xff", r"^a.json:1: not JSON: ", id="no text"),
        pytest.param(
            ONE.replace('"owner": null', '"classification": "weather"'),
            r"item 1: classification 'weather': one of event, sensor fault, gateway fault, unclear, not said expected",
            id="a classification that nobody knows",
        ),
    ],
)  # fmt: skip
def test_what_is_no_alert_is_named(content: str, message: str) -> None:
    with pytest.raises(MalformedPayload, match=message):
        read_openings(content.encode("latin-1"), "a.json")


# -- requirements ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "unmet"),
    [
        pytest.param("recall.spike>=0.5", None, id="just met"),
        pytest.param("recall.spike>0.5", "recall.spike>0.5: it is 0.5", id="just not met"),
        pytest.param("recall >= 0.6", None, id="with spaces"),
        pytest.param("precision.inversion<0.9", None, id="below"),
        pytest.param("delay_median_seconds.drift<=9150", None, id="a delay"),
        pytest.param("delay_p90_seconds.drift<=12299", "delay_p90_seconds.drift<=12299: it is 12300", id="p90"),
        pytest.param("false_alarms_per_sensor_day<=0.4", None, id="false alarms"),
        pytest.param("alerts_per_operator_hour<0.3125", "alerts_per_operator_hour<0.3125: it is 0.3125", id="load"),
        pytest.param(
            "recall.spkie>=0.1",
            "recall.spkie>=0.1: no labels of this kind in the span; there are: drift, dropout, spike, stuck, "
            "event_night, inversion",
            id="a kind that was not there",
        ),
    ],
)
def test_requirements_are_met_or_told(day: Score, text: str, unmet: str | None) -> None:
    assert unmet == Requirement.parse(text).unmet(day)


def test_what_was_not_measured_meets_nothing() -> None:
    empty = score(LABELS[:1], [], DAY)

    assert Requirement.parse("precision>=0").unmet(empty) == "precision>=0: nothing was there to measure it by"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("recall.spike", r"'recall.spike': such as recall.spike>=0.75 expected", id="no relation"),
        pytest.param("recal>=1", r"recal is no figure; the nearest is recall", id="no such figure"),
        pytest.param("flood_share.spike<1", r"flood_share is no figure of a kind; the nearest is ", id="not of a kind"),
        pytest.param("recall==1", r"such as recall.spike>=0.75 expected", id="no such relation"),
    ],
)
def test_what_is_no_requirement_is_refused(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Requirement.parse(text)


def test_who_joined_an_incident_is_no_load_and_counts_all_the_same() -> None:
    labels = [event("match", ("noise",), 0, 60)]
    first = alert("a", 5, "loud-1", "noise")
    second = replace(alert("b", 6, "loud-2", "noise"), joins=True)

    found = score(labels, [first, second], Terms(start=_at(0), end=_at(60)))

    assert (found.load.alerts, kind(found, "match").alerts) == (1, 2)
