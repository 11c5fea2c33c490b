"""This module wires `simulate --load`: many devices over few sockets, as fast as the broker takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from urbanpulse.settings import Settings

__all__ = ["run_load"]


async def run_load(
    settings: Settings,
    *,
    seed: int | None = None,
    devices: int = 1000,
    rate: float = 0.0,
    sockets: int = 4,
    seconds: float = 10.0,
    qos: int = 1,
    wire: str = "json",
    credentials: Path | None = None,
    as_json: bool = False,
) -> None:
    """Publish for *devices* devices over *sockets* connections for *seconds*; print what the broker made of it.

    The broker is that of *settings* (a `--broker URL` has been put into them before, with user and password).
    *rate* is messages a second over all sockets, 0 = as fast as the broker takes them. *credentials* is a JSON file
    with `{"username": …, "password": …}` of a user that may publish for all devices.
    """
    raise NotImplementedError
