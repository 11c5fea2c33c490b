"""This module wires `simulate --load`: many devices over few sockets, as fast as the broker takes it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.table import Table

from core.errors import SettingsError, Unavailable
from gateway.session import tls_context
from simulators.device import Broker
from simulators.layout import city
from simulators.load import Load, LoadFigures, drive_load
from simulators.load_pool import fill_pool
from simulators.wire import wire_format
from simulators.world import World
from urbanpulse.clock import SystemClock
from urbanpulse.demo import register_city
from urbanpulse.installation import prepare
from urbanpulse.roles.common import stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from urbanpulse.settings import Settings

__all__ = ["run_load"]

_SERVICE = "load"
"""The embedded broker's user that may publish for every device."""


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
    elsewhere: bool = False,
    as_json: bool = False,
) -> None:
    """Publish for *devices* devices over *sockets* connections; print what the broker made of it.

    The broker is that of *settings*: a `--broker URL` with its user and password has been put into `settings.mqtt`
    before. The devices are registered, unless the broker is *elsewhere*: not this installation's.

    *rate* is messages a second over all sockets, 0 = as fast as the broker takes them. *credentials* is a JSON file
    {user: password} with one user, who may publish for all of the devices: so that no password stands in the address.

    Raises:
        SettingsError: an option is impossible, or the broker refuses us.
        Unavailable: the broker is away, or connections broke; then the figures were printed before.
    """
    load = Load(sockets=sockets, qos=qos, rate=rate, seconds=seconds)
    seed = settings.simulator.seed if seed is None else seed
    stop, clock, console = stop_on_signals(), SystemClock(), Console(stderr=True)
    place = city(seed, devices)
    speaker = wire_format(wire, place.devices, seed)
    username, secret = _user(settings, credentials)
    if not elsewhere:
        installation = await asyncio.to_thread(prepare, settings)
        await asyncio.to_thread(register_city, installation, place.districts, place.devices)
        if settings.embedded_broker and credentials is None:
            username, secret = _SERVICE, installation.services[_SERVICE]
    with console.status(f"encoding the messages of {devices} devices"):
        world = World(seed, place.devices)
        pool = await asyncio.to_thread(fill_pool, world, list(world.devices), speaker, start=clock.now_ns())
    address = settings.broker_address
    with console.status("connecting") as status:
        figures = await drive_load(
            pool,
            load,
            broker=Broker(
                address.host, address.port, tls_context(settings.mqtt.model_copy(update={"url": address.url}))
            ),
            name=f"urbanpulse-load-{os.getpid()}",
            username=username,
            password=secret,
            clock=clock,
            cpu=time.process_time,
            stop=stop,
            progress=_teller(as_json=as_json, show=status.update),
        )
    if as_json:
        sys.stdout.write(json.dumps(_facts(figures)) + "\n")
    else:
        Console().print(_table(figures, f"{address.host}:{address.port}", sockets))
    if figures.broken:
        raise Unavailable("broker", "; ".join(figures.broken))


def _user(settings: Settings, credentials: Path | None) -> tuple[str | None, str | None]:
    """Return user and password for a broker that is not ours."""
    if credentials is None:
        password = settings.mqtt.password
        return settings.mqtt.username, None if password is None else password.get_secret_value()
    try:
        users = msgspec.json.decode(credentials.read_bytes(), type=dict[str, str])
    except OSError as error:
        raise SettingsError("credentials", f"{credentials}: {error.strerror or error}") from error
    except msgspec.MsgspecError as error:
        raise SettingsError("credentials", f"{credentials}: {error}") from error
    if len(users) != 1:
        raise SettingsError("credentials", f"{credentials} has {len(users)} users: one expected, who speaks for all")
    return next(iter(users.items()))


def _teller(*, as_json: bool, show: Callable[[str], None]) -> Callable[[LoadFigures], None]:
    def tell(figures: LoadFigures) -> None:
        text = f"{figures.published:,} published, {figures.rate:,.0f}/s"
        if figures.qos:
            text += f", {figures.acked:,} acknowledged, {figures.unacked:,} outstanding"
        if as_json:
            sys.stdout.write(json.dumps({"progress": {"done": figures.published, "total": 0, "text": text}}) + "\n")
            sys.stdout.flush()
        else:
            show(text)

    return tell


def _facts(figures: LoadFigures) -> dict[str, Any]:
    latency = {f"p{p:g}": figures.latencies.percentile(p) for p in (50, 95, 99, 100)} if figures.qos else None
    return {
        "qos": figures.qos,
        "published": figures.published,
        "acked": figures.acked if figures.qos else None,
        "unacked": figures.unacked,
        "seconds": figures.seconds,
        "rate_per_second": figures.rate,
        "cpu_seconds_per_million": figures.cpu_seconds_per_million,
        "ack_latency_seconds": latency,
        "waits": figures.waits,
        "broken": list(figures.broken),
    }


def _table(figures: LoadFigures, broker: str, sockets: int) -> Table:
    table = Table(title=f"Load on {broker}, QoS {figures.qos}, {sockets} sockets", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("published", f"{figures.published:,}")
    if figures.qos:
        table.add_row("acknowledged", f"{figures.acked:,}")
        table.add_row("unacknowledged", f"{figures.unacked:,}")
    table.add_row("seconds", f"{figures.seconds:.2f}")
    table.add_row("messages a second", f"{figures.rate:,.0f}")
    if (cost := figures.cpu_seconds_per_million) is not None:
        table.add_row("CPU s per million publishes", f"{cost:.2f}")
    for percent in (50, 95, 99, 100) if figures.qos else ():
        if (took := figures.latencies.percentile(percent)) is not None:
            table.add_row(
                f"ack latency, {percent} %" if percent < 100 else "ack latency, longest", f"{took * 1e3:.1f} ms"
            )
    table.add_row("waits for the broker", f"{figures.waits:,}")
    for broken in figures.broken:
        table.add_row("lost", broken)
    return table
