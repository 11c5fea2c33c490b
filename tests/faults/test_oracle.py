"""The checker itself: each way of being wrong is found, so a clean verdict means something."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest


def _load() -> Any:
    """Load the oracle by path: test folders are no packages."""
    name = "urbanpulse_oracle"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("oracle.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


oracle = _load()
MS = 1_000_000
SENT = [("a", 0, 10, 0.5), ("a", 1, 20, 1.5), ("b", 0, 10, 0.25), ("b", 1, 30, 9.0)]
ACKED = SENT[:3]  # the last one was sent; its ack never came
GOOD = [("a", 10 * MS, 0.5), ("a", 20 * MS, 1.5), ("b", 10 * MS, 0.25)]


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(GOOD, id="all that was acknowledged"),
        pytest.param([*GOOD, ("b", 30 * MS, 9.0)], id="and what was sent without an ack"),
    ],
)
def test_a_faithful_store_is_clean(stored: list[tuple[str, int, float]]) -> None:
    verdict = oracle.check(SENT, ACKED, stored)

    assert verdict.clean
    assert verdict.acked == 3
    assert verdict.stored == len(stored)


@pytest.mark.parametrize(
    ("stored", "what", "example"),
    [
        pytest.param(GOOD[1:], "lost", "lost: a at 10000000", id="one is missing"),
        pytest.param([*GOOD, GOOD[0]], "doubled", "doubled: a at 10000000", id="one is there twice"),
        pytest.param([("a", 10 * MS, 0.6), *GOOD[1:]], "altered", "altered: a at 10000000", id="another value"),
        pytest.param([*GOOD, ("a", 11 * MS, 0.5)], "invented", "invented: a at 11000000", id="nobody sent it"),
        pytest.param([*GOOD, ("c", 10 * MS, 0.5)], "invented", "invented: c at 10000000", id="another device"),
        pytest.param([*GOOD, ("b", 30 * MS, 8.0)], "altered", "altered: b at 30000000", id="altered without an ack"),
    ],
)
def test_every_way_of_being_wrong_is_found(stored: list[tuple[str, int, float]], what: str, example: str) -> None:
    verdict = oracle.check(SENT, ACKED, stored)

    assert not verdict.clean
    assert getattr(verdict, what) == 1
    assert verdict.lost + verdict.altered + verdict.doubled + verdict.invented == 1
    assert verdict.examples == (example,)


def test_nothing_acknowledged_is_no_success() -> None:
    assert not oracle.check([], [], []).clean


def test_rows_come_back_from_a_file_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "acked.csv"
    file.write_text("".join(oracle._line(row) for row in SENT))

    assert oracle.read_rows(file) == SENT
