"""This module puts the api together from what it is handed: ports, settings, clock and hub."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware

from api.auth import COOKIE, Guard
from api.context import ApiPorts, Context, Directory
from api.gate import Gate
from api.metrics import ApiMetrics
from api.models import ProblemOut
from api.pages import STATIC, page_routes
from api.problems import PROBLEM, answer, problem
from api.routes import alerts, completeness, devices, health, indices, latest, ledger, live, series, session
from core.errors import UrbanpulseError
from core.indices import IndexTables, builtin_indices, load_index

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

    from api.hub import LiveHub
    from api.settings import ApiSettings
    from core.clock import Clock

__all__ = ["create_app"]

_ROUTERS = (session, devices, latest, series, indices, completeness, alerts, ledger, live, health)
_DESCRIPTION = (
    "Every reading of the city accounted for, judged, kept and turned into explained alerts. "
    "Send `Authorization: Bearer up_…` or log in; errors are RFC 9457 problems; times are RFC 3339 in UTC."
)


def create_app(
    ports: ApiPorts,
    settings: ApiSettings,
    *,
    clock: Clock,
    hub: LiveHub,
    static_dir: Path | None = None,
    registry: CollectorRegistry | None = None,
    version: str = "0",
) -> FastAPI:
    """Return the application. Its lifespan runs *hub*.

    *static_dir* holds the built console (default: the one in the package); *registry* takes the metrics.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = settings.worker_threads
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(hub.run(), name="api live hub")
            yield
            hub.close()
            running.cancel()

    app = FastAPI(
        title="urbanpulse",
        version=version,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    guard = Guard(ports.accounts, settings, clock)
    app.state.context = Context(
        ports=ports,
        settings=settings,
        clock=clock,
        hub=hub,
        guard=guard,
        directory=Directory(ports.registry),
        indices=_index_tables(settings),
        login_limiter=anyio.CapacityLimiter(settings.login_threads),
    )
    app.state.metrics = ApiMetrics(registry or CollectorRegistry(), hub, guard.attempts)
    responses: dict[int | str, dict[str, Any]] = {
        status: {"description": text, "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}}
        for status, text in ((401, "Not logged in."), (403, "Not allowed."), (422, "Bad parameter or body."))
    }
    for module in _ROUTERS:
        app.include_router(module.router, responses=None if module is health else responses)
    app.include_router(page_routes(static_dir or STATIC))
    for kind in (UrbanpulseError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _answer)
    app.add_middleware(GZipMiddleware, minimum_size=2048, compresslevel=4)
    app.add_middleware(Gate, metrics=app.state.metrics, clock=clock, max_body_bytes=settings.max_body_bytes)
    _describe(app)
    return app


def _index_tables(settings: ApiSettings) -> tuple[IndexTables, ...]:
    """Return the built-in indices and those of the settings; of equal names the last one counts."""
    found = (*builtin_indices(), *map(load_index, settings.indices.files))
    return tuple({tables.name: tables for tables in found}.values())


async def _answer(request: Request, error: Exception) -> Response:
    return problem(answer(error), request.url.path)


def _describe(app: FastAPI) -> None:
    """Add to the OpenAPI description what routes do not say: how to log in, and the shape of problems."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        described = app.openapi_schema is not None
        schema = plain()
        if not described:
            components = schema.setdefault("components", {})
            components.setdefault("schemas", {})["ProblemOut"] = ProblemOut.model_json_schema()
            components["securitySchemes"] = {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key, `up_…`."},
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            }
            for path, methods in schema["paths"].items():
                for operation in methods.values():
                    if path.startswith("/api/") and operation["operationId"] not in {"login", "logout"}:
                        operation["security"] = [{"key": []}, {"session": []}]
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
