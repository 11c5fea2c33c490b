"""This module reads what an InfluxDB answers: done, whose move it is, and which lines it would not take.

Servers differ in their words and agree in little: a 400 or 422 does not mean that nothing was stored, an early 2.0
said "partial write" with a 500, and 1.x names only the first of several complaints. So an answer is judged by status
and text, and lines are called bad only when the server refuses them alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from core.errors import SettingsError, Unavailable, UrbanpulseError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Answer", "Away", "LinesRefused", "TooLarge", "TooLong", "check", "words"]

_DROPPED = re.compile(r"dropped=(\d+)")
_TOO_OLD = ("beyond retention policy", "outside retention policy", "outside the retention")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the server; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Away(Unavailable):
    """The server is away, or asks to be left alone for `wait_seconds`."""

    def __init__(self, detail: str, wait_seconds: float = 0.0) -> None:
        super().__init__("series", detail)
        self.wait_seconds = wait_seconds


class TooLong(Away):
    """The range of a question holds more files than InfluxDB 3 Core opens at once."""


class TooLarge(UrbanpulseError):  # noqa: N818 - named after the thing
    """The request was too large (413): nothing was stored."""


class LinesRefused(UrbanpulseError):  # noqa: N818
    """Some lines were refused; others may have been stored. `dropped` is how many, 0 if the server does not say."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        found = _DROPPED.search(text)
        self.dropped = int(found[1]) if found else 0
        self.is_too_old = any(words in text for words in _TOO_OLD)


def words(answer: Answer) -> str:
    """Return what the server says for itself, on one line."""
    try:
        content = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        content = answer.body.decode(errors="replace")
    if isinstance(content, dict):
        details = content.get("data")
        if isinstance(details, list):  # 3.x names each line
            said = "; ".join(str(d.get("error_message", d)) if isinstance(d, dict) else str(d) for d in details[:3])
            content = f"{content.get('error', '')}: {said}"
        else:
            content = content.get("message") or content.get("error") or content
    return " ".join(str(content).split())[:500] or f"status {answer.status}"


def check(answer: Answer, what: str, *, secret: str, name: str) -> None:
    """Return if *answer* says that *what* was done.

    Args:
        answer: what the server said.
        what: for the texts, such as `write to 'city'`.
        secret: the setting that 401 is about.
        name: the setting that 404 is about.

    Raises:
        LinesRefused: 400 or 422, or anything that says "partial write".
        TooLarge: 413.
        SettingsError: 401, 403, 404 and other refusals that only a person can change.
        Away: 408, 429 and 5xx.
    """
    status = answer.status
    if 200 <= status < 300:
        return
    text = words(answer)
    if status in {400, 422} or "partial write" in text:
        raise LinesRefused(text)
    if status == 413 or "max request size" in text:  # 3 says it with a 500
        raise TooLarge(text)
    if status == 401 and "is unauthorized" not in text:  # what 2.x says of a login that it does know
        raise SettingsError(secret, f"{what}: the server does not know this login: {text}")
    if status in {401, 403}:
        raise SettingsError(secret, f"{what}: this login may not: {text}")
    if status == 404:
        if "organization" in text:
            raise SettingsError("series.influx.org", f"{what}: {text}")
        raise SettingsError(name, f"{what}: {text}; `urbanpulse series init` creates what is missing")
    if "file limit" in text:
        raise TooLong(f"{what}: ask for less: {text}")
    if status in {408, 429} or status >= 500:
        raise Away(f"{what}: status {status}: {text}", _retry_after(answer))
    raise SettingsError("series.url", f"{what}: status {status}: {text}")


def _retry_after(answer: Answer) -> float:
    try:
        return max(float(answer.headers.get("retry-after", "0")), 0.0)
    except ValueError:  # a date: InfluxDB sends seconds
        return 0.0
