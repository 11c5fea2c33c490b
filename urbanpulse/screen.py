"""This module is what a person sees of `urbanpulse up`: a progress line on a terminal, plain lines elsewhere.

What roles print may hold words of strangers (topics, payloads): they are shown as text and nothing else, never as
markup or as orders to the terminal.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from rich.progress import TaskID

__all__ = ["Screen"]

_FACTS_CHARS = 300


class Screen:
    """Shows stages, progress, warnings and the one URL; a context that leaves the terminal as it was."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._progress: Progress | None = None
        self._past: TaskID | None = None
        self._ending = False

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._end_progress()

    def stage(self, name: str) -> AbstractContextManager[object]:
        """Show that *name* is under way, for as long as the context lasts."""
        self._end_progress()
        if self._console.is_terminal:
            return self._console.status(f"{name} …")
        self._console.print(f"{name} …")
        return nullcontext()

    def last_stage(self, name: str) -> AbstractContextManager[object]:
        """Show that *name* is under way, and no progress of roles any more."""
        self._ending = True
        return self.stage(name)

    def welcome(self, url: str, user: dict[str, str]) -> None:
        """Print the one URL and the login."""
        self._console.print(f"\n  [bold]{_plain(url)}[/]")
        self._console.print(f"  login [bold]{_plain(user['name'])}[/]  password [bold]{_plain(user['password'])}[/]")
        self._console.print("  Ctrl-C stops everything.\n")

    def goodbye(self, folder: Path) -> None:
        """Say that all has ended."""
        self._console.print(f"stopped; what was collected is kept in {_plain(str(folder))}")

    def trouble(self, role: str, text: str) -> None:
        """Say that something is wrong with a role."""
        self._console.print(f"[yellow]{role}[/] {_plain(text)}")

    def line(self, role: str, line: str) -> None:
        """Take a line that a role printed: progress of the simulator, or an event to pass on if it is severe."""
        if not line.startswith("{"):
            return
        try:
            event = json.loads(line)
        except ValueError:
            return
        if "progress" in event:
            if not self._ending:
                self._show_progress(event["progress"])
        elif event.get("level") in {"warning", "error", "critical"}:
            known = {"role", "event", "level", "ts", "exception"}
            facts = " ".join(f"{k}={v}" for k, v in event.items() if k not in known)
            self._console.print(
                f"[yellow]{role}[/] {_plain(str(event.get('event', '')))} [dim]{_plain(facts[:_FACTS_CHARS])}[/]"
            )

    def _show_progress(self, progress: dict[str, Any]) -> None:
        done, total, text = progress.get("done", 0), progress.get("total", 0), _plain(progress.get("text", ""))
        if done >= total:
            self._end_progress()
            self._console.print(text)
            return
        if not self._console.is_terminal:
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

    def _end_progress(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._progress, self._past = None, None


def _plain(text: str) -> str:
    """Return *text*, which may come from a device, without anything that a terminal or the markup would obey."""
    return escape("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text))
