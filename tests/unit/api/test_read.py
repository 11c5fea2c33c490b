"""This module tests what the api shows."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from core.live import LiveFrame

if TYPE_CHECKING:
    import httpx

    from tests.unit.api.fakes import World


async def until(client: httpx.AsyncClient, path: str, ready: Any) -> Any:
    """Ask until the body satisfies *ready*, at most 5 s."""
    deadline = time.monotonic() + 5
    while True:
        body = (await client.get(path)).json()
        if ready(body):
            return body
        assert time.monotonic() < deadline, body
        await asyncio.sleep(0.01)


async def test_latest_comes_from_the_store_and_then_from_live_frames(world: World, running: httpx.AsyncClient):
    first = await until(running, "/api/v1/latest", lambda body: body["items"])
    world.feed.waiting.append(
        LiveFrame(
            epoch="p", n=1, sent=0, series=[0], measured=[1_767_225_600_500], value=[99.5], quality=[1], severity=[2.0]
        )
    )

    body = await until(running, "/api/v1/latest", lambda body: body["items"][0]["value"] == 99.5)

    assert first["items"][0]["measured"] == "2025-12-31T23:59:00.000Z"
    assert body["items"] == [
        {
            "series": 0, "device": "air-1", "metric": "pm25", "district": "north", "unit": "µg/m³", "value": 99.5,
            "measured": "2026-01-01T00:00:00.500Z", "quality": ["range"], "severity": 2.0,
        }
    ]  # fmt: skip


@pytest.mark.parametrize("path", ["/api/v1/districts", "/api/v1/devices", "/api/v1/series", "/api/v1/latest?format=geojson",
    "/api/v1/alerts", "/api/v1/ledger", "/api/v1/series/0/readings", "/api/v1/me", "/livez", "/metrics", "/openapi.json", "/docs", "/"])  # fmt: skip
async def test_smoke(running: httpx.AsyncClient, path: str):
    response = await running.get(path)

    assert response.status_code == 200, response.text
