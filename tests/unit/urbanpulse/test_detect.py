"""Tests of `urbanpulse detect`: what the pipeline would have said, row by row, of files that an engineer has."""

from __future__ import annotations

import csv
import gzip
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

from core.batch import ReadingBatch
from core.city import Series
from core.errors import Conflict, MalformedPayload, SettingsError
from processors.detectors.contract import Scores
from processors.detectors.novelty import NoveltyBank
from processors.standard import StandardParts
from urbanpulse.cli import app
from urbanpulse.detect_files import HEADER, read_series, targets_of
from urbanpulse.detect_run import detect, metric_of_kind
from urbanpulse.detecting import REASONS, Verdicts, judge_series

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Column = tuple[NDArray[np.int64], NDArray[np.float64]]

_MINUTE = 60_000_000_000
_START = 1_767_225_600_000_000_000
_N = 700
_SPIKE = 500


def column(seed: int, n: int = _N, *, spike: bool = True) -> Column:
    """Return five-minute readings with a daily wave, and a spike in row 500."""
    at = _START + np.arange(n) * 5 * _MINUTE
    value = 20 + 3 * np.sin(np.arange(n) / 288 * 2 * np.pi) + np.random.default_rng(seed).normal(0, 0.3, n)
    if spike and n > _SPIKE:
        value[_SPIKE] += 15
    return at, value.round(2)


def stamp(ns: int) -> str:
    return str(np.datetime64(int(ns), "ns").astype("datetime64[s]")).replace("T", " ")


def write(path: Path, of: Column, head: str = "timestamp,value") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = (f"{stamp(at)},{value:g}" for at, value in zip(*of, strict=True))
    path.write_text("\n".join(([head] if head else []) + list(rows)) + "\n")
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def same(one: Verdicts, other: Verdicts) -> bool:
    return all(
        getattr(one, name).tobytes() == getattr(other, name).tobytes()
        for name in ("severity", "reason", "expected", "low", "high")
    )


def test_verdicts_are_what_the_parts_of_the_pipeline_say() -> None:
    at, value = column(1)
    parts = StandardParts()
    parts.learn(Series(0, "d", "temperature", "x"))
    _, scores = parts.judge(ReadingBatch.of(np.zeros(_N, int), at, value), int(at[-1]))

    (verdicts,) = judge_series([(at, value)], ["temperature"])

    assert verdicts.severity.tolist() == scores.severity.tolist()
    assert verdicts.severity[_SPIKE] >= 1
    assert np.array_equal(verdicts.expected, scores.expected, equal_nan=True)


@pytest.mark.parametrize("readings", [1, 7, 100, 16_384])
def test_neither_the_size_of_batches_nor_other_files_change_a_bit(readings: int) -> None:
    columns = [column(seed, n) for seed, n in ((1, _N), (2, 300), (3, _N), (4, 1))]
    alone = [judge_series([each], ["temperature"])[0] for each in columns]

    together = judge_series(columns, ["temperature"] * len(columns), readings=readings)

    assert all(same(one, other) for one, other in zip(alone, together, strict=True))


def test_nothing_is_said_with_knowledge_of_what_comes_later() -> None:
    at, value = column(5)
    (whole,) = judge_series([(at, value)], [""])
    for cut in (1, 200, _SPIKE, _SPIKE + 1):
        (part,) = judge_series([(at[:cut], value[:cut])], [""])

        assert part.severity.tolist() == whole.severity[:cut].tolist()
        assert np.array_equal(part.high, whole.high[:cut], equal_nan=True)


def test_every_row_comes_out_in_its_order_with_its_own_texts(tmp_path: Path) -> None:
    at, value = column(1)
    source = write(tmp_path / "in" / "a.csv", (at, value), "TimeStamp, Value ")

    summary = detect([source], tmp_path / "out", quiet=True)

    rows = rows_of(tmp_path / "out" / "a.csv")
    assert tuple(rows[0]) == HEADER
    assert [row["timestamp"] for row in rows] == [stamp(ns) for ns in at]
    assert [row["value"] for row in rows] == [f"{number:g}" for number in value]
    assert float(rows[_SPIKE]["severity"]) >= 1
    assert rows[_SPIKE]["reason"] in REASONS
    assert float(rows[_SPIKE]["low"]) < float(rows[_SPIKE]["expected"]) < float(rows[_SPIKE]["high"])
    assert float(rows[_SPIKE]["high"]) < float(rows[_SPIKE]["value"])
    assert {(row["severity"], row["reason"]) for row in rows[:100]} == {("0", "")}
    assert summary.worst[0].row == _SPIKE + 1


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(lambda ns: str(ns // 10**9), id="seconds since the epoch"),
        pytest.param(lambda ns: str(ns // 10**6), id="milliseconds since the epoch"),
        pytest.param(lambda ns: stamp(ns).replace(" ", "T") + "Z", id="RFC 3339"),
        pytest.param(lambda ns: stamp(ns + 300 * _MINUTE).replace(" ", "T") + "+05:00", id="RFC 3339 of a zone"),
    ],
)
def test_times_may_be_written_in_several_ways(tmp_path: Path, text: object) -> None:
    at, value = column(2)
    assert callable(text)
    lines = [f"{text(ns)},{number}" for ns, number in zip(at.tolist(), value.tolist(), strict=True)]
    (tmp_path / "a.csv").write_text("\n".join(["timestamp,value", *lines]))

    assert read_series(tmp_path / "a.csv").measured.tolist() == at.tolist()
    (tmp_path / "b.csv").write_text("\n".join(lines))  # without a header

    assert read_series(tmp_path / "b.csv").measured.tolist() == at.tolist()


def test_rows_without_a_number_are_written_with_severity_zero(tmp_path: Path) -> None:
    at, value = column(3, 400)
    source = write(tmp_path / "a.csv", (at, value))
    lines = source.read_text().splitlines()
    for row, text in ((200, ""), (201, "NaN"), (202, "null"), (203, "inf")):
        lines[row + 1] = lines[row + 1].split(",")[0] + "," + text
    source.write_text("\n".join(lines))

    summary = detect([source], tmp_path / "out", quiet=True)

    rows = rows_of(tmp_path / "out" / "a.csv")
    assert [row["value"] for row in rows[200:204]] == ["", "NaN", "null", "inf"]
    assert {(row["severity"], row["reason"]) for row in rows[200:204]} == {("0", "")}
    assert summary.total("missing") == 4
    kept = np.delete(np.arange(400), range(200, 204))
    (without,) = judge_series([(at[kept], value[kept])], [""])
    assert [row["severity"] for k, row in enumerate(rows) if k in set(kept.tolist())] == [
        cells[0] for cells in without.cells()
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        pytest.param("2026-01-01 00:00:00,12,5", "'12,5'", id="a decimal comma is no number: nothing is guessed"),
        pytest.param("2026-01-01 00:00:00,abc", "'abc' is not a number", id="no number"),
        pytest.param("yesterday,1", "'yesterday' is not a time", id="no time"),
        pytest.param("2026-01-01 00:00:00", "a time and a value expected", id="one cell"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line_and_can_be_passed_over(tmp_path: Path, line: str, says: str) -> None:
    if line.count(",") == 2:
        line = line.replace("12,5", '"12,5"')
    source = tmp_path / "a.csv"
    source.write_text(f"timestamp,value\n2026-01-01 00:00:00,1\n{line}\n2026-01-01 00:10:00,2\n")

    with pytest.raises(MalformedPayload, match=f"a.csv:3: .*{says}"):
        detect([source], tmp_path / "out", quiet=True)
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True
    summary = detect([source], tmp_path / "out", skip_bad=True, quiet=True)

    assert summary.total("bad") == 1
    assert [row["severity"] for row in rows_of(tmp_path / "out" / "a.csv")] == ["0", "0", "0"]


def test_rows_out_of_order_are_judged_in_order_of_time_and_written_in_that_of_the_file(tmp_path: Path) -> None:
    at, value = column(4)
    (sorted_,) = judge_series([(at, value)], [""])
    for order in (np.arange(_N)[::-1], np.random.default_rng(1).permutation(_N)):
        (shuffled,) = judge_series([(at[order], value[order])], [""])

        assert shuffled.severity.tolist() == sorted_.severity[order].tolist()
    source = write(tmp_path / "a.csv", (at[::-1], value[::-1]))

    result = CliRunner().invoke(app, ["detect", str(source), "--out", str(tmp_path / "out")], env={"COLUMNS": "200"})

    assert result.exit_code == 0, result.output
    assert "699 rows of a.csv stand after a later one" in result.output
    assert rows_of(tmp_path / "out" / "a.csv")[0]["timestamp"] == stamp(at[-1])


def test_times_that_repeat_are_told(tmp_path: Path) -> None:
    at, value = column(4, 50)
    source = write(tmp_path / "a.csv", (np.repeat(at, 2), np.repeat(value, 2)))

    summary = detect([source], tmp_path / "out", quiet=True)

    assert (summary.total("repeated"), summary.total("unordered"), summary.total("readings")) == (50, 0, 100)


@pytest.mark.parametrize("text", ["", "timestamp,value\n", "timestamp,value\n2026-01-01 00:00:00,1\n"])
def test_empty_files_and_single_rows_are_no_trouble(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)

    summary = detect([tmp_path / "a.csv"], tmp_path / "out", plot=True, quiet=True)

    assert summary.total("readings") == len(rows_of(tmp_path / "out" / "a.csv")) == max(text.count("\n") - 1, 0)
    assert (tmp_path / "out" / "a.svg").is_file()


def test_a_constant_series_and_one_of_huge_numbers_come_to_an_end_without_nonsense(tmp_path: Path) -> None:
    at, value = column(1, 400)
    write(tmp_path / "in" / "constant.csv", (at, np.full(400, 7.0)))
    (tmp_path / "in" / "huge.csv").write_text(
        "timestamp,value\n" + "".join(f"{stamp(ns)},{x:g}e300\n" for ns, x in zip(at, value, strict=True))
    )

    summary = detect([tmp_path / "in"], tmp_path / "out", quiet=True)

    assert summary.total("alerts") == 0
    for file in (tmp_path / "out").glob("*.csv"):
        assert all(np.isfinite(float(row["severity"])) for row in rows_of(file))


def test_folders_are_kept_and_the_same_bytes_come_out_however_many_files_go_in(tmp_path: Path) -> None:
    for n, name in enumerate(("north/a.csv", "north/b.csv", "south/deep/a.csv")):
        write(tmp_path / "in" / name, column(n))
    detect([tmp_path / "in"], tmp_path / "all", quiet=True)
    detect([tmp_path / "in" / "south" / "deep" / "a.csv"], tmp_path / "one", quiet=True)
    detect([tmp_path / "in" / "north", tmp_path / "in" / "south"], tmp_path / "two", quiet=True)

    names = sorted(str(path.relative_to(tmp_path / "all")) for path in (tmp_path / "all").rglob("*.csv"))

    assert names == ["north/a.csv", "north/b.csv", "south/deep/a.csv"]
    for name in names:
        assert (tmp_path / "all" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert (tmp_path / "one" / "a.csv").read_bytes() == (tmp_path / "all" / "south/deep/a.csv").read_bytes()


def test_nothing_is_written_among_the_inputs_nor_over_an_earlier_run(tmp_path: Path) -> None:
    source = write(tmp_path / "in" / "a.csv", column(1, 50))
    for out in (tmp_path / "in", tmp_path / "in" / "out"):
        with pytest.raises(SettingsError, match="among the files that are read"):
            targets_of([tmp_path / "in"], out)
    with pytest.raises(SettingsError, match="among the files that are read"):
        targets_of([source], tmp_path / "in")
    before = source.read_bytes()
    detect([source], tmp_path / "out", quiet=True)

    with pytest.raises(Conflict, match="--force"):
        detect([source], tmp_path / "out", quiet=True)
    detect([source], tmp_path / "out", force=True, quiet=True)

    assert source.read_bytes() == before
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["a.csv", "a.csv"]


def test_a_value_that_the_metric_cannot_have_is_told_where_it_begins(tmp_path: Path) -> None:
    at, value = column(1, 400, spike=False)
    value[300:303] = 500
    (verdicts,) = judge_series([(at, value)], ["temperature"])
    (unknown,) = judge_series([(at, value)], [""])

    assert REASONS[verdicts.reason[300]] == "range"
    assert verdicts.severity[300] >= 1
    assert REASONS[unknown.reason[300]].startswith("novelty.")
    source = write(tmp_path / "a.csv", (at, value))
    result = CliRunner().invoke(
        app, ["detect", str(source), "--out", str(tmp_path / "out"), "--kind", "soil", "--json"]
    )
    assert result.exit_code == 1
    assert "soil_moisture, soil_temperature: say which with --metric" in str(result.exception)
    arguments = ["detect", str(source), "--out", str(tmp_path / "out"), "--kind", "soil", "--metric", "soil_moisture"]
    facts = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).output)
    assert facts["files"][0]["metric"] == "soil_moisture"
    assert facts["reasons"]["range"] == 1


@pytest.mark.parametrize("readings", [16, 2048])
def test_a_line_that_stays_flat_is_told_where_its_flag_begins(readings: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the detector has nothing to say."""
    monkeypatch.setattr(NoveltyBank, "update", lambda _, series, *__: Scores.nothing(len(series)))
    at, value = column(1, spike=False)
    value[400:450] = value[400]

    (verdicts,) = judge_series([(at, value)], ["temperature"], readings=readings)

    assert verdicts.alerts.tolist() == [411]  # the twelfth reading
    assert (verdicts.severity[411], REASONS[verdicts.reason[411]]) == (1, "flat")


@pytest.mark.parametrize(
    ("kind", "metric", "means"),
    [("", "", ""), ("noise", "", "noise"), ("air", "pm25", "pm25"), ("pm25", "", "pm25"), ("generic", "x", "x")],
)
def test_a_kind_of_device_says_what_is_measured(kind: str, metric: str, means: str) -> None:
    assert metric_of_kind(kind, metric) == means


def test_a_kind_that_is_none_is_told_with_the_nearest_one() -> None:
    with pytest.raises(SettingsError, match="did you mean noise"):
        metric_of_kind("noize", "")
    with pytest.raises(SettingsError, match="measures pm25"):
        metric_of_kind("air", "noise")


def test_the_column_may_be_named_after_its_metric_and_a_file_holds_one_series(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("ts;pm25\n1767225600;12\n1767225900;13\n")
    (tmp_path / "b.csv").write_text("ts,device,pm25,no2\n1767225600,x,12,30\n1767225900,x,13,31\n")
    (tmp_path / "c.csv").write_text("ts,device,value\n1767225600,x,12\n1767225900,y,13\n")

    assert read_series(tmp_path / "a.csv").metric == "pm25"
    assert read_series(tmp_path / "b.csv", metric="no2").value.tolist() == [30, 31]
    with pytest.raises(MalformedPayload, match=r"b.csv:1: columns ts, device, pm25, no2: .*--metric"):
        read_series(tmp_path / "b.csv")
    with pytest.raises(MalformedPayload, match=r"c.csv:3: device 'y' after 'x': one series a file expected"):
        read_series(tmp_path / "c.csv")


def test_packed_files_stay_packed_and_equal_runs_give_equal_bytes(tmp_path: Path) -> None:
    plain = write(tmp_path / "in" / "a.csv", column(1))
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "a.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    detect([plain], tmp_path / "one", plot=True, quiet=True)
    detect([tmp_path / "packed"], tmp_path / "two", quiet=True)
    detect([tmp_path / "packed"], tmp_path / "three", quiet=True)
    detect([plain], tmp_path / "four", plot=True, quiet=True)

    packed = (tmp_path / "two" / "a.csv.gz").read_bytes()

    assert gzip.decompress(packed) == (tmp_path / "one" / "a.csv").read_bytes()
    assert packed == (tmp_path / "three" / "a.csv.gz").read_bytes()
    picture = (tmp_path / "one" / "a.svg").read_bytes()
    assert picture == (tmp_path / "four" / "a.svg").read_bytes()
    assert f"readings {_N}, alerts ".encode() in picture


def test_what_is_no_text_or_not_there_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"timestamp,value\n2026-01-01,\xff\xfe\n")
    (tmp_path / "empty").mkdir()

    with pytest.raises(MalformedPayload, match="not UTF-8"):
        read_series(tmp_path / "a.csv")
    with pytest.raises(SettingsError, match="No such file"):
        targets_of([tmp_path / "b.csv"], tmp_path / "out")
    with pytest.raises(SettingsError, match=r"no \.csv"):
        targets_of([tmp_path / "empty"], tmp_path / "out")


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_folder_that_cannot_be_written_to_is_told_before_the_work(tmp_path: Path, out: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("timestamp,value\nnobody reads so far\n")
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(SettingsError, match=f"out: {tmp_path / out}: "):
        detect([tmp_path / "in"], tmp_path / out)


def test_a_folder_below_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        (tmp_path / "in" / folder / "x.csv").write_text("timestamp,value\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b").write_text("no folder")

    with pytest.raises(SettingsError, match=f"out: {tmp_path}/out/b/x.csv: "):
        detect([tmp_path / "in"], tmp_path / "out")


def test_a_link_is_known_by_its_own_name(tmp_path: Path) -> None:
    for folder in ("far", "in"):
        (tmp_path / folder).mkdir()
    (tmp_path / "far" / "x.csv").write_text("timestamp,value\n2026-01-01,1\n")
    (tmp_path / "in" / "link.csv").symlink_to("../far/x.csv")

    detect([tmp_path / "in"], tmp_path / "one")
    detect([tmp_path / "in" / ".." / "in" / "link.csv"], tmp_path / "two")

    for out in ("one", "two"):
        assert [path.name for path in (tmp_path / out).iterdir()] == ["link.csv"]
    with pytest.raises(SettingsError, match="would lie among the files that are read"):
        detect([tmp_path / "in" / "link.csv"], tmp_path / "far")
