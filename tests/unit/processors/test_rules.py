"""Rules say exactly what they mean, or which word is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.alerts import Priority
from core.city import Series
from core.errors import SettingsError
from core.metrics import METRICS
from processors.alerting.rules import FindingKind, load_rules, parse_rules

if TYPE_CHECKING:
    from pathlib import Path

RULE = '[[rule]]\nname = "r"\nmetric = "pm25"\nabove = 50\n'
FINDING = '[[finding]]\nkind = "novelty"\n'


def test_a_rule_is_read() -> None:
    text = RULE + 'clear = 40\nfor = "5m"\nclear_for = "90s"\npriority = "high"\ndistrict = ["north", "south"]\n'

    rule = parse_rules(text, "x.toml").thresholds[0]

    assert (rule.name, rule.limit, rule.clear, rule.above) == ("r", 50, 40, True)
    assert (rule.for_ns, rule.clear_for_ns, rule.priority) == (300_000_000_000, 90_000_000_000, Priority.HIGH)
    assert rule.where.matches(Series(1, "d", "pm25", "south"))
    assert not rule.where.matches(Series(1, "d", "pm25", "west"))
    assert not rule.where.matches(Series(1, "d", "pm10", "south"))


def test_the_first_finding_that_matches_applies() -> None:
    flat = '[[finding]]\nkind = "flat"\n'
    text = flat + 'name = "flat-waste"\nsector = "waste"\nenabled = false\n' + flat

    book = parse_rules(text, "x.toml")

    assert book.finding_for(FindingKind.FLAT, Series(1, "bin", "level", "d")) is None
    assert book.finding_for(FindingKind.FLAT, Series(2, "air", "pm25", "d")) is book.findings[1]
    assert book.finding_for(FindingKind.GAP, Series(2, "air", "pm25", "d")) is None
    assert book.names == {"flat"}


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        pytest.param("a = [", "rules", "x.toml: not TOML", id="not TOML"),
        pytest.param("[[rules]]\n", "rules", "unknown key 'rules', did you mean 'rule'?", id="another table"),
        pytest.param("[rule]\n", "rule", r"a list of tables \[\[rule\]\] expected", id="a table, not a list"),
        pytest.param("rule = [1]\n", "rule", "rule number 1: a table expected", id="a number as a rule"),
        pytest.param(
            RULE + "abvoe = 3\n",
            "abvoe",
            "x.toml: rule 'r': unknown key 'abvoe', did you mean 'above'?",
            id="a typing slip",
        ),
        pytest.param(
            FINDING + "severty = 3\n",
            "severty",
            "finding 'novelty': .* did you mean 'severity'?",
            id="a slip in a finding",
        ),
        pytest.param(RULE + "below = 3\n", "above", "exactly one of 'above' and 'below'", id="both limits"),
        pytest.param('[[rule]]\nname = "r"\nmetric = "pm25"\n', "above", "exactly one", id="no limit"),
        pytest.param('[[rule]]\nname = "r"\nabove = 3\n', "metric", "needs a 'metric'", id="a limit on nothing"),
        pytest.param(RULE + "clear = 51\n", "clear", "at or below 'above' = 50", id="clears above its limit"),
        pytest.param(
            RULE.replace("above", "below") + "clear = 49\n", "clear", "at or above 'below' = 50", id="clears below"
        ),
        pytest.param(RULE.replace("50", "nan"), "above", "a finite number expected", id="not a number"),
        pytest.param(RULE.replace("50", "true"), "above", "a finite number expected", id="a boolean"),
        pytest.param(RULE + 'for = "5"\n', "for", 'a duration such as "90s"', id="no unit"),
        pytest.param(RULE + "for = 5\n", "for", 'a duration such as "90s"', id="a bare number"),
        pytest.param(RULE + 'for = "31d"\n', "for", "at most 30d", id="too long"),
        pytest.param(
            RULE + 'priority = "urgent"\n', "priority", "one of low, medium, high, critical", id="another priority"
        ),
        pytest.param(RULE + 'sector = "sky"\n', "sector", "sector 'sky': one of air", id="another sector"),
        pytest.param(RULE + "district = [1]\n", "district", "a name or a list of names", id="a number as a name"),
        pytest.param(RULE.replace('"r"', '"R r"'), "name", "small letters", id="a bad name"),
        pytest.param(RULE + RULE, "name", "two rules are named 'r'", id="a name twice"),
        pytest.param(
            '[[finding]]\nkind = "weird"\n', "kind", "one of novelty, range, flat, gap, peer", id="another kind"
        ),
        pytest.param(
            FINDING + "young_severity = 0.5\n", "young_severity", "at least 1", id="the same for young series"
        ),
        pytest.param(FINDING + "severity = 0.5\n", "severity", "at least 1", id="a severity that is always reached"),
        pytest.param(
            '[[finding]]\nkind = "gap"\nseverity = 2\n',
            "severity",
            "'novelty' and 'peer' only",
            id="a severity of silence",
        ),
        pytest.param(FINDING + "alerts_per_day = 0\n", "alerts_per_day", "above 0, and at most", id="no alerts at all"),
        pytest.param(FINDING + "alerts_per_day = 1e6\n", "alerts_per_day", "at most 100000", id="no budget at all"),
        pytest.param(FINDING + "alerts_per_day = nan\n", "alerts_per_day", "a finite number", id="a budget of NaN"),
        pytest.param(FINDING + 'alerts_per_day = "3"\n', "alerts_per_day", "a finite number", id="a budget in words"),
        pytest.param(FINDING + "alerts_per_day = true\n", "alerts_per_day", "a finite number", id="a budget of yes"),
        pytest.param(
            '[[finding]]\nkind = "gap"\nalerts_per_day = 3\n',
            "alerts_per_day",
            "for kind 'novelty' only",
            id="a budget of silence",
        ),
        pytest.param(
            FINDING + 'alerts_per_day = 3\ndevice = "a"\n',
            "alerts_per_day",
            "a budget is for districts",
            id="a budget of a device",
        ),
        pytest.param(
            FINDING + "alerts_per_dya = 3\n", "alerts_per_dya", "did you mean 'alerts_per_day'", id="a slip in a budget"
        ),
        pytest.param(FINDING + "clear_readings = 0\n", "clear_readings", "from 1 to 1000", id="clears at once"),
        pytest.param(FINDING + 'enabled = "no"\n', "enabled", "true or false", id="a word as a switch"),
        pytest.param(
            "".join(RULE.replace('"r"', f'"r{k}"') for k in range(501)),
            "rules",
            "501 rules: at most 500",
            id="too many",
        ),
    ],
)
def test_what_is_wrong_is_named(text: str, key: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        parse_rules(text, "x.toml")

    assert caught.value.setting == key


def test_as_many_rules_as_allowed_are_read() -> None:
    text = "".join(RULE.replace('"r"', f'"r{k}"') for k in range(500))

    assert len(parse_rules(text, "x.toml").thresholds) == 500


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"gone\.toml"):
        load_rules(tmp_path / "gone.toml")


def test_the_rules_that_come_along_speak_of_metrics_that_exist() -> None:
    book = load_rules()

    assert {metric for rule in book.thresholds for metric in rule.where.metric} <= METRICS.keys()
    assert {finding.kind for finding in book.findings} == set(FindingKind)
    novelty = book.finding_for(FindingKind.NOVELTY, Series(1, "d", "pm25", "north"))
    assert novelty is not None
    assert (novelty.severity, novelty.young_severity) == (1.5, 6.0)
