"""Tests of what the processes say: JSON lines or text, never the local variables of a traceback."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from urbanpulse.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    yield
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


def fail() -> None:
    password = "canary-secret"
    raise ValueError(f"length {len(password)}")


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_shows_no_local_variables(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("gateway", "info", as_json=as_json)

    try:
        fail()
    except ValueError:
        structlog.get_logger().exception("it failed")

    said = capsys.readouterr().err
    assert "length 13" in said
    assert "canary" not in said


def test_a_line_has_role_level_and_fields_and_lesser_levels_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("gateway", "info", as_json=True)

    structlog.get_logger().debug("not this")
    structlog.get_logger().info("this", device="air-01")

    line = json.loads(capsys.readouterr().err)
    assert (line["role"], line["level"], line["event"], line["device"]) == ("gateway", "info", "this", "air-01")


def test_a_log_that_cannot_be_written_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        configure_logs("gateway", "info", as_json=True)

        for _ in range(3):
            structlog.get_logger().warning("no space", filler="x" * 10_000)

        with suppress(OSError):  # what could not be written is tried again
            full.close()
