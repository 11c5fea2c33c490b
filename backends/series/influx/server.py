"""This module is an InfluxDB server: which kind it is, what is written to it, what it is asked.

All kinds take line protocol and answer InfluxQL on `/query`; where they differ stands in `flavours`. The kind is found
out at the first use, so a server that is away at the start is only late.
"""

from __future__ import annotations

import re
import threading
import zlib
from typing import TYPE_CHECKING, Any

import orjson

from backends.series.influx.answers import Away, LinesRefused, TooLong, check
from backends.series.influx.flavours import FLAVOURS, Flavour, setting_of
from backends.series.influx.transport import Transport, check_authorities, check_url
from core.errors import SettingsError, Unavailable
from core.ports import Capabilities, Health

if TYPE_CHECKING:
    from backends.series.influx.answers import Answer
    from backends.series.influx.settings import InfluxSettings

__all__ = ["InfluxServer", "Table"]

Table = dict[str, Any]
"""One series of an InfluxQL answer: `name`, `tags`, `columns`, `values`."""

_NO_DATABASE = re.compile(r"(database|bucket|retention policy|dbrp).*not (found|set)", re.IGNORECASE)
_NO_MEASUREMENT = re.compile(r"(table|measurement|column|field).*not found|no field named", re.IGNORECASE)
_FIRST_NS = -(1 << 63) + 2  # influxql/time.go: the least time that 1.x and 2.x store
_LAST_NS = (1 << 63) - 2


class InfluxServer:
    """The server at *url*, used as *settings* say. Safe from any thread.

    Raises:
        SettingsError: *url* is no address of a server, or the trusted authorities cannot be read.
    """

    def __init__(self, url: str, settings: InfluxSettings) -> None:
        self.url, self._is_local = check_url(url)
        self.settings = settings
        check_authorities(settings.tls_ca)
        self._transport = Transport(self.url, _login(settings), ca=settings.tls_ca)
        self._lock = threading.Lock()
        self._flavour: Flavour | None = None

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            if self._flavour is not None:
                self._flavour.close()
                self._flavour = None
        self._transport.close()

    @property
    def flavour(self) -> Flavour:
        """Return the kind of server, asking it if need be.

        Raises:
            Away: it does not answer.
            SettingsError: it is no InfluxDB that we know.
        """
        with self._lock:
            if self._flavour is None:
                kind = self.settings.flavour if self.settings.flavour != "auto" else self._detect()
                self._flavour = FLAVOURS[kind](self.url, self._transport, self.settings)
            return self._flavour

    def _ping(self) -> Answer:
        return self._transport.request("GET", "/ping", timeout_seconds=self.settings.timeout_seconds)

    def _detect(self) -> str:
        answer = self._ping()
        if answer.status == 429 or answer.status >= 500:
            raise Away(f"{self.url}/ping: status {answer.status}")
        if answer.status in {401, 403}:  # 3 lets nobody in without a token
            check(answer, "ping", secret="series.influx.token", name="series.url")  # noqa: S106 - the name of a setting
        version = _version(answer)
        if not version:
            answer = self._transport.request("GET", "/health", timeout_seconds=self.settings.timeout_seconds)
            version = _version(answer)
        major = version.partition(".")[0]
        if f"v{major}" not in FLAVOURS:
            raise SettingsError(
                "series.influx.flavour",
                f"{self.url} does not say which InfluxDB it is (version {version!r}): set v1, v2 or v3",
            )
        return f"v{major}"

    # -- writing

    def write(self, database: str, lines: bytes) -> None:
        """Store *lines* in *database*, durable when this returns.

        Raises:
            LinesRefused, TooLarge, Away, SettingsError: see `answers.check`.
        """
        compress = self.settings.gzip == "on" or (self.settings.gzip == "auto" and not self._is_local)
        if compress:  # level 9, the default of many clients, costs ten times as much for nothing (evidence C)
            pack = zlib.compressobj(1, wbits=zlib.MAX_WBITS | 16)
            lines = pack.compress(lines) + pack.flush()
        answer = self.flavour.write(database, lines, is_gzip=compress)
        check(answer, f"write to {database!r}", secret=self.flavour.secret, name=setting_of(self.settings, database))

    # -- asking

    def ask(self, database: str, *statements: str) -> list[list[Table]]:
        """Return what each of *statements* (InfluxQL) finds in *database*; times in ns.

        Raises:
            Away: no answer, an error of the server, or a question that it does not understand.
            SettingsError: the login or the database is wrong.
        """
        questions = ["; ".join(statements)] if self.flavour.joins else statements
        results = [result for question in questions for result in self._ask(database, question)]
        if {"not executed"} & {result.get("error") for result in results}:  # 1.x and 2.x hide the reason behind this
            results = [*self._ask(database, statements[0]), {"error": "not executed"}]
        name = setting_of(self.settings, database)
        return [_tables(result, database, name) for result in results]

    def _ask(self, database: str, question: str) -> list[dict[str, Any]]:
        answer = self._transport.request(
            "POST",
            "/query",
            query={"db": database, "epoch": "ns", **self.flavour.query_arguments},
            form={"q": question},
            headers={"Accept": "application/json"},
            timeout_seconds=self.settings.query_timeout_seconds,
        )
        name = setting_of(self.settings, database)
        try:
            check(answer, f"question to {database!r}", secret=self.flavour.secret, name=name)
            content = orjson.loads(answer.body)
        except LinesRefused as error:
            raise Away(f"the question was refused: {error.text}") from error
        except orjson.JSONDecodeError as error:
            raise Away(f"{self.url}: no InfluxQL answer: {answer.body[:80]!r}") from error
        results: list[dict[str, Any]] = content.get("results") or [{}]
        return results

    # -- administration

    def create(self, database: str, days: int) -> str:
        """Create *database* unless it is there, let it keep *days* days (0 = for ever), and say what was done."""
        return self.flavour.create(database, days)

    def delete_before(self, database: str, measurement: str, before_ns: int) -> None:
        """Delete the points of *measurement* that are older than *before_ns*."""
        self.flavour.delete_before(database, measurement, before_ns)

    def health(self) -> Health:
        """Ask the server how it is."""
        kind = self.settings.flavour
        try:
            answer = self._ping()
            kind_found = self.flavour.name
        except (Unavailable, SettingsError) as error:
            return Health(ok=False, flavour=kind, version="", text=str(error))
        ok = 200 <= answer.status < 300
        text = "answers" if ok else f"{self.url}/ping: status {answer.status}"
        return Health(ok=ok, flavour=kind_found, version=_version(answer), text=text)

    def capabilities(self) -> Capabilities:
        """Return what this kind of server can do."""
        return Capabilities(received=False, deletes=self.flavour.deletes, first_ns=_FIRST_NS, last_ns=_LAST_NS)


def _login(settings: InfluxSettings) -> dict[str, str]:
    if settings.token is not None:  # 3.x takes this form as well as Bearer
        return {"Authorization": f"Token {settings.token.get_secret_value()}"}
    if settings.user:
        import urllib3  # noqa: PLC0415

        password = settings.password.get_secret_value() if settings.password is not None else ""
        return dict(urllib3.make_headers(basic_auth=f"{settings.user}:{password}"))
    return {}


def _version(answer: Answer) -> str:
    found = answer.headers.get("x-influxdb-version", "")
    if not found:
        try:
            content = orjson.loads(answer.body)
            found = str(content.get("version", "")) if isinstance(content, dict) else ""
        except orjson.JSONDecodeError:
            found = ""
    return found.removeprefix("v")


def _tables(result: dict[str, Any], database: str, name: str) -> list[Table]:
    error = result.get("error")
    if error is None:
        found: list[Table] = result.get("series", [])
        return found
    if _NO_MEASUREMENT.search(error):  # 1.x and 2.x find nothing there, 3 may say so
        return []
    if _NO_DATABASE.search(error):
        raise SettingsError(name, f"{database!r}: {error}; `urbanpulse series init` creates what is missing")
    if "file limit" in error:
        raise TooLong(f"the range holds more files than InfluxDB 3 Core opens at once: ask for less: {error}")
    raise Away(f"the question failed: {error}")
