"""This module asks a running urbanpulse for its alerts and the number of its series, as any program would.

Alerts come page by page, newest first; it stops at the beginning of the span or at the most that the caller will hold.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Self

import httpx
import msgspec

from core.errors import SettingsError, Unavailable
from simulators.scoring_openings import Openings, opening_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulators.scoring_openings import Opening

__all__ = ["Api"]

_PAGE = 1000
_TIMEOUT_SECONDS = 30.0


class Api:
    """A running urbanpulse at *url*, asked with an API *key* or after `login`. Use as a context manager.

    Raises:
        SettingsError: *url* is no HTTP address.
    """

    def __init__(self, url: str, *, key: str = "", transport: httpx.BaseTransport | None = None) -> None:
        self._url = url.rstrip("/")
        if not re.fullmatch(r"https?://[^/\s]+[^\s]*", self._url):
            raise SettingsError("api", f"{url!r}: an address such as http://127.0.0.1:8080 expected")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            self._client = httpx.Client(
                base_url=self._url, headers=headers, timeout=_TIMEOUT_SECONDS, transport=transport
            )
        except (httpx.InvalidURL, UnicodeError) as error:
            raise SettingsError("api", f"{url!r}: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def login(self, name: str, password: str) -> None:
        """Log in as a person would."""
        self._ask("POST", "/api/v1/login", json={"name": name, "password": password})

    def series_count(self) -> int:
        """Return how many series the city has."""
        return len(self._items(self._ask("GET", "/api/v1/series")))

    def openings(self, *, since: int, most: int) -> Openings:
        """Return the alerts that opened at *since* (ns UTC) or later, live and retrospective, the newest *most*."""
        found: list[Opening] = []
        for item in self.alerts(at_once=most):
            opening = opening_of(item, f"{self._url}: alert")
            if opening.at < since:
                break
            if len(found) == most:
                return Openings.of(found, more=True)
            found.append(opening)
        return Openings.of(found)

    def alerts(self, *, at_once: int = _PAGE) -> Iterator[Any]:
        """Yield all alerts, newest opening first, as the API shows them, asking for *at_once* when they are needed."""
        params: dict[str, Any] = {"state": "all", "limit": min(_PAGE, at_once)}
        while True:
            answer = self._page(params)
            yield from self._items(answer)
            params["cursor"] = answer.get("next_cursor")
            if params["cursor"] is None:
                return

    def _page(self, params: dict[str, Any]) -> dict[str, Any]:
        """Ask for a page of alerts, a smaller one if this API allows no such large one."""
        response = self._send("GET", "/api/v1/alerts", params=params)
        if response.status_code == 422 and (match := re.search(r"limit: at most (\d+)", response.text)):
            params["limit"] = min(params["limit"], max(1, int(match[1])))
            response = self._send("GET", "/api/v1/alerts", params=params)
        return self._content(response)

    def _ask(self, method: str, path: str, **extra: Any) -> dict[str, Any]:
        return self._content(self._send(method, path, **extra))

    def _send(self, method: str, path: str, **extra: Any) -> httpx.Response:
        try:
            return self._client.request(method, path, **extra)
        except httpx.TimeoutException as error:
            raise Unavailable(self._url, f"no answer within {_TIMEOUT_SECONDS:.0f} s") from error
        except httpx.TransportError as error:
            raise Unavailable(
                self._url, f"{str(error) or type(error).__name__}; does `urbanpulse serve` run there?"
            ) from error

    def _content(self, response: httpx.Response) -> dict[str, Any]:
        status = response.status_code
        path = response.request.url.path
        if status == 401 and path.endswith("/login"):
            raise SettingsError("login", f"{self._url} knows no such name and password")
        if status == 401:
            raise SettingsError(
                "key", f"{self._url} does not know who asks: a valid --key expected; `urbanpulse key add` makes one"
            )
        if status == 403:
            raise SettingsError("key", f"{self._url} forbids {path}: the role viewer is needed")
        if status == 429 or status >= 500:
            raise Unavailable(self._url, f"{path} answers {status}: {_detail(response)}")
        try:
            content = msgspec.json.decode(response.content)
        except msgspec.DecodeError:
            content = None
        if status == 200 and isinstance(content, dict):
            return content
        raise SettingsError("api", f"{self._url} does not answer as urbanpulse does: {path} gives {status}")

    def _items(self, answer: dict[str, Any]) -> list[Any]:
        items = answer.get("items")
        if not isinstance(items, list):
            raise SettingsError("api", f"{self._url} does not answer as urbanpulse does: no items in what it lists")
        return items


def _detail(response: httpx.Response) -> str:
    try:
        return str(msgspec.json.decode(response.content)["detail"])[:200]
    except (msgspec.DecodeError, KeyError, TypeError):
        return response.reason_phrase
