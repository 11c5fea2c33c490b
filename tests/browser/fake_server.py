"""This module serves a fake city over the real HTTP contract, in a thread, and can be killed and started again.

By hand: `python -m tests.browser.fake_server 8123` (a lively city of 200 sensors; sign in as amina / correct horse).
"""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import uvicorn
from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles

from core.alerts import EventKind
from core.errors import Conflict
from core.live import LiveFrame
from core.notices import alert_json
from tests.browser.fake_alerts import fill
from tests.browser.fake_city import FakeCity
from tests.stack import free_port, until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

__all__ = ["PASSWORD", "STATIC", "USER", "FakeServer"]

STATIC = Path(__file__).parents[2] / "api" / "static"
USER = "amina"
PASSWORD = "correct horse"
COOKIE = "urbanpulse_session"
TOKEN = "a-session"
_ACTIONS = {
    "acknowledge": EventKind.ACKNOWLEDGED,
    "resolve": EventKind.RESOLVED,
    "comment": EventKind.COMMENTED,
}


def _ns(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000) * 10**6


def _signed_in(request: Request) -> None:
    if request.cookies.get(COOKIE) != TOKEN:
        raise HTTPException(401, "sign in first")


def build_app(city: FakeCity) -> FastAPI:  # noqa: C901 - a list of routes, one after the other
    """Return the contract's routes over *city*, and the built console at /."""
    app = FastAPI(openapi_url=None)
    open_routes = APIRouter(prefix="/api/v1")
    routes = APIRouter(prefix="/api/v1", dependencies=[Depends(_signed_in)])
    me = {"name": USER, "role": "operator", "kind": "user", "city": "Ashgabat"}

    @open_routes.post("/login")
    def login(response: Response, body: Annotated[dict[str, str], Body()]) -> dict[str, str]:
        if (body["name"], body["password"]) != (USER, PASSWORD):
            raise HTTPException(401, "name or password is wrong")
        response.set_cookie(COOKIE, TOKEN, httponly=True, samesite="lax")
        return me

    @routes.post("/logout", status_code=204)
    def logout(response: Response) -> None:
        response.delete_cookie(COOKIE)

    @routes.get("/me")
    def who() -> dict[str, str]:
        return me

    @routes.get("/districts")
    def districts() -> dict[str, Any]:
        return {"items": [{"id": d.id, "name": d.name, "outline": d.outline} for d in city.districts]}

    @routes.get("/devices")
    def devices() -> dict[str, Any]:
        return {"items": city.device_items()}

    @routes.get("/latest")
    def latest(device: str | None = None) -> dict[str, Any]:
        return city.latest(device)

    @routes.get("/series/{series}/readings")
    def readings(series: int, start: str, end: str, points: int = 500) -> dict[str, Any]:
        return city.readings(series, _ns(start), _ns(end), points)

    @routes.get("/completeness")
    def completeness(device: str) -> dict[str, Any]:
        return city.completeness(device)

    @routes.get("/alerts")
    def alerts(
        state: str = "active",
        district: str | None = None,
        device: str | None = None,
        incident: str | None = None,
        retrospective: bool | None = None,
        limit: int = 200,
    ) -> dict[str, Any]:
        found = city.alerts(
            state=state, district=district, device=device, incident=incident, retrospective=retrospective, limit=limit
        )
        return {"items": found, "next_cursor": None}

    @routes.get("/alerts/{alert}")
    def one(alert: str) -> Response:
        if alert not in city.events:
            return _problem(404, f"alert {alert!r} is unknown")
        return JSONResponse(alert_json(city.alert(alert)))

    @routes.get("/alerts/{alert}/history")
    def history(alert: str) -> dict[str, Any]:
        return {"items": city.history(alert)}

    @routes.post("/alerts/{alert}/{action}")
    def act(alert: str, action: str, request: Request, body: Annotated[dict[str, str], Body()]) -> Response:
        wanted = request.headers.get("if-match", "").strip('"')
        version = str(city.alert(alert).version)
        if wanted not in {"", version}:
            return _problem(409, f"alert {alert} is at version {version}, not {wanted}")
        try:
            city.happen(alert, _ACTIONS[action], actor=USER, comment=body.get("comment", ""))
        except Conflict as error:
            return _problem(409, str(error))
        return JSONResponse(alert_json(city.alert(alert)))

    @app.websocket("/api/v1/live")
    async def live(socket: WebSocket) -> None:
        if socket.cookies.get(COOKIE) != TOKEN:
            await socket.close(4401)
            return
        await socket.accept()
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        hello = LiveFrame(epoch=city.epoch, n=city.n, sent=city.now() // 10**6)
        queue.put_nowait(hello.to_bytes())
        city.listeners.add(queue)
        try:
            while frame := await queue.get():
                await socket.send_text(frame.decode())
            await socket.close(1012)
        except WebSocketDisconnect:
            pass
        finally:
            city.listeners.discard(queue)

    app.include_router(open_routes)
    app.include_router(routes)
    app.mount("/", StaticFiles(directory=STATIC, html=True))
    return app


def _problem(status: int, detail: str) -> Response:
    body: Mapping[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    return JSONResponse(body, status, media_type="application/problem+json")


class FakeServer:
    """The city on a port of its own. `stop()` kills it as a crash would; `start()` brings it back on the same port."""

    def __init__(self, city: FakeCity, port: int | None = None) -> None:
        self.city = city
        self._app = build_app(city)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.port = free_port() if port is None else port

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Serve; return when connections are taken."""
        config = uvicorn.Config(
            self._app,
            host="127.0.0.1",
            port=self.port,
            log_level="error",
            ws="websockets-sansio",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        self._server = server

        def run() -> None:
            async def serve() -> None:
                self.city.loop = asyncio.get_running_loop()
                await server.serve()

            asyncio.run(serve())

        thread = threading.Thread(target=run, name="fake-api")
        self._thread = thread
        thread.start()
        until(lambda: server.started or not thread.is_alive(), "the fake api to listen")
        assert server.started, f"port {self.port} cannot be listened on"

    def stop(self) -> None:
        """Go away with all connections."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        for queue in list(self.city.listeners):
            assert self.city.loop is not None
            self.city.loop.call_soon_threadsafe(queue.put_nowait, b"")  # the end of the stream
        self._thread.join(60)
        self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _lively(port: int) -> None:
    city = FakeCity(time.time_ns, per_district=40)
    rng = random.Random(3)
    with FakeServer(city, port) as server:
        print(server.url)  # noqa: T201 - started by hand
        fill(city)
        while True:
            time.sleep(0.2)
            some = rng.sample(city.series, 20)
            city.measure({s.id: city.usual(s.metric, city.now(), s.id) * rng.uniform(0.98, 1.02) for s in some})


if __name__ == "__main__":
    try:
        _lively(int(sys.argv[1]) if len(sys.argv) > 1 else free_port())
    except KeyboardInterrupt:
        sys.exit(0)
