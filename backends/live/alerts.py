"""This module tells the broker about alerts: retained while active, so that who comes later sees what stands open.

The news that an alert is resolved goes out unretained, for those who listen, and then the retained message is
cleared. Each step waits for its PUBACK; cut off between them, the notice is sent again and both are repeated.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

import aiomqtt
import msgspec

from core.alerts import AlertState
from core.errors import Unavailable

if TYPE_CHECKING:
    from types import TracebackType

    from backends.live.connection import MqttConnection
    from core.ports import OutboxItem

__all__ = ["MqttAlertPublisher"]


class _State(msgspec.Struct):
    state: AlertState


class _Notice(msgspec.Struct):
    alert: _State


_decode = msgspec.json.Decoder(_Notice).decode


class MqttAlertPublisher:
    """The sender behind the outbox channel `mqtt`; one connection, opened when needed. Use as `async with`."""

    def __init__(self, connection: MqttConnection) -> None:
        self._connection = connection
        self._stack = AsyncExitStack()
        self._client: aiomqtt.Client | None = None
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._drop()

    async def send(self, item: OutboxItem) -> None:
        """Publish *item* at its topic and return once the broker has it.

        Raises:
            Unavailable: the broker is away or did not answer in time; send it again.
        """
        async with self._lock:
            try:
                client = self._client or await self._connect()
                if _decode(item.body).alert.state is AlertState.RESOLVED:
                    await client.publish(item.topic, item.body, qos=1, retain=False)
                    await client.publish(item.topic, b"", qos=1, retain=True)
                else:
                    await client.publish(item.topic, item.body, qos=1, retain=True)
            except aiomqtt.MqttError as error:
                await self._drop()
                where = f"{self._connection.host}:{self._connection.port}"
                raise Unavailable("broker", f"{where}: alert {item.alert}: {error}") from error
            except BaseException:
                await self._drop()
                raise

    async def _connect(self) -> aiomqtt.Client:
        self._client = await self._stack.enter_async_context(self._connection.open())
        return self._client

    async def _drop(self) -> None:
        self._client = None
        await self._stack.aclose()
