"""This module is one installation: its data folder, its secrets, and its catalog, prepared once.

Roles may start in any order and at the same time: preparing holds a lock and changes nothing the second time.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from api.auth import hash_device_secret, hash_password, new_secret
from backends.catalog import open_catalog
from backends.filelock import exclusive
from core.accounts import Role
from core.errors import SettingsError
from urbanpulse.nats_config import SERVICES
from urbanpulse.secrets import SecretFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from backends.catalog import Catalog
    from urbanpulse.settings import Settings

__all__ = ["FIRST_USER", "Installation", "alone", "data_folder", "prepare"]

FIRST_USER = "operator"


@dataclass(frozen=True, slots=True)
class Installation:
    """Where things are, and the secrets that services need in the clear.

    `services` maps a service to its broker password; `first_user` is the login made at the first start.
    """

    settings: Settings
    folder: Path
    secrets: SecretFolder
    services: dict[str, str]
    first_user: dict[str, str]

    def open_catalog(self) -> Catalog:
        """Open the catalog; notices go to the channels that the settings name."""
        channels = ("mqtt", "webhook") if self.settings.notify.webhook_url else ("mqtt",)
        return open_catalog(_catalog_url(self.settings, self.folder), self.settings.catalog, channels=channels)

    def service_hashes(self) -> dict[str, str]:
        """Return {service: bcrypt hash} for the embedded broker, made once: a fresh salt would mean a reload."""
        return _complete(self.secrets, "service-hashes", lambda name: hash_device_secret(self.services[name]))


def data_folder(settings: Settings) -> Path:
    """Return the data folder, made if it is not there yet.

    Raises:
        SettingsError: it cannot be.
    """
    folder = settings.data_dir.resolve()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError("data_dir", f"{folder}: {error.strerror}") from error
    return folder


@contextmanager
def alone(folder: Path, what: str, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Be the only *what* of the data folder *folder* on this machine; its name is that of the lock's file.

    Raises:
        SettingsError: another one is at work there, after *wait_seconds* still.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive(folder / what, wait_seconds))
        except TimeoutError:
            raise SettingsError(
                "data_dir", f"{folder}: another `urbanpulse {what}` uses it; stop that one, or name another folder"
            ) from None
        except OSError as error:
            raise SettingsError("data_dir", f"{folder}: {error.strerror}") from error
        yield


def prepare(settings: Settings) -> Installation:
    """Create what is missing of the installation below `data_dir`.

    Raises:
        SettingsError: the folder cannot be used.
        Unavailable: the catalog is away.
    """
    folder = data_folder(settings)
    secrets = SecretFolder(folder / "secrets")
    with secrets.locked():
        services = _complete(secrets, "services", lambda _: new_secret())
        first_user = secrets.ensure("first-user", lambda: {"name": FIRST_USER, "password": new_secret()[:20]})
        installation = Installation(settings, folder, secrets, services, first_user)
        installation.service_hashes()
        catalog = installation.open_catalog()
        try:
            if catalog.accounts.user(FIRST_USER) is None:
                catalog.accounts.add_user(FIRST_USER, Role.OPERATOR, hash_password(first_user["password"]))
        finally:
            catalog.close()
    return installation


def _complete(secrets: SecretFolder, name: str, make: Callable[[str], str]) -> dict[str, str]:
    """Return the content of `<name>.json` with every service in it: an installation may be older than a service."""
    known = secrets.ensure(name, dict)
    missing = {service: make(service) for service in SERVICES if service not in known}
    if missing:
        known |= missing
        secrets.write(name, known)
    return known


def _catalog_url(settings: Settings, folder: Path) -> str:
    url = settings.catalog.url
    return f"sqlite:///{folder / 'catalog.sqlite'}" if url == "embedded" else url
