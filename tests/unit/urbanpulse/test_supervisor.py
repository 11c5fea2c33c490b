"""This module tests the keeper of the roles on real child processes; pauses pass as fast as the test wants."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from core.clock import ManualClock
from urbanpulse.supervisor import Role, Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

SLEEPER = "import signal, sys; print('up', flush=True); signal.pause()"
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, lambda *_: None); print('up', flush=True)\nwhile True: signal.pause()"
)


class Pauses(ManualClock):
    """A clock whose sleeps are written down, and end at once unless a role ran long."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)


class Stage:
    """A supervisor with everything that it said."""

    def __init__(self, folder: Path, **options: float) -> None:
        self.clock = Pauses()
        self.said: list[tuple[str, str]] = []
        self.lines: list[tuple[str, str]] = []
        self.heard = asyncio.Event()
        self.folder = folder
        self.supervisor = Supervisor(
            folder=folder, clock=self.clock, tell=lambda role, text: self.said.append((role, text)),
            **options,  # type: ignore[arg-type]
        )  # fmt: skip

    def role(self, name: str, program: str, on_line: Callable[[str], None] | None = None) -> Role:
        """Return a role that runs *program*."""
        return Role(name, [sys.executable, "-S", "-c", program], {}, on_line or self.hear(name))

    def hear(self, name: str) -> Callable[[str], None]:
        """Return a listener for role *name*."""

        def listen(line: str) -> None:
            self.lines.append((name, line))
            self.heard.set()

        return listen

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for lines until *condition* holds."""
        async with asyncio.timeout(60):
            while not condition():
                self.heard.clear()
                await self.heard.wait()


@asynccontextmanager
async def keeping(stage: Stage, *roles: Role) -> AsyncIterator[None]:
    """Keep *roles* for as long as the context lasts."""
    async with asyncio.TaskGroup() as tasks:
        for role in roles:
            stage.supervisor.start(role, tasks)
        try:
            yield
        finally:
            await stage.supervisor.stop()


async def test_a_role_that_dies_starts_again_after_pauses_that_grow_to_a_limit(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    role = stage.role("gateway", "print('up', flush=True); raise SystemExit(3)")

    async with keeping(stage, role):
        await stage.until(lambda: len(stage.lines) >= 8)

    assert pytest.approx(stage.clock.slept[:7]) == [0.3, 0.6, 1.2, 2.4, 3.0, 3.0, 3.0]
    assert ("gateway", f"ended with status 3, starts again in 0.3 s; see {tmp_path}/gateway.log") == stage.said[0]
    assert role.restarts >= 7


async def test_a_role_that_ran_long_starts_again_soon(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    role = stage.role("gateway", SLEEPER)

    async with keeping(stage, role):
        for run in range(1, 4):
            await stage.until(lambda run=run: len(stage.lines) >= run)  # type: ignore[misc]
            stage.clock.advance(31)
            assert role.child is not None
            role.child.kill()

        await stage.until(lambda: len(stage.lines) >= 4)

    assert stage.clock.slept == [0.3, 0.3, 0.3]
    assert "was killed by SIGKILL" in stage.said[0][1]


async def test_roles_end_in_the_opposite_order_of_their_start(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    says_goodbye = (
        "import os, signal; signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b'bye\\n'), os._exit(0)))\n"
        "print('up', flush=True); signal.pause()"
    )
    names = ["broker", "api", "gateway"]

    async with keeping(stage, *(stage.role(name, says_goodbye) for name in names)):
        await stage.until(lambda: len(stage.lines) == 3)

    assert [name for name, line in stage.lines if line == "bye"] == ["gateway", "api", "broker"]
    assert stage.said == []


async def test_a_role_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    stage = Stage(tmp_path, stop_seconds=0.2)
    role = stage.role("broker", STUBBORN)

    async with keeping(stage, role):
        await stage.until(lambda: stage.lines)
        child = role.child

    assert child is not None
    assert child.returncode == -signal.SIGKILL
    assert stage.said == [("broker", "did not end by itself and was killed")]


async def test_who_is_in_a_hurry_does_not_wait_for_stubborn_roles(tmp_path: Path) -> None:
    stage = Stage(tmp_path, stop_seconds=3600)
    roles = [stage.role(name, STUBBORN) for name in ("broker", "gateway")]

    async with asyncio.timeout(60), keeping(stage, *roles):
        await stage.until(lambda: len(stage.lines) == 2)
        stage.supervisor.hurry()

    assert [name for name, _ in stage.said] == ["gateway", "broker"]


async def test_what_a_role_says_is_kept_and_rotated(tmp_path: Path) -> None:
    stage = Stage(tmp_path, log_bytes=1000)
    program = "import signal\nfor n in range(1000): print('line', n)\nprint('up', flush=True); signal.pause()"

    async with keeping(stage, stage.role("api", program)):
        await stage.until(lambda: ("api", "up") in stage.lines)

    kept = {path.name: path.stat().st_size for path in await asyncio.to_thread(lambda: list(tmp_path.iterdir()))}
    assert sorted(kept) == ["api.log", "api.log.1", "api.log.2", "api.log.3"]
    assert max(kept.values()) <= 1000
    assert (tmp_path / "api.log").read_text().endswith("line 999\nup\n")
    assert len(stage.lines) == 1001


async def test_neither_an_endless_line_nor_a_listener_that_fails_stops_the_reading(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    hear = stage.hear("api")

    def listen(line: str) -> None:
        hear(line)
        if line == "bad":
            raise ValueError(line)

    program = "import signal\nprint('x' * 3_000_000)\nprint('bad')\nprint('up', flush=True); signal.pause()"

    async with keeping(stage, stage.role("api", program, listen)):
        await stage.until(lambda: ("api", "up") in stage.lines)

    assert ("api", "(a line of more than 1048576 bytes)") in stage.lines
    assert stage.said == [("api", "said something that could not be shown (ValueError)")]
