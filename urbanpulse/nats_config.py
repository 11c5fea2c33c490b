"""This module writes the configuration of the embedded broker: who may connect, and to which topics.

Every device may publish and subscribe only below `devices/<its id>/`. Services may do what their role needs.
nats-server maps the MQTT topic `a/b` to the subject `a.b`; ids have no dots (`core.city.NAME`), so the mapping is one
to one. The text is a pure function of its arguments: an unchanged text needs no reload.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["SERVICES", "BrokerFiles", "render"]

_FOREIGN = (
    *("application.>", "v3.>", "senml.>", "telegraf.>"),
    "spBv1//0.>",  # a dot within a level of a topic is written `//` in a subject
    "/.ul.>",  # /ul/…: a leading slash is a level of its own
)
"""Where ChirpStack, The Things Stack, SenML, Telegraf, Sparkplug B and Ultralight devices are heard.

Their network servers and agents publish for all of their devices; so does the simulator when it plays them."""

SERVICES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "gateway": ((), ("devices", "devices.>")),
    "processor": (("urbanpulse.>",), ()),
    "api": ((), ("urbanpulse", "urbanpulse.>")),
    "integration": (_FOREIGN, ()),
    "load": (("devices.>", *_FOREIGN), ()),  # `simulate --load` speaks for many devices; nothing else may use it
    "recorder": ((), tuple(name for tree in ("devices.>", "urbanpulse.>", *_FOREIGN) for name in (tree[:-2], tree))),
}
"""Per service: subjects it may publish to, and subscribe to."""


@dataclass(frozen=True, slots=True)
class BrokerFiles:
    """Where the broker keeps what is its own."""

    store: Path
    pid: Path


def render(
    *,
    host: str,
    port: int,
    sync_interval: str,
    max_payload_bytes: int,
    ack_wait_seconds: int,
    max_ack_pending: int,
    files: BrokerFiles,
    services: Mapping[str, str],
    devices: Mapping[str, str],
    tls: tuple[Path, Path, Path | None] | None = None,
) -> str:
    """Return the nats-server configuration.

    *services* and *devices* map user names to bcrypt hashes; *tls* is (certificate, key, client CA or None).
    """
    users = [
        *(_user(name, services[name], publish, subscribe) for name, (publish, subscribe) in SERVICES.items()),
        *(
            _user(name, secret, (f"devices.{name}.>",), (f"devices.{name}.>",))
            for name, secret in sorted(devices.items())
        ),
    ]
    lines = [
        'server_name: "urbanpulse"',
        # the native NATS port cannot be switched off: a random one on loopback, where MQTT users may not log in
        'host: "127.0.0.1"',
        "port: -1",
        f"pid_file: {json.dumps(str(files.pid))}",
        f"max_payload: {max_payload_bytes}",
        f"jetstream {{ store_dir: {json.dumps(str(files.store))}, sync_interval: {json.dumps(sync_interval)} }}",
        (
            f"mqtt {{ host: {json.dumps(host)}, port: {port}, ack_wait: {json.dumps(f'{ack_wait_seconds}s')}, "
            f"max_ack_pending: {max_ack_pending}{_tls(tls)} }}"
        ),
        "authorization {",
        "  users = [",
        *users,
        "  ]",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _user(name: str, secret: str, publish: Iterable[str], subscribe: Iterable[str]) -> str:
    allow = ", ".join(
        f"{verb}: {{ allow: {json.dumps(list(subjects))} }}" if subjects else f'{verb}: {{ deny: ">" }}'
        for verb, subjects in (("publish", tuple(publish)), ("subscribe", tuple(subscribe)))
    )
    return (
        f"    {{ user: {json.dumps(name)}, password: {json.dumps(secret)}, "
        f'allowed_connection_types: ["MQTT"], permissions: {{ {allow} }} }}'
    )


def _tls(tls: tuple[Path, Path, Path | None] | None) -> str:
    if tls is None:
        return ""
    certificate, key, ca = tls
    client = f", ca_file: {json.dumps(str(ca))}, verify: true" if ca else ""
    return f", tls {{ cert_file: {json.dumps(str(certificate))}, key_file: {json.dumps(str(key))}{client} }}"
