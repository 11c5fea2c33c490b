"""The verb `scenarios`: what it lists, shows, checks and draws, and that its pictures are in the docs."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.errors import SettingsError
from simulators.events import EventKind
from simulators.faults import FaultKind
from simulators.scenarios import scenario_names
from urbanpulse.cli import app
from urbanpulse.scenario_lists import _clock
from urbanpulse.scenario_plots import draw_all

ROOT = Path(__file__).parents[3]
PICTURES = {*(f"fault-{kind}.svg" for kind in FaultKind), *(f"event-{kind}.svg" for kind in EventKind)}


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["scenarios", *words], env={"COLUMNS": "160"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_every_scenario_event_and_fault_is_listed_with_a_line() -> None:
    known = json.loads(run("--json"))
    shown = run()

    assert [each["name"] for each in known["scenarios"]] == scenario_names()
    assert [each["kind"] for each in known["events"]] == [*EventKind]
    assert [each["kind"] for each in known["faults"]] == [*FaultKind]
    for word in (*scenario_names(), *EventKind, *FaultKind):
        assert f" {word} " in shown


def test_a_scenario_is_shown_as_what_happens_when_and_to_whom() -> None:
    facts = json.loads(run("substation-outage", "--json"))
    shown = run("substation-outage")

    assert (facts["hours"], facts["devices"], facts["seed"], facts["notes"]) == (36, 400, 7, [])
    assert [(row["begins"], row["class"], row["what"], row["who"], row["district"]) for row in facts["happens"]] == [
        ("17h", "fault", "level_shift", facts["happens"][0]["who"], "merkez"),
        ("17h30m", "event", "outage", "the city", "gala"),
        ("18h30m", "fault", "late_backlog", facts["happens"][2]["who"], "gala"),
    ]
    assert facts["happens"][2]["who"].endswith(" devices")
    assert "17h30m" in shown
    assert "36 h, 400 devices, one report in 60 s, seed 7" in shown


def test_another_seed_shows_others() -> None:
    assert run("attack", "--seed", "1") != run("attack", "--seed", "2")


def test_the_plain_week_says_that_nothing_happens() -> None:
    assert "nothing happens, nothing goes wrong" in run("normal")


def test_a_city_that_is_too_small_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    one = '[[fault]]\nwhat = "stuck"\nat = "1h"\nfor = "2h"\nkind = "beds"\nmetric = "bed_occupancy"\nshare = 1.0\n'
    path.write_text('title = "t"\nhours = 9\ndevices = 20\n' + one * 2)

    assert "note: line 11: nobody is free to be hit by stuck" in run(str(path))
    assert "1 faults in 9 h\nnote: line 11" in run("--check", str(path))


def test_a_file_that_holds_is_said_to_hold(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('title = "t"\nhours = 9\n[[event]]\nkind = "match"\nat = "1h"\nfor = "5h"\n')

    assert run("--check", str(path)) == f"{path}: 1 events and 0 faults in 9 h\n"
    assert json.loads(run("--check", str(path), "--json")) == {"events": 1, "faults": 0, "notes": []}


def test_an_error_keeps_its_brackets_on_the_way_to_the_screen(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('title = "t"\nhours = 9\n[[fault]]\nwhat = "stack"\nat = "1h"\nfor = "5h"\n')

    done = subprocess.run(
        [sys.executable, "-m", "urbanpulse", "scenarios", "--check", str(path)],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip

    assert done.returncode == 1
    wanted = f"error: scenario: {path}:4: [[fault]] what 'stack' is unknown; the nearest known is 'stuck'\n"
    assert done.stderr == wanted


@pytest.mark.parametrize("words", [("normal", "--check", "x.toml"), ("--check", "x.toml", "--plot", "x")])
def test_only_one_thing_can_be_asked(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, ["scenarios", *words])

    assert result.exit_code == 2


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("")

    with pytest.raises(SettingsError, match=f"plot: {tmp_path}/there: File exists"):
        run("--plot", str(tmp_path / "there"))


def test_every_kind_is_drawn_the_same_each_time_and_shown_in_the_docs(tmp_path: Path) -> None:
    start = datetime(2026, 5, 12, 19, tzinfo=UTC)
    page = (ROOT / "docs/simulators.md").read_text()

    first = {path.name: path.read_bytes() for path in draw_all(tmp_path / "a", seed=7, start=start)}
    again = {path.name: path.read_bytes() for path in draw_all(tmp_path / "b", seed=7, start=start)}

    assert set(first) == PICTURES
    assert first == again
    assert {path.name for path in (ROOT / "docs/simulators").glob("*.svg")} == PICTURES
    assert [name for name in PICTURES if f"(simulators/{name})" not in page] == []
    assert all(len(content) < 60_000 for content in first.values())


def test_the_tables_of_the_docs_are_those_of_the_program() -> None:
    page = (ROOT / "docs/simulators.md").read_text()
    known = json.loads(run("--json"))
    rows = [f"| `{e['kind']}` | {e['changes']} | {e['size'] or '–'} | {e['what']} |" for e in known["faults"]]
    rows += [f"| `{e['name']}` | {e['hours']:g} | {e['what']} |" for e in known["scenarios"]]

    assert [row for row in rows if row not in page] == []


def test_the_scenario_of_the_docs_holds(tmp_path: Path) -> None:
    page = (ROOT / "docs/simulators.md").read_text()
    path = tmp_path / "docs.toml"
    path.write_text(page.split("```toml\n")[1].split("```")[0])

    assert "1 events and " in run("--check", str(path))


def test_the_command_line_loads_no_plots_unless_they_are_asked_for() -> None:
    code = "import sys, urbanpulse.cli, urbanpulse.scenario_lists; print('matplotlib' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)

    assert done.stdout == "False\n"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (95_400, "1d2h30m"), (59, "59s"), (86_400, "1d")])
def test_times_are_shown_as_files_write_them(seconds: int, text: str) -> None:
    assert _clock(seconds * 1_000_000_000 + 999) == text
