"""The console and core speak the same words: every code that the server may send has a text in the console."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.accounts import Role
from core.alerts import AlertState, Classification, EventKind, Evidence, Priority
from core.metrics import KINDS, METRICS
from core.quality import Flag
from core.texts import describe

CONSOLE = Path(__file__).parents[2] / "console" / "src" / "lib"
TEXTS = frozenset(re.findall(r"^  '([\w.]+)':", (CONSOLE / "i18n" / "en.ts").read_text(), re.MULTILINE))
CODES = Flag(sum(Flag)).codes


@pytest.mark.parametrize(
    ("prefix", "codes"),
    [
        pytest.param("metric", tuple(METRICS), id="metrics"),
        pytest.param("kind", tuple(KINDS), id="kinds of devices"),
        pytest.param("quality", CODES, id="marks of readings"),
        pytest.param("state", tuple(AlertState), id="states of alerts"),
        pytest.param("event", tuple(EventKind), id="events of alerts"),
        pytest.param("cause", tuple(each.replace(" ", "_") for each in Classification), id="causes of alerts"),
        pytest.param("priority", tuple(Priority), id="priorities"),
        pytest.param("role", tuple(Role), id="roles"),
    ],
)
def test_the_console_has_a_text_for_every_code(prefix: str, codes: tuple[str, ...]) -> None:
    assert len(codes) > 1
    assert sorted(code for code in codes if f"{prefix}.{code}" not in TEXTS) == []


def test_every_reason_that_the_console_translates_is_one_that_core_explains() -> None:
    reasons = sorted(text.removeprefix("reason.") for text in TEXTS if text.startswith("reason."))
    assert len(reasons) > 10

    for code in reasons:
        evidence = Evidence(
            code=code, rule="r", priority=Priority.LOW, district="d", device="a", metric="pm25", measured=0, value=1.0
        )
        assert not describe(evidence).endswith(f": {code}")


def test_the_bits_of_quality_have_the_same_order_in_the_page() -> None:
    source = re.search(r"QUALITY = \[(.*?)\]", (CONSOLE / "types.ts").read_text(), re.DOTALL)

    assert source is not None
    assert tuple(re.findall(r"'(\w+)'", source[1])) == CODES
