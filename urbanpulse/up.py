"""This module is `urbanpulse up`: all roles on one machine, as children of one process, and one URL at the end.

It starts sinks before sources and stops sources before sinks. It touches no data: that is the roles' work.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from core.errors import SettingsError, Unavailable
from urbanpulse.clock import SystemClock
from urbanpulse.demo import register_demo_city
from urbanpulse.installation import prepare
from urbanpulse.supervisor import Role, Supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.progress import TaskID

    from urbanpulse.installation import Installation
    from urbanpulse.settings import Settings

__all__ = ["run_up"]

_READY_SECONDS = 60.0


async def run_up(settings: Settings, *, config: Path | None, demo: bool) -> None:
    """Run everything until SIGINT or SIGTERM.

    Raises:
        SettingsError: a port is taken; the text names the setting.
        Unavailable: a role does not get ready.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    clock = SystemClock()
    screen = _Screen()
    with screen.stage("preparing"):
        _check_ports(settings)
        installation = await asyncio.to_thread(prepare, settings)
        if demo:
            await asyncio.to_thread(register_demo_city, installation)
    supervisor = Supervisor(folder=installation.folder / "logs", clock=clock)
    async with asyncio.TaskGroup() as tasks:
        try:
            await _start(supervisor, tasks, installation, config=config, demo=demo, screen=screen, stop=stop)
            await stop.wait()
        finally:
            with screen.stage("stopping"):
                await supervisor.stop()


async def _start(
    supervisor: Supervisor,
    tasks: asyncio.TaskGroup,
    installation: Installation,
    *,
    config: Path | None,
    demo: bool,
    screen: _Screen,
    stop: asyncio.Event,
) -> None:
    settings = installation.settings
    environment = dict(os.environ)
    if demo and "city_name" not in settings.api.model_fields_set:
        environment["URBANPULSE_API__CITY_NAME"] = "Ak Bulak (simulated)"

    def role(name: str, *args: str) -> Role:
        argv = [sys.executable, "-m", "urbanpulse", args[0] if args else name, *args[1:]]
        if config is not None:
            argv += ["--config", str(config)]
        return Role(name, argv, environment, on_line=screen.line)

    if settings.embedded_broker:
        with screen.stage("broker"):
            supervisor.start(role("broker"), tasks)
            await _until_open(settings.broker.host, settings.broker.port, stop)
    with screen.stage("gateway, processor, api"):
        for name, verb in (("api", "serve"), ("processor", "process"), ("gateway", "gateway")):
            supervisor.start(role(name, verb), tasks)
        url = f"http://{settings.api.host}:{settings.api.port}"
        await _until_ready(url, stop)
    if stop.is_set():
        return
    screen.welcome(url, installation.first_user)
    if demo:
        supervisor.start(role("simulator", "simulate", "--json"), tasks)


def _check_ports(settings: Settings) -> None:
    taken = [("api.port", settings.api.host, settings.api.port)]
    if settings.embedded_broker:
        taken.append(("broker.port", settings.broker.host, settings.broker.port))
    for name, host, port in taken:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                variable = f"URBANPULSE_{name.upper().replace('.', '__')}"
                raise SettingsError(name, f"{host}:{port} cannot be used ({error.strerror}); set {variable}") from error


async def _until_open(host: str, port: int, stop: asyncio.Event) -> None:
    async def is_open() -> bool:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    await _until(is_open, "broker", "its port does not open; see logs/broker.log", stop)


async def _until_ready(url: str, stop: asyncio.Event) -> None:
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:

        async def is_ready() -> bool:
            try:
                return (await client.get(f"{url}/readyz")).status_code == httpx.codes.OK
            except httpx.HTTPError:
                return False

        await _until(is_ready, "api", f"{url}/readyz does not get ready; see logs/", stop)


async def _until(condition: Any, part: str, complaint: str, stop: asyncio.Event) -> None:
    clock = SystemClock()
    give_up = clock.monotonic() + _READY_SECONDS
    while not stop.is_set() and not await condition():
        if clock.monotonic() > give_up:
            raise Unavailable(part, complaint)
        await clock.sleep(0.05)


class _Screen:
    """What a person sees: a progress line on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self._console = Console()
        self._progress: Progress | None = None
        self._past: TaskID | None = None

    def stage(self, name: str) -> Any:
        """Show that *name* is under way, for as long as the context lasts."""
        if self._console.is_terminal:
            return self._console.status(f"{name} …")
        self._console.print(f"{name} …")
        return _Nothing()

    def welcome(self, url: str, user: dict[str, str]) -> None:
        """Print the one URL and the login."""
        self._console.print(f"\n  [bold]{url}[/]", highlight=False)
        self._console.print(f"  login [bold]{user['name']}[/]  password [bold]{user['password']}[/]", highlight=False)
        self._console.print("  Ctrl-C stops everything.\n", highlight=False)

    def line(self, line: str) -> None:
        """Take a line that a role printed: progress of the simulator, or an event to pass on if it is severe."""
        if not line.startswith("{"):
            return
        try:
            event = json.loads(line)
        except ValueError:
            return
        if "progress" in event:
            self._show_progress(event["progress"])
        elif event.get("level") in {"warning", "error", "critical"}:
            role, what = event.get("role", "?"), event.get("event", "")
            facts = " ".join(f"{k}={v}" for k, v in event.items() if k not in {"role", "event", "level", "ts"})
            self._console.print(f"[yellow]{role}[/] {what} [dim]{facts[:300]}[/]", highlight=False)

    def _show_progress(self, progress: dict[str, Any]) -> None:
        done, total, text = progress.get("done", 0), progress.get("total", 0), progress.get("text", "")
        if not self._console.is_terminal:
            if done == total:
                self._console.print(text, highlight=False)
            return
        if self._progress is None:
            self._progress = Progress(
                SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(),
                console=self._console, transient=True,
            )  # fmt: skip
            self._past = self._progress.add_task(text, total=total)
            self._progress.start()
        if self._past is not None:
            self._progress.update(self._past, completed=done, total=total, description=text)
        if done >= total:
            self._progress.stop()
            self._console.print(text, highlight=False)
            self._progress, self._past = None, None


class _Nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None

    def __iter__(self) -> Iterator[None]:  # pragma: no cover
        return iter(())
