"""This module is a connection to the MQTT broker that cleans up after itself, whatever happens.

aiomqtt connects in a thread and leaves a socket, its reader and a task behind when it is cancelled there, when the
broker refuses, or when it does not answer. Here connecting is never cut off in the middle (it ends by its timeout),
and what is left is released.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiomqtt

from core.errors import Unavailable

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

__all__ = ["MqttConnection"]


@dataclass(frozen=True, slots=True)
class MqttConnection:
    """Where the broker is, and as whom to speak to it. MQTT 3.1.1, clean session, TLS if there is a context."""

    host: str
    port: int = 1883
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    timeout_seconds: float = 5.0
    keepalive_seconds: int = 15

    @asynccontextmanager
    async def open(self, *, incoming: int = 64) -> AsyncIterator[aiomqtt.Client]:
        """Connect, and disconnect at the end; of more than *incoming* unread messages the newest are dropped.

        Raises:
            Unavailable: the broker is away or says no, now or while the connection is in use.
        """
        client = aiomqtt.Client(
            self.host,
            self.port,
            username=self.username,
            password=self.password,
            tls_context=self.tls,
            timeout=self.timeout_seconds,
            keepalive=self.keepalive_seconds,
            max_queued_incoming_messages=incoming,
        )
        try:
            await _enter(client)
            try:
                yield client
            finally:
                with suppress(aiomqtt.MqttError):
                    await client.__aexit__(None, None, None)
        except aiomqtt.MqttError as error:
            raise Unavailable("broker", f"{self.host}:{self.port}: {error}") from error
        finally:
            _release(client)


async def _enter(client: aiomqtt.Client) -> None:
    connecting = asyncio.create_task(client.__aenter__(), name="mqtt connect")
    try:
        await asyncio.shield(connecting)
    except asyncio.CancelledError:
        with suppress(aiomqtt.MqttError):
            await connecting
            await client.__aexit__(None, None, None)
        raise


def _release(client: aiomqtt.Client) -> None:
    client._client._sock_close()  # noqa: SLF001 - paho has no public way to drop a connection that does not answer
    ended = client._disconnected  # noqa: SLF001 - else asyncio logs that nobody asked why the connection ended
    if ended.done() and not ended.cancelled():
        ended.exception()
