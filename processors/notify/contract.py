"""This module is what a sender of notices promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from core.errors import UrbanpulseError

if TYPE_CHECKING:
    from core.ports import OutboxItem

__all__ = ["NoticeRefused", "NoticeSender"]


class NoticeRefused(UrbanpulseError):  # noqa: N818 - named after what happened
    """The receiver will never take this notice: trying again is useless. The text is the receiver's own."""


class NoticeSender(Protocol):
    """What the notifier needs of a channel."""

    async def send(self, item: OutboxItem) -> None:
        """Deliver *item*; returns when the receiver confirmed it. `item.id` goes along so that a repeat is noticed.

        Raises:
            Unavailable: the receiver is away or busy; try again later.
            NoticeRefused: it will never be taken.
        """
