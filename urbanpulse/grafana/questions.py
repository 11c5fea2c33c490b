"""This module checks single questions against what there is to ask for: names, labels, what is compared with what."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from urbanpulse.grafana.influxql import FUNCTIONS, Question, QuestionError, read_question
from urbanpulse.grafana.promql import read_expression

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

__all__ = ["Measurement", "Schema", "influx_faults", "prometheus_faults"]

_SCRAPED = ("job", "instance")  # labels that Prometheus adds to everything


@dataclass(frozen=True, slots=True)
class Measurement:
    """The tags and fields of a measurement."""

    tags: set[str]
    fields: set[str]


@dataclass(frozen=True, slots=True)
class Schema:
    """What there is to ask for.

    Measurements of readings and of rollups by name, codes of the city's metrics, labels of the platform's metrics by
    name.
    """

    readings: Mapping[str, Measurement]
    rollups: Mapping[str, Measurement]
    metrics: frozenset[str]
    platform: Mapping[str, Collection[str]]


def influx_faults(
    asked: str, alias: str, measurements: Mapping[str, Measurement], metrics: Collection[str]
) -> Iterator[str]:
    """Yield what is wrong with the question *asked* in InfluxQL, whose lines are named by *alias*."""
    try:
        question = read_question(asked)
    except QuestionError as error:
        yield f"question not understood: {error}"
        return
    yield from _question(question, measurements, metrics)
    for tag in re.findall(r"\$tag_(\w+)", alias):
        if tag not in question.grouped:
            yield f"alias {alias!r}: the answer is not grouped by {tag!r}"


def _question(question: Question, measurements: Mapping[str, Measurement], metrics: Collection[str]) -> Iterator[str]:
    if question.inner is not None:
        yield from _question(question.inner, measurements, metrics)
        known, of = Measurement(set(question.inner.grouped), set(question.inner.outputs)), "the inner question"
    elif question.measurement in measurements:
        known, of = measurements[question.measurement], f"measurement {question.measurement!r}"
        if not question.is_bounded and not question.is_show:
            yield "asks for all times: $timeFilter is missing"
    else:
        yield f"measurement {question.measurement!r} is not in its database, which has {', '.join(measurements)}"
        return
    yield from (f"function {name} is not known" for name in question.functions if name.lower() not in FUNCTIONS)
    yield from _names(question, known, of)
    for name, sign, value in question.compared:
        yield from _comparison(known, name, sign, value, metrics)


def _names(question: Question, known: Measurement, of: str) -> Iterator[str]:
    selectable = known.tags if question.is_show else known.tags | known.fields
    for name in question.selected:
        if name not in selectable:
            yield f"{of} has no {'tag' if question.is_show else 'tag or field'} {name!r}"
    if not question.is_show and not set(question.selected) & known.fields:
        yield "selects no field"
    for name, _, _ in question.compared:
        if name not in known.tags | known.fields:
            yield f"{of} has no tag or field {name!r}"
    for name in question.grouped:
        if name not in known.tags:
            yield f"groups by {name!r}, which is no tag of {of}"


def _comparison(known: Measurement, name: str, sign: str, value: str, metrics: Collection[str]) -> Iterator[str]:
    if name in known.fields and not re.fullmatch(r"\d+(?:\.\d+)?", value):
        yield f"field {name!r} {sign} {value!r}: a number expected"
    if name == "metric" and "$" not in value.rstrip("$"):  # what a variable stands for is known to Grafana alone
        named = re.findall(r"\w+", value) if sign in {"=~", "!~"} else [value]
        yield from (f"the city has no metric {metric!r}" for metric in named if metric not in metrics)


def prometheus_faults(asked: str, legend: str, platform: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Yield what is wrong with the question *asked* in PromQL, whose lines are named by *legend*."""
    expression = read_expression(asked)
    yield from (f"{asked}: {error}" for error in expression.errors)
    labels = set(_SCRAPED)
    for metric in expression.metrics:
        if metric not in platform:
            yield f"the platform has no metric {metric!r}"
        labels.update(platform.get(metric, ()))
    for metric, label in expression.matched:
        if label not in (*_SCRAPED, *platform.get(metric, ())):
            yield f"{metric} has no label {label!r}"
    for label in expression.grouped:
        if label not in labels:
            yield f"no metric of the question has a label {label!r}"
    left = set(expression.grouped) if expression.aggregates else labels
    for label in re.findall(r"\{\{\s*(\w+)\s*\}\}", legend):
        if label not in left:
            yield f"legend {legend!r}: the answer has no label {label!r}"
