"""This module tests the live streams over real sockets: WebSocket for the console, SSE for programs."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import connect

from api import run
from core.live import LiveFrame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.unit.api.fakes import World


@asynccontextmanager
async def served(world: World) -> AsyncIterator[str]:
    """Serve the world's app on a free port; stop it at the end, at most 5 s later."""
    stop = asyncio.Event()
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    settings = world.settings.model_copy(update={"port": 0})
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(run(world.app, settings, stop=stop, started=started), name="server")
        try:
            yield f"127.0.0.1:{await started}"
        finally:
            stop.set()


async def frame(socket: Any) -> dict[str, Any]:
    """Return the next frame of a WebSocket."""
    return json.loads(await asyncio.wait_for(socket.recv(), 5))


async def test_first_frame_is_a_hello_and_changes_follow(world: World):
    async with (
        served(world) as host,
        connect(f"ws://{host}/api/v1/live", additional_headers=world.bearer()) as socket,
    ):
        hello = await frame(socket)
        world.feed.waiting.append(
            LiveFrame(epoch="p", n=1, sent=0, series=[0], measured=[1], value=[2.5], quality=[0], severity=[0.0])
        )
        world.feed.waiting.append(LiveFrame(epoch="p", n=2, sent=0, alerts=["a"], online=["x"], offline=["y"]))
        seen: list[dict[str, Any]] = []
        while not any(f["alerts"] for f in seen):
            seen.append(await frame(socket))

    assert (hello["epoch"], hello["series"], hello["alerts"]) == ("test", [], [])
    assert [f["online"] + f["offline"] for f in seen if f["alerts"]] == [["x", "y"]]
    numbers = [f["n"] for f in seen]
    assert numbers == sorted(set(numbers))
    assert numbers[0] > hello["n"]
