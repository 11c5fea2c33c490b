"""This module carries requests to an InfluxDB over kept-alive HTTP connections, and turns silence into `Away`."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from backends.series.influx.answers import Answer, Away
from core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Transport", "check_authorities", "check_url"]

_CONNECT_SECONDS = 5.0


def check_url(url: str) -> tuple[str, bool]:
    """Return *url* without a slash at its end, and whether it leads to this machine.

    Raises:
        SettingsError: it is no address of an HTTP server, or holds a login.
    """
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise SettingsError("series.url", "a login stands in series.influx.user and password, not in the address")
    try:
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError("series.url", f"{url!r}: {error}") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise SettingsError("series.url", f"{url!r}: 'embedded' or an address such as http://127.0.0.1:8086 expected")
    if parts.query or parts.fragment:
        raise SettingsError("series.url", f"{url!r}: nothing may follow the path")
    return url.rstrip("/"), host in {"localhost", "::1"} or host.startswith("127.")


def check_authorities(path: Path | None) -> None:
    """Read *path* once, so that a wrong one stops the start.

    Raises:
        SettingsError: it cannot be read, or holds no certificates.
    """
    if path is None:
        return
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        raise SettingsError("series.influx.tls_ca", f"{path}: {error}") from error


class Transport:
    """Requests to the server at *url*. Safe from any thread.

    Nothing is retried here: who holds the readings decides.
    """

    def __init__(self, url: str, headers: Mapping[str, str], *, ca: Path | None = None, connections: int = 16) -> None:
        import urllib3  # noqa: PLC0415 - only those who use an InfluxDB load it

        self._url = url
        self._pool = urllib3.PoolManager(maxsize=connections, headers=headers, retries=False, ca_certs=ca and str(ca))
        self._error = urllib3.exceptions.HTTPError

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float,
    ) -> Answer:
        """Return the server's answer.

        Raises:
            Away: no answer in *timeout_seconds*, or none at all.
        """
        import urllib3  # noqa: PLC0415

        more = dict(self._pool.headers) | dict(headers or {})
        if form is not None:
            body = urlencode(form).encode()
            more["Content-Type"] = "application/x-www-form-urlencoded"
        url = self._url + path + (f"?{urlencode(query)}" if query else "")
        timeout = urllib3.Timeout(connect=min(_CONNECT_SECONDS, timeout_seconds), read=timeout_seconds)
        try:
            found = self._pool.request(method, url, body=body, headers=more, timeout=timeout, redirect=False)
        except (self._error, OSError) as error:
            raise Away(f"{self._url}: {error}") from error
        return Answer(found.status, {name.lower(): value for name, value in found.headers.items()}, found.data)

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()
