"""This module speaks to a running Grafana through grafana-client, and says in one line what is wrong.

grafana-client is an extra in an environment of its own: it brings an HTTP library that puts itself in the place of
`urllib3`, on which the client of InfluxDB stands. So nothing here, and nothing that imports this, needs InfluxDB.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from core.errors import Conflict, SettingsError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Grafana"]

_TIMEOUT_SECONDS = 30.0
_INSTALL = (
    "grafana-client is not installed in this environment. It needs one of its own: python -m venv grafana-env && "
    "grafana-env/bin/pip install 'urbanpulse[grafana]', then run grafana-env/bin/urbanpulse"
)


class Grafana:
    """A Grafana at *url*, asked with the *token* of a service account. Use as a context manager.

    Raises:
        SettingsError: grafana-client is missing, or *url* is no HTTP address.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        parts = urlsplit(self.url)
        if not re.fullmatch(r"https?://[^/\s@]+(/\S*)?", self.url) or not parts.hostname or parts.query:
            raise SettingsError("url", f"{url!r}: an address such as http://127.0.0.1:3000 expected")
        try:
            self._port = parts.port
        except ValueError as error:
            raise SettingsError("url", f"{url!r}: {error}") from error
        try:
            self._errors: Any = import_module("grafana_client.client")
            self._transport: Any = import_module("niquests.exceptions")
            library: Any = import_module("grafana_client")
        except ImportError as error:
            raise SettingsError("grafana", _INSTALL) from error
        self._api = library.GrafanaApi(
            auth=token,
            host=f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname,
            port=self._port,
            url_path_prefix=f"{parts.path.strip('/')}/".lstrip("/"),  # the library joins it with "api"
            protocol=parts.scheme,
            timeout=_TIMEOUT_SECONDS,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._api.client.s.close()

    # -- what is there

    def version(self) -> str:
        """Return the version of Grafana, "" where it hides it.

        Raises:
            SettingsError: something else answers.
            Unavailable: nothing answers.
        """
        with self._told("ask how it is"):
            try:
                answer = self._api.client.GET("/health")
            except self._errors.GrafanaClientError:
                answer = None
        if not isinstance(answer, dict) or "database" not in answer:
            raise SettingsError("url", f"{self.url} does not answer as Grafana does")
        return str(answer.get("version", ""))

    def folders(self) -> list[dict[str, Any]]:
        """Return the folders at the top."""
        with self._told("list folders"):
            found: list[dict[str, Any]] = self._api.folder.get_all_folders()
            return found

    def folder(self, uid: str) -> dict[str, Any] | None:
        """Return the folder *uid* if there is one."""
        return self._maybe(f"look for folder {uid}", self._api.folder.get_folder, uid)

    def data_source(self, uid: str) -> dict[str, Any] | None:
        """Return the data source *uid* if there is one."""
        return self._maybe(f"look for data source {uid}", self._api.datasource.get_datasource_by_uid, uid)

    def data_source_health(self, uid: str) -> str:
        """Return what Grafana says when it tries the data source *uid*."""
        with self._told(f"try data source {uid}"):
            try:
                answer = self._api.datasource.health(uid)
            except (self._errors.GrafanaClientError, self._errors.GrafanaServerError) as error:
                if error.status_code in {401, 403}:
                    raise
                answer = error.response
        return str(answer.get("message", answer) if isinstance(answer, dict) else answer)[:200]

    def dashboard(self, uid: str) -> dict[str, Any] | None:
        """Return the dashboard *uid* with its `meta` if there is one."""
        return self._maybe(f"look for dashboard {uid}", self._api.dashboard.get_dashboard, uid)

    def annotations(self, tags: list[str], *, start_ms: int, end_ms: int, limit: int) -> list[dict[str, Any]]:
        """Return at most *limit* annotations that carry all *tags* and touch the span."""
        with self._told("list annotations"):
            found: list[dict[str, Any]] = self._api.annotations.find_annotations(
                time_from=start_ms, time_to=end_ms, ann_type="annotation", tags=tags, limit=limit
            )
            return found

    # -- what is made

    def create_folder(self, title: str, uid: str | None) -> str:
        """Create a folder and return its uid."""
        with self._told(f"create folder {title!r}"):
            return str(self._api.folder.create_folder(title, uid)["uid"])

    def create_data_source(self, content: dict[str, Any]) -> None:
        """Create a data source."""
        with self._told(f"create data source {content['name']!r}"):
            self._api.datasource.create_datasource(content)

    def update_data_source(self, content: dict[str, Any]) -> None:
        """Replace the data source of that uid."""
        with self._told(f"update data source {content['name']!r}"):
            self._api.datasource.update_datasource_by_uid(content["uid"], content)

    def save_dashboard(self, content: dict[str, Any], folder: str) -> None:
        """Create or replace the dashboard of that uid, in the folder of the uid *folder*."""
        body = {"dashboard": content, "folderUid": folder, "overwrite": True, "message": "urbanpulse grafana push"}
        with self._told(f"save dashboard {content['title']!r}"):
            self._api.dashboard.update_dashboard(body)

    def add_annotation(self, note: dict[str, Any]) -> None:
        """Create an annotation of the whole organisation: `time`, `timeEnd` (ms), `tags`, `text`."""
        with self._told("add an annotation"):
            self._api.client.POST("/annotations", json=note)  # the library's own way adds "panelId": null

    def change_annotation(self, number: int, note: dict[str, Any]) -> None:
        """Change annotation *number* to *note*."""
        with self._told(f"change annotation {number}"):
            self._api.annotations.update_annotation(
                number, time_from=note["time"], time_to=note["timeEnd"], tags=note["tags"], text=note["text"]
            )

    # -- errors

    def _maybe(self, what: str, ask: Any, uid: str) -> dict[str, Any] | None:
        with self._told(what):
            try:
                found: dict[str, Any] = ask(uid)
            except self._errors.GrafanaClientError as error:
                if error.status_code == 404:
                    return None
                raise
            return found

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Turn the library's errors into ours; *what* is what was tried."""
        errors, transport = self._errors, self._transport
        try:
            yield
        except errors.GrafanaTimeoutError as error:
            raise Unavailable(self.url, f"no answer within {_TIMEOUT_SECONDS:.0f} s") from error
        except transport.JSONDecodeError as error:
            raise SettingsError("url", f"{self.url} does not answer as Grafana does") from error
        except transport.RequestException as error:
            raise Unavailable(self.url, f"{_reason(error)}; does Grafana run there?") from error
        except errors.GrafanaException as error:
            raise self._refusal(what, error) from error
        except (TypeError, KeyError, AttributeError) as error:
            raise SettingsError("url", f"{what}: {self.url} does not answer as Grafana does") from error

    def _refusal(self, what: str, error: Any) -> SettingsError | Unavailable | Conflict:
        status, said = error.status_code, _said(error.response)
        if status == 401:
            return SettingsError("token", f"{self.url} does not know the token")
        if status == 403:
            return SettingsError(
                "token",
                f"{self.url} forbids to {what}: the service account needs the role Editor, for data sources Admin",
            )
        if status in {409, 412}:
            return Conflict(f"{what}: {said}")
        if status == 429 or status >= 500:
            return Unavailable(self.url, f"{what}: status {status}: {said}")
        return SettingsError("grafana", f"{what}: {self.url} refuses with status {status}: {said}")


def _said(response: Any) -> str:
    text = response.get("message", response) if isinstance(response, dict) else response
    return " ".join(str(text).split())[:200]


def _reason(error: BaseException) -> str:
    """Return what is at the bottom of a chain of errors, in a few words."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:200] or type(error).__name__
