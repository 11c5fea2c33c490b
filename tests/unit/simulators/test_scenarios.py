"""Scenarios: those that come with the program hold in any city, and what cannot be is refused with file and line."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING

import pytest

from core.errors import SettingsError
from simulators.faults import FaultKind, clash
from simulators.layout import City, city
from simulators.scenarios import load_scenario, parse_scenario, read_scenario, scenario_names
from simulators.scenarios.file import duration_ns
from simulators.scenarios.lines import Source

if TYPE_CHECKING:
    from pathlib import Path

S = 1_000_000_000
HOUR = 3600 * S
START = 1_780_000_000 * S
CITIES: dict[tuple[int, int], City] = {}


def town(seed: int = 7, devices: int = 200) -> City:
    """Return a city; laid out once."""
    if (seed, devices) not in CITIES:
        CITIES[seed, devices] = city(seed, devices)
    return CITIES[seed, devices]


def load(tmp_path: Path, *lines: str, head: str = 'title = "t"\nhours = 24') -> list[str]:
    """Return the labels of a scenario of these lines, as what, device, hours from and to."""
    path = tmp_path / "mine.toml"
    path.write_text("\n".join([head, *lines]))
    scenario = load_scenario(path, town(), 7, START)
    return [
        f"{label.what} {label.device} {label.metric} {(label.start - START) / HOUR:g}-{(label.end - START) / HOUR:g}"
        for label in scenario.labels
    ]


def test_nine_scenarios_come_with_the_program() -> None:
    assert scenario_names() == [
        "attack",
        "event-night",
        "faults",
        "flood",
        "gateway-outage",
        "inversion",
        "network-decay",
        "normal",
        "substation-outage",
    ]


@pytest.mark.parametrize("devices", [20, 100, 200, 2000])
@pytest.mark.parametrize("name", scenario_names())
def test_a_shipped_scenario_holds_in_cities_of_any_seed_and_size(name: str, devices: int) -> None:
    for seed in (1, 7, 42) if devices < 2000 else (3,):
        there = town(seed, devices)
        scenario = load_scenario(name, there, seed, START)
        ids = {device.id: device for device in there.devices}

        assert bool(scenario.labels) == (name != "normal")
        assert len(scenario.labels) == len(scenario.events) + len(scenario.plan.faults)
        for label in scenario.labels:
            assert START <= label.start < label.end <= scenario.end
            assert label.seed == seed
            assert label.device is None or ids[label.device].district == label.district
        assert devices < 200 or not scenario.notes


def test_the_scenario_called_faults_has_every_kind_again_and_again_after_three_clean_days() -> None:
    scenario = load_scenario("faults", town(7, 400), 7, START)
    kinds = Counter(fault.kind for fault in scenario.plan.faults)

    assert set(kinds) == set(FaultKind)
    assert min(kinds.values()) >= 4
    assert min(label.start for label in scenario.labels) >= START + 72 * HOUR


def test_the_same_seed_hits_the_same_devices_at_any_start_and_another_seed_others() -> None:
    def hit(seed: int, start: int) -> list[tuple[str, str, int, float]]:
        scenario = load_scenario("network-decay", town(), seed, start)
        return [(f.kind, f.device, f.start - start, f.size) for f in scenario.plan.faults]

    assert hit(7, START) == hit(7, START + 12_345 * S)
    assert hit(7, START) != hit(8, START)


def test_picked_devices_are_of_the_kind_and_district_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'title = "t"\nhours = 24\n[[fault]]\nwhat = "stuck"\nat = "1h"\nfor = "2h"\n'
        'kind = "traffic"\ndistrict = "derya"\nmetric = "flow"\ncount = 4\n'
    )
    there = town()
    scenario = load_scenario(path, there, 7, START)
    ids = {device.id: device for device in there.devices}

    assert len({fault.device for fault in scenario.plan.faults}) == 4
    assert {(ids[f.device].kind, ids[f.device].district) for f in scenario.plan.faults} == {("traffic", "derya")}


def test_sizes_are_picked_between_the_least_and_the_most() -> None:
    sizes = [f.size for f in load_scenario("faults", town(), 7, START).plan.faults if f.kind is FaultKind.CLOCK_JUMP]

    assert all(-7200 <= size <= -600 or 600 <= size <= 7200 for size in sizes)
    assert len(set(sizes)) > len(sizes) // 2


def test_what_comes_every_so_often_hits_others_each_time(tmp_path: Path) -> None:
    labels = load(
        tmp_path, "[[fault]]", 'what = "stuck"', 'at = "1h"', 'for = "2h"', 'every = "7h"', 'kind = "air"',
        'metric = "no2"',
    )  # fmt: skip

    assert [label.split()[-1] for label in labels] == ["1-3", "8-10", "15-17", "22-24"]
    assert len({label.split()[1] for label in labels}) == 4


def test_a_spread_lets_devices_begin_one_by_one() -> None:
    scenario = load_scenario("flood", town(7, 400), 7, START)
    begins = [(f.start - START) / HOUR for f in scenario.plan.faults if f.kind is FaultKind.DROPOUT]

    assert len(set(begins)) == len(begins) > 5
    assert all(12 <= begin < 16 for begin in begins)
    assert max(begins) - min(begins) > 2


def test_a_gateway_that_is_down_holds_back_what_all_its_devices_say() -> None:
    there = town(7, 400)
    scenario = load_scenario("gateway-outage", there, 7, START)
    first = scenario.outages[0]

    assert {d.id for d in there.devices if d.district == "derya"} == set(first.devices)
    assert (first.start - START, first.end - START) == (6 * HOUR, 8 * HOUR)
    held = {f.device for f in scenario.plan.faults if f.kind is FaultKind.LATE_BACKLOG and f.start == first.start}
    assert held == set(first.devices)


def test_no_two_faults_of_a_series_overlap() -> None:
    faults = load_scenario("network-decay", town(), 7, START).plan.faults
    by_device: dict[str, list[int]] = {}
    for n, fault in enumerate(faults):
        by_device.setdefault(fault.device, []).append(n)

    for mine in by_device.values():
        assert not any(clash(faults[a], faults[b]) for a, b in combinations(mine, 2))


def test_a_shorter_run_leaves_out_what_begins_after_it_and_a_longer_one_goes_on() -> None:
    usual = load_scenario("network-decay", town(), 7, START)
    short = load_scenario("network-decay", town(), 7, START, hours=72)
    long = load_scenario("network-decay", town(), 7, START, hours=500)

    assert short.labels == tuple(label for label in usual.labels if label.start < START + 72 * HOUR)
    assert 0 < len(short.labels) < len(usual.labels) < len(long.labels)
    assert (short.hours, short.end) == (72, START + 72 * HOUR)
    assert max(label.start for label in long.labels) > START + 400 * HOUR
    assert (
        f"{len(usual.labels) - len(short.labels)} events and faults begin after these 72 hours; the file has 336"
        in short.notes
    )


def test_a_faster_start_is_cut_to_milliseconds() -> None:
    assert load_scenario("normal", town(), 7, START + 1_999_999).start == START + 1_000_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1d2h30m", 95_400), ("90s", 90), ("6h", 21_600), ("0s", 0), ("2d", 172_800), ("1h5s", 3605)],
)
def test_times_are_written_as_people_say_them(text: str, seconds: int) -> None:
    assert duration_ns(text) == seconds * S


@pytest.mark.parametrize("text", ["", "-1h", "6", "h", "1h1d", "1.5h", "6 h", "6H", "\uff11h", "1h\n"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time; one like '1d2h30m' or '90s' expected"):
        duration_ns(text)


FAULT = ("[[fault]]", 'what = "spike"', 'at = "1h"', 'for = "10m"', 'kind = "air"', 'metric = "pm25"', "size = 30")
"""A fault that holds; the header is line 3."""
EVENT = ("[[event]]", 'kind = "inversion"', 'at = "1h"', 'for = "6h"')


def changed(lines: tuple[str, ...], key: str, value: str | None) -> tuple[str, ...]:
    """Return *lines* with another value of *key*, without it (None), or with a new one at the end."""
    kept = tuple(line for line in lines if not line.startswith(f"{key} ="))
    if value is None:
        return kept
    if kept == lines:
        return (*lines, f"{key} = {value}")
    return tuple(f"{key} = {value}" if line.startswith(f"{key} =") else line for line in lines)


def test_the_fault_and_the_event_of_the_next_test_hold(tmp_path: Path) -> None:
    assert [label.split()[0] for label in load(tmp_path, *FAULT, *EVENT)] == ["inversion", "spike"]


@pytest.mark.parametrize(
    ("lines", "line", "says"),
    [
        pytest.param(
            changed(FAULT, "what", '"spikes"'), 4, "what 'spikes' is unknown; the nearest known is 'spike'", id="fault"
        ),
        pytest.param(changed(FAULT, "what", None), 3, "'what' is missing", id="no kind of fault"),
        pytest.param(changed(FAULT, "wat", "1"), 10, "'wat' is unknown; the nearest known is 'what'", id="key"),
        pytest.param(
            changed(FAULT, "at", '"soon"'),
            5,
            "at: 'soon' is no time; one like '1d2h30m' or '90s' expected",
            id="no time",
        ),
        pytest.param(changed(FAULT, "at", '"-1h"'), 5, "at: '-1h' is no time", id="before the start"),
        pytest.param(
            changed(FAULT, "at", "6"), 5, "at: expected text, got whole number, like '6h'", id="a bare number"
        ),
        pytest.param(
            changed(FAULT, "at", '"24h"'), 5, "at: it is over 24.1667 h after the start, the run after 24 h", id="late"
        ),
        pytest.param(
            changed(FAULT, "for", '"1d"'), 6, "for: it is over 25 h after the start, the run after 24 h", id="too long"
        ),
        pytest.param(changed(FAULT, "for", '"0s"'), 6, "for: 0s is no time: it ends when it begins", id="no length"),
        pytest.param(
            changed(FAULT, "for", '"1m"'),
            6,
            "for: 1m is shorter than one and a half report intervals of 60 s",
            id="too short",
        ),
        pytest.param(
            changed(FAULT, "kind", '"airs"'),
            7,
            "kind 'airs' is unknown; the nearest known is 'air'",
            id="kind of device",
        ),
        pytest.param(
            changed(FAULT, "metric", '"pm2.5"'),
            8,
            "metric 'pm2.5' is unknown; the nearest known is 'pm25'",
            id="metric",
        ),
        pytest.param(
            changed(FAULT, "metric", '"noise"'),
            8,
            "metric 'noise' is not measured by kind 'air'; the nearest known is",
            id="metric of others",
        ),
        pytest.param(changed(FAULT, "metric", None), 3, "spike: needs one metric", id="a spike of everything"),
        pytest.param(changed(FAULT, "size", None), 3, "spike: needs a size: offset, unit of the metric", id="no size"),
        pytest.param(changed(FAULT, "size", '"big"'), 9, "size: expected number | list, got text", id="no number"),
        pytest.param(
            changed(FAULT, "size", "[5, 2]"), 9, "size: [5.0, 2.0]: [least, most] expected", id="least above most"
        ),
        pytest.param(
            changed(FAULT, "size", "[1, 2, 3]"), 9, "size: [1.0, 2.0, 3.0]: [least, most] expected", id="three sizes"
        ),
        pytest.param(
            changed(FAULT, "district", '"deria"'),
            10,
            "district 'deria' is not in this city; the nearest known is 'derya'",
            id="district",
        ),
        pytest.param(changed(FAULT, "count", "0"), 10, "count: expected whole number >= 1", id="nobody"),
        pytest.param(
            changed(FAULT, "count", "5000"), 10, "count: 5000 devices are wanted; of ", id="more than there are"
        ),
        pytest.param(changed(FAULT, "share", "1.5"), 10, "share: expected number <= 1.0", id="more than all"),
        pytest.param(
            (*FAULT, "count = 2", "share = 0.5"), 11, "share: count says already how many", id="count and share"
        ),
        pytest.param(changed(FAULT, "every", '"0s"'), 10, "every: nothing begins again at once", id="at once"),
        pytest.param(changed(FAULT, "spread", '"23h"'), 6, "for: it is over 24.1667 h", id="spread too far"),
        pytest.param(
            changed(FAULT, "devices", '["air-001"]'),
            7,
            "kind: devices are named already, so none are picked",
            id="named and picked",
        ),
        pytest.param(
            changed(changed(FAULT, "kind", None), "devices", "[]"), 9, "devices: nobody is named", id="an empty list"
        ),
        pytest.param(
            changed(changed(FAULT, "kind", None), "devices", '["air-1"]'),
            9,
            "device 'air-1' is not in this city; the nearest known is 'air-0",
            id="device",
        ),
        pytest.param(
            changed(changed(FAULT, "kind", None), "devices", '["noise-001"]'),
            7,
            "metric 'pm25' is not measured by noise-001; the nearest known is",
            id="not its metric",
        ),
        pytest.param(
            ("[[fault]]", 'what = "duplicates"', 'at = "1h"', 'for = "1h"', 'metric = "pm25"'),
            3,
            "duplicates: hits the whole device, not 'pm25' alone",
            id="half a message",
        ),
        pytest.param(
            changed(EVENT, "kind", '"inversions"'),
            4,
            "kind 'inversions' is unknown; the nearest known is 'inversion'",
            id="event",
        ),
        pytest.param(
            changed(EVENT, "size", "99"), 3, "inversion: size 99: above 0 and at most 4 expected", id="size of an event"
        ),
        pytest.param(
            changed(EVENT, "for", '"10m"'), 3, "inversion: lasts less than 1800 seconds", id="event too short"
        ),
        pytest.param(
            changed(EVENT, "district", '"markez"'),
            7,
            "district 'markez' is not in this city; the nearest known is 'merkez'",
            id="event elsewhere",
        ),
        pytest.param(
            (*FAULT, *changed(FAULT, "what", '"stack"')),
            11,
            "what 'stack' is unknown; the nearest known is 'stuck'",
            id="the second table",
        ),
        pytest.param(
            ("[[outage]]", 'at = "1h"', 'for = "2h"', 'district = "nowhere"'),
            6,
            "district 'nowhere' is not in this city",
            id="outage elsewhere",
        ),
        pytest.param(
            (
                "[[fault]]",
                'what = "dropout"',
                'at = "1h"',
                'for = "2h"',
                'devices = ["air-001"]',
                "[[fault]]",
                'what = "stuck"',
                'at = "2h"',
                'for = "2h"',
                'devices = ["air-001"]',
                'metric = "o3"',
            ),
            8,
            "stuck of air-001 overlaps with the dropout of line 3",
            id="two at once",
        ),
        pytest.param(
            ("[[outages]]", 'at = "1h"'), 3, "'outages' is unknown; the nearest known is 'outage'", id="table"
        ),
        pytest.param(("[fault]", 'what = "spike"'), 3, "write [[fault]]: there may be several", id="one bracket"),
        pytest.param(
            ("interval = 5",), 3, "'interval' is unknown; the nearest known is 'interval_seconds'", id="key of the file"
        ),
        pytest.param(("interval_seconds = -1",), 3, "interval_seconds: expected number >= 0.1", id="backwards"),
        pytest.param(("devices = 0",), 3, "devices: expected whole number >= 1", id="no devices"),
        pytest.param(("fault = 3",), 3, "fault: expected list, got whole number", id="no table"),
        pytest.param(
            ("[[fault]]", 'what = "spike', 'at = "1h"'),
            4,
            "no TOML: Illegal character '\\n' (at line 4",
            id="no closing quote",
        ),
        pytest.param(("[[fault]]", "what = "), 4, "no TOML: Invalid value (at end of document)", id="cut short"),
    ],
)
def test_what_cannot_be_is_refused_with_file_and_line(
    tmp_path: Path, lines: tuple[str, ...], line: int, says: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, *lines)

    assert str(caught.value).startswith(f"scenario: {tmp_path}/mine.toml:{line}: ")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("head", "says"),
    [
        pytest.param('title = "t"', "mine.toml:1: 'hours' is missing", id="no end"),
        pytest.param("hours = 24", "mine.toml:1: 'title' is missing", id="no title"),
        pytest.param('title = "t"\nhours = 0', "mine.toml:2: hours: expected number > 0", id="no time at all"),
        pytest.param('title = "t"\nhours = 9000', "mine.toml:2: hours: expected number <= 8784", id="more than a year"),
        pytest.param('title = "t"\nhours = nan', "mine.toml:2: hours: ", id="no number"),
        pytest.param('title = "t"\nhours = "24h"', "mine.toml:2: hours: expected number, got text", id="a text"),
    ],
)
def test_a_scenario_needs_a_title_and_an_end(tmp_path: Path, head: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, head=head)

    assert says in str(caught.value)


def test_a_file_that_is_no_text_or_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b'title = "t"\nhours = 24 # \xff\n')

    with pytest.raises(SettingsError, match=rf"scenario: {path}:2: not UTF-8"):
        read_scenario(path)
    with pytest.raises(SettingsError, match=rf"scenario: {tmp_path}/none.toml: No such file or directory"):
        read_scenario(f"{tmp_path}/none.toml")
    with pytest.raises(SettingsError, match=rf"scenario: {tmp_path}: Is a directory"):
        read_scenario(tmp_path)
    with pytest.raises(SettingsError, match="scenario: 'Inversoin' is unknown; the nearest known is 'inversion'"):
        read_scenario("Inversoin")


def test_a_longer_interval_than_a_fault_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"inversion.toml:\d+: \[\[fault\]\] for: 10m is shorter than .* of 600 s"):
        load_scenario("inversion", town(), 7, START, interval_seconds=600)


@pytest.mark.parametrize(("hours", "interval"), [(-1.0, None), (9000.0, None), (float("nan"), None), (None, -5.0)])
def test_impossible_lengths_of_a_run_are_refused(hours: float | None, interval: float | None) -> None:
    with pytest.raises(SettingsError, match="above 0 and at most"):
        load_scenario("normal", town(), 7, START, hours=hours, interval_seconds=interval)


def test_an_interval_is_as_long_as_a_file_may_say() -> None:
    assert load_scenario("normal", town(), 7, START, interval_seconds=0.1).interval_seconds == 0.1
    with pytest.raises(SettingsError, match=r"interval_seconds: 1e-09: at least 0.1 expected"):
        load_scenario("normal", town(), 7, START, interval_seconds=1e-9)


def test_what_comes_again_too_often_is_refused(tmp_path: Path) -> None:
    """Each turn looks for devices that are free: a hundred thousand would take hours."""
    table = ("[[fault]]", 'what = "spike"', 'at = "0s"', 'for = "5m"', 'metric = "pm25"', "size = 5", 'every = "%s"')

    with pytest.raises(SettingsError, match=r"mine.toml:9: \[\[fault\]\] every: 86,101 times .* at most 10,000"):
        load(tmp_path, *table[:-1], table[-1] % "1s")
    assert load(tmp_path, *table[:-1], table[-1] % "1h")


def test_lines_are_found_behind_strings_of_several_lines_and_in_quotes() -> None:
    text = 'title = """\n[[fault]]\nwhat = 1\n"""\nhours = 1\n\n[[ fault ]]\n"what" = 2 # x\n[["fault"]]\nat=3\n'
    source = Source("x", text)

    assert [source.line("fault", n, key) for n, key in ((0, ""), (0, "what"), (1, ""), (1, "at"), (1, "what"))] == [
        7, 8, 9, 10, 9,
    ]  # fmt: skip
    assert (source.line("", 0, "hours"), source.line("", 0, "nothing"), source.line("event")) == (5, 1, 1)


def test_a_table_that_is_written_inline_is_named_by_its_line() -> None:
    content = b'title = "t"\nhours = 1\nfault = [{what = "spik", at = "0s", for = "9m"}]\n'

    file = parse_scenario("x", "x.toml", content)

    assert file.faults[0].what == "spik"
    assert file.source.line("fault", 0, "what") == 3
