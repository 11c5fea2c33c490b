"""This module is what differs between the kinds of InfluxDB: writing, creating, deleting.

    kind  write              create                        delete
    v1    /write             CREATE DATABASE               DELETE
    v2    influxdb-client    influxdb-client: bucket       influxdb-client: delete API
    v3    /api/v3/write_lp   /api/v3/configure/database    not in Core: retention only

The batching writer of influxdb-client is never used: it drops what it cannot send for three minutes.
"""

from __future__ import annotations

import re
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from backends.series.influx.answers import Answer, Away, LinesRefused, check
from core.clock import from_ns
from core.errors import Conflict, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backends.series.influx.settings import InfluxSettings
    from backends.series.influx.transport import Transport

__all__ = ["FLAVOURS", "Flavour", "setting_of"]

_FIRST = "1677-09-21T00:12:44Z"  # the second after the least time that 2.x stores
_LINES = "text/plain; charset=utf-8"


class Flavour(Protocol):
    """One kind of server. Safe from any thread."""

    name: str
    deletes: bool
    secret: str  # the setting that a refused login is about
    query_arguments: Mapping[str, str]
    joins: bool  # whether one question may be several statements
    span_ns: int  # the longest range that one question may span, 0 = any

    def write(self, database: str, lines: bytes, *, is_gzip: bool) -> Answer:
        """Send *lines*; return the answer, whatever it is.

        Raises:
            Away: there was none.
        """

    def create(self, database: str, days: int) -> str:
        """Create *database* or change its retention (*days*, 0 = for ever); say what was done."""

    def delete_before(self, database: str, measurement: str, before_ns: int) -> None:
        """Delete older points, or raise Conflict."""

    def close(self) -> None:
        """Release connections of its own."""


def setting_of(settings: InfluxSettings, database: str) -> str:
    """Return the name of the setting that *database* comes from."""
    return "series.influx.database" if database == settings.database else "series.influx.rollup_database"


def _kept(days: int) -> str:
    return f"keeps {days} days" if days else "keeps everything"


class _V1:
    name = "v1"
    deletes = True
    secret = "series.influx.password"  # noqa: S105 - the name of a setting
    query_arguments: Mapping[str, str] = {}
    joins = True
    span_ns = 0

    def __init__(self, url: str, transport: Transport, settings: InfluxSettings) -> None:
        self._url = url
        self._transport = transport
        self._settings = settings

    def write(self, database: str, lines: bytes, *, is_gzip: bool) -> Answer:
        return self._transport.request(
            "POST",
            "/write",
            query={"db": database, "precision": "ns"},
            body=lines,
            headers={"Content-Type": _LINES, **({"Content-Encoding": "gzip"} if is_gzip else {})},
            timeout_seconds=self._settings.timeout_seconds,
        )

    def _command(self, text: str, database: str = "") -> list[dict[str, Any]]:
        answer = self._transport.request(
            "POST",
            "/query",
            query={"db": database} if database else {},
            form={"q": text},
            timeout_seconds=self._settings.query_timeout_seconds,
        )
        try:
            check(answer, text, secret=self.secret, name="series.url")
            result: dict[str, Any] = orjson.loads(answer.body)["results"][0]
        except (LinesRefused, orjson.JSONDecodeError, LookupError) as error:
            raise SettingsError("series.url", f"{text}: {error}") from error
        if "error" in result:
            raise SettingsError("series.influx", f"{text}: {result['error']}")
        found: list[dict[str, Any]] = result.get("series", [])
        return found

    def create(self, database: str, days: int) -> str:
        quoted = _quoted(database)
        duration = f"{days}d" if days else "INF"
        shown = self._command("SHOW DATABASES")
        if [database] not in (shown[0].get("values", []) if shown else []):
            self._command(f'CREATE DATABASE {quoted} WITH DURATION {duration} REPLICATION 1 NAME "kept"')
            return f"database {database}: created, {_kept(days)}"
        table = self._command(f"SHOW RETENTION POLICIES ON {quoted}")[0]
        policies = [dict(zip(table["columns"], row, strict=True)) for row in table["values"]]
        policy = next((p for p in policies if p["default"]), None)
        if policy is None:
            raise SettingsError("series.influx.database", f"{database}: has no default retention policy")
        if policy["duration"] == f"{days * 24}h0m0s" or (not days and policy["duration"] == "0s"):
            return f"database {database}: is there, {_kept(days)}"
        self._command(
            f"ALTER RETENTION POLICY {_quoted(policy['name'])} ON {quoted} DURATION {duration} SHARD DURATION 0s"
        )
        return f"database {database}: was there, now {_kept(days)}"

    def delete_before(self, database: str, measurement: str, before_ns: int) -> None:
        self._command(f"DELETE FROM {_quoted(measurement)} WHERE time < {before_ns}", database)  # noqa: S608 - quoted

    def close(self) -> None:
        """Do nothing: the transport is another's."""


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class _V2:
    name = "v2"
    deletes = True
    secret = "series.influx.token"  # noqa: S105
    joins = True
    span_ns = 0

    def __init__(self, url: str, transport: Transport, settings: InfluxSettings) -> None:
        del transport  # the vendor's client has its own
        self._url = url
        self._settings = settings
        self._lock = threading.Lock()
        self._clients: dict[bool, Any] = {}
        self._writers: dict[bool, Any] = {}
        self._only_org = ""
        self.query_arguments: Mapping[str, str] = {"org": settings.org} if settings.org else {}

    def _client(self, *, is_gzip: bool = False) -> Any:
        with self._lock:
            if is_gzip not in self._clients:
                vendor: Any = import_module("influxdb_client")  # only those who use 2.x load it
                token = self._settings.token
                client = vendor.InfluxDBClient(
                    self._url,
                    token.get_secret_value() if token is not None else "",
                    timeout=int(self._settings.timeout_seconds * 1000),
                    ssl_ca_cert=self._settings.tls_ca and str(self._settings.tls_ca),
                )
                if is_gzip:  # its `content_encoding` is ignored, and its own gzip is level 9 (evidence B)
                    client.api_client.default_headers["Content-Encoding"] = "gzip"
                self._clients[is_gzip] = client
                self._writers[is_gzip] = client.write_api(
                    write_options=import_module("influxdb_client.client.write_api").SYNCHRONOUS
                )
            return self._clients[is_gzip]

    def _answer(self, call: Callable[[], Any]) -> Answer:
        """Return the answer to *call* as if the vendor's client raised nothing."""
        import urllib3  # noqa: PLC0415
        from influxdb_client.client.exceptions import InfluxDBError  # noqa: PLC0415
        from influxdb_client.rest import ApiException  # noqa: PLC0415

        try:
            call()
        except ApiException as error:
            if not error.status:
                raise Away(f"{self._url}: {error.reason}") from error
            body = error.body if isinstance(error.body, bytes) else str(error.body or "").encode()
            return Answer(error.status, {k.lower(): v for k, v in dict(error.headers or {}).items()}, body)
        except InfluxDBError as error:  # it looked for the organisation by itself
            raise SettingsError("series.influx.org", str(error)) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Away(f"{self._url}: {error}") from error
        return Answer(204, {}, b"")

    def _do(self, what: str, call: Callable[[], Any]) -> Any:
        """Return what *call* returns, or raise what its answer means."""
        found: list[Any] = []
        answer = self._answer(lambda: found.append(call()))
        try:
            check(answer, what, secret=self.secret, name="series.influx.org")
        except LinesRefused as error:
            raise SettingsError("series.influx", f"{what}: {error.text}") from error
        return found[0]

    def _org(self) -> str:
        """Return the organisation that is set, else the only one that the token sees."""
        if self._settings.org or self._only_org:
            return self._settings.org or self._only_org
        self._only_org = self._do("look for the organisation", lambda: _org_id(self._client(), ""))
        if not self._only_org:
            raise SettingsError("series.influx.org", "must be set: the token sees no organisation, or several")
        return self._only_org

    def write(self, database: str, lines: bytes, *, is_gzip: bool) -> Answer:
        org = self._org()
        self._client(is_gzip=is_gzip)
        writer = self._writers[is_gzip]
        return self._answer(lambda: writer.write(database, org, lines, write_precision="ns"))

    def create(self, database: str, days: int) -> str:
        vendor: Any = import_module("influxdb_client")
        client = self._client()
        buckets = client.buckets_api()
        rule = vendor.BucketRetentionRules(type="expire", every_seconds=days * 86_400)
        org = self._do("look for the organisation", lambda: _org_id(client, self._org()))
        all_found = self._do(f"look for bucket {database}", lambda: buckets.find_buckets(name=database).buckets)
        # a token for all organisations sees the buckets of all
        found = next((b for b in all_found if (b.name, b.org_id) == (database, org)), None)
        if found is None and not org:
            raise SettingsError(self.secret, f"create bucket {database}: this token sees no organisation and no bucket")
        if found is None:
            made = self._do(
                f"create bucket {database}",
                lambda: buckets.create_bucket(bucket_name=database, retention_rules=[rule], org=org),
            )
            self._map(client, database, made)
            return f"bucket {database}: created, {_kept(days)}"
        self._map(client, database, found)
        if [rule.every_seconds for rule in found.retention_rules] in ([days * 86_400], [] if days == 0 else [0, 0]):
            return f"bucket {database}: is there, {_kept(days)}"
        rule.shard_group_duration_seconds = _shard_seconds(days)
        found.retention_rules = [rule]
        self._do(f"change bucket {database}", lambda: buckets.update_bucket(found))
        return f"bucket {database}: was there, now {_kept(days)}"

    def _map(self, client: Any, database: str, bucket: Any) -> None:
        """Have InfluxQL find the bucket under its own name; since 2.4 servers do so by themselves, as `autogen`."""
        vendor: Any = import_module("influxdb_client")
        service = vendor.DBRPsService(client.api_client)
        found = self._do("list names for InfluxQL", lambda: service.get_dbr_ps(org_id=bucket.org_id, db=database))
        used = next((one for one in found.content or () if one.default), None)
        if used is None:
            wanted = vendor.DBRPCreate(
                org_id=bucket.org_id, bucket_id=bucket.id, database=database, retention_policy="kept", default=True
            )
            self._do("name the bucket for InfluxQL", lambda: service.post_dbrp(dbrp_create=wanted))
        elif used.bucket_id != bucket.id:
            raise SettingsError(
                setting_of(self._settings, database),
                f"{database!r}: InfluxQL finds another bucket under this name, {used.bucket_id}: "
                f"delete that mapping (influx v1 dbrp delete --id {used.id}) or choose another name",
            )

    def delete_before(self, database: str, measurement: str, before_ns: int) -> None:
        client = self._client()
        seconds, rest = divmod(before_ns - 1, 10**9)
        stop = f"{from_ns(seconds * 10**9):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
        only = f'_measurement="{measurement}"'
        self._do(
            f"forget in {database}",
            lambda: client.delete_api().delete(_FIRST, stop, only, bucket=database, org=self._org()),
        )

    def close(self) -> None:
        with self._lock:
            for writer in self._writers.values():
                writer.close()
            for client in self._clients.values():
                client.close()
            self._writers, self._clients = {}, {}


def _shard_seconds(days: int) -> int:
    """Return what 2.x itself gives a new bucket (v1/services/meta/data.go); it refuses shards that outlive it."""
    if days == 0 or days >= 180:
        return 7 * 86_400
    return 86_400 if days >= 2 else 3600


def _org_id(client: Any, org: str) -> str:
    """Return the id of the organisation *org*, an id, a name, or "" = the only one; "" if the token sees none."""
    if re.fullmatch("[0-9a-f]{16}", org):
        return org
    found = {str(one.id) for one in client.organizations_api().find_organizations(**({"org": org} if org else {}))}
    # a token for buckets, and one of all access that the vendor's command line made, sees them but not whose they are
    found = found or {str(bucket.org_id) for bucket in client.buckets_api().find_buckets().buckets}
    return found.pop() if len(found) == 1 else ""


class _V3:
    name = "v3"
    deletes = False
    secret = "series.influx.token"  # noqa: S105
    query_arguments: Mapping[str, str] = {}
    joins = False  # "must provide only one InfluxQl statement per query" (influxdb3_server/src/http.rs)
    span_ns = 2 * 86_400_000_000_000  # Core opens at most 432 files of 10 minutes per question: 3 days

    def __init__(self, url: str, transport: Transport, settings: InfluxSettings) -> None:
        self._url = url
        self._transport = transport
        self._settings = settings

    def write(self, database: str, lines: bytes, *, is_gzip: bool) -> Answer:
        return self._transport.request(
            "POST",
            "/api/v3/write_lp",
            query={"db": database, "precision": "nanosecond", "accept_partial": "true"},
            body=lines,
            headers={"Content-Type": _LINES, **({"Content-Encoding": "gzip"} if is_gzip else {})},
            timeout_seconds=self._settings.timeout_seconds,
        )

    def create(self, database: str, days: int) -> str:
        content = {"db": database, **({"retention_period": f"{days}d"} if days else {})}
        answer = self._transport.request(
            "POST",
            "/api/v3/configure/database",
            body=orjson.dumps(content),
            headers={"Content-Type": "application/json"},
            timeout_seconds=self._settings.query_timeout_seconds,
        )
        if answer.status == 409:
            return f"database {database}: is there; its retention is left as it is"
        try:
            check(answer, f"create database {database}", secret=self.secret, name="series.url")
        except LinesRefused as error:
            raise SettingsError("series.influx", f"create database {database}: {error.text}") from error
        return f"database {database}: created, {_kept(days)}"

    def delete_before(self, database: str, measurement: str, before_ns: int) -> None:  # noqa: ARG002
        raise Conflict(f"InfluxDB 3 deletes no rows: the retention of database {database} does")

    def close(self) -> None:
        """Do nothing: the transport is another's."""


FLAVOURS: Mapping[str, Callable[[str, Transport, InfluxSettings], Flavour]] = {"v1": _V1, "v2": _V2, "v3": _V3}
