"""This module wires the simulator to one installation: credentials, broker, progress.

The simulator itself knows nothing of the platform; it gets what a fleet of real devices would have.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import TYPE_CHECKING

from rich.console import Console

from gateway.session import tls_context
from simulators import Broker, run_city
from urbanpulse.clock import SystemClock
from urbanpulse.demo import register_demo_city
from urbanpulse.installation import prepare
from urbanpulse.roles.common import stop_on_signals

if TYPE_CHECKING:
    from simulators import Progress
    from urbanpulse.settings import Settings

__all__ = ["run_simulation"]


async def run_simulation(settings: Settings, *, backfill: bool, as_json: bool) -> None:
    """Publish the demo city until stopped."""
    stop = stop_on_signals()
    clock = SystemClock()
    installation = await asyncio.to_thread(prepare, settings)
    address = settings.broker_address
    broker = Broker(address.host, address.port, tls_context(settings.mqtt.model_copy(update={"url": address.url})))
    tell = _Teller(as_json=as_json)
    credentials = await asyncio.to_thread(register_demo_city, installation)
    simulator = settings.simulator
    await run_city(
        settings=simulator if backfill else simulator.model_copy(update={"backfill_days": 0.0}),
        broker=broker,
        credentials=credentials,
        clock=clock,
        rng=random.Random(),  # noqa: S311 - spreads reconnects, guards nothing
        stop=stop,
        labels=installation.folder / "labels.jsonl",
        progress=tell,
    )


class _Teller:
    """Says how the run stands: JSON lines for `up`, one line a phase for people."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._phase = ""
        self._console = Console()

    def __call__(self, progress: Progress) -> None:
        numbers = progress.numbers
        text = {
            "connect": f"{progress.connected} of {progress.devices} devices connected",
            "backfill": f"the city's past: {progress.done} of {progress.total} reports acknowledged",
            "live": f"live: {progress.devices} devices publish",
        }.get(progress.phase, f"{progress.phase}: {numbers.acked} of {numbers.published} acknowledged")
        if self._as_json:
            live = progress.phase == "live"
            if not live or self._phase != "live":
                total = progress.total or 1
                fact = {"done": total if live else progress.done, "total": total, "text": text}
                sys.stdout.write(json.dumps({"progress": fact}) + "\n")
                sys.stdout.flush()
        elif progress.phase != self._phase:
            self._console.print(text, highlight=False)
        self._phase = progress.phase
