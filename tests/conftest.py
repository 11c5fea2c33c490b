"""Fixtures that every folder may use: free ports, deadlines, real programs."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put long tests first and browser tests last, and leave the soak runs to `make soak`.

    The browser's driver keeps an event loop running in its process until the end, so nothing may come after it there.
    """
    items.sort(key=lambda item: 2 if "browser" in item.keywords else int("acceptance" not in item.keywords))
    if "soak" in (config.option.markexpr or ""):
        return
    skip = pytest.mark.skip(reason="a soak run: `make soak` starts it")
    for item in items:
        if "soak" in item.keywords:
            item.add_marker(skip)


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Return a function that names a port which was free a moment ago."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    return find


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Return a function that waits until a condition holds, or fails naming what it waited for."""

    def wait(condition: Callable[[], object], what: str, *, seconds: float = 15.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited {seconds} s for: {what}"
            time.sleep(0.02)

    return wait
