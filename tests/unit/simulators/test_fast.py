"""Tests of the fast way to files: the same readings as by way of messages, the same bytes, and nothing half done."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from core.errors import Conflict, SettingsError
from simulators.capture import Capture, read_capture
from simulators.fast import Columns, FastRun, part_of
from simulators.fast_files import FastFolder
from simulators.fast_parquet import ReadingsWriter
from simulators.faults import Fault, FaultKind, FaultPlan
from simulators.layout import city
from simulators.reports import emissions, overtime
from simulators.wire import wire_format
from simulators.world import World

START = 1_767_225_600_000_000_000
HOUR = 3_600_000_000_000
FACTS = {"seed": 7, "scenario": "test"}

Row = tuple[str, str, int, int, float]


def fault(kind: FaultKind, device: str, metric: str = "*", size: float = 0.0) -> Fault:
    return Fault(kind, device, metric, START + 2 * HOUR, START + 5 * HOUR, size)


WORLD = World(7, city(7, 40).devices)
AIR = next(name for name, device in WORLD.devices.items() if device.kind == "air")
VALUE_FAULTS = (
    fault(FaultKind.DROPOUT, AIR),
    fault(FaultKind.STUCK, "weather-001", "temperature"),
    fault(FaultKind.DRIFT, "traffic-001", "speed", 30.0),
    fault(FaultKind.MAINTENANCE_BIAS, "noise-001", "noise", 20.0),
)


def run(*faults: Fault, hours: float = 24, step: float = 300.0, world: World = WORLD) -> FastRun:
    return FastRun(world, FaultPlan(faults), START, START + round(hours * HOUR), step, 0.4)


def rows(columns: Columns) -> list[Row]:
    return [
        (columns.device, columns.metric, *row)
        for row in zip(columns.measured.tolist(), columns.received.tolist(), columns.value.tolist(), strict=True)
    ]


def said(of: FastRun, device: str) -> list[Row]:
    """Return what *device* says, by its emissions: the slow way."""
    grid, slots = of.grid(device)
    count = len(slots) + overtime(of.plan, grid, slots)
    return [
        (device, metric, report.at, emission.due, value)
        for emission in emissions(of.world, of.plan, grid, slots.start, count, run=slots)
        if emission.damage is None
        for report in emission.reports
        for metric, value in report.values.items()
        if isinstance(value, float) and not isinstance(value, bool)
    ]


def write(folder: Path, of: FastRun, *, part: tuple[int, int] = (1, 1), part_rows: int = 5000, **more: Any) -> int:
    target = FastFolder(folder, FACTS, part=part)
    target.claim(**more)
    mine = part_of(sorted(of.world.devices), part)
    with target.readings(mine, part_rows=part_rows) as writer:
        for device in mine:
            for columns in of.columns(device):
                writer.add(columns)
    target.finish({"readings": writer.rows, "files": writer.files})
    return writer.rows


def read(folder: Path) -> list[Row]:
    """Return the rows of all files, file by file."""
    with duckdb.connect() as engine:
        found = [
            engine.execute(
                "SELECT device, metric, epoch_ns(measured), epoch_ns(received), value FROM read_parquet($1)",
                [str(file)],
            ).fetchall()
            for file in sorted((folder / "readings").glob("*.parquet"))
        ]
    return [row for file in found for row in file]


# -- what is written ---------------------------------------------------------------------------------------------------


def test_a_plain_device_has_the_readings_that_its_emissions_tell() -> None:
    of = run(*VALUE_FAULTS, step=60.0)

    for device in WORLD.devices:
        assert of.plan.is_plain(device)
        assert sorted(row for columns in of.columns(device) for row in rows(columns)) == sorted(said(of, device)), (
            device
        )


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        (FaultKind.DUPLICATES, 0.0), (FaultKind.REORDERING, 0.0), (FaultKind.CLOCK_SKEW, 900.0),
        (FaultKind.CLOCK_JUMP, -3600.0), (FaultKind.LATE_BACKLOG, 0.0), (FaultKind.REPLAYED_RETAINED, 0.0),
        (FaultKind.REPLAYED_CAPTURE, 3600.0), (FaultKind.MESSAGE_FLOOD, 10.0), (FaultKind.MALFORMED, 0.0),
        (FaultKind.FIRMWARE_TYPE, 0.0),
    ],
)  # fmt: skip
def test_what_goes_wrong_with_sending_is_in_the_readings(kind: FaultKind, size: float) -> None:
    of = run(fault(kind, AIR, size=size))

    wrong = [row for columns in of.columns(AIR) for row in rows(columns)]

    assert sorted(wrong) == sorted(said(of, AIR))
    assert sorted(wrong) != sorted(row for columns in run().columns(AIR) for row in rows(columns))


def test_nothing_hangs_on_the_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    hours = [START + hour * HOUR for hour in range(24)]
    of = run(
        Fault(FaultKind.MESSAGE_FLOOD, AIR, "*", hours[2], hours[4], 3.0),
        Fault(FaultKind.LATE_BACKLOG, AIR, "*", hours[4], hours[10]),
        Fault(FaultKind.REORDERING, AIR, "*", hours[10], hours[11]),
        Fault(FaultKind.DROPOUT, AIR, "*", hours[12], hours[13]),
        Fault(FaultKind.CLOCK_JUMP, AIR, "*", hours[22], hours[23] + HOUR, -7200.0),
    )
    whole = [row for columns in of.columns(AIR) for row in rows(columns)]

    for slots, sent in ((1, 1), (7, 3), (100, 11)):
        monkeypatch.setattr("simulators.fast._SLOTS", slots)
        monkeypatch.setattr("simulators.fast._SENT_SLOTS", sent)
        monkeypatch.setattr("simulators.fast._EMISSIONS", max(1, sent - 1))
        assert sorted(row for columns in of.columns(AIR) for row in rows(columns)) == whole, slots
    assert whole == sorted(said(of, AIR))


def test_a_backlog_that_outlasts_the_run_is_written_too() -> None:
    of = FastRun(WORLD, FaultPlan([fault(FaultKind.LATE_BACKLOG, AIR)]), START, START + 5 * HOUR, 300.0)

    late = [row for columns in of.columns(AIR) for row in rows(columns) if row[3] >= START + 5 * HOUR]

    assert late
    assert all(START + 2 * HOUR <= row[2] < START + 5 * HOUR for row in late)


def test_files_hold_the_readings_in_order(tmp_path: Path) -> None:
    of = run(*VALUE_FAULTS[1:], fault(FaultKind.LATE_BACKLOG, AIR), fault(FaultKind.REORDERING, "weather-002"))

    count = write(tmp_path / "out", of)

    found = read(tmp_path / "out")
    assert len(found) == count
    assert found == [row for device in sorted(WORLD.devices) for columns in of.columns(device) for row in rows(columns)]
    assert all(a[:3] <= b[:3] for a, b in pairwise(found))
    with duckdb.connect() as engine:
        types = engine.execute(
            f"DESCRIBE SELECT * FROM '{tmp_path}/out/readings/part-1of1-00000.parquet'"  # noqa: S608 - our own path
        ).fetchall()
    assert [(name, kind) for name, kind, *_ in types] == [
        ("device", "VARCHAR"),
        ("metric", "VARCHAR"),
        ("measured", "TIMESTAMP_NS"),
        ("received", "TIMESTAMP_NS"),
        ("value", "DOUBLE"),
    ]


@pytest.mark.parametrize(("count", "files"), [(0, 0), (1, 1), (100, 1), (101, 2), (250, 3)])
def test_a_file_ends_at_its_limit(tmp_path: Path, count: int, files: int) -> None:
    at = np.arange(count)

    with ReadingsWriter(tmp_path, "part", ["it's"], part_rows=100) as writer:
        writer.add(Columns("it's", "x", at, at + 1, at / 2))

    with duckdb.connect() as engine:
        sizes = [
            len(engine.execute("SELECT device, value FROM read_parquet($1)", [str(file)]).fetchall())
            for file in sorted(tmp_path.iterdir())
        ]
    assert (writer.rows, writer.files) == (count, files)
    assert sizes == [100] * (count // 100) + [count % 100] * bool(count % 100)


def test_equal_runs_give_equal_bytes_and_another_seed_others(tmp_path: Path) -> None:
    of = run(*VALUE_FAULTS, fault(FaultKind.MESSAGE_FLOOD, "waste-001", size=5.0))
    write(tmp_path / "a", of)
    write(tmp_path / "b", of)
    write(tmp_path / "c", run(world=World(8, city(7, 40).devices)))

    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) > 3
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)
    assert {row[4] for row in read(tmp_path / "a")} != {row[4] for row in read(tmp_path / "c")}


def test_parts_together_are_the_whole(tmp_path: Path) -> None:
    of = run(*VALUE_FAULTS, fault(FaultKind.REORDERING, "waste-001"))
    whole = write(tmp_path / "whole", of)

    counts = [write(tmp_path / "parts", of, part=(k, 3)) for k in (3, 1, 2)]

    assert sum(counts) == whole
    assert min(counts) > 0
    assert sorted(read(tmp_path / "parts")) == sorted(read(tmp_path / "whole"))
    assert len(list((tmp_path / "parts").glob("run-*.json"))) == 3


@pytest.mark.parametrize("part", [(0, 3), (4, 3), (1, 0), (5, 5)])
def test_a_part_that_is_none_is_refused(part: tuple[int, int]) -> None:
    with pytest.raises(SettingsError, match="part"):
        part_of(["a", "b", "c", "d"], part)


def test_a_run_without_time_is_refused() -> None:
    with pytest.raises(SettingsError, match="ends before it begins"):
        run(hours=0)


# -- messages ----------------------------------------------------------------------------------------------------------


def messages(folder: Path, of: FastRun, wire: str, *, part: tuple[int, int] = (1, 1)) -> list[Capture]:
    target = FastFolder(folder, FACTS, part=part)
    target.claim()
    devices = part_of(sorted(of.world.devices), part)
    speaker = wire_format(wire, list(of.world.devices.values()), 7)
    count = target.write_messages(of.captures(devices, speaker), started=of.start)
    target.finish({"messages": count})
    found = list(read_capture(folder / f"messages-{part[0]}of{part[1]}.jsonl"))
    assert len(found) == count
    return found


@pytest.mark.parametrize("wire", ["json", "sparkplug", "chirpstack"])
def test_messages_are_what_each_device_says_in_order_of_time(tmp_path: Path, wire: str) -> None:
    wrong = (fault(FaultKind.MALFORMED, AIR), fault(FaultKind.LATE_BACKLOG, "waste-001"))
    of = run(*wrong, hours=6, step=900.0)

    found = messages(tmp_path / "whole", of, wire)

    assert all(a.at <= b.at for a, b in pairwise(found))
    for device in WORLD.devices:
        speaker = wire_format(wire, list(WORLD.devices.values()), 7)
        grid, slots = of.grid(device)
        sent = emissions(
            WORLD,
            of.plan,
            grid,
            slots.start,
            len(slots) + overtime(of.plan, grid, slots),
            run=slots,
            offset=-slots.start,
        )
        wanted = [*speaker.births(device, START), *(m for emission in sent for m in speaker.encode(emission))]
        wanted += speaker.farewell(device, max(START + 6 * HOUR, sent[-1].due))
        topics = {message.topic for message in wanted}
        assert [(m.topic, m.payload, m.qos, m.retain) for m in wanted] == [
            (c.topic, c.payload, c.qos, c.retain) for c in found if c.topic in topics
        ]


def test_messages_in_parts_are_those_of_the_whole(tmp_path: Path) -> None:
    of = run(hours=6, step=900.0)
    whole = messages(tmp_path / "whole", of, "senml")

    parts = [capture for k in (1, 2) for capture in messages(tmp_path / "parts", of, "senml", part=(k, 2))]

    def order(capture: Capture) -> tuple[int, str, bytes]:
        return capture.at, capture.topic, capture.payload

    assert sorted(parts, key=order) == sorted(whole, key=order)


# -- the folder --------------------------------------------------------------------------------------------------------


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")

    for force in (False, True):
        with pytest.raises(Conflict, match=r"is not empty, and thesis\.tex is not of a run"):
            FastFolder(tmp_path, FACTS).claim(force=force)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_is_replaced_only_by_force(tmp_path: Path) -> None:
    write(tmp_path, run(step=60.0))
    many = len(read(tmp_path))

    with pytest.raises(Conflict, match=r"holds this run already: .* --force"):
        FastFolder(tmp_path, FACTS).claim()
    assert len(read(tmp_path)) == many
    few = write(tmp_path, run(step=900.0), force=True)

    assert len(read(tmp_path)) == few < many


def test_another_run_is_replaced_only_by_force(tmp_path: Path) -> None:
    write(tmp_path, run(), part=(1, 2))
    write(tmp_path, run(), part=(2, 2))
    other = FastFolder(tmp_path, {**FACTS, "seed": 8})

    with pytest.raises(Conflict, match=r"holds another run: .* --force"):
        other.claim()
    other.claim(force=True)

    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["run-1of1.json"]
    assert read(tmp_path) == []


def test_a_run_that_did_not_end_says_so(tmp_path: Path) -> None:
    folder = FastFolder(tmp_path, FACTS)
    folder.claim()
    begun = json.loads((tmp_path / "run-1of1.json").read_bytes())

    folder.finish({"readings": 3})

    assert begun == {"run": FACTS, "part": "1of1", "complete": False}
    assert json.loads((tmp_path / "run-1of1.json").read_bytes()) == {**begun, "complete": True, "readings": 3}


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(SettingsError, match=r"fast: .*file"):
        FastFolder(tmp_path / "file" / "out", FACTS).claim()


_FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from core.errors import SettingsError
from simulators.fast_files import FastFolder
from simulators.capture import Capture
import numpy as np
from simulators.fast import Columns
folder = FastFolder(Path(sys.argv[1]), {})
folder.claim()
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
at = np.arange(1_000_000)
noise = np.random.default_rng(1).normal(size=1_000_000)
def readings():
    with folder.readings(["a"], part_rows=500_000) as writer:
        writer.add(Columns("a", "x", at, at, noise))
def messages():
    folder.write_messages((Capture(1, "a", b"x" * 1000) for _ in range(100)), started=0)
def file():
    folder.write("city.geojson", b"x" * 30_000)
for write in (readings, messages, file):
    try:
        write()
    except SettingsError as error:
        print(error)
"""


def test_a_full_disk_is_told_and_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: the same calls fail, with another errno."""
    out = tmp_path / "out"

    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(out), str(Path(__file__).parents[3])],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    told = done.stdout.splitlines()
    assert len(told) == 3, done.stdout
    assert all(line.startswith(("fast: ", "record: ")) for line in told)
    assert "part-1of1-00000.parquet" in told[0]
    assert all("File too large" in line for line in told)
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == ["run-1of1.json"]
    assert json.loads((out / "run-1of1.json").read_bytes())["complete"] is False
