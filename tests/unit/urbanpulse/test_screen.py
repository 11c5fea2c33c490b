"""This module tests what `urbanpulse up` shows, on a terminal and elsewhere."""

from __future__ import annotations

import io
import json

from rich.console import Console

from urbanpulse.screen import Screen


def screen(*, terminal: bool = False) -> tuple[Screen, io.StringIO]:
    """Return a screen and what it writes to."""
    out = io.StringIO()
    return Screen(Console(file=out, force_terminal=terminal, highlight=False, soft_wrap=True, width=100)), out


def test_the_url_and_the_login_stand_on_lines_of_their_own() -> None:
    shown, out = screen()

    shown.welcome("http://127.0.0.1:8080", {"name": "operator", "password": "s[/]ecret"})

    lines = [line.strip() for line in out.getvalue().splitlines() if line]
    assert lines[:2] == ["http://127.0.0.1:8080", "login operator  password s[/]ecret"]


def test_only_what_a_person_should_know_is_passed_on_with_the_name_of_the_role() -> None:
    shown, out = screen()

    for level in ("info", "debug", "warning", "error"):
        shown.line("gateway", json.dumps({"event": f"{level} of it", "level": level, "ts": "now", "topic": "a/b"}))
    shown.line("gateway", "Traceback (most recent call last):")
    shown.line("gateway", "{broken")

    assert out.getvalue().splitlines() == ["gateway warning of it topic=a/b", "gateway error of it topic=a/b"]


def test_words_of_strangers_are_neither_markup_nor_orders_to_the_terminal() -> None:
    shown, out = screen()

    shown.line("gateway", json.dumps({"event": "rejected", "level": "warning", "topic": "[/bold]\x1b[2J\r\n[red]x"}))

    assert (
        out.getvalue()
        == "gateway rejected topic=[/bold]\N{REPLACEMENT CHARACTER}[2J" + "\N{REPLACEMENT CHARACTER}" * 2 + "[red]x\n"
    )


def test_progress_is_one_line_that_goes_away_and_what_is_done_stays() -> None:
    shown, out = screen(terminal=True)

    with shown:
        shown.line("simulator", json.dumps({"progress": {"done": 1, "total": 4, "text": "the past"}}))
        shown.line("simulator", json.dumps({"progress": {"done": 4, "total": 4, "text": "live: 200 devices"}}))

    assert out.getvalue().endswith("live: 200 devices\n")
    assert out.getvalue().count("\x1b[?25l") == out.getvalue().count("\x1b[?25h") == 1  # the cursor is back


def test_a_stop_ends_the_progress_and_hears_of_no_other() -> None:
    shown, out = screen(terminal=True)
    shown.line("simulator", json.dumps({"progress": {"done": 1, "total": 4, "text": "the past"}}))

    with shown.last_stage("stopping"):
        shown.line("simulator", json.dumps({"progress": {"done": 2, "total": 4, "text": "too late"}}))
        shown.line("api", json.dumps({"event": "lost", "level": "error"}))

    assert "too late" not in out.getvalue()
    assert "lost" in out.getvalue()
    assert out.getvalue().count("\x1b[?25l") == out.getvalue().count("\x1b[?25h")
