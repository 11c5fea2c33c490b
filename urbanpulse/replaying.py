"""This module wires a replay to one installation: who publishes, with which credentials, and how it goes."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import TYPE_CHECKING

from rich.console import Console

from core.city import Device
from core.clock import from_ns
from gateway.session import tls_context
from simulators import Broker, device_name, read_recording, run_replay
from urbanpulse.clock import SystemClock
from urbanpulse.demo import register_devices
from urbanpulse.installation import prepare
from urbanpulse.roles.common import stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from simulators import Progress
    from urbanpulse.settings import Settings

__all__ = ["replay_files"]


async def replay_files(
    settings: Settings,
    files: Sequence[Path],
    *,
    device: str = "",
    metric: str = "",
    speed: float = 0.0,
    shift: bool = False,
    as_json: bool = False,
) -> None:
    """Publish the recording in *files* until done or stopped."""
    (file,) = files
    stop = stop_on_signals()
    clock = SystemClock()
    installation = await asyncio.to_thread(prepare, settings)
    address = settings.broker_address
    recording = read_recording(file)
    name = device or device_name(file)
    credentials = await asyncio.to_thread(
        register_devices, installation, "replay-devices", [Device(name, "generic", "replay", file.stem)]
    )
    await run_replay(
        recording.ending(clock.now_ns()) if shift else recording,
        device=name,
        metric=metric or "value",
        speed=speed or None,
        settings=settings.simulator,
        broker=Broker(address.host, address.port, tls_context(settings.mqtt.model_copy(update={"url": address.url}))),
        credentials=credentials,
        clock=clock,
        rng=random.Random(),  # noqa: S311 - spreads reconnects, guards nothing
        stop=stop,
        progress=_tell if as_json else None,
    )
    if not as_json:
        first, last = from_ns(int(recording.measured[0])), from_ns(int(recording.measured[-1]))
        Console().print(f"{len(recording)} readings from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} as {name}")


def _tell(progress: Progress) -> None:
    text = f"{progress.phase}: {progress.numbers.acked} of {progress.numbers.published} acknowledged"
    fact = {"done": progress.done, "total": progress.total or 1, "text": text}
    sys.stdout.write(json.dumps({"progress": fact}) + "\n")
    sys.stdout.flush()
