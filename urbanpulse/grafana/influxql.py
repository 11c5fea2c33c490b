"""This module reads questions in InfluxQL as far as dashboards use it, and says which names they mention where.

It knows `SELECT … FROM … WHERE … GROUP BY …` with one level of questions inside another, and `SHOW TAG VALUES`. What it
does not know is an error: a dashboard shall be checked whole or not at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["FUNCTIONS", "Question", "QuestionError", "read_question"]

FUNCTIONS = frozenset(
    [
        "count",
        "sum",
        "mean",
        "median",
        "min",
        "max",
        "first",
        "last",
        "spread",
        "stddev",
        "mode",
        "percentile",
        "distinct",
        "derivative",
        "non_negative_derivative",
        "difference",
        "moving_average",
        "cumulative_sum",
        "integral",
        "top",
        "bottom",
    ]
)
_TOKEN = re.compile(
    r"""\s*(?:(?P<name>"(?:[^"\\]|\\.)*") | (?P<text>'(?:[^'\\]|\\.)*') | (?P<pattern>/(?:[^/\\]|\\.)+/)
    | (?P<number>\d+(?:\.\d+)?(?:ns|ms|[usmhdw])?\b) | (?P<word>\$?\w+) | (?P<sign>=~|!~|!=|<>|<=|>=|[-=<>(),;*+/]))""",
    re.VERBOSE,
)
_COMPARE = frozenset({"=", "!=", "<>", "<", "<=", ">", ">=", "=~", "!~"})


class QuestionError(ValueError):
    """The text is not InfluxQL as far as we know it."""


@dataclass(slots=True)
class Question:
    """What one question names. `compared` are (name, sign, what it is compared with) of its WHERE."""

    measurement: str
    inner: Question | None = None
    is_show: bool = False
    selected: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    compared: list[tuple[str, str, str]] = field(default_factory=list)
    grouped: list[str] = field(default_factory=list)
    is_bounded: bool = False
    is_bucketed: bool = False


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at = 0
        text = text.strip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            # a slash divides after a name, a number or a bracket, and begins a pattern after a comparison
            if found is None or (found.lastgroup == "pattern" and not self._compares()):
                found = re.compile(r"\s*(?P<sign>/)").match(text, at)
            if found is None:
                raise QuestionError(f"not understood from {text[at : at + 20]!r} on")
            kind = str(found.lastgroup)
            self._tokens.append((kind, found[kind]))
            at = found.end()
        self._at = 0

    def _compares(self) -> bool:
        return bool(self._tokens) and self._tokens[-1][1] in {"=~", "!~"}

    def peek(self) -> str:
        kind, text = self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")
        return text.upper() if kind == "word" else text

    def take(self, *wanted: str) -> bool:
        if self.peek() in wanted:
            self._at += 1
            return True
        return False

    def need(self, *words: str) -> None:
        for word in words:
            if not self.take(word):
                raise QuestionError(f"{word} expected, {self._tokens[self._at][1] if self.more() else 'the end'} found")

    def more(self) -> bool:
        return self._at < len(self._tokens)

    def next(self, *kinds: str) -> tuple[str, str]:
        kind, text = self._tokens[self._at] if self.more() else ("end", "the end")
        if kind not in kinds:
            raise QuestionError(f"{' or '.join(kinds)} expected, {text} found (names stand in double quotes)")
        self._at += 1
        return kind, text

    def name(self) -> str:
        return self.next("name")[1][1:-1]

    # -- statements

    def statement(self) -> Question:
        if self.take("SHOW"):
            self.need("TAG", "VALUES", "FROM")
            question = Question(self.name(), is_show=True)
            self.need("WITH", "KEY", "=")
            question.selected.append(self.name())
        else:
            return self.select()
        if self.take("WHERE"):
            self.conditions(question)
        return question

    def select(self) -> Question:
        self.need("SELECT")
        question = Question("")
        while True:
            self.expression(question)
            if self.take("AS"):
                question.outputs.append(self.name())
            if not self.take(","):
                break
        self.need("FROM")
        if self.take("("):
            question.inner = self.select()
            self.need(")")
        else:
            question.measurement = self.name()
        if self.take("WHERE"):
            self.conditions(question)
        if self.take("GROUP"):
            self.need("BY")
            self.dimensions(question)
        if self.take("FILL"):
            self.need("(")
            self.next("word", "number")
            self.need(")")
        if self.take("ORDER"):
            self.need("BY", "TIME")
            self.take("DESC", "ASC")
        if self.take("LIMIT", "SLIMIT"):
            self.next("number")
        return question

    def expression(self, question: Question) -> None:
        """Read terms and the signs between them."""
        while True:
            self.term(question)
            if not self.take("+", "-", "*", "/"):
                return

    def term(self, question: Question) -> None:
        if self.take("("):
            self.expression(question)
            self.need(")")
            return
        kind, text = self.next("name", "number", "word")
        if kind == "name":
            question.selected.append(text[1:-1])
            question.outputs.append(text[1:-1])
        elif kind == "word":
            if not self.take("("):
                raise QuestionError(f"{text} is no function: names stand in double quotes")
            question.functions.append(text)
            question.outputs.append(text)
            while not self.take(")"):
                self.expression(question)
                self.take(",")

    def conditions(self, question: Question) -> None:
        while True:
            if self.take("("):
                self.conditions(question)
                self.need(")")
            else:
                self.condition(question)
            if not self.take("AND", "OR"):
                return

    def condition(self, question: Question) -> None:
        if self.take("$TIMEFILTER"):
            question.is_bounded = True
            return
        if self.peek() == "TIME":
            raise QuestionError("a time of its own: $timeFilter is what the reader of the dashboard chose")
        name = self.name()
        sign = self.peek()
        if not self.take(*_COMPARE):
            raise QuestionError(f'a comparison expected after "{name}"')
        kind, text = self.next("text", "pattern", "number")
        if (kind == "pattern") != (sign in {"=~", "!~"}):
            raise QuestionError(f'"{name}" {sign} {text}: a pattern goes with =~ and !~')
        question.compared.append((name, sign, text if kind == "number" else text[1:-1]))

    def dimensions(self, question: Question) -> None:
        while True:
            if self.take("TIME"):
                self.need("(")
                kind, text = self.next("word", "number")
                if kind == "word" and text != "$__interval":
                    raise QuestionError(f"GROUP BY time({text}): $__interval or a duration expected")
                self.need(")")
                question.is_bucketed = True
            else:
                question.grouped.append(self.name())
            if not self.take(","):
                return


def read_question(text: str) -> Question:
    """Return what *text* asks; variables stand in it as Grafana leaves them only within texts and patterns.

    Raises:
        QuestionError: it is not understood.

    >>> read_question('SELECT mean("value") FROM "reading" WHERE $timeFilter').measurement
    'reading'
    """
    reader = _Reader(text)
    try:
        question = reader.statement()
    except RecursionError:
        raise QuestionError("too many brackets") from None
    if reader.more():
        raise QuestionError(f"the end expected, {reader.peek()} found")
    return question
