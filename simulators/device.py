"""This module is one virtual device: a real paho client with last will, QoS 1 and a store for when it is offline.

paho brings its own thread per client; two hundred of them would fight for one interpreter. Here the sockets hang on
the event loop instead (`loop_read`, `loop_write` and `loop_misc` are called when something is to be done), so idle
devices cost nothing. Only connecting, which blocks in paho, runs in a thread (`Fleet` gives it one).

What is given to paho counts as *outstanding* until its PUBACK; paho sends it again after a reconnect. What waits in
`_stored` is ours: bounded, the oldest goes first, and is counted.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from core.topics import readings_topic, status_topic

if TYPE_CHECKING:
    import asyncio
    import ssl
    from collections.abc import Callable

    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from simulators.settings import SimulatorSettings

__all__ = ["Broker", "Link", "Numbers", "VirtualDevice"]


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the devices connect to. `tls` is a ready client context, None for plain TCP."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


@dataclass(slots=True)
class Numbers:
    """What became of a fleet's readings objects; one message may carry many.

    `published` were handed to MQTT, `acked` have a PUBACK, `rejected` a PUBACK that says no, `dropped` fell out of a
    full store, `skipped` were too long ago to be caught up with. `refusals` counts connections that the broker turned
    down, `refusal` is its last reason.
    """

    published: int = 0
    acked: int = 0
    rejected: int = 0
    dropped: int = 0
    skipped: int = 0
    reconnects: int = 0
    refusals: int = 0
    refusal: str = ""


class Link(enum.Enum):
    """Where a device's connection is in its life."""

    DOWN = "down"
    CONNECTING = "connecting"  # TCP, TLS and CONNECT, in a thread
    GREETING = "greeting"  # CONNECT is sent, CONNACK awaited
    UP = "up"


class VirtualDevice:
    """A device and its connection. All methods but `connect` belong to the event loop's thread."""

    def __init__(
        self,
        name: str,
        password: str | None,
        *,
        broker: Broker,
        settings: SimulatorSettings,
        loop: asyncio.AbstractEventLoop,
        numbers: Numbers,
        on_progress: Callable[[], None],
    ) -> None:
        self.name = name
        self.link = Link.DOWN
        self.retry_at = 0.0  # monotonic seconds
        self.failures = 0
        self._settings = settings
        self._loop = loop
        self._numbers = numbers
        self._on_progress = on_progress
        self._stored: deque[tuple[str, bytes, int, bool]] = deque()
        self._outstanding: dict[int, int] = {}  # message id -> readings objects in it
        self._was_up = False
        self._greeting = -1  # message id of the last `online`
        self._watched: int | None = None  # file descriptor on the event loop
        self._topic = readings_topic(name)
        self._status = status_topic(name)
        self._client = client = Client(
            CallbackAPIVersion.VERSION2, name, protocol=MQTTProtocolVersion.MQTTv311, reconnect_on_failure=False
        )
        client.connect_timeout = settings.connect_timeout_seconds
        client.max_inflight_messages_set(settings.device_window + 2)
        if password is not None:
            client.username_pw_set(name, password)
        if broker.tls is not None:
            client.tls_set_context(broker.tls)
        client.will_set(self._status, "offline", qos=1, retain=True)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_publish = self._acked
        client.on_socket_close = self._unwatch
        client.on_socket_register_write = self._wants_to_write
        client.on_socket_unregister_write = self._has_written
        client.connect_async(broker.host, broker.port, keepalive=settings.keepalive_seconds)

    @property
    def outstanding(self) -> int:
        """Return how many messages were handed to MQTT and have no ack yet."""
        return len(self._outstanding)

    @property
    def stored(self) -> int:
        """Return how many messages wait for a connection or for room in the window."""
        return len(self._stored)

    def publish(self, payload: bytes, count: int) -> None:
        """Send or store a message with *count* readings objects."""
        self._store(self._topic, payload, count, retain=False)
        self.pump()

    def say_offline(self) -> None:
        """Send the status that the last will would send: before an orderly disconnect."""
        self._store(self._status, b"offline", 0, retain=True)
        self.pump()

    def connect(self) -> None:
        """Connect and send CONNECT. Blocks: call it in a thread, with `link` set to CONNECTING before.

        Raises:
            OSError: nobody there, TLS failed, or timed out.
        """
        self._client.reconnect()

    def attach(self) -> None:
        """Put the socket that `connect` opened on the event loop."""
        sock = self._client.socket()
        if sock is None:  # it broke already
            self.link = Link.DOWN
            return
        self.link = Link.GREETING
        self._watched = sock.fileno()
        self._loop.add_reader(self._watched, self._readable)
        if self._client.want_write():
            self._loop.add_writer(self._watched, self._write)

    def tend(self) -> None:
        """Send pings when they are due and notice a dead peer; cheap, to be called about every second."""
        if self.link in {Link.GREETING, Link.UP}:
            self._client.loop_misc()

    def disconnect(self) -> None:
        """Send DISCONNECT and close: the broker throws the last will away."""
        if self.link is Link.UP:
            self._client.disconnect()
            self._client.loop_write()
        self.cut()

    def cut(self) -> None:
        """Close the socket without a word, as a device that loses power does."""
        sock = self._client.socket()
        self._unwatch(self._client, None, sock)
        if sock is not None:
            sock.close()
        self.link = Link.DOWN

    def pump(self) -> None:
        """Hand stored messages to MQTT as far as connection and window allow."""
        while self._stored and self.link is Link.UP and len(self._outstanding) < self._settings.device_window:
            topic, payload, count, retain = self._stored.popleft()
            info = self._client.publish(topic, payload, qos=1, retain=retain)
            self._outstanding[info.mid] = count
            self._numbers.published += count

    def _store(self, topic: str, payload: bytes, count: int, *, retain: bool) -> None:
        if len(self._stored) >= self._settings.buffer_messages:
            self._numbers.dropped += self._stored.popleft()[2]
        self._stored.append((topic, payload, count, retain))

    def _readable(self) -> None:
        sock = self._client.socket()
        self._client.loop_read()
        # what TLS has decrypted already makes no socket readable
        while sock is not None and sock is self._client.socket() and getattr(sock, "pending", int)() > 0:
            self._client.loop_read()
        self.pump()
        self._on_progress()

    # -- paho's callbacks --------------------------------------------------------------------------------------------

    def _connected(self, _c: Client, _u: Any, _f: ConnectFlags, reason: ReasonCode, _p: Properties | None) -> None:
        if reason.is_failure:
            self._numbers.refusals += 1
            self._numbers.refusal = f"{self.name}: {reason}"
            return  # the broker closes, `_disconnected` follows
        self.link = Link.UP
        self.failures = 0
        self._numbers.reconnects += self._was_up
        self._was_up = True
        if self._greeting not in self._outstanding:  # else paho sends the unacknowledged one again
            self._greeting = self._client.publish(self._status, "online", qos=1, retain=True).mid
            self._outstanding[self._greeting] = 0

    def _disconnected(self, _c: Client, _u: Any, _f: DisconnectFlags, _r: ReasonCode, _p: Properties | None) -> None:
        self.link = Link.DOWN
        self._on_progress()

    def _acked(self, _c: Client, _u: Any, mid: int, reason: ReasonCode, _p: Properties | None) -> None:
        count = self._outstanding.pop(mid, 0)
        if reason.is_failure:
            self._numbers.rejected += count
        else:
            self._numbers.acked += count

    def _unwatch(self, _c: Client, _u: Any, _sock: Any) -> None:
        if self._watched is not None:
            self._loop.remove_reader(self._watched)
            self._loop.remove_writer(self._watched)
            self._watched = None

    def _wants_to_write(self, _c: Client, _u: Any, _sock: Any) -> None:
        if self._watched is not None:  # while connecting, in a thread, it is None: `attach` looks then
            self._loop.add_writer(self._watched, self._write)

    def _has_written(self, _c: Client, _u: Any, _sock: Any) -> None:
        if self._watched is not None:
            self._loop.remove_writer(self._watched)

    def _write(self) -> MQTTErrorCode:
        return self._client.loop_write()
