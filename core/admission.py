"""This module is the vocabulary of the ledger: what can become of a message, and why.

Every message ends as exactly one `Outcome`, so that per device and day

    received = accepted + duplicate + late + quarantined + refused

always holds. *Quarantined* keeps the raw bytes to be decoded again; *refused* keeps only the count.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec

__all__ = ["UNKNOWN_DEVICE", "DeviceStatus", "LedgerRow", "Outcome", "Quarantined", "Reason", "Tally"]

UNKNOWN_DEVICE = "-"
"""The ledger's name for devices that the catalog does not know: their own names would be an attacker's to choose."""


class Outcome(StrEnum):
    """What became of a message."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    LATE = "late"  # stored and flagged; judged, but pages nobody
    QUARANTINED = "quarantined"
    REFUSED = "refused"


class Reason(StrEnum):
    """Why a message got its outcome; one closed set for ledger, metrics and texts."""

    OK = "ok"
    REPEATED = "repeated"
    OLD = "old"
    NOT_JSON = "not_json"
    BAD_SHAPE = "bad_shape"
    BAD_VALUE = "bad_value"
    BAD_TIME = "bad_time"
    FUTURE = "future"
    BAD_TOPIC = "bad_topic"
    BAD_NAME = "bad_name"
    UNKNOWN_DEVICE = "unknown_device"
    FOREIGN_DEVICE = "foreign_device"
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    TOO_MANY_VALUES = "too_many_values"
    TOO_MANY_SERIES = "too_many_series"
    TOO_FAST = "too_fast"


class Tally(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Messages of one device, day, outcome and reason within one log entry.

    `day` is days since 1970-01-01 by time of receipt; `received` counts what came off the socket for this row and
    is kept apart from the outcome's own count so that the balance can be checked and not just assumed.
    """

    device: str
    day: int
    outcome: str
    reason: str
    received: int
    messages: int
    readings: int


class Quarantined(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A message that could not be admitted, kept to be looked at and decoded again."""

    topic: str
    payload: bytes
    received: int
    device: str
    reason: str
    detail: str


class DeviceStatus(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A device said, or its last will said for it, whether it is there."""

    device: str
    online: bool
    received: int


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """The balance of one device and day; `reasons` maps `outcome:reason` to messages."""

    device: str
    day: int
    received: int
    accepted: int
    duplicate: int
    late: int
    quarantined: int
    refused: int
    readings: int
    reasons: dict[str, int]

    @property
    def balances(self) -> bool:
        """Tell whether every received message has exactly one outcome."""
        return self.received == self.accepted + self.duplicate + self.late + self.quarantined + self.refused
