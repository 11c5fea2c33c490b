"""What a person and a script see of a simulation: a view, lines, JSON; and its end."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from core.clock import ManualClock
from simulators import Numbers, Progress
from simulators.run import Summary
from urbanpulse.simulation_screen import DemoLines, JsonScreen, LineScreen, LiveScreen

if TYPE_CHECKING:
    from simulators.scenarios import Scenario

START = 1_774_000_000_000_000_000  # Friday, 14:46:40 in Ashgabat
S = 1_000_000_000


@dataclass(frozen=True)
class Named:
    """What a screen reads of a scenario."""

    name: str = "inversion"
    title: str = "an inversion [keeps] its dust"
    seed: int = 7


def progress(**changes: Any) -> Progress:
    numbers = Numbers(published=1000, acked=990, messages=100, messages_acked=99, reconnects=3)
    shown = Progress("live", 600, 3600, 10, 10, numbers, 5, 2, ("spike air-001 pm25",), ("inversion whole city",))
    return replace(shown, now=START, speed=600.0, **changes)


def summary(**changes: Any) -> Summary:
    numbers = Numbers(published=1000, acked=1000, messages=100, messages_acked=100)
    return replace(
        Summary("inversion", 7, START, START + 3600 * S, True, 10, 0.5, 6.0, 600.0, numbers, 0, {"spike": 2}, {}),
        **changes,
    )


def screen(kind: type[LineScreen], *, terminal: bool = False) -> tuple[Any, io.StringIO, ManualClock]:
    out, clock = io.StringIO(), ManualClock()
    console = Console(file=out, width=100, highlight=False, force_terminal=terminal, _environ={"TERM": "xterm"})
    scenario: Scenario = Named()  # type: ignore[assignment]
    return kind(console, scenario, speed=600.0, wire="json", clock=clock), out, clock


def test_lines_are_told_every_five_seconds_and_at_every_phase() -> None:
    show, out, clock = screen(LineScreen)
    with show:
        show(progress(phase="connect", connected=4, numbers=Numbers()))
        for n in range(20):
            clock.advance(0.5)
            numbers = Numbers(published=2000, acked=1000 * (n + 1), messages=100 * (n + 1))
            show(progress(numbers=numbers))
        show(progress(phase="finished", numbers=numbers))

    lines = out.getvalue().replace("\n ", " ").splitlines()
    assert lines[0] == "inversion (an inversion [keeps] its dust), seed 7, json, 600x"
    assert lines[1] == "connect: 4 of 10 devices connected"
    told = [line for line in out.getvalue().splitlines() if line.startswith("live: Fri 2026-03-20 14:46:40  17 %")]
    assert len(told) == 2
    assert "2000 reports/s in 200 messages/s" in out.getvalue()
    assert "finished: " in out.getvalue()


def test_a_run_that_falls_behind_and_a_broker_that_refuses_are_told() -> None:
    show, out, _ = screen(LineScreen)
    with show:
        numbers = Numbers(refusals=3, refusal="air-001: Not authorized", dropped=2)
        show(replace(progress(connected=8, numbers=numbers), speed=431.0))

    text = " ".join(out.getvalue().split())
    assert "fell behind: 431x of 600x" in text
    assert "2 devices not connected; 3 refusals, the last: air-001: Not authorized; 2 reports lost" in text


def test_the_live_view_shows_time_rates_acks_and_what_is_wrong() -> None:
    show, out, _ = screen(LiveScreen, terminal=True)
    with show:
        show(progress(faults=tuple(f"spike air-00{n} pm25" for n in range(6))))

    text = " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue()).split())
    for fact in (
        "Fri 2026-03-20 14:46:40 600x",
        "10 of 10 connected, 3 reconnects",
        "1000 sent, 990 acknowledged",
        "5 messages unacknowledged, 2 stored",
        "spike air-003 pm25 and 2 more",
        "inversion whole city",
    ):
        assert fact in text


def test_json_is_an_object_a_line_and_a_summary_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    show, _, _ = screen(JsonScreen)
    with show:
        show(progress())
    show.summary(summary(), labels=Path("truth.jsonl"), note="nobody hears it")

    first, last = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["progress"].items() >= {"phase": "live", "done": 600, "outstanding": 5, "reconnects": 3}.items()
    assert last["summary"].items() >= {
        "reports": 1000, "lost": 0, "effective_speed": 600.0, "faults": {"spike": 2}, "labels": "truth.jsonl",
        "note": "nobody hears it",
    }.items()  # fmt: skip


def test_the_summary_is_a_table_for_people() -> None:
    show, out, _ = screen(LineScreen)

    show.summary(summary(), labels=Path("truth[1].jsonl"), note="")

    rows = dict(line.rstrip().split("  ", 1) for line in out.getvalue().splitlines())
    assert {name: value.strip() for name, value in rows.items()}.items() >= {
        "finished": "yes", "acked": "1000", "faults": "2 spike", "events": "none", "labels": "truth[1].jsonl"
    }.items()  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        pytest.param({}, 0, id="all is well"),
        pytest.param({"unsent": 3}, 3, id="what never left is lost"),
        pytest.param({"numbers": Numbers(published=10, acked=7, rejected=2)}, 3, id="and what has no good ack"),
        pytest.param(
            {"numbers": Numbers(published=10, unconfirmed=9, lost=1, dropped=4)}, 5, id="and what was dropped"
        ),
    ],
)
def test_what_is_lost_is_what_was_due_and_not_confirmed(changes: dict[str, Any], lost: int) -> None:
    assert summary(**changes).lost == lost


def test_the_demo_city_tells_up_its_progress_and_is_live_once(capsys: pytest.CaptureFixture[str]) -> None:
    show = DemoLines(as_json=True)
    for phase in ("connect", "backfill", "live", "live"):
        show(Progress(phase, 3, 9, 2, 4))

    told = [json.loads(line)["progress"] for line in capsys.readouterr().out.splitlines()]
    assert told == [
        {"done": 3, "total": 9, "text": "2 of 4 devices connected"},
        {"done": 3, "total": 9, "text": "the city's past: 3 of 9 reports acknowledged"},
        {"done": 9, "total": 9, "text": "live: 4 devices publish"},
    ]
