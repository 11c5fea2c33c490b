"""This module is what an administrator does to one installation: devices, keys, users.

Credentials are returned once and stored only as hashes. The running broker, processor and API notice a change by
themselves.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from api.auth import hash_device_secret, hash_password, hash_token, new_secret, new_token
from core.accounts import Role
from core.city import Device, check_name
from core.clock import from_ns
from core.errors import SettingsError
from core.metrics import KINDS
from urbanpulse.clock import SystemClock
from urbanpulse.installation import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backends.catalog import Catalog
    from urbanpulse.settings import Settings

__all__ = [
    "add_device",
    "add_key",
    "add_user",
    "list_devices",
    "list_keys",
    "remove_device",
    "revoke_key",
    "set_interval",
]


@contextmanager
def _catalog(settings: Settings) -> Iterator[Catalog]:
    catalog = prepare(settings).open_catalog()
    try:
        yield catalog
    finally:
        catalog.close()


def add_device(
    settings: Settings,
    *,
    device: str,
    kind: str,
    district: str,
    name: str = "",
    lat: float | None = None,
    lon: float | None = None,
    interval: str | None = None,
) -> dict[str, Any]:
    """Register a device; return `{"username", "password"}`. *interval* is a duration such as `10m`."""
    if kind not in KINDS:
        raise SettingsError("--kind", f"{kind!r}: one of {', '.join(KINDS)} expected")
    new = Device(device, kind, district, name, lat, lon, None if interval is None else _seconds(interval))
    secret = new_secret()
    with _catalog(settings) as catalog:
        catalog.registry.add_device(new, hash_device_secret(secret))
    return {"username": device, "password": secret}


def list_devices(settings: Settings) -> list[dict[str, Any]]:
    """Return all devices, with whether they are online as far as known."""
    with _catalog(settings) as catalog:
        statuses = catalog.ledger.statuses()
        return [
            {
                "id": device.id,
                "kind": device.kind,
                "district": device.district,
                "name": device.name,
                "lat": device.lat,
                "lon": device.lon,
                "interval_seconds": device.interval_seconds,
                "online": statuses[device.id][0] if device.id in statuses else None,
            }
            for device in catalog.registry.devices()
        ]


def set_interval(settings: Settings, device: str, interval: str) -> None:
    """Declare anew how often a device reports: a duration such as `10m`; `none` or `0`: that is learned again."""
    seconds = None if interval in {"none", "0"} else _seconds(interval) or None
    with _catalog(settings) as catalog:
        catalog.registry.set_interval(device, seconds)


def remove_device(settings: Settings, device: str) -> None:
    """Remove a device; its readings stay."""
    with _catalog(settings) as catalog:
        catalog.registry.remove_device(device)


def add_key(settings: Settings, name: str, role: str) -> dict[str, Any]:
    """Make an API key; return `{"token"}`."""
    token = new_token()
    with _catalog(settings) as catalog:
        catalog.accounts.add_key(check_name("key", name), _role(role), hash_token(token), SystemClock().now_ns())
    return {"token": token}


def list_keys(settings: Settings) -> list[dict[str, Any]]:
    """Return all API keys."""
    with _catalog(settings) as catalog:
        return [
            {
                "name": key.name,
                "role": str(key.role),
                "created": from_ns(key.created).isoformat(timespec="seconds"),
                "revoked": None if key.revoked is None else from_ns(key.revoked).isoformat(timespec="seconds"),
            }
            for key in catalog.accounts.keys()  # noqa: SIM118 - a port's method, not a mapping's
        ]


def revoke_key(settings: Settings, name: str) -> None:
    """Revoke the API key in force under *name*."""
    with _catalog(settings) as catalog:
        catalog.accounts.revoke_key(name, SystemClock().now_ns())


def add_user(settings: Settings, name: str, role: str) -> dict[str, Any]:
    """Create a login; return `{"name", "password"}`."""
    password = new_secret()[:20]
    with _catalog(settings) as catalog:
        catalog.accounts.add_user(check_name("user", name), _role(role), hash_password(password))
    return {"name": name, "password": password}


def _seconds(interval: str) -> float:
    from urbanpulse.scoring import parse_duration  # noqa: PLC0415 - brings the whole scoring along

    return parse_duration("--interval", interval) / 10**9


def _role(role: str) -> Role:
    try:
        return Role(role)
    except ValueError:
        raise SettingsError("--role", f"{role!r}: one of {', '.join(Role)} expected") from None
