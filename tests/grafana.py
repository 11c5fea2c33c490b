"""This module plays a Grafana over HTTP: what urbanpulse uses of its API, as Grafana's documentation has it.

It is no Grafana. It checks method, path, token and the shape of each body, keeps what it is given, and answers with
the documented codes: 404 with a message, 409 for a name that is taken, 412 for a dashboard that is there already.
"""

from __future__ import annotations

import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import jsonschema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["TOKEN", "PlayedGrafana", "played_grafana", "serving"]

TOKEN = "glsa_made_up_0123"
Answer = tuple[int, Any]

_TEXT = {"type": "string", "minLength": 1}
_UID = {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,40}$"}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    properties = {**required, **(optional or {})}
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


_FOLDER = _object({"title": _TEXT}, {"uid": _UID})
_STRINGS = {"type": "object", "additionalProperties": _TEXT}
_SOURCE = _object(
    {
        "uid": _UID,
        "name": _TEXT,
        "type": {"enum": ["influxdb", "prometheus"]},
        "access": {"const": "proxy"},
        "url": {"type": "string", "pattern": "^https?://"},
        "jsonData": {"type": "object"},
    },
    {"user": {"type": "string"}, "secureJsonData": _STRINGS, "version": {"type": "integer"}},
)
_DASHBOARD = _object(
    {
        "dashboard": {
            "type": "object",
            "required": ["id", "uid", "title", "panels", "schemaVersion"],
            "properties": {"id": {"type": "null"}, "uid": _UID, "title": _TEXT},
        },
        "folderUid": _UID,
        "overwrite": {"type": "boolean"},
    },
    {"message": _TEXT},
)
_ANNOTATION = _object(
    {
        "time": {"type": "integer", "minimum": 10**12},
        "timeEnd": {"type": "integer", "minimum": 10**12},
        "tags": {"type": "array", "items": {**_TEXT, "maxLength": 100}, "minItems": 1, "uniqueItems": True},
        "text": _TEXT,
    }
)


@dataclass
class PlayedGrafana:
    """What the played Grafana knows. `asked` are (method, path) in order; `refuse` answers in place of it."""

    url: str = ""
    folders: dict[str, str] = field(default_factory=dict)
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    dashboards: dict[str, dict[str, Any]] = field(default_factory=dict)
    annotations: dict[int, dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    refuse: Callable[[str, str], Answer | None] = lambda _method, _path: None

    def writes(self) -> list[tuple[str, str]]:
        """Return what was asked to change something."""
        return [(method, path) for method, path in self.asked if method != "GET"]

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        """Return status and content for a request."""
        parts = urlsplit(target)
        self.asked.append((method, parts.path))
        if (refused := self.refuse(method, parts.path)) is not None:
            return refused
        if (method, parts.path) == ("GET", "/api/health"):
            return 200, {"database": "ok", "version": "12.2.1", "commit": "0"}
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {"message": "Invalid API key", "messageId": "api-key.invalid"}
        for wanted, pattern, schema, handle in self._routes():
            match = re.fullmatch(pattern, parts.path)
            if wanted == method and match:
                content = json.loads(body) if body else None
                if (content is None) != (schema is None):
                    self.broken.append(f"{method} {target}: a body {'missing' if schema else 'too many'}")
                if schema is not None:
                    try:
                        jsonschema.validate(content, schema)
                    except jsonschema.ValidationError as error:
                        self.broken.append(f"{method} {target}: {error.message}")
                        return 400, {"message": "bad request data"}
                return handle(*match.groups(), content, parse_qs(parts.query))
        self.broken.append(f"{method} {target}: no such route")
        return 404, {"message": "Not found"}

    def _routes(self) -> list[tuple[str, str, Any, Callable[..., Answer]]]:
        return [
            ("GET", "/api/folders", None, self._list_folders),
            ("GET", "/api/folders/([^/]+)", None, self._folder),
            ("POST", "/api/folders", _FOLDER, self._new_folder),
            ("GET", "/api/datasources/uid/([^/]+)", None, self._source),
            ("GET", "/api/datasources/uid/([^/]+)/health", None, self._health),
            ("POST", "/api/datasources", _SOURCE, self._new_source),
            ("PUT", "/api/datasources/uid/([^/]+)", _SOURCE, self._put_source),
            ("GET", "/api/dashboards/uid/([^/]+)", None, self._dashboard),
            ("POST", "/api/dashboards/db", _DASHBOARD, self._save),
            ("GET", "/api/annotations", None, self._find),
            ("POST", "/api/annotations", _ANNOTATION, self._annotate),
            ("PUT", r"/api/annotations/(\d+)", _ANNOTATION, self._change),
        ]

    def _list_folders(self, _content: Any, _query: Any) -> Answer:
        return 200, [{"id": n, "uid": uid, "title": title} for n, (uid, title) in enumerate(self.folders.items(), 1)]

    def _folder(self, uid: str, _content: Any, _query: Any) -> Answer:
        if uid not in self.folders:
            return 404, {"message": "folder not found", "status": "not-found"}
        return 200, {"id": 1, "uid": uid, "title": self.folders[uid]}

    def _new_folder(self, content: Any, _query: Any) -> Answer:
        uid = content.get("uid", f"made{len(self.folders)}")
        if uid in self.folders or content["title"] in self.folders.values():
            return 409, {"message": "a folder with the same name already exists"}
        self.folders[uid] = content["title"]
        return 200, {"id": len(self.folders), "uid": uid, "title": content["title"]}

    def _source(self, uid: str, _content: Any, _query: Any) -> Answer:
        if uid not in self.sources:
            return 404, {"message": "Data source not found"}
        shown = {key: value for key, value in self.sources[uid].items() if key != "secureJsonData"}
        return 200, {"id": 1, "readOnly": False, **shown}

    def _health(self, uid: str, _content: Any, _query: Any) -> Answer:
        if self.sources[uid]["type"] == "prometheus":
            return 400, {"status": "ERROR", "message": "connection refused"}
        return 200, {"status": "OK", "message": "datasource is working. 1 measurements found"}

    def _new_source(self, content: Any, _query: Any) -> Answer:
        if content["name"] in {source["name"] for source in self.sources.values()}:
            return 409, {"message": "data source with the same name already exists"}
        self.sources[content["uid"]] = {**content, "version": 1}
        return 200, {"message": "Datasource added", "id": 1, "name": content["name"]}

    def _put_source(self, uid: str, content: Any, _query: Any) -> Answer:
        there = self.sources[uid]
        if there.get("readOnly"):
            return 403, {"message": "Cannot update read-only data source"}
        if content.get("version") != there["version"]:
            return 409, {"message": "Datasource has already been updated by someone else"}
        self.sources[uid] = {**content, "version": there["version"] + 1}
        return 200, {"message": "Datasource updated"}

    def _dashboard(self, uid: str, _content: Any, _query: Any) -> Answer:
        if uid not in self.dashboards:
            return 404, {"message": "Dashboard not found"}
        return 200, self.dashboards[uid]

    def _save(self, content: Any, _query: Any) -> Answer:
        uid = content["dashboard"]["uid"]
        there = self.dashboards.get(uid)
        if content["folderUid"] not in self.folders:
            return 400, {"message": "folder not found"}
        if there is not None and (there["meta"].get("provisioned") or not content["overwrite"]):
            return 412, {"message": "A dashboard with the same uid already exists", "status": "name-exists"}
        version = there["dashboard"]["version"] + 1 if there else 1
        self.dashboards[uid] = {
            "dashboard": {**content["dashboard"], "id": len(self.dashboards) + 1, "version": version},
            "meta": {"folderUid": content["folderUid"], "provisioned": False},
        }
        return 200, {"id": 1, "uid": uid, "status": "success", "version": version, "slug": uid}

    def _find(self, _content: Any, query: dict[str, list[str]]) -> Answer:
        start, end = int(query["from"][0]), int(query["to"][0])
        found = [
            {"id": number, "alertId": 0, **note}
            for number, note in self.annotations.items()
            if set(query["tags"]) <= set(note["tags"]) and note["time"] <= end and note["timeEnd"] >= start
        ]
        return 200, found[: int(query.get("limit", ["100"])[0])]

    def _annotate(self, content: Any, _query: Any) -> Answer:
        number = len(self.annotations) + 1
        self.annotations[number] = content
        return 200, {"message": "Annotation added", "id": number}

    def _change(self, number: str, content: Any, _query: Any) -> Answer:
        self.annotations[int(number)] = content
        return 200, {"message": "Annotation updated"}


@contextmanager
def serving(answer: Callable[[str, str, dict[str, str], bytes], Answer]) -> Iterator[str]:
    """Answer HTTP on a free port of loopback; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content = answer(self.command, self.path, dict(self.headers), body)
            is_text = isinstance(content, str)
            data = content.encode() if is_text else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if is_text else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def played_grafana() -> Iterator[PlayedGrafana]:
    """Play a Grafana that knows nothing yet; at the end nothing that it was asked may have been wrong."""
    grafana = PlayedGrafana()
    with serving(grafana.answer) as url:
        grafana.url = url
        yield grafana
    assert grafana.broken == []
