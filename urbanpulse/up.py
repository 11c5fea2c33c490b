"""This module is `urbanpulse up`: all roles on one machine, as children of one process, and one URL at the end.

It starts sinks before sources and stops sources before sinks. It touches no data: that is the roles' work.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING

import httpx

from api.settings import ApiSettings
from core.errors import SettingsError, Unavailable, UrbanpulseError
from urbanpulse.clock import SystemClock
from urbanpulse.demo import register_demo_city
from urbanpulse.installation import alone, data_folder, prepare
from urbanpulse.screen import Screen
from urbanpulse.supervisor import Role, Supervisor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from core.clock import Clock
    from urbanpulse.installation import Installation
    from urbanpulse.settings import Settings

__all__ = ["run_up"]

_READY_SECONDS = 60.0
_DEMO_NAME = "Ak Bulak (simulated)"
_STATE_CHARS = 300
_SAME_SIGNAL_SECONDS = 1.0
"""A signal this soon after the first one is the same: `timeout` and some shells send to a process and to its group."""


async def run_up(settings: Settings, *, config: Path | None, demo: bool) -> None:
    """Run everything until SIGINT or SIGTERM; a second one does not wait for the roles to end by themselves.

    Raises:
        SettingsError: a port is taken, or the data folder is another's; the text names the setting.
        Unavailable: a role does not get ready.
    """
    clock = SystemClock()
    screen = Screen()
    stop = asyncio.Event()
    with screen, alone(folder := data_folder(settings), "up"):
        _check_ports(settings)
        supervisor = Supervisor(folder=folder / "logs", clock=clock, tell=screen.trouble)
        _stop_on_signals(stop, supervisor, clock)
        with screen.stage("preparing"):
            installation = await asyncio.to_thread(prepare, settings)
            if demo:
                await asyncio.to_thread(register_demo_city, installation)
        try:
            async with asyncio.TaskGroup() as tasks:
                try:
                    await _start(supervisor, tasks, installation, config=config, demo=demo, screen=screen, stop=stop)
                    await stop.wait()
                finally:
                    with screen.last_stage("stopping"):
                        await supervisor.stop()
        except* UrbanpulseError as group:
            raise group.exceptions[0] from None
        screen.goodbye(installation.folder)


def _stop_on_signals(stop: asyncio.Event, supervisor: Supervisor, clock: Clock) -> None:
    first = float("inf")

    def heard() -> None:
        nonlocal first
        if clock.monotonic() - first > _SAME_SIGNAL_SECONDS:
            supervisor.hurry()
        first = min(first, clock.monotonic())
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, heard)


async def _start(
    supervisor: Supervisor,
    tasks: asyncio.TaskGroup,
    installation: Installation,
    *,
    config: Path | None,
    demo: bool,
    screen: Screen,
    stop: asyncio.Event,
) -> None:
    settings = installation.settings
    environment = dict(os.environ)
    if demo and settings.api.city_name == ApiSettings().city_name:
        environment["URBANPULSE_API__CITY_NAME"] = _DEMO_NAME

    def start(name: str, *args: str) -> None:
        argv = [sys.executable, "-m", "urbanpulse", *args]
        if config is not None:
            argv += ["--config", str(config)]
        supervisor.start(Role(name, argv, environment, on_line=partial(screen.line, name)), tasks)

    logs = installation.folder / "logs"
    if settings.embedded_broker and not stop.is_set():
        with screen.stage("broker"):
            start("broker", "broker")
            await _until_open(_reachable(settings.broker.host), settings.broker.port, logs, stop)
    url = _url(settings.api)
    if not stop.is_set():
        with screen.stage("gateway, processor, api"):
            for name, verb in (("api", "serve"), ("processor", "process"), ("gateway", "gateway")):
                start(name, verb)
            await _until_ready(url, logs, stop)
    if not stop.is_set():
        screen.welcome(url, installation.first_user)
        if demo:
            start("simulator", "simulate", "--json")


def _check_ports(settings: Settings) -> None:
    taken = [("api.port", settings.api.host, settings.api.port)]
    if settings.embedded_broker:
        taken.append(("broker.port", settings.broker.host, settings.broker.port))
    for name, host, port in taken:
        variable = f"URBANPULSE_{name.upper().replace('.', '__')}"
        if port == 0:
            raise SettingsError(name, f"0 leaves the choice to the system, `up` must know it; set {variable}")
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                reason = error.strerror or str(error)
                raise SettingsError(name, f"{host}:{port} cannot be used ({reason}); set {variable}") from error


def _reachable(host: str) -> str:
    """Return the address under which this machine reaches what listens on *host*."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _url(api: ApiSettings) -> str:
    host = _reachable(api.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{api.port}"


async def _until_open(host: str, port: int, logs: Path, stop: asyncio.Event) -> None:
    async def is_open() -> bool:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    await _until(is_open, "broker", f"its port does not open; see {logs / 'broker.log'}", stop)


async def _until_ready(url: str, logs: Path, stop: asyncio.Event) -> None:
    state = "no answer"

    async def is_ready() -> bool:
        nonlocal state
        try:
            answer = await client.get(f"{url}/readyz")
        except httpx.HTTPError:
            return False
        state = answer.text[:_STATE_CHARS]
        return answer.status_code == httpx.codes.OK

    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
        await _until(is_ready, "api", lambda: f"{url}/readyz does not get ready ({state}); see {logs}", stop)


async def _until(
    condition: Callable[[], Awaitable[bool]], part: str, complaint: str | Callable[[], str], stop: asyncio.Event
) -> None:
    clock = SystemClock()
    give_up = clock.monotonic() + _READY_SECONDS
    while not stop.is_set() and not await condition():
        if clock.monotonic() > give_up:
            raise Unavailable(part, complaint if isinstance(complaint, str) else complaint())
        await clock.sleep(0.05)
