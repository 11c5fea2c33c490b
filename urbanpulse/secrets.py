"""This module makes and keeps the secrets of one installation: files of mode 0600 below the data folder.

Nothing has a default password. What services need in the clear (their own broker passwords) lies in these files;
what others prove to us (device secrets, users, keys) is stored only as a hash, in the catalog.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["SecretFolder"]


class SecretFolder:
    """The folder `secrets/` below the data folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def ensure(self, name: str, make: Callable[[], dict[str, str]]) -> dict[str, str]:
        """Return the content of `<name>.json`, made with *make* and written (0600) if it is not there yet."""
        file = self.path / f"{name}.json"
        if not file.exists():
            self.write(name, make())
        return self.read(name)

    def read(self, name: str) -> dict[str, str]:
        """Return the content of `<name>.json`.

        Raises:
            SettingsError: missing, unreadable, or readable by others.
        """
        file = self.path / f"{name}.json"
        try:
            if file.stat().st_mode & 0o077:
                raise SettingsError("data_dir", f"{file} is readable by others: chmod 600 it")
            content: dict[str, str] = json.loads(file.read_text())
            if not isinstance(content, dict):
                raise ValueError("an object expected")  # noqa: TRY301, TRY004 - as if it were no JSON
        except (OSError, ValueError) as error:
            raise SettingsError("data_dir", f"cannot read {file}: {error}") from error
        return content

    def write(self, name: str, content: dict[str, str]) -> None:
        """Replace `<name>.json` in one step, mode 0600.

        Raises:
            SettingsError: it cannot be written.
        """
        file = self.path / f"{name}.json"
        new = file.with_suffix(".new")
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
                json.dump(content, out, indent=1)
                out.flush()
                os.fsync(out.fileno())
            new.replace(file)
        except OSError as error:
            raise SettingsError("data_dir", f"cannot write {file}: {error.strerror}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder's lock, so that roles starting at the same time prepare it once.

        Raises:
            SettingsError: nothing can be written there.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = (self.path / ".lock").open("w")
        except OSError as error:
            raise SettingsError("data_dir", f"cannot use {self.path}: {error.strerror}") from error
        with file as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
