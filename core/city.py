"""This module holds the nouns of the city: district, device and series.

A series is one metric of one device. Its id is a dense int32 that the catalog allocates in blocks of
`SERIES_BLOCK` per district, so that a store sorted by series id finds a district in few places.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.errors import MalformedPayload

__all__ = ["LONGEST_INTERVAL_SECONDS", "NAME", "SERIES_BLOCK", "Device", "District", "Series", "check_name"]

SERIES_BLOCK = 4096
"""Series ids reserved for a district at a time (evidence: a 7-day district query fell from 0.9 s to 0.1 s)."""

LONGEST_INTERVAL_SECONDS = 31 * 86_400
"""What reports more seldom than this is not watched by the clock."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""Ids of districts, devices and metrics: safe in an MQTT topic, a NATS subject, a URL and a file name."""


def check_name(what: str, name: str) -> str:
    """Return *name* if it may be the id of a *what*.

    Raises:
        MalformedPayload: with reason `bad_name`; the text names *what* and *name*.
    """
    if not NAME.fullmatch(name):
        raise MalformedPayload("bad_name", f"{what} {name[:80]!r}: 1-64 letters, digits, '_' or '-' expected")
    return name


def check_interval(device: str, seconds: float) -> float:
    """Return *seconds* if *device* may declare that it reports so often.

    Raises:
        MalformedPayload: with reason `bad_interval`; the text names *device* and *seconds*.
    """
    if not 1 <= seconds <= LONGEST_INTERVAL_SECONDS:
        raise MalformedPayload("bad_interval", f"device {device}: interval {seconds:.10g} s: 1 s to 31 days expected")
    return seconds


@dataclass(frozen=True, slots=True)
class District:
    """A part of the city. `outline` is a closed ring of (longitude, latitude), possibly empty."""

    id: str
    name: str
    outline: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Device:
    """A thing that publishes. Place is WGS 84 degrees; None where nobody said.

    `interval_seconds` is how often it is declared to report, None: to be learned.
    """

    id: str
    kind: str
    district: str
    name: str = ""
    lat: float | None = None
    lon: float | None = None
    interval_seconds: float | None = None

    def __post_init__(self) -> None:
        check_name("device", self.id)
        check_name("kind", self.kind)
        check_name("district", self.district)
        if self.interval_seconds is not None:
            check_interval(self.id, self.interval_seconds)


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of one device; `id` never changes and is never used again.

    `interval_seconds` is how often its device is declared to report, None: to be learned.
    """

    id: int
    device: str
    metric: str
    district: str
    interval_seconds: float | None = None
