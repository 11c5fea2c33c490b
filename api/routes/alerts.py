"""This module is the alert inbox: list, look, acknowledge, resolve, comment."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from anyio import to_thread
from fastapi import APIRouter, Header, Path, Query, Response

from api.context import Context, Ctx, DeviceId, DistrictId, Operator, Viewer, json_response
from api.models import NO_NUL, AlertHistory, AlertOut, AlertPage, Comment
from api.problems import Refusal, bad_field
from api.times import iso
from core.accounts import Principal
from core.alerts import Alert, EventKind
from core.notices import alert_json

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["alerts"])

_CURSOR = re.compile(r"(\d{1,19})\.([0-9a-f-]{36})", re.ASCII)
_ETAG = re.compile(r'(?:W/)?"(\d{1,9})"', re.ASCII)

Id = Annotated[str, Path(max_length=64, pattern=NO_NUL)]
Incident = Annotated[
    str | None,
    Query(max_length=64, pattern=NO_NUL, description="Only of this incident: the id of the alert that opened it."),
]
IfMatch = Annotated[str | None, Header(max_length=40, description='The version acted on, as in `"3"`.')]


@router.get("/alerts", operation_id="list_alerts", response_model=AlertPage)
def list_alerts(
    _: Viewer,
    context: Ctx,
    state: Literal["active", "resolved", "all"] = "active",
    district: DistrictId = None,
    device: DeviceId = None,
    incident: Incident = None,
    retrospective: bool | None = None,  # noqa: FBT001 - a query parameter
    limit: Annotated[int, Query(ge=1)] = 200,
    cursor: Annotated[str | None, Query(max_length=60)] = None,
) -> Response:
    """List alerts, newest opening first; `next_cursor` leads to the next page."""
    most = context.settings.max_items
    if limit > most:
        raise bad_field("limit", f"at most {most}")
    opened, last_id = _cursor(cursor)
    page = context.ports.alerts.alerts(
        active=None if state == "all" else state == "active",
        district=district,
        device=device,
        incident=incident,
        retrospective=retrospective,
        limit=limit + 1,
        before=opened,
        before_id=last_id,
    )
    following = f"{page[limit - 1].opened_at}.{page[limit - 1].id}" if len(page) > limit else None
    return json_response({"items": [alert_json(alert) for alert in page[:limit]], "next_cursor": following})


@router.get("/alerts/{id}", operation_id="get_alert", response_model=AlertOut)
def get_alert(_: Viewer, context: Ctx, id: Id) -> Response:  # noqa: A002 - the contract's name
    """Return one alert; the ETag is its version."""
    return _one(context.ports.alerts.alert(id))


@router.get("/alerts/{id}/history", operation_id="get_alert_history", response_model=AlertHistory)
def history(_: Viewer, context: Ctx, id: Id) -> Response:  # noqa: A002
    """Return all that happened to an alert, in order."""
    context.ports.alerts.alert(id)
    items = [
        {
            "kind": event.kind,
            "at": iso(event.at),
            "recorded": iso(event.recorded),
            "actor": event.actor,
            "comment": event.comment,
        }
        for event in context.ports.alerts.history(id)
    ]
    return json_response({"items": items})


@router.post("/alerts/{id}/acknowledge", operation_id="acknowledge_alert", response_model=AlertOut)
async def acknowledge(
    who: Operator,
    context: Ctx,
    id: Id,  # noqa: A002
    body: Comment | None = None,
    if_match: IfMatch = None,
) -> Response:
    """Take an alert: somebody looks after it."""
    return await _act(context, who, id, EventKind.ACKNOWLEDGED, body, if_match)


@router.post("/alerts/{id}/resolve", operation_id="resolve_alert", response_model=AlertOut)
async def resolve(
    who: Operator,
    context: Ctx,
    id: Id,  # noqa: A002
    body: Comment | None = None,
    if_match: IfMatch = None,
) -> Response:
    """Close an alert."""
    return await _act(context, who, id, EventKind.RESOLVED, body, if_match)


@router.post("/alerts/{id}/comment", operation_id="comment_alert", response_model=AlertOut)
async def comment(
    who: Operator,
    context: Ctx,
    id: Id,  # noqa: A002
    body: Comment,
    if_match: IfMatch = None,
) -> Response:
    """Say something about an alert, for the record."""
    if not body.comment.strip():
        raise bad_field("comment", "empty")
    return await _act(context, who, id, EventKind.COMMENTED, body, if_match)


async def _act(
    context: Context, who: Principal, alert: str, kind: EventKind, body: Comment | None, if_match: str | None
) -> Response:
    version = _version(if_match)

    def act() -> Alert:
        return context.ports.alerts.act(
            alert,
            kind,
            actor=who.name,
            now_ns=context.clock.now_ns(),
            comment=body.comment.strip() if body else "",
            version=version,
        )

    changed = await to_thread.run_sync(act)
    context.hub.alert_changed(changed.id)
    return await to_thread.run_sync(_one, changed)


def _one(alert: Alert) -> Response:
    response = json_response(alert_json(alert))
    response.headers["ETag"] = f'"{alert.version}"'
    return response


def _version(if_match: str | None) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    if match := _ETAG.fullmatch(if_match.strip()):
        return int(match[1])
    raise Refusal(412, "bad-version", f'If-Match {if_match[:40]!r}: a version such as "3" expected')


def _cursor(cursor: str | None) -> tuple[int | None, str]:
    if cursor is None:
        return None, ""
    if (match := _CURSOR.fullmatch(cursor)) and int(match[1]) < 2**63:
        return int(match[1]), match[2]
    raise Refusal(
        422, "invalid", "cursor: not one of ours", errors=[{"field": "cursor", "reason": "not a next_cursor"}]
    )
