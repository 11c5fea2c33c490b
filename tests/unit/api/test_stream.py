"""This module tests the live streams over real sockets: WebSocket for the console, SSE for programs."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from api import ApiSettings, run
from api.auth import COOKIE
from core.accounts import Role
from core.errors import SettingsError
from core.live import LiveFrame
from tests.unit.api.fakes import NOW, PASSWORD, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, MutableMapping


@asynccontextmanager
async def served(world: World, stop: asyncio.Event | None = None) -> AsyncIterator[str]:
    """Serve the world's app on a free port; stop it at the end."""
    stop = stop or asyncio.Event()
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    settings = world.settings.model_copy(update={"port": 0})
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(run(world.app, settings, stop=stop, started=started), name="server")
        try:
            yield f"127.0.0.1:{await started}"
        finally:
            stop.set()


async def frame(stream: Any) -> dict[str, Any]:
    """Return the next frame of a WebSocket."""
    body: dict[str, Any] = json.loads(await asyncio.wait_for(stream.recv(), 5))
    return body


async def closing(stream: Any) -> int:
    """Read *stream* until the server closes it; return the code."""
    try:
        while True:
            await frame(stream)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 1006


async def event(lines: AsyncIterator[str]) -> dict[str, str]:
    """Return the next server-sent event."""
    found: dict[str, str] = {}
    async for line in lines:
        if not line:
            return found
        name, _, value = line.partition(": ")
        found[name] = value
    return found


async def cookie(host: str) -> str:
    """Log an operator in and return the Cookie header."""
    async with httpx.AsyncClient(base_url=f"http://{host}") as client:
        await client.post("/api/v1/login", json={"name": "operator", "password": PASSWORD})
        return f"{COOKIE}={client.cookies[COOKIE]}"


def value(n: int, number: float) -> LiveFrame:
    return LiveFrame(
        epoch="p", n=n, sent=0, series=[0], measured=[NOW // 1_000_000 + n], value=[number], quality=[0], severity=[0.0]
    )  # fmt: skip


async def test_first_frame_is_a_hello_and_changes_follow(world: World) -> None:
    async with served(world) as host, connect(f"ws://{host}/api/v1/live", additional_headers=world.bearer()) as stream:
        hello = await frame(stream)
        world.feed.waiting.append(value(1, 2.5))
        world.feed.waiting.append(LiveFrame(epoch="p", n=2, sent=0, alerts=["a"], online=["x"], offline=["y"]))
        seen: list[dict[str, Any]] = []
        while not any(one["alerts"] for one in seen):
            seen.append(await frame(stream))

    assert (hello["epoch"], hello["series"], hello["alerts"]) == ("test", [], [])
    assert [one["online"] + one["offline"] for one in seen if one["alerts"]] == [["x", "y"]]
    numbers = [one["n"] for one in seen]
    assert numbers == sorted(set(numbers))
    assert numbers[0] > hello["n"]


async def test_both_transports_carry_the_same_frames_and_sse_resumes(world: World) -> None:
    async with (
        served(world) as host,
        httpx.AsyncClient(base_url=f"http://{host}", headers=world.bearer(), timeout=60) as client,
        connect(f"ws://{host}/api/v1/live", additional_headers=world.bearer()) as stream,
    ):
        async with client.stream("GET", "/api/v1/events") as response:
            lines = response.aiter_lines()
            await event(lines)
            world.feed.waiting.append(value(1, 1.0))
            while world.hub.stats.reloads < 2:  # the first frame of a processor is a gap: the store is read again
                await event(lines)
            world.feed.waiting.append(value(2, 7.0))
            over_sse = await event(lines)
            while "7.0" not in over_sse["data"]:
                over_sse = await event(lines)
        over_websocket = await frame(stream)
        while over_websocket["value"] != [7.0]:
            over_websocket = await frame(stream)
        epoch, _, n = over_sse["id"].rpartition(":")
        before = {"Last-Event-ID": f"{epoch}:{int(n) - 1}"}
        async with client.stream("GET", "/api/v1/events", headers=before) as response:
            again = await event(response.aiter_lines())
            headers = response.headers

    assert json.loads(over_sse["data"]) == over_websocket
    assert over_sse["event"] == "frame"
    assert again == over_sse
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["cache-control"] == "no-store"
    assert "content-encoding" not in headers


async def test_a_heartbeat_comes_when_nothing_changes(world: World) -> None:
    quiet = world.remade(heartbeat_seconds=0.2)
    async with served(quiet) as host, connect(f"ws://{host}/api/v1/live", additional_headers=quiet.bearer()) as stream:
        frames = [await frame(stream) for _ in range(4)]

    assert all(one["series"] == [] for one in frames)
    assert frames[3]["n"] == frames[2]["n"] + 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 401, id="nobody"),
        pytest.param({"Authorization": "Bearer up_wrong"}, 401, id="an unknown key"),
        pytest.param({"Cookie": "COOKIE", "Origin": "https://evil.example"}, 403, id="a foreign page"),
        pytest.param({"Cookie": "COOKIE", "Origin": "null"}, 403, id="a sandboxed page"),
    ],
)
async def test_a_websocket_is_refused_before_the_upgrade(world: World, headers: dict[str, str], status: int) -> None:
    async with served(world) as host:
        session = await cookie(host)
        headers = {name: session if text == "COOKIE" else text for name, text in headers.items()}
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"ws://{host}/api/v1/live", additional_headers=headers):
                pass

    assert refused.value.response.status_code == status
    assert refused.value.response.headers["content-type"] == "application/problem+json"
    assert json.loads(refused.value.response.body)["status"] == status


async def test_our_own_page_gets_the_websocket(world: World) -> None:
    async with served(world) as host:
        headers = {"Cookie": await cookie(host), "Origin": f"http://{host}"}
        async with connect(f"ws://{host}/api/v1/live", additional_headers=headers) as stream:
            assert (await frame(stream))["epoch"] == "test"


@pytest.mark.parametrize("role", [None, *Role])
async def test_every_role_may_watch_and_nobody_else(world: World, role: Role | None) -> None:
    headers = {} if role is None else world.bearer(role)
    async with served(world) as host, httpx.AsyncClient(base_url=f"http://{host}", headers=headers) as client:
        async with client.stream("GET", "/api/v1/events") as response:
            status = response.status_code
        if role is not None:
            async with connect(f"ws://{host}/api/v1/live", additional_headers=headers) as stream:
                await frame(stream)

    assert status == (401 if role is None else 200)


async def test_one_stream_more_than_the_limit_is_refused_and_a_place_becomes_free(world: World) -> None:
    strict = world.remade(max_stream_clients=1, heartbeat_seconds=0.1)
    url = "/api/v1/events"
    async with (
        served(strict) as host,
        httpx.AsyncClient(base_url=f"http://{host}", headers=strict.bearer(), timeout=60) as client,
    ):
        async with client.stream("GET", url) as response:
            lines = response.aiter_lines()  # held: when it goes, the stream goes
            await event(lines)
            refused = await client.get(url)
            with pytest.raises(InvalidStatus) as refused_too:
                async with connect(f"ws://{host}/api/v1/live", additional_headers=strict.bearer()):
                    pass
        async with asyncio.timeout(60):
            while strict.hub.clients("sse"):
                await asyncio.sleep(0.01)
        async with connect(f"ws://{host}/api/v1/live", additional_headers=strict.bearer()) as stream:
            await frame(stream)

    assert (refused.status_code, refused_too.value.response.status_code) == (503, 503)
    assert refused.headers["retry-after"] == "5"
    assert refused.json()["type"] == "urn:urbanpulse:problem:too-many-streams"


async def test_a_revoked_key_ends_its_streams(world: World) -> None:
    strict = world.remade(recheck_seconds=0.1, heartbeat_seconds=0.1)
    async with (
        served(strict) as host,
        httpx.AsyncClient(base_url=f"http://{host}", headers=strict.bearer(), timeout=60) as client,
        connect(f"ws://{host}/api/v1/live", additional_headers=strict.bearer()) as stream,
        client.stream("GET", "/api/v1/events") as response,
    ):
        await frame(stream)
        strict.accounts.revoke_key("viewer-key", 0)
        code = await closing(stream)
        async with asyncio.timeout(60):
            async for _ in response.aiter_lines():
                pass

    assert code == 1008


async def test_what_a_client_says_is_ignored_and_too_much_closes_the_socket(world: World) -> None:
    async with served(world) as host, connect(f"ws://{host}/api/v1/live", additional_headers=world.bearer()) as stream:
        await stream.send("hello")
        await frame(stream)
        await stream.send("x" * 5000)
        code = await closing(stream)
        async with asyncio.timeout(60):
            while world.hub.clients("websocket"):
                await asyncio.sleep(0.01)

    assert code == 1009


async def test_a_client_that_is_gone_before_the_upgrade_is_no_failure(world: World) -> None:
    """A socket that breaks that early is told by the server as an OSError when we accept."""
    headers = [(name.lower().encode(), text.encode()) for name, text in world.bearer().items()]
    scope = {"type": "websocket", "path": "/api/v1/live", "headers": headers, "query_string": b"", "subprotocols": []}
    sent: list[str] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message["type"])
        raise BrokenPipeError

    await world.app(scope, receive, send)

    assert sent == ["websocket.accept"]
    assert world.hub.clients("websocket") == 0


async def test_stopping_ends_streams_politely_and_soon(world: World) -> None:
    stop = asyncio.Event()
    async with (
        served(world, stop) as host,
        httpx.AsyncClient(base_url=f"http://{host}", timeout=60) as client,
        connect(f"ws://{host}/api/v1/live", additional_headers=world.bearer()) as stream,
        client.stream("GET", "/api/v1/events", headers=world.bearer()) as response,
    ):
        await frame(stream)
        stop.set()
        async with asyncio.timeout(60):
            code = await closing(stream)
            async for _ in response.aiter_lines():
                pass

    assert code in {1001, 1012}


async def test_a_port_in_use_is_a_mistake_of_the_settings(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = ApiSettings(port=taken.getsockname()[1])
        with pytest.raises(SettingsError, match=r"api\.port: cannot listen on 127.0.0.1 port"):
            await run(world.app, settings, stop=asyncio.Event())
