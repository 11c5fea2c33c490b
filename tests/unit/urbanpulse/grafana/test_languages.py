"""Questions are read as the databases read them, or refused: nothing is passed over in silence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urbanpulse.grafana.influxql import QuestionError, read_question
from urbanpulse.grafana.promql import read_expression
from urbanpulse.grafana.questions import Measurement, influx_faults, prometheus_faults

SELECT = (
    'SELECT mean("value") AS "mean" FROM "reading" WHERE "district" =~ /^a\\/b$/ AND ("q" > 0 OR "device" = \'x\') '
)
KNOWN = {"reading": Measurement({"device", "district", "metric"}, {"value", "q"})}


def test_a_question_is_taken_apart() -> None:
    question = read_question(SELECT + 'AND $timeFilter GROUP BY time($__interval), "metric" fill(none)')

    assert (question.measurement, question.selected, question.functions) == ("reading", ["value"], ["mean"])
    assert question.compared == [("district", "=~", "^a\\/b$"), ("q", ">", "0"), ("device", "=", "x")]
    assert question.grouped == ["metric"]
    assert question.is_bounded
    assert question.is_bucketed


def test_a_quotient_is_no_pattern() -> None:
    assert read_question('SELECT sum("sum") / sum("n") FROM "reading_1h"').selected == ["sum", "n"]


def test_a_question_within_a_question_is_read_too() -> None:
    outer = read_question('SELECT count("last") FROM (SELECT last("value") AS "last" FROM "reading" GROUP BY "device")')

    assert outer.inner is not None
    assert outer.inner.measurement == "reading"
    assert "last" in outer.inner.outputs


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SELECT",
        'SELECT * FROM "reading"',
        "SELECT mean(value) FROM reading",
        'SELECT "value" FROM "reading" WHERE',
        'SELECT "value" FROM "reading" WHERE "a"',
        'SELECT "value" FROM "reading" WHERE "a" = "b"',
        'SELECT "value" FROM "reading" WHERE "a" = /b/',
        'SELECT "value" FROM "reading" WHERE "a" =~ \'b\'',
        'SELECT "value" FROM "reading" GROUP BY time(soon)',
        'SELECT "value" FROM "reading" SOMETHING',
        'SELECT "value" FROM "reading"; DROP DATABASE "city"',
        'SELECT "value" FROM (SELECT "value" FROM "reading"',
        'SELECT "value FROM "reading"',
        'SHOW TAG KEYS FROM "reading"',
        'SHOW TAG VALUES FROM "reading"',
        'DROP MEASUREMENT "reading"',
        "SELECT " + "(" * 5000,
    ],
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(QuestionError):
        read_question(text)


@given(st.one_of(st.text(), st.integers(0, len(SELECT)).map(lambda n: SELECT[:n]), st.text().map(SELECT.__add__)))
def test_anything_else_is_refused_with_that_error_alone(text: str) -> None:
    try:
        read_question(text)
    except QuestionError as error:
        assert str(error)  # noqa: PT017 - either way is fine


@given(st.text())
def test_any_text_is_read_as_promql_or_faulted(text: str) -> None:
    expression = read_expression(text)

    assert expression.metrics or expression.errors


def test_names_without_quotes_are_told_of() -> None:
    assert list(influx_faults("SELECT mean(value) FROM reading", "", KNOWN, ())) == [
        "question not understood: value is no function: names stand in double quotes"
    ]


def test_promql_is_taken_apart() -> None:
    found = read_expression('topk(3, sum by (a, b) (rate(x_total{c!="1", d=~"2|3"}[5m]))) / scalar(max(y))')

    assert found.metrics == ["x_total", "y"]
    assert found.matched == [("x_total", "c"), ("x_total", "d")]
    assert found.grouped == ["a", "b"]
    assert found.errors == []


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ("x_total", "no metric 'x_total'"),
        ("sum(rate(y[5m])", "do not pair"),
        ("rate(y[$__window])", "a duration"),
        ("avg_of(y)", "function avg_of is not known"),
        ('y{a="1"}', "y has no label 'a'"),
        ("y{a}", "is not understood"),
        ("sum by (a) (y)", "has a label 'a'"),
        ("1", "names no metric"),
    ],
)
def test_faults_of_promql(asked: str, text: str) -> None:
    assert any(text in fault for fault in prometheus_faults(asked, "", {"y": {"b"}}))
