"""This module starts the real servers that line protocol is written to, each in a folder and on ports of its own."""

from __future__ import annotations

import shutil
import subprocess
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from core.city import Series
from tests.stack import free_port, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["DISTRICTS", "METRICS", "ListedNames", "influxd", "listed", "victoria_metrics"]

METRICS = ("temperature", "humidity", "pm25", "noise")
DISTRICTS = ("north", "south")

_CONFIG = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  query-log-enabled = false
[coordinator]
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{http}"
  log-enabled = false
  auth-enabled = {auth}
  max-body-size = {body}
[logging]
  level = "warn"
  suppress-logo = true
"""


class ListedNames:
    """`core.ports.SeriesNames` of a list."""

    def __init__(self, series: list[Series]) -> None:
        self.listed = series

    def revision(self) -> int:
        """Return how long the list is: it only grows."""
        return len(self.listed)

    def series(self) -> list[Series]:
        """Return the list."""
        return list(self.listed)


def listed(n: int = 64) -> ListedNames:
    """Return names of *n* series: four metrics a device, half of the devices in each district."""
    return ListedNames(
        [Series(i, f"dev-{i // 4}", METRICS[i % 4], DISTRICTS[0 if i < n // 2 else 1]) for i in range(n)]
    )


@contextmanager
def influxd(
    folder: Path, *, auth: bool = False, body: int = 25_000_000, port: int = 0, kill: bool = False
) -> Iterator[str]:
    """Run Debian's InfluxDB 1.x with its files in *folder*; yield its address. Skips where it is not installed.

    On the same folder and *port* it goes on where it ended, with -9 if *kill*.
    """
    if shutil.which("influxd") is None:
        pytest.skip("influxd is not installed: apt-get install influxdb")
    folder.mkdir(parents=True, exist_ok=True)
    http = port or free_port()
    config = folder / "influxdb.conf"
    config.write_text(_CONFIG.format(folder=folder, rpc=free_port(), http=http, auth=str(auth).lower(), body=body))
    with _running(["influxd", "-config", str(config)], folder, http, kill=kill) as url:
        yield url


@contextmanager
def victoria_metrics(folder: Path) -> Iterator[str]:
    """Run Debian's VictoriaMetrics with its files in *folder*; yield its address. Skips where it is not installed."""
    if shutil.which("victoria-metrics") is None:
        pytest.skip("victoria-metrics is not installed: apt-get install victoria-metrics")
    folder.mkdir(parents=True, exist_ok=True)
    http = free_port()
    options = [
        f"-httpListenAddr=127.0.0.1:{http}",
        f"-storageDataPath={folder / 'data'}",
        "-retentionPeriod=100y",
        "-search.latencyOffset=0s",
    ]
    with _running(["victoria-metrics", *options], folder, http) as url:
        yield url


@contextmanager
def _running(argv: list[str], folder: Path, http: int, *, kill: bool = False) -> Iterator[str]:
    url = f"http://127.0.0.1:{http}"
    with (folder / "server.log").open("ab") as out:
        server = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT)
        try:
            until(lambda: server.poll() is not None or _answers(url), f"{argv[0]} to answer")
            assert server.poll() is None, (folder / "server.log").read_text()[-2000:]
            yield url
        finally:
            server.kill() if kill else server.terminate()
            try:
                server.wait(60)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ping", timeout=10) as answer:
            return bool(answer.status < 300)
    except OSError:
        return False
