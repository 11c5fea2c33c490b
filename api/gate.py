"""This module stands at the door of every request: id, security headers, figures, and the last catch for errors."""

from __future__ import annotations

import secrets
import traceback
from typing import TYPE_CHECKING

import structlog
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException

from api.problems import answer, problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from api.metrics import ApiMetrics
    from core.clock import Clock

__all__ = ["SECURITY_HEADERS", "Gate"]

log = structlog.get_logger()

SECURITY_HEADERS = {
    # scripts and styles only from files of ours; style attributes are allowed because the console's chart sets some
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Gate:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp, metrics: ApiMetrics, clock: Clock, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        request = secrets.token_hex(8)
        started = self._clock.monotonic()
        status = 0

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                status = message["status"]
                _add_headers(MutableHeaders(scope=message), scope["path"], request)
            elif message["type"] == "websocket.accept":
                status = 101
            await send(message)

        taken = 0

        async def take() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._max_body_bytes:
                raise HTTPException(413, f"at most {self._max_body_bytes} bytes")
            return message

        try:
            await self._app(scope, take, tell)
        except Exception as error:
            # as text: a traceback that a log renderer makes may show local variables, and with them tokens
            lines = "".join(traceback.format_exception(error))
            log.error(  # noqa: TRY400
                "request failed", request=request, method=scope.get("method"), route=_route(scope), traceback=lines
            )
            if status or scope["type"] == "websocket":
                raise
            await problem(answer(error), scope["path"])(scope, receive, tell)
        finally:
            route = _route(scope)
            method = scope.get("method", "WEBSOCKET")
            kind = f"{status // 100}xx" if status else "none"
            self._metrics.requests.labels(method if method in _METHODS else "WEBSOCKET", route, kind).inc()
            if scope["type"] == "http" and not route.endswith("/events"):
                self._metrics.seconds.labels(route).observe(self._clock.monotonic() - started)


def _route(scope: Scope) -> str:
    """Return the route's template: a closed set, unlike paths."""
    return getattr(scope.get("route"), "path", None) or "none"


def _add_headers(headers: MutableHeaders, path: str, request: str) -> None:
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    headers["X-Request-Id"] = request
    headers.setdefault("Cache-Control", "no-store" if path.startswith("/api") else "no-cache")
