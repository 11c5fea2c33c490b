"""ChirpStack and The Things Stack: strict schemas, defaults that are left out, radio that is plausible."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format

from core.city import Device
from simulators.messages import Emission, Message, Report
from simulators.wire import wire_format
from simulators.wire.lora import airtime_ns
from simulators.wire.ttn import slug
from tests.decoders import parse_chirpstack, parse_ttn, paths

if TYPE_CHECKING:
    from collections.abc import Callable

AIR = Device("air-01", "air_station", "centre", "Air", 37.95, 58.38)
AT = 1_795_322_328_123_000_000
DUE = AT + 900_000_001


def up(name: str, *reports: Report, device: Device = AIR) -> list[Message]:
    wire = wire_format(name, (device,), 7)
    return [m for m in wire.encode(Emission(DUE, device.id, reports)) if m.topic.endswith("/up")]


def reports(count: int, rssi: float | None = -91.0) -> list[Report]:
    return [Report(AT + k * 600_000_000_000, k, {"pm25": 12.5 + k, "no2": 0.0}, 80.0, rssi) for k in range(count)]


@pytest.mark.parametrize(
    ("name", "parse", "to_dict"),
    [
        ("chirpstack", parse_chirpstack, json_format.MessageToDict),
        ("ttn", parse_ttn, lambda parsed: json_format.MessageToDict(parsed, preserving_proto_field_name=True)),
    ],
    ids=["chirpstack", "ttn"],
)
def test_messages_have_exactly_the_fields_that_proto3_json_would_write(
    name: str, parse: Callable[[Message], Any], to_dict: Callable[[Any], dict[str, Any]]
) -> None:
    """Defaults are left out, 64-bit numbers are texts, and no field is there that the schema does not know."""
    wire = wire_format(name, (AIR,), 7)
    messages = list(wire.births("air-01", AT))
    for report in [*reports(60), replace(reports(1)[0], values={"pm25": "12,5", "x": False, "y": 0}, battery=None)]:
        messages += wire.encode(Emission(DUE, "air-01", (report,)))

    for message in messages:
        canonical = to_dict(parse(message))

        assert paths(canonical) == paths(json.loads(message.payload))


def test_chirpstack_leaves_out_the_first_frame_counter_and_data_rate_0_but_not_zeros_of_the_codec() -> None:
    first, second = (json.loads(message.payload) for message in up("chirpstack", *reports(2)))

    assert ("fCnt" in first, second["fCnt"], "confirmed" in second) == (False, 1, False)
    assert first["object"] == {"time": "2026-11-22T04:38:48.123Z", "battery": 80.0, "pm25": 12.5, "no2": 0.0}


def test_ttn_leaves_out_the_first_frame_counter_and_has_texts_for_frequency_and_airtime() -> None:
    first, second = (json.loads(message.payload)["uplink_message"] for message in up("ttn", *reports(2)))

    assert ("f_cnt" in first, second["f_cnt"], first["decoded_payload"]["no2"]) == (False, 1, 0.0)
    assert re.fullmatch(r"86[78]\d{6}", first["settings"]["frequency"])
    assert re.fullmatch(r"0\.\d{6}s", first["consumed_airtime"])
    assert first["last_battery_percentage"] == {"value": 80.0, "received_at": first["received_at"]}


@pytest.mark.parametrize("name", ["chirpstack", "ttn"])
def test_a_pack_becomes_a_frame_for_each_report_and_the_last_is_heard_when_due(name: str) -> None:
    events = [json.loads(message.payload) for message in up(name, *reports(5))]

    times = [event.get("time") or event["received_at"] for event in events]
    assert sorted(times) == times
    assert len(set(times)) == 5
    assert times[-1] == "2026-11-22T04:38:49.023000001Z"


@pytest.mark.parametrize("name", ["chirpstack", "ttn"])
def test_a_frame_sent_again_is_known_as_the_same(name: str) -> None:
    (report,) = reports(1)

    first, again = (json.loads(message.payload) for message in (*up(name, report), *up(name, report)))
    other = json.loads(up(name, replace(report, seq=9))[0].payload)

    what = "deduplicationId" if name == "chirpstack" else "correlation_ids"
    assert first[what] == again[what] != other[what]


@pytest.mark.parametrize("name", ["chirpstack", "ttn"])
def test_the_join_comes_once_and_has_the_address_of_the_uplinks(name: str) -> None:
    wire = wire_format(name, (AIR,), 7)

    (join,) = wire.births("air-01", AT)
    again = wire.births("air-01", AT + 1)
    (uplink,) = up(name, Report(AT, 5, {"pm25": 1.0}))

    def address(message: Message) -> str:
        body = json.loads(message.payload)
        return str(body.get("devAddr") or body["end_device_ids"]["dev_addr"])

    assert again == ()
    assert join.topic.rsplit("/", 1)[0] == uplink.topic.rsplit("/", 1)[0]
    assert address(join) == address(uplink)
    assert re.fullmatch("26[0-9a-fA-F]{6}", address(join))


def test_chirpstack_tells_the_battery_in_a_status_now_and_then() -> None:
    wire = wire_format("chirpstack", (AIR,), 7)

    events = [m for r in reports(100) for m in wire.encode(Emission(DUE, "air-01", (r,)))]
    mains = wire.encode(Emission(DUE, "air-01", (Report(AT, 48, {"pm25": 1.0}),)))[0]

    statuses = [parse_chirpstack(message) for message in events if message.topic.endswith("/status")]
    assert [status.battery_level for status in statuses] == [80.0] * 3
    assert all(-32 <= status.margin <= 31 for status in statuses)
    assert parse_chirpstack(mains).external_power_source


def test_one_to_three_gateways_hear_a_frame_and_the_first_of_them_best() -> None:
    frames = [parse_chirpstack(message) for message in up("chirpstack", *reports(200))]

    assert {1, 2, 3} == {len(frame.rx_info) for frame in frames}
    for frame in frames:
        levels = [reception.rssi for reception in frame.rx_info]
        assert levels[0] == -91
        assert sorted(levels, reverse=True) == levels
        assert len({reception.gateway_id for reception in frame.rx_info}) == len(levels)
        assert all(-20 <= reception.snr < 14 for reception in frame.rx_info)
    assert abs(frames[0].rx_info[0].location.latitude - 37.95) < 0.02


def test_neighbours_are_heard_by_the_same_gateway_and_far_devices_by_another() -> None:
    near = Device("air-02", "soil", "west", "", 37.951, 58.381)
    far = Device("air-03", "soil", "west", "", 38.2, 58.1)
    (report,) = reports(1)

    gateways = [parse_chirpstack(up("chirpstack", report, device=d)[0]).rx_info[0].gateway_id for d in (AIR, near, far)]

    assert gateways[0] == gateways[1] != gateways[2]


@pytest.mark.parametrize(
    ("rssi", "spreading"), [(-80.0, 7), (-110.0, 8), (-116.0, 9), (-125.0, 10)], ids=["near", "farther", "far", "edge"]
)
def test_a_weak_signal_spreads_wider_unless_the_payload_is_too_long(rssi: float, spreading: int) -> None:
    short = Report(AT, 1, {"pm25": 1.0}, None, rssi)
    long = Report(AT, 1, {f"metric_{number:02}": 1.5 for number in range(12)}, None, rssi)

    weak, packed = (parse_chirpstack(up("chirpstack", report)[0]) for report in (short, long))

    assert (spreading, 12 - spreading) == (weak.tx_info.modulation.lora.spreading_factor, weak.dr)
    assert packed.tx_info.modulation.lora.spreading_factor <= 8


@pytest.mark.parametrize(
    ("size", "spreading", "airtime"),
    [
        pytest.param(22, 7, 56_576_000, id="the example in the documentation of The Things Stack"),
        pytest.param(23, 12, 1_482_752_000, id="SF 12 with the low data rate optimisation"),
        pytest.param(0, 12, 663_552_000, id="nothing but a header"),
    ],
)
def test_airtime_is_that_of_the_chip_makers_formula(size: int, spreading: int, airtime: int) -> None:
    """23 bytes at SF 12: 12.25 + 8 + 5 × ceil((184 - 48 + 44) / 40) = 45.25 symbols of 32.768 ms."""
    assert airtime == airtime_ns(size, spreading)


@pytest.mark.parametrize("name", ["air-01", "Air_01", "a", "x" * 64, "-", "a--b", "A" * 40, "a" * 36])
def test_every_device_has_an_id_that_the_things_stack_takes(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9](?:-?[a-z0-9]){2,35}", slug(name))
    assert len(slug(name)) <= 36


def test_names_that_become_alike_stay_apart() -> None:
    assert len({slug(name) for name in ("air-01", "Air-01", "air_01", "AIR_01")}) == 4
