"""Processors: judge every reading, deterministically, and turn findings into few, explained alerts."""

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
