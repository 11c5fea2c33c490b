"""What all wire formats have in common: the world's own values come out of an independent decoder."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from core.city import Device
from core.errors import SettingsError
from core.metrics import metric as metric_of
from simulators.messages import Emission, Report
from simulators.wire import FORMATS, wire_format
from simulators.wire.damage import GROUPS, JSON, LINES, PROTOBUF
from simulators.wire.senml import unit_of
from tests.decoders import DECODERS, Heard

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulators.messages import Message

AIR = Device("air-01", "air_station", "centre", "Air", 37.95, 58.38)
AT = 1_795_322_328_123_000_000


def expected(name: str, emissions: Iterable[Emission]) -> list[Heard]:
    """Return what a decoder of the format *name* should hear of *emissions*."""
    heard = []
    for emission in emissions:
        for report in emission.reports:
            extra: dict[str, Any] = {} if name == "json" or report.battery is None else {"battery": report.battery}
            if name not in {"json", "chirpstack", "ttn"} and report.rssi is not None:
                extra["rssi"] = report.rssi
            for metric, value in (extra | dict(report.values)).items():
                unit = {"senml": unit_of(metric), "sparkplug": metric_of(metric).unit}.get(name)
                heard.append(Heard(emission.device, metric, report.at // 1_000_000, value, unit))
    return ordered(heard)


def ordered(heard: list[Heard]) -> list[Heard]:
    """Return *heard* by device, time and metric: within a report the order of the metrics says nothing."""
    return sorted(heard, key=lambda one: (one.device, one.at, one.metric))


def play(
    name: str, emissions: Iterable[Emission], devices: Iterable[Device], *, connected: bool = True
) -> list[Message]:
    """Return all messages of *emissions*, with their births if the devices are *connected*."""
    wire = wire_format(name, tuple(devices), 7)
    messages: list[Message] = []
    born: set[str] = set()
    for emission in emissions:
        if connected and emission.device not in born:
            born.add(emission.device)
            messages += wire.births(emission.device, emission.due)
        messages += wire.encode(emission)
    return messages


def test_decoders_are_known_for_every_format() -> None:
    assert tuple(DECODERS) == FORMATS


@pytest.mark.parametrize("name", FORMATS)
def test_every_value_of_the_world_comes_out_of_an_independent_decoder(
    name: str, devices: tuple[Device, ...], said: dict[str, tuple[Emission, ...]]
) -> None:
    emissions = [emission for device in devices for emission in said[device.id]]

    heard = DECODERS[name](play(name, emissions, devices))

    assert expected(name, emissions) == ordered(heard)


@pytest.mark.parametrize("name", FORMATS)
def test_messages_are_the_same_alone_among_others_and_in_any_process(
    name: str, devices: tuple[Device, ...], said: dict[str, tuple[Emission, ...]]
) -> None:
    together = play(name, [e for group in zip(*said.values(), strict=True) for e in group], devices)
    by_topic: dict[str, list[Message]] = defaultdict(list)
    for message in together:
        by_topic[message.topic].append(message)

    for device in devices:
        alone = play(name, said[device.id], (device,))

        for topic in {message.topic for message in alone}:
            assert by_topic[topic] == [message for message in alone if message.topic == topic]


@pytest.mark.parametrize("name", FORMATS)
def test_a_stream_without_connections_can_be_decoded_too(
    name: str, devices: tuple[Device, ...], said: dict[str, tuple[Emission, ...]]
) -> None:
    emissions = said[devices[0].id]

    heard = DECODERS[name](play(name, emissions, devices, connected=False))

    assert expected(name, emissions) == ordered(heard)


@pytest.mark.parametrize("name", ["chirpstack", "ttn", "ultralight"])
def test_another_seed_makes_other_bytes(
    name: str, said: dict[str, tuple[Emission, ...]], devices: tuple[Device, ...]
) -> None:
    emission = said[devices[0].id][0]

    assert wire_format(name, devices, 7).encode(emission) != wire_format(name, devices, 8).encode(emission)


WAYS = {"line": LINES, "ultralight": GROUPS, "sparkplug": PROTOBUF}


@pytest.mark.parametrize(
    ("name", "how"), [(name, how) for name in FORMATS for how in range(len(WAYS.get(name, JSON)))]
)  # fmt: skip
def test_a_mangled_message_is_sent_as_before_and_nobody_reads_it_wherever_it_happens(name: str, how: int) -> None:
    ways = WAYS.get(name, JSON)
    honest = Emission(AT, "air-01", (Report(AT, 1, {"pm25": 12.5, "no2": 30.25}, battery=80.0, rssi=-90.0),))

    def said(emission: Emission) -> tuple[list[Message], Message]:
        wire = wire_format(name, (AIR,), 7)
        births = list(wire.births("air-01", AT))
        (message,) = wire.encode(emission)
        return births, message

    births, clean = said(honest)
    assert not is_unread(name, births, clean)
    for where in np.linspace(0, 0.999, 40).tolist():
        _, wrong = said(replace(honest, damage=((how + 0.5) / len(ways), where)))

        assert wrong == replace(clean, payload=wrong.payload)
        assert is_unread(name, births, wrong), (ways[how][0], where, wrong.payload)


def is_unread(name: str, births: list[Message], message: Message) -> bool:
    """Tell whether a decoder that has heard *births* refuses *message*, or finds nothing in it."""
    before = DECODERS[name](births)
    try:
        return DECODERS[name]([*births, message]) == before
    except Exception:  # noqa: BLE001 - seven libraries, each with errors of its own
        return True


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_to_be_retained_is_retained(name: str) -> None:
    wire = wire_format(name, (AIR,), 7)
    wire.births("air-01", AT)

    (kept,) = wire.encode(Emission(AT, "air-01", (Report(AT, 1, {"pm25": 12.5}),), retain=True))
    (passing,) = wire.encode(Emission(AT, "air-01", (Report(AT, 2, {"pm25": 12.5}),)))

    assert kept.retain
    assert not passing.retain


@pytest.mark.parametrize("name", FORMATS)
def test_a_number_that_is_not_finite_is_left_out_and_a_report_of_such_says_nothing(name: str) -> None:
    wire = wire_format(name, (AIR,), 7)
    mixed = Report(AT, 1, {"pm25": math.nan, "pm10": 20.5, "no2": math.inf, "o3": -math.inf, "co": 10**400})
    nothing = Report(AT, 2, {"pm25": math.nan})

    heard = DECODERS[name](wire.encode(Emission(AT, "air-01", (mixed, nothing))))
    silent = DECODERS[name](wire.encode(Emission(AT, "air-01", (nothing,))))

    assert [(one.metric, one.value) for one in heard] == [("pm10", 20.5)]
    assert silent == []


CHANGED = {"pm25": "12,5", "pm10": True, "no2": {"value": 3.5, "bad": math.nan}, "o3": [1, "a"], "co": 5, "so2": None}
TEXTS = {"no2": '{"value":3.5,"bad":null}', "o3": '[1,"a"]', "co": 5.0}
SAID: dict[str, dict[str, Any]] = {
    "json": {"pm25": "12,5", "pm10": True, "no2": {"value": 3.5, "bad": None}, "o3": [1, "a"], "co": 5, "so2": None},
    "ultralight": {"pm25": "12,5", "pm10": True, "no2": {"value": 3.5, "bad": None}, "o3": [1, "a"], "co": 5.0},
}
for lorawan in ("chirpstack", "ttn"):
    SAID[lorawan] = SAID["json"]
for texts in ("senml", "sparkplug", "line"):
    SAID[texts] = {"pm25": "12,5", "pm10": True} | TEXTS


@pytest.mark.parametrize("name", FORMATS)
def test_what_changed_firmware_says_goes_out_as_well_as_the_format_can(name: str) -> None:
    wire = wire_format(name, (AIR,), 7)

    heard = DECODERS[name](wire.encode(Emission(AT, "air-01", (Report(AT, 1, CHANGED),))))

    assert SAID[name] == {one.metric: one.value for one in heard}


@pytest.mark.parametrize("name", FORMATS)
def test_a_device_that_nobody_announced_speaks_as_well(name: str) -> None:
    wire = wire_format(name, (), 7)

    heard = DECODERS[name](wire.encode(Emission(AT, "intruder", (Report(AT, 1, {"pm25": 999.0}),))))

    assert [(one.device, one.metric, one.value) for one in heard] == [("intruder", "pm25", 999.0)]


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in {"json", "sparkplug"}])
def test_formats_without_presence_have_neither_will_nor_farewell(name: str) -> None:
    wire = wire_format(name, (AIR,), 7)

    assert (wire.will("air-01", AT), wire.farewell("air-01", AT)) == (None, ())


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        pytest.param("senmel", "did you mean 'senml'? ", id="a slip of the key"),
        pytest.param("Sparkplug-B", "did you mean 'sparkplug'? ", id="another spelling"),
        pytest.param("json.py", "did you mean 'json'? ", id="a module"),
        pytest.param("xyz", "", id="nothing like it"),
        pytest.param("values", "", id="a module that is no format"),
    ],
)
def test_an_unknown_format_is_refused_with_the_nearest_known_one(wrong: str, hint: str) -> None:
    with pytest.raises(SettingsError) as error:
        wire_format(wrong, (), 7)

    known = "json, senml, chirpstack, ttn, sparkplug, ultralight, line"
    assert f"format: {wrong!r} is unknown: {hint}known are {known}" == str(error.value)
