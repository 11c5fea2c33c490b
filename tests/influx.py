"""This module starts the real servers that line protocol is written to, each in a folder and on ports of its own.

Or uses one that is given: `given` says how to be let in there, `drop` takes away what a test made there.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.error
import urllib.request
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pytest
from pydantic import SecretStr

from backends.series.influx import InfluxServer
from core.city import Series
from tests.stack import free_port, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from backends.series import InfluxSettings

__all__ = ["DISTRICTS", "METRICS", "ListedNames", "drop", "given", "influxd", "listed", "victoria_metrics"]

METRICS = ("temperature", "humidity", "pm25", "noise")
DISTRICTS = ("north", "south")

_PREFIXES = (
    "URBANPULSE_TEST_INFLUX_",
    "URBANPULSE_SERIES__INFLUX__",
    "INFLUXDB_V2_",
    "INFLUX_",
    "DOCKER_INFLUXDB_INIT_",
)
_MADE_UP = "urbanpulse-contract-suite"  # a token and a password for a server that nobody has set up yet

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


def given(url: str, environment: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Return the bare address of the server at *url*, and the login for `InfluxSettings`.

    The login may stand in the address (`http://TOKEN@host:8086`, `http://user:password@…`, `?token=…&org=…`) or in
    *environment*, under our own names or those of the vendor's tools. A 2.x that nobody has set up is set up.
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    bare = f"{parts.scheme}://{host}{parts.path}".rstrip("/")
    named = dict(parse_qsl(parts.query))

    def find(name: str) -> str:
        values = [named.get(name, ""), *(environment.get(prefix + name.upper(), "") for prefix in _PREFIXES)]
        return next((value for value in values if value), "")

    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    _, kind, _ = _call("GET", f"{bare}/ping")
    if kind == "1" or (not kind and user):
        password = password or find("password")
        return bare, {"user": user or find("user"), "password": SecretStr(password) if password else None}
    token = password or user or find("token") or environment.get("DOCKER_INFLUXDB_INIT_ADMIN_TOKEN", "")
    if kind == "2" and not token:
        token = _MADE_UP
        content = {"username": "urbanpulse", "password": token, "org": "urbanpulse", "bucket": "first", "token": token}
        if json.loads(_call("GET", f"{bare}/api/v2/setup")[2])["allowed"]:
            _call("POST", f"{bare}/api/v2/setup", json.dumps(content).encode())
        what = f"{bare} to know our made-up token: it is set up, so URBANPULSE_TEST_INFLUX_TOKEN is needed"
        until(lambda: _call("GET", f"{bare}/api/v2/orgs", token=token)[0] == 200, what, seconds=5)
    return bare, {"token": SecretStr(token) if token else None, "org": find("org")}


def drop(url: str, settings: InfluxSettings) -> None:
    """Delete the databases or buckets of *settings* from the server at *url*."""
    token = settings.token.get_secret_value() if settings.token else ""
    with closing(InfluxServer(url, settings)) as server:
        for name in (settings.database, settings.rollup_database):
            if server.flavour.name == "v1":
                server.ask(name, f'DROP DATABASE "{name}"')
            elif server.flavour.name == "v2":
                found = json.loads(_call("GET", f"{url}/api/v2/buckets?name={quote(name)}", token=token)[2])["buckets"]
                assert [bucket["name"] for bucket in found] == [name]
                assert _call("DELETE", f"{url}/api/v2/buckets/{found[0]['id']}", token=token)[0] == 204
            else:
                path = f"/api/v3/configure/database?db={quote(name)}&hard_delete_at=now"
                assert _call("DELETE", url + path, token=token)[0] == 200


def _call(method: str, url: str, body: bytes | None = None, *, token: str = "") -> tuple[int, str, bytes]:
    """Return status, first number of the server's version, and body."""
    headers = {"Content-Type": "application/json", **({"Authorization": f"Token {token}"} if token else {})}
    request = urllib.request.Request(url, body, headers, method=method)
    try:
        answer = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        version = answer.headers.get("X-Influxdb-Version", "").removeprefix("v")
        return answer.status, version.partition(".")[0], answer.read()
