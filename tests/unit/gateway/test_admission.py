"""Every message ends as exactly one outcome; these are the outcomes, one by one and in company."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from core.admission import Reason
from core.batch import ReadingBatch
from core.city import Device, Series
from core.quality import Flag
from gateway.admission import Admission, Stage
from gateway.registry import Directory
from gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from gateway.open_entry import Sealed

NOW = 1_767_225_600_000_000_000
S = 1_000_000_000
TOPIC = b"devices/air-01/readings"
METRICS = ("pm25", "pm10", "no2")


def admission(**limits: Any) -> Admission:
    settings = GatewaySettings(**limits)
    directory = Directory(max_topics=settings.max_topics, burst=settings.max_burst)
    devices = [Device(name, "air", "centre") for name in ("air-01", "air-02")]
    series = [Series(10 * d + m, devices[d].id, METRICS[m], "centre") for d in (0, 1) for m in range(len(METRICS))]
    directory.load(devices, series)
    it = Admission(settings, directory)
    it.defers_strangers = False
    return it


def body(value: float = 1.0, at: int = NOW, metric: str = "pm25", **more: Any) -> bytes:
    return json.dumps({"ts": at, "values": {metric: value}, **more}).encode()


def judge(it: Admission, *messages: tuple[bytes, bytes] | bytes, now: int = NOW) -> Sealed:
    pairs = [m if isinstance(m, tuple) else (TOPIC, m) for m in messages]
    it.judge([t for t, _ in pairs], [p for _, p in pairs], now)
    it.judge_deferred(Stage.DEVICES_KNOWN, len(it.deferred))  # the catalog knows nothing new
    return it.seal()


def outcomes(sealed: Sealed) -> dict[tuple[str, str, str], int]:
    for tally in sealed.tallies:
        assert tally.day == NOW // (86_400 * S)
    assert sum(t.received for t in sealed.tallies) == sum(t.messages for t in sealed.tallies)
    return {(t.device, str(t.outcome), str(t.reason)): t.messages for t in sealed.tallies}


def rows(sealed: Sealed) -> list[tuple[int, int, float, int]]:
    b = sealed.batch
    columns = (b.series.tolist(), b.measured.tolist(), b.value.tolist(), b.quality.tolist())
    return list(zip(*columns, strict=True))


def test_a_good_message_is_accepted() -> None:
    sealed = judge(admission(), body(12.5))

    assert outcomes(sealed) == {("air-01", "accepted", "ok"): 1}
    assert rows(sealed) == [(0, NOW, 12.5, 0)]
    assert sealed.batch.received.tolist() == [NOW]


@pytest.mark.parametrize(
    ("ts", "ns"),
    [
        pytest.param(1_767_225_600, NOW, id="seconds"),
        pytest.param(1_767_225_600.25, NOW + S // 4, id="seconds with decimals"),
        pytest.param(1_767_225_600_001, NOW + 10**6, id="milliseconds"),
        pytest.param(1_767_225_600_000_001, NOW + 1000, id="microseconds"),
        pytest.param(NOW + 1, NOW + 1, id="nanoseconds"),
        pytest.param("2026-01-01T00:00:00Z", NOW, id="RFC 3339"),
        pytest.param("2026-01-01t05:00:00.000000001+05:00", NOW + 1, id="RFC 3339 with a zone and nanoseconds"),
        pytest.param("2025-12-31 19:00:00.5-05:00", NOW + S // 2, id="RFC 3339 with a space"),
        pytest.param(None, NOW, id="none: the time of receipt"),
    ],
)
def test_a_time_may_come_in_many_forms(ts: Any, ns: int) -> None:
    assert [row[1] for row in rows(judge(admission(), body(at=ts)))] == [ns]


def test_a_list_is_one_message() -> None:
    items = [{"ts": NOW + i, "values": {"pm25": i, "no2": -i}} for i in range(3)]

    sealed = judge(admission(), json.dumps(items).encode())

    assert outcomes(sealed) == {("air-01", "accepted", "ok"): 1}
    assert len(sealed.batch) == 6
    assert sealed.tallies[0].readings == 6


def test_a_bare_number_on_the_topic_of_its_metric_is_true_now() -> None:
    topic = b"devices/air-02/readings/no2"

    sealed = judge(admission(), (topic, b" 17.25\n"), (topic, b"18"))

    assert rows(sealed) == [(12, NOW, 17.25, 0), (12, NOW + 1, 18.0, 0)]


BAD: list[Any] = [
    (b"", "not_json", "empty payload"),
    (b"hello", "not_json", "not JSON: JSON is malformed: invalid character (byte 0)"),
    (b'{"values": {"pm25": NaN}}', "bad_value", "values.pm25: expected a finite number, got nan"),
    (
        b'[{"values": {"a": 1}}, {"values": {"b": -Infinity}}]',
        "bad_value",
        "[1].values.b: expected a finite number, got -inf",
    ),
    (b'{"values": {"pm25": NaN}', "not_json", "not JSON: JSON is malformed: invalid character (byte 20)"),
    (b"\xff\xfe", "not_json", "not JSON: JSON is malformed: invalid character (byte 0)"),
    (b'{"values": {"pm25": 1e999}}', "bad_value", "a number is out of range"),
    (
        b'{"note": NaN, "values": {"pm25": 1' + b"0" * 400 + b"}}",
        "bad_value",
        "values.pm25: a number is out of range",
    ),
    (b'{"values": {"\\ud800": NaN}}', "bad_value", "values.?: expected a finite number, got nan"),
    (b'{"values": {"pm25": "abc"}}', "bad_value", "values.pm25: expected a number, got 'abc'"),
    (b'{"values": {"pm25": null}}', "bad_value", "values.pm25: expected a number, got null"),
    (b'{"values": {"pm25": true}}', "bad_value", "values.pm25: expected a number, got true"),
    (b'{"values": {"pm25": [1]}}', "bad_value", "values.pm25: expected a number, got a list"),
    (b'[{"values": {"pm25": 1}}, {"values": {"no2": "x"}}]', "bad_value", "[1].values.no2: expected a number, got 'x'"),
    (b"3", "bad_shape", "expected an object, got 3"),
    (b"[]", "bad_shape", "an empty list"),
    (b"[3]", "bad_shape", "[0]: expected an object, got 3"),
    (b"{}", "bad_shape", "no 'values'"),
    (b'{"values": {}}', "bad_shape", "values: at least one expected"),
    (b'[{"values": {"pm25": 1}}, {"values": {}}]', "bad_shape", "[1].values: at least one expected"),
    (b'{"values": 3}', "bad_shape", "values: expected an object, got 3"),
    (b'{"values": {"pm25": 1}, "seq": "x"}', "bad_shape", "seq: expected a whole number, got 'x'"),
    (b'{"values": {"pm25": 1}, "device": 3}', "bad_shape", "device: expected a text, got 3"),
    (b'{"values": {"pm25": 1}, "ts": {}}', "bad_time", "ts: expected a time, got an object"),
    (b'{"values": {"pm25": 1}, "ts": true}', "bad_time", "ts: expected a time, got true"),
    (
        b'{"values": {"pm25": 1}, "ts": "yesterday"}',
        "bad_time",
        "ts: expected a time in RFC 3339 or since the epoch, got 'yesterday'",
    ),
    (
        b'{"values": {"pm25": 1}, "ts": "2026-02-30T00:00:00Z"}',
        "bad_time",
        "ts: day is out of range for month, got '2026-02-30T00:00:00Z'",
    ),
    (
        b'{"values": {"pm25": 1}, "ts": 99999999999999999999}',
        "bad_time",
        "ts: a time after 2262, got '99999999999999999999'",
    ),
    (b'{"values": {"pm25": 1}, "ts": 1}', "bad_time", "ts: 1 is before the year 2000"),
    (b'{"values": {"pm25": 1}, "ts": 1767225901}', "future", "ts: 301 s ahead: at most 300 s"),
    (
        b'[{"values": {"pm25": 1}}, {"values": {"pm25": 1}, "ts": "2030-01-01T00:00:00Z"}]',
        "future",
        "[1].ts: 126230400 s ahead: at most 300 s",
    ),
    (b'{"values": {"p m": 1}}', "bad_name", "values: metric 'p m': 1-64 letters, digits, '_' or '-' expected"),
]


@pytest.mark.parametrize(("payload", "reason", "detail"), BAD)
def test_bad_input_is_quarantined_whole_and_says_why(payload: bytes, reason: str, detail: str) -> None:
    sealed = judge(admission(), payload, body())

    assert outcomes(sealed) == {("air-01", "quarantined", reason): 1, ("air-01", "accepted", "ok"): 1}
    assert len(sealed.batch) == 1
    (kept,) = sealed.quarantined
    assert (kept.payload, kept.reason, kept.topic) == (payload, reason, "devices/air-01/readings")
    assert kept.detail == f"devices/air-01/readings: {detail}"


@pytest.mark.parametrize(
    ("topic", "payload", "reason", "detail"),
    [
        pytest.param(b"devices/ghost/readings", body(), "unknown_device", "device 'ghost' is not registered"),
        pytest.param(b"devices/ghost/status", b"online", "unknown_device", "device 'ghost' is not registered"),
        pytest.param(b"devices/air-01", body(), "bad_topic",
                     "topic 'devices/air-01': devices/<device>/readings[/<metric>] or /status expected"),
        pytest.param(b"devices/a b/readings", body(), "bad_name",
                     "device 'a b': 1-64 letters, digits, '_' or '-' expected"),
        pytest.param(b"devices/\xff/readings", body(), "bad_name",
                     "device '\N{REPLACEMENT CHARACTER}': 1-64 letters, digits, '_' or '-' expected"),
    ],
)  # fmt: skip
def test_what_belongs_to_nobody_is_counted_under_nobody(topic: bytes, payload: bytes, reason: str, detail: str) -> None:
    sealed = judge(admission(), (topic, payload))

    assert outcomes(sealed) == {("-", "quarantined", reason): 1}
    assert sealed.quarantined[0].detail == f"{topic.decode(errors='replace')}: {detail}"


@pytest.mark.parametrize(
    ("topic", "payload", "reason", "detail"),
    [
        (b"devices/air-01/readings/pm25", b'"3"', "bad_value", "payload: expected a number, got '3'"),
        (b"devices/air-01/readings/pm25", b"NaN", "bad_value", "payload: expected a finite number, got nan"),
        (b"devices/air-01/readings/pm25", b"1" + b"0" * 400, "bad_value", "payload: a number is out of range"),
        (b"devices/air-01/status", b"asleep", "bad_shape", "expected online or offline, got b'asleep'"),
    ],
)  # fmt: skip
def test_other_topics_of_a_device_have_their_own_form(topic: bytes, payload: bytes, reason: str, detail: str) -> None:
    sealed = judge(admission(), (topic, payload))

    assert outcomes(sealed) == {("air-01", "quarantined", reason): 1}
    assert sealed.quarantined[0].detail == f"{topic.decode()}: {detail}"


def nested(depth: int) -> bytes:
    return b'{"values": {"pm25": 1}, "x": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


@pytest.mark.parametrize(
    ("limits", "at_limit", "beyond", "reason"),
    [
        pytest.param({"max_payload_bytes": 64}, body().ljust(64), body().ljust(65), "too_large", id="payload bytes"),
        pytest.param({"max_depth": 5}, nested(5), nested(6), "too_deep", id="nesting"),
        pytest.param(
            {"max_values": 2},
            b'{"values": {"pm25": 1, "pm10": 2}}',
            b'{"values": {"pm25": 1, "pm10": 2, "no2": 3}}',
            "too_many_values",
            id="values in an object",
        ),
        pytest.param(
            {"max_values": 2},
            b'[{"values": {"pm25": 1}}, {"values": {"pm10": 2}}]',
            b'[{"values": {"pm25": 1}}, {"values": {"pm10": 2}}, {"values": {"no2": 2}}]',
            "too_many_values",
            id="values in a list",
        ),
        pytest.param({}, body(device="air-01"), body(device="air-02"), "foreign_device", id="another device's name"),
    ],
)
def test_limits_are_refused_beyond_and_pass_at_the_limit(
    limits: dict[str, int], at_limit: bytes, beyond: bytes, reason: str
) -> None:
    assert outcomes(judge(admission(**limits), at_limit)) == {("air-01", "accepted", "ok"): 1}

    sealed = judge(admission(**limits), beyond)

    assert outcomes(sealed) == {("air-01", "refused", reason): 1}
    assert not sealed.quarantined
    assert not len(sealed.batch)


def test_brackets_in_strings_are_not_nesting() -> None:
    text = json.dumps({"values": {"pm25": 1}, "note": '[[[["\\[[[['}).encode()

    assert outcomes(judge(admission(max_depth=3), text)) == {("air-01", "accepted", "ok"): 1}


@pytest.mark.parametrize("bomb", [b"[" * 1_000_000, b'{"x":' * 200_000, b'"' + b'\\"' * 500_000, nested(100_000)])
def test_a_megabyte_of_nesting_is_turned_away_and_the_next_message_stored(bomb: bytes) -> None:
    sealed = judge(admission(), bomb, body())

    assert len(sealed.batch) == 1
    assert outcomes(sealed)["air-01", "accepted", "ok"] == 1
    assert len(sealed.tallies) == 2


def test_a_device_that_sends_too_fast_is_refused_until_it_has_earned_more() -> None:
    it = admission(max_burst=3, max_rate_per_second=10)
    it.judge([TOPIC] * 3, [body(at=NOW + i) for i in range(3)], NOW)
    it.seal()  # the first refill grants what passed since the epoch: one more burst, and then the rate alone
    it.judge([TOPIC] * 4, [body(at=NOW + 3 + i) for i in range(4)], NOW)
    other = (b"devices/air-02/readings", body())

    second = judge(it, other)
    later = judge(it, body(at=NOW + S), body(at=NOW + S + 1), now=NOW + S // 10 + 1000)

    assert outcomes(second) == {
        ("air-01", "accepted", "ok"): 3,
        ("air-01", "refused", "too_fast"): 1,
        ("air-02", "accepted", "ok"): 1,
    }
    assert outcomes(later) == {("air-01", "accepted", "ok"): 1, ("air-01", "refused", "too_fast"): 1}


def test_topics_beyond_the_limit_make_the_cache_start_anew() -> None:
    it = admission(max_topics=10)
    for i in range(11):
        judge(it, (b"devices/ghost-%d/readings" % i, body()))

    assert len(it._directory.routes) == 1
    assert outcomes(judge(it, body())) == {("air-01", "accepted", "ok"): 1}


def test_topics_longer_than_any_that_means_something_are_not_remembered() -> None:
    """A device may write as many topics of 64 kB below its own name as it likes."""
    it = admission()
    for length in (513, 65_535):
        topic = b"devices/air-01/readings/".ljust(length, b"x")
        assert {outcome for _, outcome, _ in outcomes(judge(it, (topic, b"1")))} == {"quarantined"}
    judge(it, (b"devices/air-01/readings/".ljust(512, b"x"), b"1"))

    assert [len(topic) for topic in it._directory.routes] == [512]


def test_an_old_reading_is_late_and_stored() -> None:
    at_limit, late = NOW - 300 * S, NOW - 300 * S - 1

    sealed = judge(admission(), body(at=at_limit), (b"devices/air-02/readings", body(at=late)))

    assert outcomes(sealed) == {("air-01", "accepted", "ok"): 1, ("air-02", "late", "old"): 1}
    assert [row[3] for row in rows(sealed)] == [0, Flag.LATE]


def test_a_packed_message_is_late_only_if_its_newest_reading_is() -> None:
    items = [{"ts": NOW - 400 * S, "values": {"pm25": 1}}, {"ts": NOW, "values": {"pm25": 2}}]

    sealed = judge(admission(), json.dumps(items).encode())

    assert outcomes(sealed) == {("air-01", "accepted", "ok"): 1}
    assert [row[3] for row in rows(sealed)] == [Flag.LATE, 0]


def test_a_reading_slightly_ahead_is_flagged() -> None:
    sealed = judge(admission(), body(at=NOW + 300 * S))

    assert rows(sealed) == [(0, NOW + 300 * S, 1.0, Flag.FUTURE)]


@pytest.mark.parametrize("at", [1, 999_999, 1_000_000])
def test_a_time_of_receipt_is_a_whole_millisecond_and_never_before_the_reading(at: int) -> None:
    without_time = b'{"values": {"pm25": 1.0}}'

    sealed = judge(admission(), body(2.0, NOW), without_time, now=NOW + at)

    assert sealed.batch.measured.tolist() == [NOW, NOW + at + 1], "what was measured keeps its nanoseconds"
    ends = [-(-(NOW + at + n) // 1_000_000) * 1_000_000 for n in (0, 1)]
    assert sealed.batch.received.tolist() == ends
    assert sealed.batch.quality.tolist() == [0, 0]


def test_the_same_reading_again_is_a_duplicate_and_not_stored() -> None:
    it = admission()
    judge(it, body(1.0))

    assert outcomes(judge(it, body(1.0))) == {("air-01", "duplicate", "repeated"): 1}
    assert outcomes(judge(it, body(2.0, NOW + 1), body(2.0, NOW + 1))) == {
        ("air-01", "accepted", "ok"): 1,
        ("air-01", "duplicate", "repeated"): 1,
    }
    assert outcomes(judge(it, body(1.0))) == {("air-01", "duplicate", "repeated"): 1}


def test_another_value_for_the_same_time_is_accepted_as_a_conflict() -> None:
    it = admission()
    judge(it, body(1.0))

    sealed = judge(it, body(2.0), body(2.0), body(1.0))

    assert outcomes(sealed) == {("air-01", "accepted", "ok"): 2, ("air-01", "duplicate", "repeated"): 1}
    assert rows(sealed) == [(0, NOW, 2.0, Flag.CONFLICT), (0, NOW, 1.0, Flag.CONFLICT)]
    assert sealed.conflicts == 2


def test_of_a_message_known_in_part_the_rest_is_stored() -> None:
    it = admission()
    judge(it, body(1.0))
    both = json.dumps({"ts": NOW, "values": {"pm25": 1.0, "no2": 5.0}}).encode()

    sealed = judge(it, both)

    assert outcomes(sealed) == {("air-01", "accepted", "ok"): 1}
    assert rows(sealed) == [(2, NOW, 5.0, 0)]
    assert sealed.tallies[0].readings == 1


def test_what_the_log_holds_is_known_after_a_restart() -> None:
    before, after = admission(), admission()
    sealed = judge(before, body(1.0), body(2.0, NOW - 5))

    after.warm([ReadingBatch.empty(), sealed.batch])

    assert outcomes(judge(after, body(1.0), body(2.0, NOW - 5), body(3.0, NOW + 1))) == {
        ("air-01", "duplicate", "repeated"): 2,
        ("air-01", "accepted", "ok"): 1,
    }


def test_a_retained_reading_without_a_time_is_a_repetition() -> None:
    it = admission()
    it.judge([b"devices/air-01/readings/pm25"], [b"3"], NOW, retained=True)

    assert outcomes(it.seal()) == {("air-01", "duplicate", "repeated"): 1}


def test_a_status_is_news_only_once() -> None:
    it = admission()
    status = b"devices/air-01/status"

    sealed = judge(it, (status, b"online"), (status, b"online"), (status, b"offline"))

    assert outcomes(sealed) == {("air-01", "accepted", "ok"): 3}
    assert [(s.device, s.online, s.received) for s in sealed.statuses] == [
        ("air-01", True, NOW),
        ("air-01", False, NOW + 2),
    ]


def test_a_missing_series_defers_the_whole_message_until_it_is_there() -> None:
    it = admission()
    payload = json.dumps({"ts": NOW, "values": {"pm25": 1, "o3": 2, "so2": 3}}).encode()

    it.judge([TOPIC], [payload], NOW)
    assert it.wanted == {("air-01", "o3"), ("air-01", "so2")}
    it.judge_deferred(Stage.DEVICES_KNOWN, len(it.deferred))
    it._directory.learn([Series(7, "air-01", "o3", "centre"), Series(8, "air-01", "so2", "centre")])
    it.judge_deferred(Stage.ALL_KNOWN, len(it.deferred))
    sealed = it.seal()

    assert [row[0] for row in rows(sealed)] == [0, 7, 8]
    assert outcomes(sealed) == {("air-01", "accepted", "ok"): 1}


def test_a_device_may_have_so_many_series_and_no_more() -> None:
    it = admission(max_series_per_device=4)

    it.judge([TOPIC, TOPIC], [body(metric="o3"), body(metric="so2")], NOW)
    it.judge_deferred(Stage.DEVICES_KNOWN, len(it.deferred))
    it._directory.learn([Series(7, "air-01", "o3", "centre")])
    it.judge_deferred(Stage.ALL_KNOWN, len(it.deferred))

    assert outcomes(it.seal()) == {
        ("air-01", "accepted", "ok"): 1,
        ("air-01", "refused", "too_many_series"): 1,
    }


def test_a_device_registered_a_moment_ago_is_looked_up_before_it_is_called_unknown() -> None:
    it = admission()
    it.defers_strangers = True
    it.judge([b"devices/new/readings"], [body()], NOW)
    assert len(it.deferred) == 1

    it._directory.load([Device("new", "air", "centre")], [Series(50, "new", "pm25", "centre")])
    it.judge_deferred(Stage.DEVICES_KNOWN, len(it.deferred))

    assert outcomes(it.seal()) == {("new", "accepted", "ok"): 1}


def test_a_new_name_is_looked_up_even_if_the_catalog_was_asked_a_moment_ago_and_then_not_again() -> None:
    it = admission()
    assert not it.defers_strangers

    it.judge([b"devices/ghost/readings"] * 2, [body(), body()], NOW)
    assert len(it.deferred) == 2
    it.judge_deferred(Stage.DEVICES_KNOWN, 2)
    it.judge([b"devices/ghost/readings"], [body()], NOW + 10)

    assert not it.deferred
    assert outcomes(it.seal()) == {("-", "quarantined", "unknown_device"): 3}


def test_a_long_quarantined_payload_is_cut_and_says_so() -> None:
    sealed = judge(admission(max_quarantine_bytes=4), b"garbage")

    assert sealed.quarantined[0].payload == b"garb"
    assert sealed.quarantined[0].detail.endswith("(first 4 of 7 bytes kept)")


def test_days_are_those_of_receipt() -> None:
    it = admission()
    it.judge([TOPIC], [body()], NOW - 1)
    it.judge([TOPIC, TOPIC], [body(at=NOW + 1), b"bad"], NOW)

    sealed = it.seal()

    day = NOW // (86_400 * S)
    assert sorted((t.day - day, str(t.outcome), t.received, t.messages) for t in sealed.tallies) == [
        (-1, "accepted", 1, 1),
        (0, "accepted", 2, 1),
        (0, "quarantined", 0, 1),
    ]


def test_whatever_comes_the_ledger_balances_and_grouping_changes_nothing() -> None:
    """The same messages in one entry and in many have the same outcomes and store the same readings."""
    rng = random.Random(7)
    pool = [payload for payload, _, _ in BAD]
    pool += [body(v, NOW + dt, m) for v in (1, 2) for dt in (-400 * S, -5, 0, 5) for m in METRICS]
    topics = [TOPIC, b"devices/air-02/readings", b"devices/ghost/readings", b"devices/air-01/status"]
    messages = [(rng.choice(topics), rng.choice(pool)) for _ in range(600)]
    whole, single = admission(), admission()

    at_once = judge(whole, *messages)
    one_by_one = [judge(single, message, now=NOW + i) for i, message in enumerate(messages)]

    assert sum(t.received for t in at_once.tallies) == len(messages)
    assert at_once.messages == sum((Counter(s.messages) for s in one_by_one), start=Counter())
    assert rows(at_once) == [row for sealed in one_by_one for row in rows(sealed)]
    assert set(outcomes(at_once)) == {key for sealed in one_by_one for key in outcomes(sealed)}


def test_every_reason_belongs_to_the_closed_set() -> None:
    assert {reason for _, reason, _ in BAD} <= set(Reason)


def test_a_message_that_came_while_its_device_was_unknown_is_counted_in_one_account() -> None:
    """Arrival and outcome stand under the same device, or its ledger row would not balance."""
    it = admission()
    it.defers_strangers = True
    it.judge([b"devices/new/readings", b"devices/ghost/readings"], [body(), body()], NOW)
    it._directory.load([Device("new", "air", "centre")], [Series(50, "new", "pm25", "centre")])
    it.judge_deferred(Stage.DEVICES_KNOWN, 2)

    sealed = it.seal()

    assert sorted((t.device, t.received, t.messages) for t in sealed.tallies) == [("-", 1, 1), ("new", 1, 1)]


def test_messages_that_come_while_the_catalog_is_asked_for_others_wait_for_their_own_turn() -> None:
    it = admission()
    it.judge([TOPIC], [body(metric="o3")], NOW)
    assert it.judge_deferred(Stage.DEVICES_KNOWN, 1) == 1
    it.judge([TOPIC], [body(metric="so2")], NOW + 10)  # meanwhile
    it._directory.learn([Series(7, "air-01", "o3", "centre")])

    assert it.judge_deferred(Stage.ALL_KNOWN, 1) == 0
    assert len(it.deferred) == 1
    assert it.judge_deferred(Stage.DEVICES_KNOWN, 1) == 1
    assert it.wanted == {("air-01", "so2")}
    it._directory.learn([Series(8, "air-01", "so2", "centre")])
    it.judge_deferred(Stage.ALL_KNOWN, 1)

    assert outcomes(it.seal()) == {("air-01", "accepted", "ok"): 2}


def test_an_over_long_message_is_counted_under_its_device() -> None:
    it = admission()
    it.refuse_long(TOPIC, NOW)
    it.refuse_long(b"devices/ghost/readings", NOW)

    assert outcomes(it.seal()) == {("air-01", "refused", "too_large"): 1, ("-", "refused", "too_large"): 1}
