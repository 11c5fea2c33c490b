"""Grafana: the dashboards that come with urbanpulse, a check that they ask for what exists, and pushing them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.lazy import lazy

if TYPE_CHECKING:
    from urbanpulse.grafana.checking import Finding, check
    from urbanpulse.grafana.files import GrafanaFiles
    from urbanpulse.grafana.questions import Schema
    from urbanpulse.grafana.schema import known_schema, platform_registry

__all__ = ["Finding", "GrafanaFiles", "Schema", "check", "known_schema", "platform_registry"]

__getattr__ = lazy(
    __name__,
    {
        "Finding": "urbanpulse.grafana.checking",
        "GrafanaFiles": "urbanpulse.grafana.files",
        "Schema": "urbanpulse.grafana.questions",
        "check": "urbanpulse.grafana.checking",
        "known_schema": "urbanpulse.grafana.schema",
        "platform_registry": "urbanpulse.grafana.schema",
    },
)
