"""Tests of the scoreboard: its city, its rivals, its counting, and in short form who is ahead of whom."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.scoreboard.board import OURS, Size, faults_board, load_board
from bench.scoreboard.faults import false_rate, gaps, judge, onsets, threshold_for
from bench.scoreboard.fleet import KINDS, Fleet, Injected, fleet
from bench.scoreboard.report import BEGIN, END, draw, into_page, markdown
from bench.scoreboard.rivals import ewma, hour_of_week, rested
from bench.scoreboard.scenarios import play

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def small() -> Fleet:
    return fleet(1, devices=24, days=20, from_day=8)


def test_a_seed_always_gives_the_same_city_and_another_one_another(small: Fleet) -> None:
    again, other = fleet(1, devices=24, days=20, from_day=8), fleet(2, devices=24, days=20, from_day=8)

    assert small.value.tobytes() == again.value.tobytes()
    assert small.faults == again.faults
    assert small.faults != other.faults


def test_faults_are_in_the_columns_that_say_so_from_their_day_on(small: Fleet) -> None:
    assert 0.25 < len({fault.column for fault in small.faults}) / len(small.series) < 0.75
    assert min(fault.first for fault in small.faults) >= 8 * small.per_day
    assert {fault.kind for fault in small.faults} == set(KINDS)
    for fault in small.faults:
        said = small.value[fault.first : fault.end, fault.column]
        assert np.isnan(said).all() == (fault.kind == "dropout")
        if fault.kind == "stuck":
            assert len(np.unique(said)) == 1
        if fault.kind == "spike":
            assert fault.end - fault.first == 1


def test_the_gap_check_finds_every_dropout_and_nothing_else(small: Fleet) -> None:
    result = judge([small], [gaps(small)])

    assert result.recall("dropout") == 100
    assert result.false == 0


def test_recall_false_alarms_and_delay_are_counted_as_said() -> None:
    rows, per_day = 40 * 144, 144
    value = np.zeros((rows, 2))
    of = Fleet(
        1, 600, 30, (), (), np.arange(rows) * 600 * 10**9, value, (Injected(0, 31 * per_day, 32 * per_day, "shift"),)
    )
    alert = np.zeros((rows, 2), bool)
    alert[31 * per_day + 12, 0] = True  # two hours into it
    alert[33 * per_day, 0] = True  # while the detector settles: not counted
    alert[20 * per_day, 1] = True  # before the day from which faults are: not counted
    alert[[35 * per_day, 36 * per_day], 1] = True  # false

    result = judge([of], [alert])

    assert result.kinds["shift"] == (1, 1, 2.0)
    assert result.false == pytest.approx(2 / (10 + 10 - 3))
    late = np.zeros((rows, 2), bool)
    late[32 * per_day, 0] = True  # the step back is not the step
    assert judge([of], [late]).kinds["shift"] == (0, 1, None)
    spike = replace(of, faults=(Injected(0, 31 * per_day, 31 * per_day + 1, "spike"),))
    late = np.zeros((rows, 2), bool)
    late[31 * per_day + 6, 0] = True  # an hour of grace
    assert judge([spike], [late]).kinds["spike"] == (1, 1, 1.0)
    assert judge([spike], [np.roll(late, 1, axis=0)]).kinds["spike"] == (0, 1, None)


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (50, 4), (4, 50)])
def test_an_onset_is_the_first_flat_reading_whatever_was_not_heard_in_between(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(7)
    heard, flat = rng.random((20, *shape)) < 0.6, rng.random((20, *shape)) < 0.5

    for hears, is_flat in zip(heard, flat, strict=True):
        found = onsets(is_flat, hears)

        expected = np.zeros(shape, bool)
        for column in range(shape[1]):
            before = False
            for row in np.flatnonzero(hears[:, column]):
                expected[row, column] = is_flat[row, column] and not before
                before = is_flat[row, column]
        assert (found == expected).all()


def test_a_rest_follows_an_alert_unless_it_gets_worse() -> None:
    score = np.zeros((100, 2), np.float32)
    score[[10, 11, 12, 50], 0] = [1, 1.2, 1.6, 1]
    score[5, 1] = 0.9

    alert = rested(score, 1.0)

    assert np.flatnonzero(alert[:, 0]).tolist() == [10, 12, 50]
    assert not alert[:, 1].any()


def test_the_z_scores_know_nothing_of_what_comes_later(small: Fleet) -> None:
    cut = 1000
    for whole, part in (
        (ewma(small.value), ewma(small.value[:cut])),
        (hour_of_week(small.measured, small.value), hour_of_week(small.measured[:cut], small.value[:cut])),
    ):
        assert whole[:cut].tobytes() == part.tobytes()
        assert whole[cut:].max() > 3


def test_a_threshold_is_the_lowest_that_is_quiet_enough(small: Fleet) -> None:
    score = ewma(small.value)

    at = threshold_for([small], [score], 0.05, rested)

    assert false_rate([small], [rested(score, at)]) <= 0.05
    assert false_rate([small], [rested(score, at * 0.99)]) > 0.04
    assert threshold_for([small], [score], 100, rested, least=7.0) == 7


@pytest.fixture(scope="module")
def board() -> dict[str, object]:
    """Return the short board: two cities of the design seeds, small and for a month."""
    size = Size(devices=50, days=28, from_day=14)
    return faults_board([1, 2], [3], size, lambda _: None, river=False)


@pytest.mark.timeout(400)  # of a busy machine; about 15 s of its own
def test_ours_is_ahead_of_the_z_scores_on_what_is_stuck_and_on_spikes(board: dict[str, object]) -> None:
    groups = board["groups"]
    assert isinstance(groups, dict)
    rows = groups["design"]["rows"]
    (mine,) = (row for name, row in rows.items() if name == f"{OURS}, severity 1")
    others = [row for name, row in rows.items() if name.endswith("as severity 1")]

    print(json.dumps({name: row["recall"] for name, row in rows.items()}, indent=1))  # noqa: T201 - figures
    assert len(others) == 2
    assert all(other["false"] <= mine["false"] * 1.1 for other in others)
    assert mine["recall"]["stuck"] >= max(other["recall"]["stuck"] for other in others) + 20
    assert mine["recall"]["spike"] > max(other["recall"]["spike"] for other in others)
    assert mine["recall"]["dropout"] == 100
    assert mine["false"] <= 0.08


@pytest.mark.timeout(400)
def test_tables_and_pictures_go_between_the_marks_of_the_page(tmp_path: Path, board: dict[str, object]) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    whole = {"date": "2026-11-22", "faults": board}

    pictures = draw(whole, tmp_path / "pictures")
    first = {path.name: path.read_bytes() for path in pictures.values()}
    again = {path.name: path.read_bytes() for path in draw(whole, tmp_path / "pictures").values()}
    into_page(page, markdown(whole, {name: str(path) for name, path in pictures.items()}))

    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert "| **urbanpulse, severity 1** |" in text
    assert "not used in design" in text
    assert set(first) == {"recall.svg", "trade.svg"}
    assert first == again
    page.write_text("no marks")
    with pytest.raises(ValueError, match="no <!--"):
        into_page(page, "x")


def test_a_plain_city_is_counted_through_the_whole_pipeline() -> None:
    (load,) = load_board([1], Size(city=20, weeks=1, week_days=1), lambda _: None).values()

    (week,) = load["weeks"]
    assert load["series"] > 20
    assert week["per_hour"] == sum(week["codes"].values()) / 24
    assert week["busy"] <= 1


@pytest.mark.timeout(400)
def test_a_scenario_is_scored_from_the_alerts_of_the_whole_pipeline() -> None:
    found = play(1, lambda _: None, names=["inversion"], devices=40, warm_days=1)["inversion"]

    assert found["labels"] == sum(of for _, of in found["kinds"].values()) == 4
    assert found["kinds"]["spike"] == [1, 1]
    assert found["kinds"]["stuck"] == [1, 1]
    assert found["alerts"] == sum(count for said in found["confusion"].values() for count in said.values())


@pytest.mark.parametrize("wrong", [["--only", "nap"], ["--seeds", "x"], ["--seeds", ""]])
def test_the_script_says_what_it_cannot_do(wrong: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.scoreboard", *wrong], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert wrong[0] in done.stderr
