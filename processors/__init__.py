"""Processors: judge every reading, deterministically, and turn findings into few, explained alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.lazy import lazy

if TYPE_CHECKING:
    from processors.alerting.rules import RuleBook, load_rules
    from processors.notify.contract import NoticeRefused, NoticeSender
    from processors.replay import Replay, replay_log
    from processors.runner import run
    from processors.settings import NotifySettings, ProcessorSettings

__all__ = [
    "NoticeRefused",
    "NoticeSender",
    "NotifySettings",
    "ProcessorSettings",
    "Replay",
    "RuleBook",
    "load_rules",
    "replay_log",
    "run",
]

__getattr__ = lazy(
    __name__,
    {
        "NoticeRefused": "processors.notify.contract",
        "NoticeSender": "processors.notify.contract",
        "NotifySettings": "processors.settings",
        "ProcessorSettings": "processors.settings",
        "Replay": "processors.replay",
        "RuleBook": "processors.alerting.rules",
        "load_rules": "processors.alerting.rules",
        "replay_log": "processors.replay",
        "run": "processors.runner",
    },
)
