"""This module is the nouns of certificates: a small CA for brokers, devices and services."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from urbanpulse.commands.common import AsJson, Config, show, show_all

if TYPE_CHECKING:
    from datetime import datetime

    from urbanpulse.certs import Authority

__all__ = ["certs_app"]

certs_app = typer.Typer(no_args_is_help=True, help="Manage a small certificate authority for MQTT over TLS.")

Folder = Annotated[
    Path | None, typer.Option("--dir", help="Folder of the CA; default: certs in the data folder.", show_default=False)
]
Days = Annotated[int, typer.Option(min=1, max=36_500, help="How long it is good.")]


@certs_app.command("init")
def certs_init(
    *,
    title: Annotated[str, typer.Option("--name", help="What the CA is called.")] = "urbanpulse city CA",
    days: Days = 3650,
    folder: Folder = None,
    config: Config = None,
) -> None:
    """Make the CA."""
    authority, now = _authority(folder, config)
    authority.create(title, now, days)
    show({"certificate": authority.folder / "ca.pem", "key": authority.folder / "ca.key"}, as_json=False)


@certs_app.command("server")
def certs_server(
    name: Annotated[str, typer.Argument(help="Name of the files.")],
    hosts: Annotated[list[str], typer.Argument(help="DNS names and addresses that clients will dial.")],
    *,
    days: Days = 825,
    folder: Folder = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Sign a key pair for a broker."""
    _issue(name, hosts, days, folder, config, as_json=as_json)


@certs_app.command("client")
def certs_client(
    name: Annotated[str, typer.Argument(help="Id of the device, or name of the service.")],
    *,
    days: Days = 825,
    folder: Folder = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Sign a key pair for a device or a service; its name is in the certificate."""
    _issue(name, [], days, folder, config, as_json=as_json)


@certs_app.command("list")
def certs_list(*, folder: Folder = None, config: Config = None, as_json: AsJson = False) -> None:
    """List what was signed, and until when it is good."""
    authority, now = _authority(folder, config)
    show_all(
        [
            {
                "name": one.name,
                "use": one.use,
                "hosts": " ".join(one.hosts),
                "until": one.until.isoformat(),
                "state": "revoked" if one.revoked else "expired" if one.until <= now else "good",
            }
            for one in authority.issued()
        ],
        as_json=as_json,
    )


@certs_app.command("revoke")
def certs_revoke(name: str, *, folder: Folder = None, config: Config = None) -> None:
    """Put a certificate on the revocation list (crl.pem); the broker reads it when told to reload."""
    authority, now = _authority(folder, config)
    authority.revoke(name, now)


def _issue(name: str, hosts: list[str], days: int, folder: Path | None, config: Path | None, *, as_json: bool) -> None:
    authority, now = _authority(folder, config)
    found = authority.issue(name, now, days, hosts)
    files = {part: str(authority.folder / f"{name}.{end}") for part, end in (("certificate", "pem"), ("key", "key"))}
    show({**files, "ca": str(authority.folder / "ca.pem"), "until": found.until.isoformat()}, as_json=as_json)


def _authority(folder: Path | None, config: Path | None) -> tuple[Authority, datetime]:
    from core.clock import from_ns
    from urbanpulse.certs import Authority
    from urbanpulse.clock import SystemClock
    from urbanpulse.settings import load_settings

    return Authority(folder or load_settings(config).data_dir / "certs"), from_ns(SystemClock().now_ns())
