"""This module is a link: one connection to the broker, from its CONNECT to its end.

A link reads, hands messages to the `Sink`, and acknowledges only what the sink says is durable. Acknowledgements belong
to the link their messages came on: after a reconnect the broker deals packet ids anew.

Flow control has two levels. The *nap*: after each read the socket rests for a few milliseconds, so that the kernel
gathers many small sends of the broker into one read and one commit (evidence: 9.4 to 6.1 CPU s per million messages at
25,000 a second). When the nap ends the link reads by itself: handing the socket back to the event loop and taking it
away again would cost two calls of epoll and one more turn of the loop, at each commit. The *hold*: while nothing can be
made durable nothing is read, and the receive maximum and TCP make the broker wait.

QoS 2: a message is handed over once, PUBREC goes out after the commit; until PUBREL the packet id is remembered, over
reconnects too, and the same id again is answered and not handed over.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Protocol

from core.errors import MalformedPayload, Unavailable
from core.mqtt import (
    Ack,
    Connack,
    Disconnect,
    Kind,
    Packet,
    Pingresp,
    Publish,
    PublishRun,
    Reader,
    Suback,
    Version,
    ack,
    acks,
    disconnect,
    pingreq,
    subscribe,
)

if TYPE_CHECKING:
    from gateway.session import Session

__all__ = ["Link", "Refused", "Sink"]

_SUBSCRIBE_ID = 1
_BIG_READ = 131_072  # as much is read at once; more is waiting, so no nap
_KEEPALIVE_GRACE = 1.5  # the factor that MQTT itself grants the other way round (3.1.2.10)


class Refused(Unavailable):
    """The broker answered, and said no. `code` is its CONNACK or SUBACK code."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__("broker", detail)
        self.code = code


class Sink(Protocol):
    """Who takes messages."""

    def take(self, link: Link, run: PublishRun, rare: list[Publish]) -> None:
        """Take the messages of one read: *run*, and those that are retained or of QoS 2; acknowledge when durable."""


class Link(asyncio.Protocol):
    """One connection. `ready` is done when subscribed, `closed` when over; the latter's exception says why."""

    def __init__(self, session: Session, version: Version, *, nap_seconds: float) -> None:
        self._session = session
        self._version = version
        self._nap_seconds = nap_seconds
        self._reader = Reader(version, max_packet_bytes=session.settings.max_packet_bytes)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._fd = -1  # the socket, if we may read it ourselves: not with TLS
        self._nap: asyncio.TimerHandle | None = None
        self._is_held = False
        self.ready: asyncio.Future[Connack] = self._loop.create_future()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._connack: Connack | None = None
        self.heard_at = session.clock.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Introduce ourselves."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"{type(transport).__name__}: a stream transport expected")
        self._transport = transport
        if transport.get_extra_info("sslcontext") is None:
            self._fd = transport.get_extra_info("socket").fileno()
        transport.write(self._session.greeting(self._version))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits that it is over."""
        if self._nap is not None:
            self._nap.cancel()
        self._fd = -1
        self._end(Unavailable("broker", f"connection lost: {exc}" if exc else "connection closed by the broker"))

    def data_received(self, data: bytes) -> None:
        """Cut *data* into packets and act on them."""
        self.heard_at = self._session.clock.monotonic()
        run = PublishRun()
        rare: list[Publish] = []
        try:
            for packet in self._reader.feed(data, run):
                self._handle(packet, rare)
        except MalformedPayload as error:
            self._end(Unavailable("broker", f"broke the protocol: {error.detail}"))
            self.abort()
            return
        if run.topics or rare:
            self._session.sink.take(self, run, rare)
            if len(data) < _BIG_READ:
                self._rest()

    def acknowledge(self, packet_ids: list[bytes], received: list[Publish]) -> None:
        """Send PUBACK for *packet_ids* and PUBACK or PUBREC for *received*, in one write; they are durable."""
        out = bytearray(acks(Kind.PUBACK, packet_ids))
        for message in received:
            if message.qos == 1:
                out += ack(Kind.PUBACK, message.packet_id)
            elif message.qos == 2 and (link := self._session.receipt(message)) is not None:
                if link is self:
                    out += ack(Kind.PUBREC, message.packet_id)
                else:
                    link.answer(Kind.PUBREC, message.packet_id)
        if out:
            self._write(bytes(out))

    def hold(self) -> None:
        """Read nothing until `release`."""
        self._is_held = True
        if self._transport is not None:
            self._transport.pause_reading()

    def release(self) -> None:
        """Read again."""
        self._is_held = False
        self._wake()

    def ping(self) -> None:
        """Ask the broker for a sign of life, or give up if the last ones got no answer."""
        now = self._session.clock.monotonic()
        if self._is_held:
            self.heard_at = now  # we are not listening: silence is our own doing
        elif now - self.heard_at > self._session.settings.keepalive_seconds * _KEEPALIVE_GRACE:
            self._end(Unavailable("broker", f"silent for {now - self.heard_at:.0f} s"))
            self.abort()
            return
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(pingreq())

    def close(self) -> None:
        """Say goodbye; the session stays with the broker."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(disconnect(self._version))
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _rest(self) -> None:
        if self._nap_seconds and self._nap is None and self._transport is not None:
            self._transport.pause_reading()
            self._nap = self._loop.call_later(self._nap_seconds, self._end_nap)

    def _end_nap(self) -> None:
        self._nap = None
        if self._is_held or self._fd < 0 or self._transport is None or self._transport.is_closing():
            self._wake()
            return
        try:
            data = os.read(self._fd, _BIG_READ)
        except OSError:  # nothing there yet, or the connection is broken: the transport finds out which
            data = b""
        if data:
            try:
                self.data_received(data)
            except BaseException:
                self.abort()  # as the transport does when a protocol fails, or nobody would ever read again
                raise
        self._wake()

    def _wake(self) -> None:
        if self._nap is None and not self._is_held and self._transport is not None:
            self._transport.resume_reading()

    def _end(self, error: Unavailable) -> None:
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()  # looked at, so that asyncio does not warn when nobody waits any more
        if not self.closed.done():
            self.closed.set_exception(error)
            self.closed.exception()

    def _handle(self, packet: Packet, rare: list[Publish]) -> None:
        match packet:
            case Publish(qos=2):
                if self._session.is_new(packet, self):
                    rare.append(packet)
            case Publish():
                rare.append(packet)
            case Ack(kind=Kind.PUBREL):
                self._session.release(packet.packet_id)
                self._write(ack(Kind.PUBCOMP, packet.packet_id))
            case Connack():
                self._welcome(packet)
            case Suback():
                self._subscribed(packet)
            case Disconnect():
                self._end(Unavailable("broker", f"disconnected us: reason 0x{packet.code:02x}{_why(packet)}"))
                self.abort()
            case Pingresp() | Ack():
                pass

    def _welcome(self, packet: Connack) -> None:
        if packet.code:
            self._end(Refused(packet.code, f"refused the connection: code 0x{packet.code:02x}{_why(packet)}"))
            self.abort()
            return
        if not packet.session_present:
            self._session.forget()
        self._connack = packet
        filters = [(topic, self._session.settings.qos) for topic in self._session.settings.filters]
        self._write(subscribe(_SUBSCRIBE_ID, filters, version=self._version))

    def _subscribed(self, packet: Suback) -> None:
        for topic, code in zip(self._session.settings.filters, packet.codes, strict=False):
            if code >= 0x80:
                self._end(Refused(code, f"refused the subscription to {topic}: code 0x{code:02x}"))
                self.abort()
                return
        if not self.ready.done() and self._connack is not None:
            self.ready.set_result(self._connack)

    def answer(self, kind: Kind, packet_id: int) -> None:
        """Send an acknowledgement by itself."""
        self._write(ack(kind, packet_id))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def _why(packet: Connack | Disconnect) -> str:
    reason = packet.properties.get("reason_string")
    return f" ({reason})" if reason else ""
