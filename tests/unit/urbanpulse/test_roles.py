"""The log that the roles open keeps what a consumer has not read, also for one that has never run."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

import gateway.ledger
import processors.restart
from backends.log import LogSettings
from urbanpulse.clock import SystemClock
from urbanpulse.installation import prepare
from urbanpulse.roles.common import CONSUMERS, open_log
from urbanpulse.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_consumers_are_known_by_the_names_that_they_use() -> None:
    assert {gateway.ledger.CONSUMER, processors.restart.CONSUMER} == set(CONSUMERS)


def test_a_log_that_keeps_nothing_keeps_what_the_first_processor_has_to_read(tmp_path: Path) -> None:
    installation = prepare(Settings(data_dir=tmp_path, log=LogSettings(retention_hours=0)))
    with closing(open_log(installation, CollectorRegistry())) as log:
        log.append([b"one", b"two"])
        log.commit(gateway.ledger.CONSUMER, 2)

        kept = log.trim(SystemClock().now_ns() + 1)

        assert (kept, log.read(0, 9)) == (0, [(1, b"one"), (2, b"two")])
        log.commit(processors.restart.CONSUMER, 1)
        assert log.trim(SystemClock().now_ns() + 1) == 1
        assert log.read(0, 9) == [(2, b"two")]
