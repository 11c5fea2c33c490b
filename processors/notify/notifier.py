"""This module empties the outbox: each notice at least once, in order per alert and channel, with patience.

A failed notice waits longer each time (doubling, with jitter, so that a receiver that comes back is not met by all at
once). It is given up when the receiver says that it will never take it, after too many attempts, or when it is too
old to matter. Being killed between delivery and `sent` sends once more, with the same id.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from core.errors import SettingsError, Unavailable
from processors.notify.contract import NoticeRefused, NoticeSender
from processors.notify.webhook import WebhookSender

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable, Mapping
    from concurrent.futures import Executor

    from core.clock import Clock
    from core.ports import Outbox, OutboxItem
    from processors.metrics import ProcessorMetrics
    from processors.settings import NotifySettings

__all__ = ["NoticeSender", "Notifier", "senders_for"]

_NS = 1_000_000_000
_SLICE_SECONDS = 0.2


@asynccontextmanager
async def senders_for(
    settings: NotifySettings, senders: Mapping[str, NoticeSender], *, clock: Clock
) -> AsyncIterator[dict[str, NoticeSender]]:
    """Yield *senders* and, if *settings* names one, the webhook.

    Raises:
        SettingsError: a webhook without secret, or with a wrong address or secret.
    """
    if settings.webhook_url is None:
        yield dict(senders)
        return
    if settings.webhook_secret is None:
        raise SettingsError("notify.webhook_secret", "a webhook needs a secret to sign with")
    async with WebhookSender(
        settings.webhook_url,
        settings.webhook_secret.get_secret_value(),
        timeout_seconds=settings.timeout_seconds,
        clock=clock,
    ) as webhook:
        yield {**senders, "webhook": webhook}


class Notifier:
    """Takes due notices from the outbox and hands each to the sender of its channel."""

    def __init__(
        self,
        outbox: Outbox,
        senders: Mapping[str, NoticeSender],
        *,
        settings: NotifySettings,
        clock: Clock,
        rng: random.Random,
        metrics: ProcessorMetrics,
    ) -> None:
        self._outbox = outbox
        self._senders = senders
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._is_woken = False
        self._away: set[str] = set()

    def wake(self) -> None:
        """Say that the outbox has something new: it is looked at without waiting for the next poll."""
        self._is_woken = True

    async def run(self, stop: asyncio.Event, executor: Executor) -> None:
        """Send until *stop* is set; the outbox is used in *executor*."""
        log = structlog.get_logger()
        is_away = False
        while not stop.is_set():
            try:
                count = await self.send_due(executor, stop)
            except Unavailable as error:
                if not is_away:
                    log.warning("outbox is away", error=str(error))
                is_away, count = True, 0
            else:
                is_away = False
            if not count:
                await self._rest(stop)

    async def send_due(self, executor: Executor, stop: asyncio.Event | None = None) -> int:
        """Try all notices that are due now, until *stop*; return how many were delivered or given up.

        Raises:
            Unavailable: the outbox is away.
        """
        loop = asyncio.get_running_loop()
        now = self._clock.now_ns()
        items = await loop.run_in_executor(executor, self._outbox.due, now, self._settings.batch)
        self._metrics.notices_waiting.set(await loop.run_in_executor(executor, self._outbox.pending))
        held: set[tuple[str, str]] = set()
        settled = 0
        for item in items:
            if stop is not None and stop.is_set():
                break
            if (item.alert, item.channel) in held:
                continue  # the one before it failed: order per alert and channel
            note, outcome = await self._attempt(item)
            await loop.run_in_executor(executor, note)
            self._metrics.notices.labels(item.channel, outcome).inc()
            if outcome == "failed":
                held.add((item.alert, item.channel))
            else:
                settled += 1
        return settled

    async def _attempt(self, item: OutboxItem) -> tuple[Callable[[], None], str]:
        """Try one notice; return what the outbox must be told, and the outcome for the metrics."""
        log = structlog.get_logger()
        settings = self._settings
        sender = self._senders.get(item.channel)
        error = f"no sender for channel {item.channel!r}"
        if sender is not None:
            try:
                async with asyncio.timeout(settings.timeout_seconds):
                    await sender.send(item)
            except NoticeRefused as refusal:
                error = str(refusal)
                sender = None
            except (Unavailable, TimeoutError) as failure:
                error = str(failure) or f"no answer within {settings.timeout_seconds:g} s"
            else:
                if item.channel in self._away:
                    log.info("notices go out again", channel=item.channel)
                    self._away.discard(item.channel)
                return lambda: self._outbox.sent(item.id, self._clock.now_ns()), "sent"
        now = self._clock.now_ns()
        attempts = item.attempts + 1
        is_old = now - item.created > settings.max_age_seconds * _NS
        if sender is None or attempts >= settings.max_attempts or is_old:
            log.error("notice given up", channel=item.channel, notice=item.id, attempts=attempts, error=error)
            return lambda: self._outbox.given_up(item.id, now, error), "given_up"
        if item.channel not in self._away:
            log.warning("notices cannot go out", channel=item.channel, error=error)
            self._away.add(item.channel)
        retry = now + round(self._backoff_seconds(attempts) * _NS)
        return lambda: self._outbox.failed(item.id, retry, error), "failed"

    def _backoff_seconds(self, attempts: int) -> float:
        longest = min(self._settings.retry_seconds * 2.0 ** min(attempts - 1, 60), self._settings.retry_max_seconds)
        return longest * (0.5 + 0.5 * self._rng.random())

    async def _rest(self, stop: asyncio.Event) -> None:
        left = self._settings.poll_seconds
        while left > 0 and not stop.is_set() and not self._is_woken:
            await self._clock.sleep(min(left, _SLICE_SECONDS))
            left -= _SLICE_SECONDS
        self._is_woken = False
