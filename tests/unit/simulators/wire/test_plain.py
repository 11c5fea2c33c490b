"""The formats without sessions, to the byte; and the fixtures of their standards against the decoders used here."""

from __future__ import annotations

import json

import pytest
from senml.senml import SenMLDocument

from core.city import Device
from simulators.messages import Emission, Message, Report
from simulators.wire import wire_format
from tests.decoders import DECODERS, Heard

AIR = Device("air-01", "air_station", "centre", "Air", 37.95, 58.38)
AT = 1_795_322_328_123_000_000
FIRST = Report(AT, 0, {"pm25": 12.5, "flow": 0.0}, 88.5, -91.0)
SECOND = Report(AT + 60_001_000_000, 1, {"pm25": 13.25})


def payloads(name: str, *reports: Report) -> list[str]:
    return [m.payload.decode() for m in wire_format(name, (AIR,), 7).encode(Emission(AT, "air-01", reports))]


def test_json_of_one_report_is_an_object_and_of_several_a_list() -> None:
    one = '{"ts":1795322328123,"values":{"pm25":12.5,"flow":0.0},"seq":0}'
    two = '{"ts":1795322388124,"values":{"pm25":13.25},"seq":1}'

    assert [one] == payloads("json", FIRST)
    assert [f"[{one},{two}]"] == payloads("json", FIRST, SECOND)


def test_json_tells_its_presence_on_the_status_topic() -> None:
    wire = wire_format("json", (AIR,), 7)
    offline = Message("devices/air-01/status", b"offline", retain=True)

    assert (Message("devices/air-01/status", b"online", retain=True),) == wire.births("air-01", AT)
    assert offline == wire.will("air-01", AT)
    assert (offline,) == wire.farewell("air-01", AT)


def test_senml_has_a_base_unit_only_where_every_record_has_a_unit() -> None:
    without = payloads("senml", FIRST)
    within = payloads("senml", Report(AT, 0, {"pm25": 12.5, "no2": 8.0, "humidity": 40.0}), SECOND)

    assert without == [
        (
            '[{"bn":"urn:dev:os:32473-air-01:","bt":1795322328.123,"n":"battery","u":"%EL","v":88.5},'
            '{"n":"rssi","u":"dBm","v":-91.0},{"n":"pm25","u":"ug/m3","v":12.5},{"n":"flow","v":0.0}]'
        )
    ]
    assert within == [
        (
            '[{"bn":"urn:dev:os:32473-air-01:","bt":1795322328.123,"bu":"ug/m3","n":"pm25","v":12.5},'
            '{"n":"no2","v":8.0},{"n":"humidity","u":"%RH","v":40.0},{"n":"pm25","t":60.001,"v":13.25}]'
        )
    ]


def test_senml_names_keep_to_the_characters_of_the_standard() -> None:
    (payload,) = payloads("senml", Report(AT, 0, {"µg, m³": 1.0}))

    assert json.loads(payload)[0]["n"] == "_g__m_"


def test_the_senml_decoder_used_here_resolves_the_example_of_the_standard() -> None:
    """RFC 8428, 5.1.3: a base name, base time and base unit, and records that override them."""
    pack = json.loads(
        '[{"bn":"urn:dev:ow:10e2073a01080063:","bt":1.276020076001e+09,"bu":"A","bver":5,'
        '"n":"voltage","u":"V","v":120.1},{"n":"current","t":-5,"v":1.2},{"n":"current","t":-4,"v":1.3}]'
    )
    document = SenMLDocument.from_json(pack)

    resolved = [record.to_absolute(document.base) for record in document.measurements]

    assert [(record.name, record.time, record.unit, record.value) for record in resolved] == [
        ("urn:dev:ow:10e2073a01080063:voltage", 1276020076.001, "V", 120.1),
        ("urn:dev:ow:10e2073a01080063:current", 1276020071.001, "A", 1.2),
        ("urn:dev:ow:10e2073a01080063:current", 1276020072.001, "A", 1.3),
    ]


def test_ultralight_joins_groups_by_a_hash_sign_and_begins_each_with_its_time() -> None:
    (message,) = wire_format("ultralight", (AIR,), 7).encode(Emission(AT, "air-01", (FIRST, SECOND)))

    assert message.topic == "/ul/83d9bf4da4968699/air-01/attrs"
    assert (
        message.payload
        == b"2026-11-22T04:38:48.123Z|battery|88.5|rssi|-91.0|pm25|12.5|flow|0.0#2026-11-22T04:39:48.124Z|pm25|13.25"
    )


def test_ultralight_keeps_its_own_signs_out_of_texts() -> None:
    assert payloads("ultralight", Report(AT, 0, {"a": "1|2#3\r\n4", "b": ""})) == [
        '2026-11-22T04:38:48.123Z|a|1_2_3__4|b|""'
    ]


def test_the_ultralight_decoder_used_here_reads_the_example_of_the_manual() -> None:
    """The IoT agent's manual: a group with its time, and groups joined by a hash sign."""
    message = Message("/ul/key/dev/attrs", b"2016-06-13T00:35:30Z|lle|100#2016-06-13T00:35:31Z|x|9")

    assert [Heard("dev", "lle", 1465778130000, 100), Heard("dev", "x", 1465778131000, 9)] == DECODERS["ultralight"](
        [message]
    )


def test_line_protocol_is_a_line_for_each_report_with_floats_and_nanoseconds() -> None:
    (message,) = wire_format("line", (AIR,), 7).encode(Emission(AT, "air-01", (FIRST, SECOND)))

    assert message.topic == "telegraf/air-01/air_station"
    assert message.payload.decode() == (
        "air_station,device=air-01,district=centre battery=88.5,rssi=-91.0,pm25=12.5,flow=0.0 1795322328123000000\n"
        "air_station,device=air-01,district=centre pm25=13.25 1795322388124000000"
    )


@pytest.mark.parametrize(
    "text", ['say "12.5"', "back\\slash", "comma, space = equals", "", "µg", "ends in a backslash\\"]
)
def test_line_protocol_escapes_texts(text: str) -> None:
    wire = wire_format("line", (AIR,), 7)

    heard = DECODERS["line"](wire.encode(Emission(AT, "air-01", (Report(AT, 0, {"a b,c=d": text}),))))

    assert [Heard("air-01", "a b,c=d", AT // 1_000_000, text)] == heard
