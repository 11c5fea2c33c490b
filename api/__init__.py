"""Api: serves people and programs; never blocks the ingest."""

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
