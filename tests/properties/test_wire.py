"""Whatever a report holds, a wire format says it so that an independent decoder hears the same, or leaves it out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.city import Device
from simulators.messages import Emission, Message, Report
from simulators.wire import FORMATS, wire_format
from tests.decoders import DECODERS

DEVICES = (
    Device("air-01", "air_station", "centre", "Air", 37.95, 58.38),
    Device("Water_2", "water_meter", "west"),
)
METRICS = st.sampled_from(["pm25", "no2", "humidity", "water_use", "flow", "battery", "rssi", "lamp", "unheard_of"])
# what every format can carry: a codec's object has doubles alone, and C's strtod refuses subnormal numbers
FINITE = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)
NUMBERS = FINITE | st.integers(-(2**53), 2**53)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_subnormal=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
ANYTHING = (
    JSON | st.builds(np.float32, st.floats(width=32)) | st.binary() | st.text(st.characters(categories=["Cs", "L"]))
)
TIMES = st.integers(1_000_000_000_000, 4_000_000_000_000).map(lambda ms: ms * 1_000_000)
FORMAT = pytest.mark.parametrize("name", FORMATS)


def reports(values: st.SearchStrategy[Any], least: int = 0) -> st.SearchStrategy[list[Report]]:
    """Return lists of reports with at least *least* of *values*, in any order and with any numbers."""
    report = st.builds(
        Report,
        at=TIMES,
        seq=st.integers(0, 2**31),
        values=st.dictionaries(METRICS, values, min_size=least),
        battery=st.none() | st.floats(0, 100, allow_subnormal=False),
        rssi=st.none() | st.floats(-139, -30),
    )
    return st.lists(report, min_size=1, max_size=4)


@FORMAT
@settings(max_examples=40)
@given(said=reports(NUMBERS, 1), device=st.sampled_from(DEVICES))
def test_numbers_and_times_come_back_exactly(name: str, said: list[Report], device: Device) -> None:
    wire = wire_format(name, DEVICES, 7)

    messages = wire.encode(Emission(said[-1].at, device.id, tuple(said)))
    heard = sorted((one.at, one.metric, one.value) for one in DECODERS[name](messages) if one.device == device.id)

    extra = {"json": (), "chirpstack": ("battery",), "ttn": ("battery",)}.get(name, ("battery", "rssi"))
    wanted = sorted(
        (report.at // 1_000_000, metric, value)
        for report in said
        for metric, value in (
            {field: getattr(report, field) for field in extra if getattr(report, field) is not None}
            | dict(report.values)
        ).items()
    )
    assert [(at, metric) for at, metric, _ in wanted] == [(at, metric) for at, metric, _ in heard]
    assert all(float(value) == got for (*_, value), (*_, got) in zip(wanted, heard, strict=True))


@FORMAT
@settings(max_examples=40)
@given(said=reports(ANYTHING))
def test_nothing_that_firmware_may_say_breaks_a_format_or_its_decoder(name: str, said: list[Report]) -> None:
    wire = wire_format(name, DEVICES, 7)

    for message in DECODERS[name](wire.encode(Emission(said[0].at, "air-01", tuple(said)))):
        assert not (isinstance(message.value, float) and not math.isfinite(message.value))


@FORMAT
@settings(max_examples=40)
@given(first=st.lists(reports(NUMBERS), max_size=4), second=st.lists(reports(NUMBERS), max_size=4), data=st.data())
def test_what_a_device_says_hangs_on_no_other_device(
    name: str, first: list[list[Report]], second: list[list[Report]], data: st.DataObject
) -> None:
    plays = [
        [Emission(said[0].at, device.id, tuple(said)) for said in emissions]
        for device, emissions in zip(DEVICES, (first, second), strict=True)
    ]
    order = data.draw(st.permutations([0] * len(first) + [1] * len(second)))
    mixed, alone = wire_format(name, DEVICES, 7), [wire_format(name, (device,), 7) for device in DEVICES]
    heard: list[list[Message]] = [[], []]
    turns = [iter(play) for play in plays]

    for which in order:
        heard[which] += mixed.encode(next(turns[which]))

    for which, wire in enumerate(alone):
        assert heard[which] == [message for emission in plays[which] for message in wire.encode(emission)]
