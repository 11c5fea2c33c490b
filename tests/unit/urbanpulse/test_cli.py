"""Tests of the command line as a whole: what a person is told of mistakes, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog

from urbanpulse import cli

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    yield
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


def test_a_file_that_cannot_be_used_is_one_line_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        (tmp_path / "[red]file" / "x").read_text()

    monkeypatch.setattr(cli, "app", fail)

    with pytest.raises(SystemExit) as raised:
        cli.main()

    assert raised.value.code == 1
    assert capsys.readouterr().err == f"error: {tmp_path}/[red]file/x: No such file or directory\n"


def test_an_error_of_the_system_that_names_no_file_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(cli, "app", fail)

    with pytest.raises(OSError, match="Bad file descriptor"):
        cli.main()


def test_what_a_verb_logs_stays_out_of_what_it_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scripts read standard output as JSON."""
    monkeypatch.setattr(cli, "app", lambda: structlog.get_logger().error("snapshot damaged"))

    cli.main()

    said = capsys.readouterr()
    assert said.out == ""
    assert "snapshot damaged" in said.err
