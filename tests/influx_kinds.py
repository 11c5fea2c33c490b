"""This module plays the newer kinds of InfluxDB in front of a real 1.x: their way to write, create and delete.

What is written and asked is real: bytes of ours, carried by the vendor's client where 2.x is meant, stored and found
again by a server. Only the addresses and forms of 2.x and 3 are played, as their documentation gives them.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from tests.unit.backends.series.influx_double import Play, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["fronted"]

ORG = {"id": "o1", "name": "city-hall"}


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


class _V2:
    def __init__(self, url: str) -> None:
        self._url = url
        self._buckets: dict[str, dict[str, Any]] = {}

    def __call__(self, request: Request) -> Reply:
        ways = {
            ("GET", "/ping"): self._ping,
            ("POST", "/query"): lambda r: _pass(self._url, r, "/query", r.query),
            ("POST", "/api/v2/write"): self._write,
            ("GET", "/api/v2/orgs"): lambda _: Reply(200, {"orgs": [ORG]}),
            ("GET", "/api/v2/buckets"): self._find,
            ("POST", "/api/v2/buckets"): self._create,
            ("GET", "/api/v2/dbrps"): lambda _: Reply(200, {"content": []}),
            ("POST", "/api/v2/dbrps"): lambda r: Reply(201, json.loads(r.body) | {"id": "m1"}),
            ("POST", "/api/v2/delete"): self._delete,
        }
        way = ways.get((request.method, request.path))
        return way(request) if way else Reply(404, {"message": f"path not found: {request.method} {request.path}"})

    def _ping(self, _: Request) -> Reply:
        return Reply(204, b"", {"X-Influxdb-Version": "v2.7.11", "X-Influxdb-Build": "OSS"})

    def _write(self, request: Request) -> Reply:
        bucket = request.query["bucket"]
        if bucket not in self._buckets:
            return Reply(404, {"code": "not found", "message": f'bucket "{bucket}" not found'})
        return _pass(self._url, request, "/write", {"db": bucket, "precision": request.query["precision"]})

    def _find(self, request: Request) -> Reply:
        found = self._buckets.get(request.query["name"])
        return Reply(200, {"buckets": [found] if found else []})

    def _create(self, request: Request) -> Reply:
        content = json.loads(request.body)
        bucket = {"id": f"b{len(self._buckets)}", "type": "user", **content}
        self._buckets[content["name"]] = bucket
        _command(self._url, f'CREATE DATABASE "{content["name"]}"')
        return Reply(201, bucket)

    def _delete(self, request: Request) -> Reply:
        content = json.loads(request.body)
        [measurement] = re.findall(r'^_measurement="(\w+)"$', content["predicate"])
        span = f"time >= '{content['start']}' AND time <= '{content['stop']}'"
        _command(self._url, f'DELETE FROM "{measurement}" WHERE {span}', request.query["bucket"])  # noqa: S608 - a test
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
                if "DELETE" in request.question:
                    return Reply(400, {"error": "DELETE is not supported"})
                return _pass(self._url, request, "/query", request.query)
            case "POST", "/api/v3/configure/database":
                _command(self._url, f'CREATE DATABASE "{json.loads(request.body)["db"]}"')
                return Reply(200, b"")
        return Reply(404, {"error": f"not found: {request.method} {request.path}"})
