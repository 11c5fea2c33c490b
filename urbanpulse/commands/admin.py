"""This module is the nouns that an administrator manages: devices, keys, people."""

from __future__ import annotations

from typing import Annotated

import typer

from urbanpulse.commands.common import AsJson, Config, show, show_all
from urbanpulse.settings import load_settings

__all__ = ["device_app", "key_app", "user_app"]

device_app = typer.Typer(no_args_is_help=True, help="Manage devices and their credentials.")
key_app = typer.Typer(no_args_is_help=True, help="Manage API keys.")
user_app = typer.Typer(no_args_is_help=True, help="Manage people who log in.")


@device_app.command("add")
def device_add(
    device: Annotated[str, typer.Argument(help="Id: letters, digits, '_' and '-'.")],
    *,
    kind: Annotated[str, typer.Option(help="air, weather, traffic, noise, energy, water, waste or generic.")],
    district: Annotated[str, typer.Option(help="Id of the district; made if unknown.")],
    name: Annotated[str, typer.Option(help="Name for people.")] = "",
    lat: Annotated[float | None, typer.Option(min=-90, max=90, help="Latitude, degrees.")] = None,
    lon: Annotated[float | None, typer.Option(min=-180, max=180, help="Longitude, degrees.")] = None,
    interval: Annotated[
        str | None, typer.Option(help="How often it reports, such as 30s, 10m or 1h; otherwise that is learned.")
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Register a device and print its MQTT credentials, once."""
    from urbanpulse.administration import add_device

    credential = add_device(
        load_settings(config),
        device=device,
        kind=kind,
        district=district,
        name=name,
        lat=lat,
        lon=lon,
        interval=interval,
    )
    show(credential, as_json=as_json)


@device_app.command("list")
def device_list(config: Config = None, *, as_json: AsJson = False) -> None:
    """List the devices."""
    from urbanpulse.administration import list_devices

    show_all(list_devices(load_settings(config)), as_json=as_json)


@device_app.command("set")
def device_set(
    device: str,
    *,
    interval: Annotated[
        str, typer.Option(help="How often it reports, such as 30s, 10m or 1h; none: that is learned again.")
    ],
    config: Config = None,
) -> None:
    """Change how often a device is declared to report."""
    from urbanpulse.administration import set_interval

    set_interval(load_settings(config), device, interval)


@device_app.command("remove")
def device_remove(device: str, config: Config = None) -> None:
    """Remove a device; its readings stay."""
    from urbanpulse.administration import remove_device

    remove_device(load_settings(config), device)


@key_app.command("add")
def key_add(
    name: str,
    *,
    role: Annotated[str, typer.Option(help="viewer, operator, engineer or admin.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key and print its token, once."""
    from urbanpulse.administration import add_key

    show(add_key(load_settings(config), name, role), as_json=as_json)


@key_app.command("list")
def key_list(config: Config = None, *, as_json: AsJson = False) -> None:
    """List the API keys."""
    from urbanpulse.administration import list_keys

    show_all(list_keys(load_settings(config)), as_json=as_json)


@key_app.command("revoke")
def key_revoke(name: str, config: Config = None) -> None:
    """Revoke an API key."""
    from urbanpulse.administration import revoke_key

    revoke_key(load_settings(config), name)


@user_app.command("add")
def user_add(
    name: str,
    *,
    role: Annotated[str, typer.Option(help="viewer, operator, engineer or admin.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Create a login with a generated password, and print it once."""
    from urbanpulse.administration import add_user

    show(add_user(load_settings(config), name, role), as_json=as_json)
