"""This module learns what there is to ask for, from the code that makes it: nothing here is a copied list.

What InfluxDB holds: our own writer writes one reading of each sort, its rollups and a band to a server that keeps the
lines. What Prometheus holds: the registries of all roles.
"""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from prometheus_client import CollectorRegistry

from api import ApiSettings, LiveHub
from api.auth import Attempts
from api.metrics import ApiMetrics
from backends.live import MqttConnection, MqttLivePublisher
from backends.log import LogSettings, SqliteLog
from backends.series import InfluxSettings, SeriesSettings, open_writer
from backends.series.influx import InfluxSeriesWriter, InfluxServer, Names
from core.batch import ReadingBatch
from core.city import Series
from core.clock import ManualClock
from core.live import LiveFrame
from core.metrics import METRICS
from core.ports import Bands
from gateway.metrics import GatewayMetrics
from processors.metrics import ProcessorMetrics
from urbanpulse.broker import Broker
from urbanpulse.broker_settings import BrokerSettings
from urbanpulse.grafana.questions import Measurement, Schema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["known_schema", "platform_registry"]

_DAY = 86_400_000_000_000
_SERIES = Series(0, "device", "metric", "district")
_LINE = re.compile(r"(?P<measurement>\w+),(?P<tags>\S+) (?P<fields>\S+) -?\d+")


def known_schema() -> Schema:
    """Return what questions may name."""
    with TemporaryDirectory() as folder:
        registry = platform_registry(Path(folder))
        return Schema(
            readings=_written(Path(folder), "city"),
            rollups=_written(Path(folder), "city_rollup"),
            metrics=frozenset(METRICS),
            platform=_names(registry),
        )


class _Listener(InfluxServer):
    """An InfluxDB that keeps the lines it gets, and answers each question with one row."""

    def __init__(self, settings: InfluxSettings) -> None:
        super().__init__("http://127.0.0.1:1", settings)  # never dialled
        self.lines: list[tuple[str, str]] = []

    def write(self, database: str, lines: bytes) -> None:
        self.lines += [(database, line) for line in lines.decode().splitlines()]

    def ask(self, database: str, *statements: str) -> list[list[dict[str, Any]]]:  # noqa: ARG002 - InfluxServer's
        tags = {"device": _SERIES.device, "metric": _SERIES.metric}
        answers = []
        for statement in statements:
            columns = re.findall(r" AS (\w+)", statement)
            rows = [[0, *(1 for _ in columns)]] if columns else []
            answers.append([{"tags": tags, "columns": ["time", *columns], "values": rows}] if rows else [])
        return answers

    def delete_before(self, database: str, measurement: str, before_ns: int) -> None:
        """Keep everything."""


class _OneSeries:
    def revision(self) -> int:
        return 1

    def series(self) -> list[Series]:
        return [_SERIES]


def _written(folder: Path, database: str) -> dict[str, Measurement]:
    """Return the measurements that our writer makes in *database*."""
    settings = InfluxSettings(flavour="v1", rollup_delay_seconds=0)
    server = _Listener(settings)
    writer = InfluxSeriesWriter(
        folder / f"written-{database}",
        server,
        Names(_OneSeries()),
        raw_days=1,
        busy_seconds=1.0,
        clock=ManualClock(),
        on_rejected=lambda *_: None,
    )
    at, one = np.zeros(1, np.int64), np.ones(1)
    batch = ReadingBatch(np.zeros(1, np.int32), at, at, one, np.ones(1, np.uint16))
    with closing(writer):
        writer.write("schema", 1, batch, Bands(np.zeros(1, np.int32), at, one, one, one))
        for day in (2, 3):  # hours first, then their days; then the readings are too old
            writer.maintain(day * _DAY)
    found: dict[str, Measurement] = {}
    for where, line in server.lines:
        parts = _LINE.fullmatch(line)
        if parts is None:
            raise ValueError(f"the writer's line is not understood: {line!r}")
        if where == database:
            known = found.setdefault(parts["measurement"], Measurement(set(), set()))
            known.tags.update(tag.partition("=")[0] for tag in parts["tags"].split(","))
            known.fields.update(field.partition("=")[0] for field in parts["fields"].split(","))
    return found


def platform_registry(folder: Path) -> CollectorRegistry:
    """Return a registry with every metric of every role; files go below *folder*."""
    registry, clock, api = CollectorRegistry(), ManualClock(), ApiSettings()
    GatewayMetrics(registry)
    ProcessorMetrics(registry)
    hub = LiveHub(_no_frames, ReadingBatch.empty, clock=clock, settings=api, epoch="docs")
    ApiMetrics(registry, hub, Attempts(1, 1.0))
    Broker(BrokerSettings(), folder=folder, services={}, devices=dict[str, str], clock=clock, metrics=registry)
    SqliteLog(folder / "log.sqlite", LogSettings(), clock=clock, registry=registry).close()
    open_writer(folder / "series", SeriesSettings(), registry=registry).close()
    MqttLivePublisher(MqttConnection("127.0.0.1"), clock=clock, registry=registry)
    return registry


async def _no_frames() -> AsyncIterator[LiveFrame]:
    for n in range(0):
        yield LiveFrame(epoch="docs", n=n, sent=0)


_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}


def _names(registry: CollectorRegistry) -> dict[str, set[str]]:
    """Return, by name as Prometheus stores it, the labels of each metric."""
    labels: dict[str, set[str]] = {}
    for collector in registry._collector_to_names:  # noqa: SLF001 - collect() hides the labels of what has no sample
        for family in collector.collect():
            own: Any = getattr(collector, "_labelnames", None) or getattr(family, "_labelnames", ())
            for suffix in _SUFFIXES.get(family.type, ("",)):
                labels[family.name + suffix] = {*own, *(("le",) if suffix == "_bucket" else ())}
    return labels
