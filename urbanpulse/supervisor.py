"""This module keeps the roles of `urbanpulse up` running as child processes, and stops them in order.

It decides nothing about data. A role that dies is started again with growing pauses; what a role prints goes to
`logs/<role>.log` (rotated), and line by line to whoever listens. Stopping goes from the sources to the sinks, so that
what was published is still acknowledged, judged and stored.

A role must never wait for us to read what it prints: no line and no listener may end the reading.
"""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import signal
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from urbanpulse.children import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from core.clock import Clock

__all__ = ["Role", "Supervisor"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.3, 3.0
_STEADY_SECONDS = 10.0
"""A role that ran this long starts again after the first pause."""
_LOG_BYTES, _LOG_FILES = 5_000_000, 3
_LINE_BYTES = 1 << 20


@dataclass(slots=True)
class Role:
    """One child process; *on_line* hears every line that it prints."""

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
        tell: hears (role, sentence) when a role died or had to be killed.
        stop_seconds: how long a role may take to end before it is killed.
        log_bytes: size at which a role's log is rotated; three older ones stay.
    """

    def __init__(
        self,
        *,
        folder: Path,
        clock: Clock,
        tell: Callable[[str, str], None],
        stop_seconds: float = 20.0,
        log_bytes: int = _LOG_BYTES,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._tell = tell
        self._stop_seconds = stop_seconds
        self._log_bytes = log_bytes
        self._hurry = asyncio.Event()
        self._keepers: list[tuple[Role, asyncio.Task[None]]] = []
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def start(self, role: Role, tasks: asyncio.TaskGroup) -> None:
        """Start *role* and keep it running until `stop`."""
        self._keepers.append((role, tasks.create_task(self._keep(role), name=f"role-{role.name}")))

    async def stop(self) -> None:
        """End all roles, the last one started first, each by its own handle."""
        for _, keeper in reversed(self._keepers):
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        self._keepers.clear()

    def hurry(self) -> None:
        """Kill what `stop` waits for, and from now on do not wait at all."""
        self._hurry.set()

    async def _keep(self, role: Role) -> None:
        pause = _FIRST_PAUSE
        while True:
            started = self._clock.monotonic()
            code = await self._run_once(role)
            if self._clock.monotonic() - started > _STEADY_SECONDS:
                pause = _FIRST_PAUSE
            role.restarts += 1
            self._tell(role.name, f"{_how(code)}, starts again in {pause:g} s; see {self._folder / role.name}.log")
            await self._clock.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _run_once(self, role: Role) -> int:
        """Run *role* until it ends; end it when cancelled."""
        child = await asyncio.create_subprocess_exec(
            *role.argv,
            env=dict(role.env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches only us; we stop the roles in order
            preexec_fn=die_with_parent,
            limit=_LINE_BYTES,
        )
        role.child = child
        reader = asyncio.create_task(self._copy_output(role, child), name=f"output-{role.name}")
        try:
            return await child.wait()
        finally:
            if child.returncode is None:
                await self._end(role, child)
            await reader
            role.child = None

    async def _end(self, role: Role, child: asyncio.subprocess.Process) -> None:
        child.send_signal(signal.SIGTERM)
        waits = [
            asyncio.create_task(child.wait(), name=f"end-{role.name}"),
            asyncio.create_task(self._hurry.wait(), name=f"hurry-{role.name}"),
        ]
        await asyncio.wait(waits, timeout=self._stop_seconds, return_when=asyncio.FIRST_COMPLETED)
        if child.returncode is None:
            child.kill()
            await child.wait()
            self._tell(role.name, "did not end by itself and was killed")
        for wait in waits:
            wait.cancel()

    async def _copy_output(self, role: Role, child: asyncio.subprocess.Process) -> None:
        if child.stdout is None:  # pragma: no cover - we asked for a pipe
            return
        path = self._folder / f"{role.name}.log"
        with closing(
            logging.handlers.RotatingFileHandler(path, maxBytes=self._log_bytes, backupCount=_LOG_FILES)
        ) as file:
            while True:
                try:
                    raw = await child.stdout.readline()
                except ValueError:  # asyncio has thrown the line away
                    raw = b"(a line of more than %d bytes)\n" % _LINE_BYTES
                if not raw:
                    return
                line = raw.decode(errors="replace").rstrip("\r\n")
                file.emit(logging.LogRecord(role.name, logging.INFO, "", 0, line, None, None))
                try:
                    role.on_line(line)
                except Exception as error:  # noqa: BLE001 - a listener that fails must not stop the reading
                    self._tell(role.name, f"said something that could not be shown ({type(error).__name__})")


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
