"""This module tells machines how the api is: alive, ready, and in figures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import anyio
from anyio import to_thread
from fastapi import APIRouter, Request, Response
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from api.context import Context, Ctx, json_response

__all__ = ["router"]

router = APIRouter(tags=["health"])

_CHECK_SECONDS = 2.0


@router.get("/livez", operation_id="get_liveness")
async def livez() -> Response:
    """Answer at all: the event loop runs."""
    return json_response({"status": "ok"})


@router.get("/readyz", operation_id="get_readiness", responses={503: {"description": "A part is bad."}})
async def readyz(context: Ctx) -> Response:
    """Ask every part; 503 when one is bad, with its name.

    Without the series store the api is degraded, which is 200: live views and alerts go on, history does not.
    """
    ports = context.ports
    checks: dict[str, Callable[[], object]] = {
        "catalog": ports.registry.revision,
        "series": partial(ports.series.readings, 0, 0, 1, 1),
        **ports.checks,
    }
    parts: dict[str, str] = {}
    behind: list[float] = []
    checks["behind"] = lambda: behind.append(ports.behind())
    async with anyio.create_task_group() as tasks:
        for name, check in checks.items():
            tasks.start_soon(_ask, name, check, parts, name=f"api check {name}")
    del parts["behind"]
    most = context.settings.live_stale_seconds
    if parts["series"] == "ok" and most is not None and behind and behind[0] > most:
        parts["series"] = f"{behind[0]:.0f} s behind"
    is_whole = parts["series"] == "ok"
    parts["live"] = _live(context, is_whole=is_whole)
    ready = all(state == "ok" for name, state in parts.items() if name != "series")
    age = context.hub.age()
    body = {
        "status": "not ready" if not ready else "ready" if is_whole else "degraded",
        "parts": dict(sorted(parts.items())),
        "live_age_seconds": None if age is None else round(age, 1),
        "series_behind_seconds": round(behind[0], 1) if behind else None,
    }
    return json_response(body, 200 if ready else 503)


def _live(context: Context, *, is_whole: bool) -> str:
    if is_whole and not context.hub.seeded:
        return "latest values not read yet"
    age, most = context.hub.age(), context.settings.live_stale_seconds
    if most is None or (age is not None and age <= most):
        return "ok"
    return "the processor was not heard yet" if age is None else f"the processor is silent for {age:.0f} s"


async def _ask(name: str, check: Callable[[], object], parts: dict[str, str]) -> None:
    parts[name] = f"no answer within {_CHECK_SECONDS:.0f} s"
    with anyio.move_on_after(_CHECK_SECONDS):
        try:
            await to_thread.run_sync(check, abandon_on_cancel=True)
        except Exception as error:  # noqa: BLE001 - whatever it is, the part is bad; its text may name insides
            parts[name] = type(error).__name__
        else:
            parts[name] = "ok"


@router.get("/metrics", operation_id="get_metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Return the figures in Prometheus' text format."""
    registry = request.app.state.metrics.registry
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)
