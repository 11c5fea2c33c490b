"""This module delivers notices by POST, signed after Standard Webhooks, so that a receiver can trust and dedupe them.

Headers: `webhook-id` (the notice's id: the same at every attempt), `webhook-timestamp` (seconds of this attempt) and
`webhook-signature`, `v1,` and the base64 of HMAC-SHA-256 over `id.timestamp.body`. Redirects are not followed: an
answer must not choose where alerts go.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING, Self

import httpx

from core.errors import SettingsError, Unavailable
from processors.notify.contract import NoticeRefused

if TYPE_CHECKING:
    from types import TracebackType

    from core.clock import Clock
    from core.ports import OutboxItem

__all__ = ["WebhookSender", "parse_secret", "sign"]

_PREFIX = "whsec_"
_TRY_AGAIN = frozenset({408, 409, 425, 429})
_WORDS = 500  # of an answer that go into the log and the outbox


def parse_secret(secret: str) -> bytes:
    """Return the key in `whsec_<base64>`.

    Raises:
        SettingsError: another form, or not 24 to 64 bytes (Standard Webhooks 1.0). The text never shows the secret.
    """
    wrong = SettingsError("notify.webhook_secret", "'whsec_' and base64 of 24 to 64 bytes expected")
    if not secret.startswith(_PREFIX):
        raise wrong
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SettingsError("notify.webhook_secret", "not base64 after 'whsec_'") from error
    if not 24 <= len(key) <= 64:
        raise wrong
    return key


def sign(key: bytes, notice: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`; *timestamp* in seconds."""
    digest = hmac.new(key, f"{notice}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


class WebhookSender:
    """Delivers to one URL. An async context manager: it holds connections."""

    def __init__(self, url: str, secret: str, *, timeout_seconds: float, clock: Clock) -> None:
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise SettingsError("notify.webhook_url", f"{url!r}: {error}") from error
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise SettingsError("notify.webhook_url", f"{url!r}: an http or https address expected")
        self._url = parsed
        self._key = parse_secret(secret)
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._client = httpx.AsyncClient(timeout=timeout_seconds, follow_redirects=False, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def send(self, item: OutboxItem) -> None:
        """Deliver *item*; see `NoticeSender`."""
        timestamp = self._clock.now_ns() // 1_000_000_000
        headers = {
            "content-type": "application/json",
            "user-agent": "urbanpulse",
            "webhook-id": item.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(self._key, item.id, timestamp, item.body),
        }
        try:
            answer = await self._client.post(self._url, content=item.body, headers=headers)
        except httpx.HTTPError as error:
            raise Unavailable("webhook", f"{type(error).__name__}: {error}") from error
        if answer.is_success:
            return
        words = f"{answer.status_code} {answer.reason_phrase}: {answer.text[:_WORDS]}"
        if answer.status_code >= 500 or answer.status_code in _TRY_AGAIN:
            raise Unavailable("webhook", words)
        raise NoticeRefused(words)
