"""This module plays the newer kinds of InfluxDB in front of a real 1.x: their way to write, create and delete.

What is written and asked is real: bytes of ours, carried by the vendor's client where 2.x is meant, stored and found
again by a server. Only the addresses, forms and refusals of 2.x and 3 are played, as their sources give them
(influxdata/influxdb: 2.x in tenant/, dbrp/, http/, v1/coordinator/; 3 in influxdb3_server/src/http.rs).
"""

from __future__ import annotations

import itertools
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from tests.unit.backends.series.influx_double import Play, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["fronted"]

ORG = {"id": f"{1:016x}", "name": "city-hall"}
WEEK = 7 * 86_400
_SUPPORTED = ("SELECT ", "SHOW TAG KEYS", "SHOW FIELD KEYS", "SHOW TAG VALUES")  # v1/coordinator/statement_executor.go


@contextmanager
def fronted(url: str, kind: Literal["v2", "v3"]) -> Iterator[str]:
    """Yield the address of a server of *kind* that keeps everything in the 1.x at *url*."""
    with Play((_V2 if kind == "v2" else _V3)(url)) as play:
        yield play.url


def _pass(url: str, request: Request, path: str, query: dict[str, str]) -> Reply:
    headers = {n: v for n, v in request.headers.items() if n in {"content-type", "content-encoding", "accept"}}
    address = f"{url}{path}?{urllib.parse.urlencode(query)}"
    sent = urllib.request.Request(address, request.body or None, headers, method=request.method)
    try:
        with urllib.request.urlopen(sent, timeout=60) as answer:
            return Reply(answer.status, answer.read())
    except urllib.error.HTTPError as error:
        return Reply(error.code, error.read())


def _command(url: str, text: str, database: str = "") -> Any:
    body = urllib.parse.urlencode({"q": text, "db": database}).encode()
    with urllib.request.urlopen(f"{url}/query", body, timeout=60) as answer:
        result = json.loads(answer.read())["results"][0]
    assert "error" not in result, result
    return result.get("series", [])


def _error(status: int, code: str, message: str) -> Reply:
    return Reply(status, {"code": code, "message": message}, {"X-Platform-Error-Code": code})


class _V2:
    """A 2.7 that nobody has set up yet. Each bucket is a database of the 1.x, called by the id of the bucket."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._token = ""
        self._buckets: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(2)
        self._add("_tasks", "system", 3 * 86_400)
        self._add("_monitoring", "system", WEEK)

    def __call__(self, request: Request) -> Reply:
        ways = {
            ("GET", "/ping"): self._ping,
            ("GET", "/api/v2/setup"): lambda _: Reply(200, {"allowed": not self._token}),
            ("POST", "/api/v2/setup"): self._set_up,
        }
        if (request.method, request.path) in ways:
            return ways[request.method, request.path](request)
        if not self._token or request.headers.get("authorization") != f"Token {self._token}":
            return _error(401, "unauthorized", "unauthorized access")
        path, slash, number = request.path.removeprefix("/api/v2/").partition("/")
        ways = {
            ("POST", "/query"): self._query,
            ("POST", "write"): self._write,
            ("POST", "delete"): self._delete,
            ("GET", "orgs"): self._orgs,
            ("GET", "buckets"): self._find,
            ("POST", "buckets"): self._create,
            ("PATCH", "buckets/"): lambda r: self._change(r, number),
            ("DELETE", "buckets/"): lambda _: self._drop(number),
            ("GET", "dbrps"): lambda r: Reply(200, {"content": self._mappings(r.query["db"], r.query["orgID"])}),
        }
        way = ways.get((request.method, path + slash if request.path != "/query" else "/query"))
        return way(request) if way else _error(404, "not found", "path not found")

    def _ping(self, _: Request) -> Reply:
        return Reply(204, b"", {"X-Influxdb-Version": "v2.7.11", "X-Influxdb-Build": "OSS"})

    def _set_up(self, request: Request) -> Reply:
        content = json.loads(request.body)
        if self._token:
            return _error(422, "conflict", "onboarding has already been completed")
        assert {"username", "password", "org", "bucket"} <= set(content)
        self._token = content["token"]
        return Reply(201, {"org": ORG, "auth": {"token": self._token}})

    def _orgs(self, request: Request) -> Reply:
        if request.query.get("org", ORG["name"]) != ORG["name"]:
            return _error(404, "not found", f'organization name "{request.query["org"]}" not found')
        return Reply(200, {"orgs": [ORG]})

    def _add(self, name: str, kind: str, seconds: int, shard_seconds: int = 0) -> dict[str, Any]:
        number = f"{next(self._numbers):016x}"
        rule = {"type": "expire", "everySeconds": seconds, "shardGroupDurationSeconds": shard_seconds or WEEK}
        bucket = {"id": number, "orgID": ORG["id"], "type": kind, "name": name, "retentionRules": [rule]}
        self._buckets[number] = bucket
        _command(self._url, f'CREATE DATABASE "{number}"')
        return bucket

    def _find(self, request: Request) -> Reply:
        name = request.query.get("name")
        return Reply(200, {"buckets": [b for b in self._buckets.values() if name in {b["name"], None}][:20]})

    def _create(self, request: Request) -> Reply:
        content = json.loads(request.body)
        if content.get("orgID") != ORG["id"]:
            return _error(400, "invalid", "organization id must be provided")
        if content["name"].startswith("_"):
            return _error(
                400, "invalid", f"bucket name {content['name']} is invalid. Buckets may not start with underscore"
            )
        if content["name"] in {bucket["name"] for bucket in self._buckets.values()}:
            return _error(422, "conflict", f"bucket with name {content['name']} already exists")
        [rule] = content["retentionRules"]
        return Reply(201, self._add(content["name"], "user", rule["everySeconds"]))

    def _change(self, request: Request, number: str) -> Reply:
        [rule] = json.loads(request.body)["retentionRules"]
        [there] = self._buckets[number]["retentionRules"]
        if 0 < rule["everySeconds"] < rule.get("shardGroupDurationSeconds", there["shardGroupDurationSeconds"]):
            words = "shard-group duration must also be updated to be smaller than new retention duration"
            return _error(422, "unprocessable entity", words)
        there |= rule
        return Reply(200, self._buckets[number])

    def _drop(self, number: str) -> Reply:
        del self._buckets[number]
        _command(self._url, f'DROP DATABASE "{number}"')
        return Reply(204)

    def _mappings(self, database: str, org: str) -> list[dict[str, Any]]:
        """Return the virtual names of buckets: what stands before a slash is the database (dbrp/service.go)."""
        found = []
        for bucket in self._buckets.values():
            name, slash, policy = bucket["name"].partition("/")
            if (name, org) == (database, ORG["id"]):
                names = {"database": name, "retention_policy": policy or "autogen", "default": not slash}
                found.append({"id": bucket["id"], "bucketID": bucket["id"], "orgID": org, "virtual": True, **names})
        return found

    def _query(self, request: Request) -> Reply:
        assert all(statement.startswith(_SUPPORTED) for statement in request.question.split("; ")), request.question
        asked = request.query | dict(urllib.parse.parse_qsl(request.text))
        found = [one for one in self._mappings(asked["db"], ORG["id"]) if one["default"]]
        if not found:
            words = "not executed" if "; " in request.question else f"database not found: {asked['db']}"
            return Reply(200, {"results": [{"statement_id": 0, "error": words}]})
        sent = urllib.parse.urlencode({"q": asked["q"], "epoch": asked["epoch"], "db": found[0]["bucketID"]})
        return _pass(self._url, replace(request, body=sent.encode()), "/query", {})

    def _bucket(self, request: Request) -> str | Reply:
        if request.query["org"] not in ORG.values():
            return _error(404, "not found", f'organization name "{request.query["org"]}" not found')
        name = request.query["bucket"]
        found = [number for number, bucket in self._buckets.items() if bucket["name"] == name]
        return found[0] if found else _error(404, "not found", f'bucket "{name}" not found')

    def _write(self, request: Request) -> Reply:
        bucket = self._bucket(request)
        if isinstance(bucket, Reply):
            return bucket
        reply = _pass(self._url, request, "/write", {"db": bucket, "precision": request.query["precision"]})
        if reply.status == 204:
            return reply
        words = json.loads(reply.content)["error"]
        if words.startswith("partial write"):
            return _error(422, "unprocessable entity", f"failure writing points to database: {words}")
        return _error(400, "invalid", words)

    def _delete(self, request: Request) -> Reply:
        content = json.loads(request.body)
        bucket = self._bucket(request)
        if isinstance(bucket, Reply):
            return bucket
        for name in ("start", "stop"):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", content[name]), content
        assert content["start"] >= "1677-09-21T00:12:43.145224194Z"
        [measurement] = re.findall(r'^_measurement="(\w+)"$', content["predicate"])
        span = f"time >= '{content['start']}' AND time <= '{content['stop']}'"
        _command(self._url, f'DELETE FROM "{measurement}" WHERE {span}', bucket)  # noqa: S608 - a test
        return Reply(204)


class _V3:
    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, request: Request) -> Reply:
        match request.method, request.path:
            case "GET", "/ping":
                return Reply(200, {"version": "3.2.1"}, {"X-Influxdb-Version": "3.2.1", "X-Influxdb-Build": "Core"})
            case "POST", "/api/v3/write_lp":
                assert request.query["precision"] == "nanosecond"
                return _pass(self._url, request, "/write", {"db": request.query["db"], "precision": "ns"})
            case "POST", "/query":
                if ";" in request.question:
                    return Reply(500, b"must provide only one InfluxQl statement per query")
                assert request.question.startswith(_SUPPORTED), request.question
                return _pass(self._url, request, "/query", request.query)
            case "POST" | "DELETE" as method, "/api/v3/configure/database":
                verb, name = ("DROP", request.query) if method == "DELETE" else ("CREATE", json.loads(request.body))
                _command(self._url, f'{verb} DATABASE "{name["db"]}"')
                return Reply(200, b"")
        return Reply(404, {"error": f"not found: {request.method} {request.path}"})
