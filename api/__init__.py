"""Api: serves people and programs; never blocks the ingest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.lazy import lazy

if TYPE_CHECKING:
    from api.app import create_app
    from api.auth import hash_device_secret, hash_password, hash_token, new_secret, new_token
    from api.context import ApiPorts
    from api.hub import LiveHub
    from api.server import run
    from api.settings import ApiSettings

__all__ = [
    "ApiPorts",
    "ApiSettings",
    "LiveHub",
    "create_app",
    "hash_device_secret",
    "hash_password",
    "hash_token",
    "new_secret",
    "new_token",
    "run",
]

__getattr__ = lazy(
    __name__,
    {
        "ApiPorts": "api.context",
        "ApiSettings": "api.settings",
        "LiveHub": "api.hub",
        "create_app": "api.app",
        "hash_device_secret": "api.auth",
        "hash_password": "api.auth",
        "hash_token": "api.auth",
        "new_secret": "api.auth",
        "new_token": "api.auth",
        "run": "api.server",
    },
)
