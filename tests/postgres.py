"""This module starts a real PostgreSQL for tests: its own folder, a free loopback port, stopped by its handle."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from tests.stack import free_port, until

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["find_postgres", "running_postgres"]


def find_postgres() -> Path | None:
    """Return the folder of the server's programs: on the path, or where Debian keeps them; None if there is none."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name), default=None)


@contextmanager
def running_postgres(programs: Path) -> Iterator[str]:
    """Run a server with one empty database; yield its SQLAlchemy URL."""
    # PostgreSQL refuses to run as root, and another user cannot enter pytest's private folders
    other: dict[str, Any] = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="urbanpulse-postgres-"))
    server = None
    try:
        password = secrets.token_urlsafe(24)
        (folder / "password").write_text(password)
        if other:
            for path in (folder, folder / "password"):
                shutil.chown(path, other["user"], other["group"])
        data, port = folder / "data", free_port()
        initdb = ["--username=urbanpulse", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            [programs / "initdb", *initdb, f"--pwfile={folder / 'password'}", f"--pgdata={data}"],
            check=True,
            capture_output=True,
            cwd=folder,
            **other,
        )
        tuned = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
        options = [part for name, value in tuned.items() for part in ("-c", f"{name}={value}")]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, *options], stdout=log, stderr=log, cwd=folder, **other
            )
        address = f"urbanpulse:{password}@127.0.0.1:{port}/postgres"

        def answers() -> bool:
            assert server.poll() is None, (folder / "log").read_text()
            try:
                psycopg.connect(f"postgresql://{address}", connect_timeout=30).close()
            except psycopg.OperationalError:
                return False
            return True

        until(answers, "PostgreSQL answers")
        yield f"postgresql+psycopg://{address}"
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)  # fast shutdown: does not wait for clients
            server.wait(60)
        shutil.rmtree(folder)
