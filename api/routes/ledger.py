"""This module is the balance sheet of messages, and the messages that did not pass."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from api.context import Ctx, DeviceId, Engineer, Viewer, json_response
from api.models import LedgerOut, QuarantineList
from api.problems import Refusal, bad_field
from api.times import day_number, day_text, iso
from core.admission import LedgerRow

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["ledger"])

_DAY_NS = 86_400_000_000_000
_COUNTS = ("received", "accepted", "duplicate", "late", "quarantined", "refused", "readings")


@router.get("/ledger", operation_id="get_ledger", response_model=LedgerOut)
def ledger(
    _: Viewer, context: Ctx, device: DeviceId = None, start: date | None = None, end: date | None = None
) -> Response:
    """Return what became of every message, per device and day of receipt (UTC); both days are included.

    Without *start* the answer begins six days before *end*, without *end* it ends today. Device `-` stands for all
    devices that we do not know.
    """
    last = day_number(end) if end else context.clock.now_ns() // _DAY_NS
    first = day_number(start) if start else last - 6
    if first > last:
        raise bad_field("start", "after end")
    rows = context.ports.ledger.ledger(device, max(first, 0), max(last, 0))
    most = context.settings.max_ledger_rows
    if len(rows) > most:
        raise Refusal(422, "too-many-rows", f"{len(rows)} rows, at most {most}: name a device or fewer days")
    items = [{"device": row.device, "day": day_text(row.day), **_balance(row)} for row in rows]
    return json_response({"items": items, "total": _balance(_sum(rows))})


@router.get("/quarantine", operation_id="list_quarantine", response_model=QuarantineList)
def quarantine(_: Engineer, context: Ctx, limit: Annotated[int, Query(ge=1)] = 100) -> Response:
    """Return the newest messages that could not be admitted, with their raw bytes."""
    most = context.settings.max_items
    if limit > most:
        raise bad_field("limit", f"at most {most}")
    items = [
        {
            "topic": message.topic,
            "payload_base64": b64encode(message.payload).decode(),
            "received": iso(message.received),
            "device": message.device,
            "reason": message.reason,
            "detail": message.detail,
        }
        for message in context.ports.ledger.quarantine(limit)
    ]
    return json_response({"items": items})


def _balance(row: LedgerRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _COUNTS} | {"balances": row.balances, "reasons": row.reasons}


def _sum(rows: list[LedgerRow]) -> LedgerRow:
    reasons: Counter[str] = Counter()
    for row in rows:
        reasons.update(row.reasons)
    counts = {name: sum(getattr(row, name) for row in rows) for name in _COUNTS}
    return LedgerRow(device="", day=0, reasons=dict(reasons), **counts)
