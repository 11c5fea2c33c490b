"""This module reads questions in PromQL as far as dashboards use it, and says which metrics and labels they mention."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["Expression", "read_expression"]

_FUNCTIONS = frozenset(
    [
        "abs",
        "avg_over_time",
        "ceil",
        "changes",
        "clamp_max",
        "clamp_min",
        "delta",
        "floor",
        "histogram_quantile",
        "increase",
        "irate",
        "max_over_time",
        "min_over_time",
        "rate",
        "resets",
        "round",
        "scalar",
        "sum_over_time",
        "time",
        "timestamp",
        "vector",
    ]
)
_AGGREGATES = frozenset(["avg", "bottomk", "count", "group", "max", "min", "quantile", "stddev", "sum", "topk"])
_WORDS = frozenset({"and", "or", "unless", "bool", "offset"})
_LABELS = re.compile(r"\b(by|without|on|ignoring)\s*\(([^()]*)\)")
_MATCHERS = re.compile(r"([a-zA-Z_:][\w:]*)\s*\{([^{}]*)\}")
_MATCHER = re.compile(r'\s*(\w+)\s*(?:=~|!~|!=|=)\s*"(?:[^"\\]|\\.)*"\s*')
_DURATION = re.compile(r"(?:\d+(?:ms|[smhdwy]))+|\$__rate_interval|\$__interval|\$__range")
_SPAN = re.compile(r"\[([^\]]*)\]")
_WORD = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?P<call>\s*\()?")


@dataclass(slots=True)
class Expression:
    """What one question names: metrics, the labels that each is filtered by, labels it groups by, and what is wrong."""

    metrics: list[str] = field(default_factory=list)
    matched: list[tuple[str, str]] = field(default_factory=list)
    grouped: list[str] = field(default_factory=list)
    aggregates: bool = False
    errors: list[str] = field(default_factory=list)


def read_expression(text: str) -> Expression:
    """Return what *text* names.

    >>> read_expression('sum by (a) (rate(x_total{b="1"}[5m]))').metrics
    ['x_total']
    """
    found = Expression()
    for opening, closing in ("()", "[]", "{}"):
        if text.count(opening) != text.count(closing):
            found.errors.append(f"{opening} and {closing} do not pair")
    for match in _MATCHERS.finditer(text):
        _matchers(match[1], match[2], found)
    text = _MATCHERS.sub(r"\1", text)
    for match in _LABELS.finditer(text):
        found.grouped += [name.strip() for name in match[2].split(",") if name.strip()]
    text = _LABELS.sub(" ", text)
    for match in _SPAN.finditer(text):
        if not _DURATION.fullmatch(match[1]):
            found.errors.append(f"[{match[1]}]: a duration or $__rate_interval expected")
    _words(_SPAN.sub(" ", text), found)
    if not found.metrics:
        found.errors.append("names no metric")
    return found


def _matchers(metric: str, text: str, found: Expression) -> None:
    for part in filter(None, (one.strip() for one in text.split(","))):
        matcher = _MATCHER.fullmatch(part)
        if matcher is None:
            found.errors.append(f"matcher {part!r} is not understood")
        else:
            found.matched.append((metric, matcher[1]))


def _words(text: str, found: Expression) -> None:
    for word in _WORD.finditer(text):
        name = word["name"]
        if word["call"] and name in _AGGREGATES:
            found.aggregates = True
        elif word["call"] and name not in _FUNCTIONS | _WORDS:
            found.errors.append(f"function {name} is not known")
        elif not word["call"] and name not in _WORDS:
            found.metrics.append(name)
