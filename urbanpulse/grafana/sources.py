"""This module says what the data sources of the dashboards are, from the settings of the platform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import SettingsError
from urbanpulse.grafana.checking import PLATFORM, READINGS, ROLLUPS

if TYPE_CHECKING:
    from backends.series import InfluxSettings

__all__ = ["influx_sources", "prometheus_source"]


def influx_sources(url: str, settings: InfluxSettings) -> list[dict[str, Any]]:
    """Return the data sources of readings and of rollups in the InfluxDB at *url*.

    A token goes into a header that 2.x and 3 take; a user is what 1.x knows.

    Raises:
        SettingsError: *url* is no HTTP address.
    """
    if not url.startswith(("http://", "https://")):
        raise SettingsError("influx-url", f"{url!r}: an address such as http://127.0.0.1:8086 expected")
    json: dict[str, Any] = {"version": "InfluxQL", "httpMode": "POST"}
    secret: dict[str, str] = {}
    if settings.token is not None:
        json |= {"httpHeaderName1": "Authorization"} | ({"organization": settings.org} if settings.org else {})
        secret = {"httpHeaderValue1": f"Token {settings.token.get_secret_value()}"}
    elif settings.password is not None:
        secret = {"password": settings.password.get_secret_value()}
    return [
        {
            "uid": uid,
            "name": name,
            "type": "influxdb",
            "access": "proxy",
            "url": url,
            "user": "" if settings.token is not None else settings.user,
            "jsonData": json | {"dbName": database},
            "secureJsonData": secret,
        }
        for uid, name, database in (
            (READINGS, "urbanpulse readings", settings.database),
            (ROLLUPS, "urbanpulse rollups", settings.rollup_database),
        )
    ]


def prometheus_source(url: str) -> dict[str, Any]:
    """Return the data source of the platform's own metrics, kept by the Prometheus (or VictoriaMetrics) at *url*.

    Raises:
        SettingsError: *url* is no HTTP address.
    """
    if not url.startswith(("http://", "https://")):
        raise SettingsError("prometheus-url", f"{url!r}: an address such as http://127.0.0.1:9090 expected")
    return {
        "uid": PLATFORM,
        "name": "urbanpulse metrics",
        "type": "prometheus",
        "access": "proxy",
        "url": url,
        "jsonData": {"httpMode": "POST"},
    }
