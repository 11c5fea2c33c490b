"""This module sets up logging once per process: coloured lines on a terminal, JSON lines elsewhere."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TextIO, cast

import structlog

__all__ = ["configure_logs"]


def configure_logs(role: str, level: str, *, as_json: bool | None = None) -> None:
    """Send structlog events of *level* and above to standard error, each with the name of the *role*."""
    tty = sys.stderr.isatty() if as_json is None else not as_json
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            structlog.processors.StackInfoRenderer(),
            # plain tracebacks only: local variables in them may be secrets
            *([] if tty else [structlog.processors.format_exc_info]),
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
            if tty
            else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(file=cast("TextIO", _Forgiving(sys.stderr))),
    )
    structlog.contextvars.bind_contextvars(role=role)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class _Forgiving:
    """A stream whose failures nobody hears of: a full disk below a log file must not end the work that is logged."""

    stream: TextIO

    def write(self, text: str) -> None:
        with suppress(OSError):
            self.stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self.stream.flush()
