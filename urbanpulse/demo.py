"""This module registers simulated devices like real ones: in the catalog, each with a secret of its own.

The simulator needs these secrets in the clear, as a real device would; they lie in `secrets/` (0600). A secret that
is lost is replaced: the device is known to the catalog only by a hash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.auth import hash_device_secret, new_secret
from core.errors import SettingsError
from simulators import demo_city

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.city import Device, District
    from urbanpulse.installation import Installation

__all__ = ["register_city", "register_demo_city", "register_devices"]


def register_demo_city(installation: Installation) -> dict[str, str]:
    """Register the demo city's districts and devices once; return {device: secret}."""
    districts, devices = demo_city(installation.settings.simulator.seed)
    return register_city(installation, districts, devices)


def register_city(
    installation: Installation, districts: Sequence[District], devices: Sequence[Device]
) -> dict[str, str]:
    """Register what is missing of a simulated city; return {device: secret} of all simulated devices.

    Raises:
        SettingsError: a device was registered by somebody else, so that its secret is not ours to know.
    """
    catalog = installation.open_catalog()
    try:
        known = set(catalog.registry.districts())
        for district in districts:
            if district not in known:
                catalog.registry.put_district(district)
    finally:
        catalog.close()
    return register_devices(installation, "demo-devices", devices)


def register_devices(installation: Installation, name: str, devices: Iterable[Device]) -> dict[str, str]:
    """Register what is missing of *devices*; return {device: secret} of all that `<name>.json` knows.

    Raises:
        SettingsError: a device was registered by somebody else, so that its secret is not ours to know.
    """
    with installation.secrets.locked():
        secrets = installation.secrets.ensure(name, dict)
        catalog = installation.open_catalog()
        try:
            known = {device.id for device in catalog.registry.devices()}
            new = []
            for device in devices:
                if device.id in known and device.id not in secrets:
                    raise SettingsError(
                        "simulator", f"device {device.id!r} is registered and its secret is not in {name}.json"
                    )
                if device.id not in known:
                    new.append((device, new_secret()))
            # secrets first: a device without a known secret would be lost, a secret without a device is harmless
            secrets |= {device.id: secret for device, secret in new}
            if new:
                installation.secrets.write(name, secrets)
            catalog.registry.add_devices([(device, hash_device_secret(secret)) for device, secret in new])
        finally:
            catalog.close()
    return secrets
