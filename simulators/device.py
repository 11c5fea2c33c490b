"""This module is one virtual device: a real paho client with last will, QoS 1 and a store for when it is offline.

paho brings its own thread per client; two thousand of them would fight for one interpreter. Here the sockets hang on
the event loop instead (`loop_read`, `loop_write` and `loop_misc` are called when something is to be done), so idle
devices cost nothing. Only connecting, which blocks in paho, runs in a thread (`Fleet` gives it one).

What waits in `_stored` is ours: bounded, the oldest goes first, and is counted. It is put into the wire format when it
leaves, not before: a format that numbers its messages per session (Sparkplug B) then counts what was really said.
What is given to paho counts as *outstanding* until its PUBACK; paho sends it again after a reconnect.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

if TYPE_CHECKING:
    import asyncio
    import ssl
    from collections.abc import Callable, Iterable

    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from simulators.messages import Emission, Message, WireFormat
    from simulators.settings import SimulatorSettings

__all__ = ["Broker", "Link", "Numbers", "VirtualDevice"]


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the devices connect to.

    Attributes:
        host: name or address.
        port: TCP port.
        tls: a ready client context, None for plain TCP.
        login: user and password of devices that have no credential of their own; None = anonymous.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    login: tuple[str, str] | None = None

    @property
    def address(self) -> str:
        """Return the address as people write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


@dataclass(slots=True)
class Numbers:
    """What became of a fleet's reports; one message may carry many of them, and some formats need many for one.

    Attributes:
        published: reports that were handed to MQTT.
        acked: reports whose message has a PUBACK.
        unconfirmed: reports that were written to the socket with QoS 0, as their format wants it: nobody confirms them.
        rejected: reports whose PUBACK says no.
        lost: reports in messages of QoS 0 whose connection broke before they were written.
        dropped: reports that fell out of a full store.
        skipped: reports too long ago to be caught up with.
        messages: messages that carried them.
        messages_acked: those of them that have a PUBACK.
        reconnects: connections after a device's first one.
        refusals: connections that failed or that the broker turned down.
        refusal: the last reason.
        outstanding: messages on their way without an ack, but for devices that are away on purpose.
        stored: messages that wait in devices, but for those.
        held: both, of devices that are away on purpose.
    """

    published: int = 0
    acked: int = 0
    unconfirmed: int = 0
    rejected: int = 0
    lost: int = 0
    dropped: int = 0
    skipped: int = 0
    messages: int = 0
    messages_acked: int = 0
    reconnects: int = 0
    refusals: int = 0
    refusal: str = ""
    outstanding: int = 0
    stored: int = 0
    held: int = 0


class Link(enum.Enum):
    """Where a device's connection is in its life."""

    DOWN = "down"
    CONNECTING = "connecting"  # TCP, TLS and CONNECT, in a thread
    GREETING = "greeting"  # CONNECT is sent, CONNACK awaited
    UP = "up"


@dataclass(frozen=True, slots=True)
class _Piece:
    """A message and how many reports it carries; None: it says something of the device itself."""

    message: Message
    reports: int | None


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
        wire: WireFormat,
        now_ns: Callable[[], int],
        persistent: bool = True,
    ) -> None:
        self.name = name
        self.link = Link.DOWN
        self.retry_at = 0.0  # monotonic seconds
        self.tend_at = 0.0  # the same
        self.failures = 0
        self.on_greeted: Callable[[], None] | None = None
        self._away = False
        self._settings = settings
        self._loop = loop
        self._numbers = numbers
        self._on_progress = on_progress
        self._wire = wire
        self._now_ns = now_ns
        self._stored: deque[Emission | _Piece] = deque()
        self._ready: deque[_Piece] = deque()  # an emission's messages, those of them that are still here
        self._outstanding: dict[int, _Piece] = {}  # by message id
        self._written = 0  # message id of what paho has just written with QoS 0
        self._was_up = False
        self._births: list[int] = []  # message ids
        self._watched: int | None = None  # file descriptor on the event loop
        self._writes = False  # whether it waits there for being writable
        self._client = client = Client(
            CallbackAPIVersion.VERSION2,
            name,
            clean_session=not persistent,
            protocol=MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = settings.connect_timeout_seconds
        client.max_inflight_messages_set(settings.device_window + 8)  # births go beside the window
        login = (name, password) if password is not None else broker.login
        if login is not None:
            client.username_pw_set(*login)
        if broker.tls is not None:
            client.tls_set_context(broker.tls)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_publish = self._acked
        client.on_socket_close = self._unwatch
        client.connect_async(broker.host, broker.port, keepalive=settings.keepalive_seconds)

    @property
    def outstanding(self) -> int:
        """Return how many messages were handed to MQTT and have no ack yet."""
        return len(self._outstanding)

    @property
    def stored(self) -> int:
        """Return how many messages wait for a connection or for room in the window."""
        return len(self._stored) + len(self._ready)

    @property
    def unsent(self) -> int:
        """Return how many reports wait in the store."""
        return sum(map(_reports, (*self._stored, *self._ready)))

    @property
    def away(self) -> bool:
        """Tell whether the device stays away on purpose: it keeps what it has to say, and nobody waits for it."""
        return self._away

    def leave(self) -> None:
        """Lose the connection and stay away until `come_back`."""
        if not self._away:
            if self.link is not Link.CONNECTING:  # else the thread that connects finds out
                self.cut()
            self._numbers.outstanding -= self.outstanding
            self._numbers.stored -= self.stored
            self._numbers.held += self.outstanding + self.stored
            self._away = True

    def come_back(self) -> None:
        """Connect again as soon as possible."""
        if self._away:
            self._numbers.outstanding += self.outstanding
            self._numbers.stored += self.stored
            self._numbers.held -= self.outstanding + self.stored
            self._away = False
            self.retry_at = 0.0

    def send(self, message: Message, count: int = 1) -> None:
        """Send or store a ready message that carries *count* reports."""
        self._store(_Piece(message, count))
        self.pump()

    def say(self, emission: Emission) -> None:
        """Send or store *emission*; it is put into the wire format when it leaves."""
        self._store(emission)
        self.pump()

    def say_farewell(self) -> None:
        """Say what the format wants said before an orderly disconnect."""
        for message in self._wire.farewell(self.name, self._now_ns()):
            self._store(_Piece(message, None))
        self.pump()

    def prepare(self) -> None:
        """Give the next connection its last will; to be called on the event loop before `connect`."""
        self.link = Link.CONNECTING
        will = self._wire.will(self.name, self._now_ns())
        if will is not None:
            self._client.will_set(will.topic, will.payload, qos=will.qos, retain=will.retain)

    def connect(self) -> None:
        """Connect and send CONNECT. Blocks: call it in a thread, after `prepare`.

        Raises:
            OSError: nobody there, TLS failed, or timed out.
        """
        self._client.reconnect()

    def attach(self) -> None:
        """Put the socket that `connect` opened on the event loop."""
        sock = self._client.socket()
        if sock is None or sock.fileno() < 0:  # it broke already, or was cut while a thread opened it
            self.link = Link.DOWN
            return
        self.link = Link.GREETING
        self._watched = sock.fileno()
        self._loop.add_reader(self._watched, self._readable)
        self._flush()

    def tend(self) -> None:
        """Send pings when they are due and notice a dead peer; cheap, to be called several times a keep-alive."""
        if self.link in {Link.GREETING, Link.UP}:
            self._client.loop_misc()
            self._flush()

    def disconnect(self) -> None:
        """Send DISCONNECT and close: the broker throws the last will away."""
        if self.link is Link.UP:
            self._client.disconnect()
            self._client.loop_write()
        self.cut()

    def cut(self) -> None:
        """Close the socket without a word, as a device that loses power does."""
        sock = self._client.socket()
        self._unwatch()
        if sock is not None:
            sock.close()
        self._down()

    def pump(self) -> None:
        """Hand stored messages to MQTT as far as connection and window allow."""
        window = self._settings.device_window
        while self.link is Link.UP and len(self._outstanding) < window and not self._client.want_write():
            if self._ready:
                self._hand_over(self._ready.popleft())
                self._count(-1)
            elif self._stored:
                item = self._stored.popleft()
                pieces = [item] if isinstance(item, _Piece) else _pieces(item, self._wire.encode(item))
                self._ready.extend(pieces)
                self._count(len(pieces) - 1)
            else:
                break
        self._flush()

    def _hand_over(self, piece: _Piece) -> int:
        message = piece.message
        self._written = 0
        mid = self._client.publish(message.topic, message.payload, qos=message.qos, retain=message.retain).mid
        if piece.reports is not None:
            self._numbers.published += piece.reports
            self._numbers.messages += 1
        if message.qos == 0 and self._written == mid:
            self._numbers.unconfirmed += piece.reports or 0
        else:
            self._outstanding[mid] = piece
            self._numbers.outstanding += 1
        return mid

    def _store(self, item: Emission | _Piece) -> None:
        if len(self._stored) >= self._settings.buffer_messages:
            self._numbers.dropped += _reports(self._stored.popleft())
            self._count(-1)
        self._stored.append(item)
        self._count(1)

    def _count(self, change: int) -> None:
        if self._away:
            self._numbers.held += change
        else:
            self._numbers.stored += change

    def _readable(self) -> None:
        sock = self._client.socket()
        self._client.loop_read()
        # what TLS has decrypted already makes no socket readable
        while sock is not None and sock is self._client.socket() and getattr(sock, "pending", int)() > 0:
            self._client.loop_read()
        self.pump()
        self._on_progress()

    def _flush(self) -> None:
        """Write what paho has ready; what the socket does not take waits until it does."""
        if self._client.want_write() and self._watched is not None:
            self._client.loop_write()
        waits = self._watched is not None and self._client.want_write()
        if waits and not self._writes and self._watched is not None:
            self._loop.add_writer(self._watched, self._writable)
        elif self._writes and not waits and self._watched is not None:
            self._loop.remove_writer(self._watched)
        self._writes = waits

    def _writable(self) -> None:
        self._flush()
        self.pump()

    def _down(self) -> None:
        was, self.link = self.link, Link.DOWN
        for mid in [mid for mid, piece in self._outstanding.items() if piece.message.qos == 0]:
            self._numbers.lost += self._outstanding.pop(mid).reports or 0
            self._numbers.outstanding -= 1
        if was is Link.GREETING:
            self._greeted()

    def _greeted(self) -> None:
        if self.on_greeted is not None:
            self.on_greeted()

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
        if not any(mid in self._outstanding for mid in self._births):  # else paho sends the unacknowledged ones again
            births = self._wire.births(self.name, self._now_ns())
            self._births = [self._hand_over(_Piece(message, None)) for message in births]
        self._greeted()

    def _disconnected(self, _c: Client, _u: Any, _f: DisconnectFlags, _r: ReasonCode, _p: Properties | None) -> None:
        self._down()
        self._on_progress()

    def _acked(self, _c: Client, _u: Any, mid: int, reason: ReasonCode, _p: Properties | None) -> None:
        piece = self._outstanding.pop(mid, None)
        if piece is None:
            self._written = mid
            return
        self._numbers.outstanding -= 1
        count = piece.reports or 0
        if reason.is_failure:
            self._numbers.rejected += count
        elif piece.message.qos == 0:
            self._numbers.unconfirmed += count
        else:
            self._numbers.acked += count
            self._numbers.messages_acked += piece.reports is not None

    def _unwatch(self, *_: object) -> None:
        if self._watched is not None:
            self._loop.remove_reader(self._watched)
            self._loop.remove_writer(self._watched)
            self._watched = None
            self._writes = False


def _reports(item: Emission | _Piece) -> int:
    return item.reports or 0 if isinstance(item, _Piece) else len(item.reports) or 1


def _pieces(emission: Emission, messages: Iterable[Message]) -> list[_Piece]:
    """Spread the reports of *emission* over its messages: evenly, and what is left over goes with the last one."""
    found = tuple(messages)
    each, rest = divmod(_reports(emission), len(found) or 1)
    last = len(found) - 1
    return [_Piece(message, each + rest * (n == last)) for n, message in enumerate(found)]
