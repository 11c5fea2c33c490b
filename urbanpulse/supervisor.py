"""This module keeps the roles of `urbanpulse up` running as child processes, and stops them in order.

It decides nothing about data. A role that dies is started again with growing pauses; what a role prints goes to
`logs/<role>.log` (rotated), and its warnings and errors also to the terminal. Stopping goes from the sources to the
sinks, so that what was published is still acknowledged, judged and stored.
"""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from urbanpulse.children import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from core.clock import Clock

__all__ = ["Role", "Supervisor"]

log = structlog.get_logger()

_FIRST_PAUSE, _LONGEST_PAUSE = 0.3, 10.0
_STEADY_SECONDS = 30.0
"""A role that ran this long starts again after the first pause."""
_LOG_BYTES, _LOG_FILES = 5_000_000, 3


@dataclass(slots=True)
class Role:
    """One child process."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    on_line: Callable[[str], None] = lambda _line: None
    restarts: int = field(default=0, init=False)
    child: asyncio.subprocess.Process | None = field(default=None, init=False)


class Supervisor:
    """Starts roles one after another and keeps them.

    Args:
        folder: where `<role>.log` goes.
        clock: to wait with.
        stop_seconds: how long a role may take to end before it is killed.
    """

    def __init__(self, *, folder: Path, clock: Clock, stop_seconds: float = 20.0) -> None:
        self._folder = folder
        self._clock = clock
        self._stop_seconds = stop_seconds
        self._keepers: list[tuple[Role, asyncio.Task[None]]] = []
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def start(self, role: Role, tasks: asyncio.TaskGroup) -> None:
        """Start *role* and keep it running until `stop`."""
        self._keepers.append((role, tasks.create_task(self._keep(role), name=f"role-{role.name}")))

    async def stop(self) -> None:
        """End all roles, the last one started first, each by its own handle."""
        for role, keeper in reversed(self._keepers):
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            log.debug("role ended", name=role.name)
        self._keepers.clear()

    async def _keep(self, role: Role) -> None:
        pause = _FIRST_PAUSE
        while True:
            started = self._clock.monotonic()
            code = await self._run_once(role)
            if self._clock.monotonic() - started > _STEADY_SECONDS:
                pause = _FIRST_PAUSE
            role.restarts += 1
            log.error("role died", name=role.name, code=code, again_in_seconds=pause, see=f"logs/{role.name}.log")
            await self._clock.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _run_once(self, role: Role) -> int | None:
        """Run *role* until it ends; end it when cancelled."""
        child = await asyncio.create_subprocess_exec(
            *role.argv,
            env=dict(role.env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches only us; we stop the roles in order
            preexec_fn=die_with_parent,
            limit=1 << 20,
        )
        role.child = child
        reader = asyncio.create_task(self._copy_output(role, child), name=f"output-{role.name}")
        try:
            return await child.wait()
        finally:
            if child.returncode is None:
                child.send_signal(signal.SIGTERM)
                try:
                    async with asyncio.timeout(self._stop_seconds):
                        await child.wait()
                except TimeoutError:
                    log.warning("role does not end: killed", name=role.name, after_seconds=self._stop_seconds)
                    child.kill()
                    await child.wait()
            await reader
            role.child = None

    async def _copy_output(self, role: Role, child: asyncio.subprocess.Process) -> None:
        if child.stdout is None:  # pragma: no cover - we asked for a pipe
            return
        file = logging.handlers.RotatingFileHandler(
            self._folder / f"{role.name}.log", maxBytes=_LOG_BYTES, backupCount=_LOG_FILES
        )
        try:
            async for raw in child.stdout:
                line = raw.decode(errors="replace").rstrip("\n")
                file.emit(logging.LogRecord(role.name, logging.INFO, "", 0, line, None, None))
                role.on_line(line)
        finally:
            file.close()
