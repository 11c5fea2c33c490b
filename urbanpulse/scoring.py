"""This module makes a score: reads labels, gets alerts from a file or a running urbanpulse, and settles the terms."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec

from core.clock import to_ns
from core.errors import SettingsError
from simulators.labels import read_labels
from simulators.scenarios.file import duration_ns
from simulators.scoring import labels_span, score
from simulators.scoring_openings import Openings, read_openings
from simulators.scoring_result import Score, Terms
from urbanpulse.scoring_api import Api

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from simulators.labels import Label

__all__ = ["Asked", "Scored", "Source", "load_labels", "load_openings", "make_score", "parse_duration", "parse_time"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the alerts are: at an API, asked with a key or by a person, or in a file (`-` is standard input)."""

    api: str = ""
    file: Path | None = None
    key: str = ""
    login: str = ""
    password: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the caller says about the terms; None: to be found out. Times in ns UTC; `most` alerts are taken."""

    start: int | None = None
    end: int | None = None
    grace_ns: int = 600_000_000_000
    sensors: int | None = None
    operators: int = 1
    retrospective: bool = True
    most: int = 100_000


@dataclass(frozen=True, slots=True)
class Scored:
    """A score, what it is of, and what its reader should know about how it was made."""

    score: Score
    origin: str
    notes: tuple[str, ...]


def make_score(labels_file: Path, source: Source, asked: Asked) -> Scored:
    """Score the alerts of *source* against the labels in *labels_file*.

    Raises:
        MalformedPayload: a label or an alert is none; the text names file and line.
        SettingsError: a file cannot be read, the terms are impossible, or the API refuses who asks.
        Unavailable: the API is away.
    """
    labels = load_labels(labels_file)
    start, end, span_from = _span(labels_file, labels, asked)
    # terms that cannot be are told before anything is fetched
    terms = Terms(
        start=start, end=end, grace_ns=asked.grace_ns, sensors=asked.sensors or 1, operators=asked.operators,
        retrospective=asked.retrospective, span_from=span_from,
    )  # fmt: skip
    series = 0
    if source.file is not None:
        openings = load_openings(source.file, most=asked.most)
    else:
        with Api(source.api, key=source.key) as api:
            if source.login:
                api.login(source.login, source.password)
            openings = api.openings(since=start, most=asked.most)
            series = 0 if asked.sensors else api.series_count()
    notes = []
    if openings.more:
        notes.append(f"there are more alerts than the {len(openings.items)} that were taken: older ones are missing")
    if series:
        terms = replace(terms, sensors=series, sensors_from="the API's series")
    elif not asked.sensors:
        named = max(1, len(_series(labels, openings)))
        terms = replace(terms, sensors=named, sensors_from="series that labels and alerts name")
        notes.append(
            f"only the {named} series that labels and alerts name are counted as sensors: --sensors says better"
        )
    made = score(labels, openings.items, terms)
    if openings.items and not made.attributed:
        notes.append(f"none of the {len(openings.items)} alerts opened within the span: is it the same run?")
    against = source.api or ("standard input" if str(source.file) == "-" else str(source.file))
    return Scored(made, f"{labels_file} against {against}", tuple(notes))


def _span(file: Path, labels: list[Label], asked: Asked) -> tuple[int, int, str]:
    if asked.start is not None and asked.end is not None:
        return asked.start, asked.end, "given"
    run = _run(file)
    first, last = (run[0], run[1] + asked.grace_ns) if run else labels_span(labels, asked.grace_ns)
    start = first if asked.start is None else asked.start
    end = last if asked.end is None else asked.end
    return start, end, "the run, and the grace" if run else "the labels, widened by the grace"


def _run(file: Path) -> tuple[int, int] | None:
    """Return from when to when (ns UTC) the run lasted whose labels *file* holds, if what `--fast` wrote says it."""
    for path in sorted(file.parent.glob("run-*.json")):
        try:
            told = msgspec.json.decode(path.read_bytes(), type=_Told).run
        except (OSError, msgspec.DecodeError):
            continue
        if told.labels_sha256 == hashlib.sha256(file.read_bytes()).hexdigest():
            start = to_ns(told.start)
            return start, start + round(told.hours * 3600 * 1_000_000_000)
    return None


class _Run(msgspec.Struct, frozen=True):
    start: Annotated[datetime, msgspec.Meta(tz=True)]
    hours: Annotated[float, msgspec.Meta(gt=0)]
    labels_sha256: str


class _Told(msgspec.Struct, frozen=True):
    run: _Run


def _series(labels: Iterable[Label], openings: Openings) -> set[tuple[str, str]]:
    named = {
        (label.device, metric) for label in labels if label.device for metric in label.metrics or (label.metric or "",)
    }
    return named | {(opening.device, opening.metric) for opening in openings.items if opening.metric}


def load_labels(path: Path) -> list[Label]:
    """Read the labels in *path*.

    Raises:
        MalformedPayload: a line is no label; the text names file and line.
        SettingsError: the file cannot be read.
    """
    try:
        return read_labels(path)
    except OSError as error:
        raise SettingsError("labels", f"{path}: {error.strerror or error}") from error


def load_openings(path: Path, *, most: int) -> Openings:
    """Read the alerts in *path*, the newest *most*; `-` is standard input.

    Raises:
        MalformedPayload: there is something else in it; the text names file and line.
        SettingsError: the file cannot be read.
    """
    try:
        if str(path) == "-":
            found = read_openings(sys.stdin.buffer.read(), "standard input")
        else:
            found = read_openings(path.read_bytes(), str(path))
    except OSError as error:
        raise SettingsError("alerts", f"{path}: {error.strerror or error}") from error
    return replace(found, items=found.items[-most:], more=found.more or len(found.items) > most)


def parse_time(option: str, text: str) -> int:
    """Return the ns UTC of *text*, RFC 3339 or a date; without a zone it is UTC.

    Raises:
        SettingsError: it is no time; the text names *option*.
    """
    try:
        at = datetime.fromisoformat(text.strip())
        return to_ns(at if at.tzinfo else at.replace(tzinfo=UTC))
    except (ValueError, OverflowError) as error:
        raise SettingsError(option, f"{text!r} is not a time such as 2026-05-28T20:00:00Z") from error


def parse_duration(option: str, text: str) -> int:
    """Return the ns of a duration such as `90s`, `10m` or `1h30m`.

    Raises:
        SettingsError: it is no duration; the text names *option*.

    >>> parse_duration("grace", "1h30m") // 10**9
    5400
    """
    try:
        return duration_ns(text.strip())
    except ValueError as error:
        raise SettingsError(option, str(error)) from error
