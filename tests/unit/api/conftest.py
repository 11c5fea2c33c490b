"""This module makes the worlds that the api's tests ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.unit.api.fakes import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx


@pytest.fixture
def world() -> World:
    return World()


@pytest_asyncio.fixture
async def running(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A viewer's client of an app whose hub runs."""
    async with world.app.router.lifespan_context(world.app), world.client() as client:
        yield client
