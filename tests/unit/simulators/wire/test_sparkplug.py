"""Sparkplug B: sessions, sequence numbers, aliases, what is historical, and the hand-written protobuf to the byte."""

from __future__ import annotations

import pytest

from core.city import Device
from simulators.messages import Emission, Message, Report
from simulators.wire import wire_format
from simulators.wire.sparkplug import NODE_DATA_EVERY
from simulators.wire.sparkplug_payload import DataType, Metric, payload
from tests.decoders import Heard, SparkplugHost
from tests.schemas import PAYLOAD

AIR = Device("air-01", "air", "centre")
AT = 1_795_322_328_123_000_000
MS = AT // 1_000_000
NODE = "centre/edge-air-01"


def report(seq: int, **values: object) -> Report:
    return Report(AT + seq * 1_000_000_000, seq, values or {"pm25": 12.5 + seq})


def emission(*reports: Report) -> Emission:
    return Emission(reports[-1].at + 250_000_000, "air-01", reports)


def test_a_session_is_will_births_data_and_farewell_with_one_bdseq() -> None:
    wire, host = wire_format("sparkplug", (AIR,), 7), SparkplugHost()

    will = wire.will("air-01", AT)
    assert will is not None
    births = wire.births("air-01", AT)
    data = wire.encode(emission(report(1)))
    last = wire.farewell("air-01", AT + 1)
    for message in (will, *births, *data, *last):
        host.hear(message)

    assert [message.topic.split("/")[2] for message in (will, *births, *data, *last)] == [
        "NDEATH",
        "NBIRTH",
        "DBIRTH",
        "DDATA",
        "DDEATH",
        "NDEATH",
    ]
    assert (host.sessions, host.deaths) == ({NODE: 0}, [(NODE, 0), (NODE, 0)])
    assert wire.farewell("air-01", AT + 2) == ()


def test_each_connection_has_the_next_bdseq_and_a_rebirth_keeps_it() -> None:
    wire, host = wire_format("sparkplug", (AIR,), 7), SparkplugHost()
    sessions = []

    for attempt in range(258):
        will = wire.will("air-01", AT + attempt)
        assert will is not None
        host.hear(will)
        for _birth_and_rebirth in range(2):
            for message in wire.births("air-01", AT + attempt):
                host.hear(message)
        sessions.append(host.sessions[NODE])
        assert host.deaths[-1] == (NODE, sessions[-1])

    assert [*range(256), 0, 1] == sessions


def test_an_attempt_to_connect_that_fails_uses_up_its_bdseq() -> None:
    wire, host = wire_format("sparkplug", (AIR,), 7), SparkplugHost()

    for _attempt in range(3):
        wire.will("air-01", AT)
    for message in wire.births("air-01", AT):
        host.hear(message)

    assert host.sessions == {NODE: 2}


def test_sequence_numbers_wrap_after_255_and_start_again_at_a_birth() -> None:
    wire, host = wire_format("sparkplug", (AIR,), 7), SparkplugHost()
    numbers = []

    for message in (*wire.births("air-01", AT), *(m for seq in range(600) for m in wire.encode(emission(report(seq))))):
        host.hear(message)
        numbers.append(host.seq[NODE])
    for message in wire.births("air-01", AT):
        host.hear(message)

    assert [number % 256 for number in range(602 + 600 // NODE_DATA_EVERY)] == numbers
    assert host.seq == {NODE: 1}


def test_data_has_aliases_and_neither_names_nor_types() -> None:
    wire = wire_format("sparkplug", (AIR,), 7)
    wire.births("air-01", AT)

    (message,) = wire.encode(emission(report(1, pm25=12.5, no2=0.0)))
    body = PAYLOAD.FromString(message.payload)

    assert [
        (metric.name, metric.alias, metric.HasField("datatype"), metric.double_value) for metric in body.metrics
    ] == [("", 2, False, 12.5), ("", 4, False, 0.0)]
    assert (body.timestamp, body.metrics[0].timestamp) == (MS + 1250, MS + 1000)


def test_the_older_reports_of_a_pack_and_late_ones_are_historical() -> None:
    wire, host = wire_format("sparkplug", (AIR,), 7), SparkplugHost()

    for said in (emission(report(1)), emission(*map(report, (3, 4, 5))), emission(report(2)), emission(report(5))):
        for message in wire.encode(said):
            host.hear(message)

    assert host.historical == [("pm25", MS + 3000), ("pm25", MS + 4000), ("pm25", MS + 2000)]


def test_a_birth_after_a_reconnect_tells_the_newest_values_again_and_the_first_one_none() -> None:
    wire, host = wire_format("sparkplug", (AIR,), 7), SparkplugHost()

    for message in wire.births("air-01", AT):
        host.hear(message)
    first = list(host.retold)
    for said in (report(7, pm25=1.5), report(8, no2=2.5), report(3, pm25=9.0)):
        wire.encode(emission(said))
    for message in wire.births("air-01", AT + 99_000_000_000):
        host.hear(message)

    assert first == []
    assert [
        Heard("air-01", "pm25", MS + 7000, 1.5, "µg/m³"),
        Heard("air-01", "no2", MS + 8000, 2.5, "µg/m³"),
    ] == host.retold


def test_a_metric_that_is_new_or_changes_its_type_is_born_before_it_is_told() -> None:
    wire, host = wire_format("sparkplug", (AIR,), 7), SparkplugHost()
    reports = (report(1, pm25=1.5), report(2, pm25="1,5", odd=True), report(3, pm25=3.5, odd=False))

    messages = [*wire.births("air-01", AT), *wire.encode(emission(*reports))]
    told = [one for message in messages for one in host.hear(message)]

    assert [m.topic.split("/")[2] for m in messages] == [
        "NBIRTH",
        "DBIRTH",
        "DDATA",
        "DBIRTH",
        "DDATA",
        "DBIRTH",
        "DDATA",
    ]
    assert [(one.metric, one.value) for one in told] == [
        ("pm25", 1.5),
        ("pm25", "1,5"),
        ("odd", True),
        ("pm25", 3.5),
        ("odd", False),
    ]


def test_a_stream_without_births_is_born_once_with_all_that_its_first_message_tells() -> None:
    wire = wire_format("sparkplug", (AIR,), 7)

    first = wire.encode(emission(report(1, pm25="x", odd=1.0)))
    second = wire.encode(emission(report(2, pm25="y", odd=2.0)))

    assert [message.topic.split("/")[2] for message in (*first, *second)] == ["NBIRTH", "DBIRTH", "DDATA", "DDATA"]


def test_after_a_lost_connection_what_is_said_belongs_to_the_next_session() -> None:
    wire, host = wire_format("sparkplug", (AIR,), 7), SparkplugHost()

    messages: list[Message | None] = []
    for session in range(2):
        messages += [wire.will("air-01", AT), *wire.encode(emission(report(session)))]
    told = [one for message in messages if message for one in host.hear(message)]

    assert [one.value for one in told] == [12.5, 13.5]
    assert host.sessions == {NODE: 1}


def test_a_mangled_message_leaves_a_gap_in_the_numbers() -> None:
    wire = wire_format("sparkplug", (AIR,), 7)
    wire.births("air-01", AT)  # 0 and 1

    (honest,) = wire.encode(emission(report(1)))
    wire.encode(Emission(AT, "air-01", (report(2),), damage=(0.0, 0.0)))
    (after,) = wire.encode(emission(report(3)))

    assert (PAYLOAD.FromString(honest.payload).seq, PAYLOAD.FromString(after.payload).seq) == (2, 4)


def test_the_node_tells_its_uptime_now_and_then() -> None:
    wire = wire_format("sparkplug", (AIR,), 7)
    wire.births("air-01", AT)

    node = [m for seq in range(NODE_DATA_EVERY * 2) for m in wire.encode(emission(report(seq))) if "/NDATA/" in m.topic]

    assert [PAYLOAD.FromString(m.payload).metrics[0].long_value for m in node] == [
        NODE_DATA_EVERY - 1,
        NODE_DATA_EVERY * 2 - 1,
    ]
    assert [m.topic for m in node] == ["spBv1.0/centre/NDATA/edge-air-01"] * 2


@pytest.mark.parametrize(
    ("metric", "wire"),
    [
        pytest.param(
            Metric(1.5, 1_000_000, alias=3), b"\x10\x03\x18\x01\x69\0\0\0\0\0\0\xf8\x3f", id="a double by alias"
        ),
        pytest.param(
            Metric("é", 0, name="n", datatype=DataType.STRING),
            b"\x0a\x01n\x18\0\x20\x0c\x7a\x02\xc3\xa9",
            id="a text by name",
        ),
        pytest.param(
            Metric(True, 0, alias=300, historical=True), b"\x10\xac\x02\x18\0\x28\x01\x70\x01", id="historical"
        ),
        pytest.param(Metric(None, 0, alias=0), b"\x10\0\x18\0\x38\x01", id="null"),
        pytest.param(Metric(-1, -1, alias=0), b"\x10\0\x18\0\x58" + b"\xff" * 9 + b"\x01", id="below zero"),
    ],
)
def test_metrics_are_written_as_protobuf_has_it(metric: Metric, wire: bytes) -> None:
    assert bytes((0x08, 5, 0x12, len(wire))) + wire + b"\x18\x07" == payload(5_999_999, 7, (metric,))


def test_protobuf_of_ours_and_of_google_is_the_same() -> None:
    """Fields in the order of their numbers, as Google's runtime writes them: both ways, every kind of value."""
    ours = payload(
        AT,
        255,
        [
            Metric(0.1, AT, name="a/b", alias=2**40, datatype=DataType.DOUBLE, historical=True, unit="µg/m³"),
            Metric("x" * 300, AT, alias=1),
            Metric(2**62, AT, alias=2, datatype=DataType.INT64),
            Metric(None, AT, name="n", datatype=DataType.BOOLEAN),
        ],
    )

    assert PAYLOAD.FromString(ours).SerializeToString(deterministic=True) == ours
