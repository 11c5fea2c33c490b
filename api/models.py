"""This module describes the bodies of the HTTP contract for OpenAPI; a test holds the answers to them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from core.accounts import Role
from core.alerts import AlertState, Classification, EventKind, Priority
from core.city import LONGEST_INTERVAL_SECONDS

__all__ = [
    "NO_NUL",
    "AlertHistory",
    "AlertOut",
    "AlertPage",
    "Comment",
    "CompletenessOut",
    "Credential",
    "DeviceList",
    "DistrictList",
    "FeatureCollection",
    "FrameOut",
    "IndexList",
    "Latest",
    "LedgerOut",
    "Login",
    "Me",
    "NewDevice",
    "ProblemOut",
    "QuarantineList",
    "Readings",
    "SeriesList",
    "Session",
]

Aggregate = Literal["mean", "min", "max", "last", "none"]
NO_NUL = r"^[^\x00]*$"
"""The pattern of text that a catalog can look for: PostgreSQL knows no NUL."""

Id = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ProblemOut(_Model):
    """An error after RFC 9457."""

    type: str = Field(examples=["urn:urbanpulse:problem:not-found"])
    title: str
    status: int
    detail: str
    instance: str
    errors: list[dict[str, str]] | None = Field(None, description="Per bad field: `field` and `reason`.")


class Login(_Model):
    """Name and password."""

    name: str = Field(min_length=1, max_length=64, pattern=NO_NUL)
    password: str = Field(min_length=1, max_length=256, json_schema_extra={"format": "password"})


class Session(_Model):
    """Who logged in, and to which city."""

    name: str
    role: Role
    city: str


class Me(Session):
    """Who is asking."""

    kind: Literal["user", "key"]


class DistrictOut(_Model):
    """A part of the city."""

    id: str
    name: str
    outline: list[tuple[float, float]] = Field(description="Closed ring of (longitude, latitude), possibly empty.")


class DistrictList(_Model):
    """All districts."""

    items: list[DistrictOut]


class DeviceOut(_Model):
    """A device and whether it said that it is there."""

    id: str
    kind: str
    district: str
    name: str
    lat: float | None
    lon: float | None
    interval_seconds: float | None = Field(description="How often it is declared to report; null: that is learned.")
    online: bool | None = Field(description="null: it never said.")
    since: str | None


class DeviceList(_Model):
    """Devices by id."""

    items: list[DeviceOut]


class NewDevice(_Model):
    """A device to register."""

    id: str = Id
    kind: str = Id
    district: str = Id
    name: str = Field("", max_length=200, pattern=NO_NUL)
    lat: float | None = Field(None, ge=-90, le=90)
    lon: float | None = Field(None, ge=-180, le=180)
    interval_seconds: float | None = Field(
        None, ge=1, le=LONGEST_INTERVAL_SECONDS, description="How often it reports; otherwise that is learned."
    )


class Credential(_Model):
    """What the device logs in to the broker with; shown once."""

    username: str
    password: str


class SeriesOut(_Model):
    """One metric of one device."""

    id: int
    device: str
    metric: str
    district: str
    unit: str


class SeriesList(_Model):
    """Series by id."""

    items: list[SeriesOut]


class LatestItem(_Model):
    """The newest reading of a series by measured time."""

    series: int
    device: str
    metric: str
    district: str
    unit: str
    value: float
    measured: str
    quality: list[str]
    severity: float = Field(description="The detector's score, 0 where all is well, 1 unusual.")


class Latest(_Model):
    """All newest readings, and the last live frame that they contain."""

    epoch: str
    n: int
    items: list[LatestItem]


class FeatureCollection(_Model):
    """GeoJSON: a Feature per device that has a place; `properties.readings` maps metric to its newest reading."""

    type: Literal["FeatureCollection"]
    epoch: str
    n: int
    features: list[dict[str, Any]]


class Columns(_Model):
    """Readings or buckets in columns of equal length; `t` in epoch ms (start of the bucket)."""

    t: list[int]
    value: list[float]
    low: list[float] = Field(description="Least value in the bucket, whatever the aggregate.")
    high: list[float] = Field(description="Greatest value in the bucket, whatever the aggregate.")
    n: list[int]
    quality: list[int] = Field(description="Quality masks, or-ed over the bucket.")


class Band(_Model):
    """What is expected, in hourly steps; `t` in epoch ms."""

    t: list[int]
    expected: list[float | None]
    low: list[float | None]
    high: list[float | None]


class Readings(_Model):
    """Readings of a series."""

    series: SeriesOut
    start: str
    end: str
    width_seconds: float | None = Field(description="Width of the buckets; null for raw readings.")
    columns: Columns
    band: Band


class CompletenessColumns(_Model):
    """Hours in columns of equal length; `t` is the start in epoch ms."""

    t: list[int]
    received: list[int]
    completeness: list[float | None] = Field(description="0 to 1; null: no reading was due, or that is not known.")


class SeriesCompleteness(_Model):
    """How complete one series is."""

    series: int
    metric: str
    interval_seconds: float | None = Field(description="A reading is due so often; null: nothing is known.")
    interval: Literal["declared", "learned"] | None
    due: int = Field(description="Readings that were due, from the hour of the first one on.")
    received: int = Field(description="Readings that are there; late ones count in the hour they were measured in.")
    completeness: float | None = Field(description="Share of those due that came, no hour counting more than full.")
    columns: CompletenessColumns


class CompletenessOut(_Model):
    """How complete the series of a device are over hours that are over."""

    device: str
    start: str
    end: str
    items: list[SeriesCompleteness]


class IndexColumns(_Model):
    """An index over time, in columns of equal length; `t` in epoch ms (start of the hour, or of the day of noise)."""

    t: list[int]
    value: list[float]
    category: list[str]
    dominant: list[str] = Field(description="What made the index: a pollutant, `noise` or `temperature`.")
    incomplete: list[bool]
    missing: list[list[str]] = Field(description="What the index asks for and was not there.")
    beyond: list[bool] = Field(description="Above the last row of the official table, on its continued line.")
    version: list[str] = Field(description="Of the table: values of different versions cannot be compared.")


class IndexOut(_Model):
    """One index of a place."""

    index: str
    title: str
    unit: str
    reference_celsius: int | None = Field(description="What volumes of gas were converted at; null: none was.")
    columns: IndexColumns


class IndexList(_Model):
    """Indices of a device, or of a district as a whole (`device` is null)."""

    device: str | None
    district: str
    start: str
    end: str
    items: list[IndexOut]


class CardOut(_Model):
    """What was looked at to tell what is behind an alert; deviations are in a series' own usual ones."""

    deviation: float | None
    peers: int
    peers_deviation: float | None
    peer_deviations: list[float]
    agreeing: int
    near: int
    near_strange: int
    siblings: int
    siblings_strange: int
    silent: int
    of: int
    battery: float | None
    rssi: float | None
    past: int
    at_most: float | None = Field(description="At most this share of readings of the metric is as odd.")
    needed: float | None = Field(description="Severity from which novelty opens an alert here.")
    budget: float | None = Field(description="Novelty alerts a day that the district is meant to have at most.")


class Facts(BaseModel):
    """Why an alert was raised: a message code and facts, with one English sentence."""

    code: str
    rule: str
    priority: Priority
    district: str
    device: str
    metric: str
    series: int
    unit: str
    measured: str
    value: float | None
    expected: float | None
    low: float | None
    high: float | None
    limit: float | None
    duration_seconds: float
    severity: float
    retrospective: bool
    classification: Classification | None
    card: CardOut | None
    incident: str
    joined: int
    text: str


class CommentOut(_Model):
    """What somebody said about an alert."""

    at: str
    by: str
    text: str


class AlertOut(Facts):
    """An alert with the evidence at its opening; `worst` is the worst since."""

    id: str
    state: AlertState
    version: int
    opened_at: str
    changed_at: str
    cleared_at: str | None
    owner: str | None
    worst: Facts
    comments: list[CommentOut]


class AlertPage(_Model):
    """Alerts, newest opening first."""

    items: list[AlertOut]
    next_cursor: str | None


class EventOut(_Model):
    """One thing that happened to an alert."""

    kind: EventKind
    at: str
    recorded: str
    actor: str
    comment: str


class AlertHistory(_Model):
    """All that happened to an alert, in order."""

    items: list[EventOut]


class Comment(_Model):
    """Words for the record."""

    comment: str = Field("", max_length=2000)


class Balance(_Model):
    """Messages by outcome; received = accepted + duplicate + late + quarantined + refused."""

    received: int
    accepted: int
    duplicate: int
    late: int
    quarantined: int
    refused: int
    readings: int
    balances: bool
    reasons: dict[str, int]


class DayBalance(Balance):
    """The balance of one device and day (UTC, by receipt)."""

    device: str
    day: str


class LedgerOut(_Model):
    """Balances per device and day, and their sum."""

    items: list[DayBalance]
    total: Balance


class QuarantinedOut(_Model):
    """A message that could not be admitted."""

    topic: str
    payload_base64: str
    received: str
    device: str
    reason: str
    detail: str


class QuarantineList(_Model):
    """Quarantined messages, newest first."""

    items: list[QuarantinedOut]


class FrameOut(_Model):
    """A live frame: what changed, in columns. A number that does not follow the last one means: fetch the snapshot."""

    epoch: str
    n: int
    sent: int
    series: list[int]
    measured: list[int]
    value: list[float]
    quality: list[int]
    severity: list[float]
    alerts: list[str]
    online: list[str]
    offline: list[str]
    live_age_seconds: float = Field(description="How long the api has not heard the processor; large: it is dead.")
