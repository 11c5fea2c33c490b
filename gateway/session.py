"""This module is the gateway's session with the broker: one connection after another, one set of promises.

    connecting -- CONNACK 0 --> subscribing -- SUBACK --> up -- lost --> (wait, longer each time) --> connecting

A `Link` is one connection: it reads, hands messages to the `Sink`, and acknowledges only what the sink says is durable.
Acknowledgements belong to the link their messages came on: after a reconnect the broker deals packet ids anew.

Flow control has two levels. The *nap*: after each read the socket rests for a few milliseconds, so that the kernel
gathers many small sends of the broker into one read and one commit (evidence: 9.4 to 6.1 CPU s per million messages at
25,000 a second). The *hold*: while nothing can be made durable nothing is read, and the receive maximum and TCP make
the broker wait.

QoS 2: a message is handed over once, PUBREC goes out after the commit; until PUBREL the packet id is remembered, over
reconnects too, and the same id again is answered and not handed over.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Protocol

import structlog

from core.errors import MalformedPayload, SettingsError, Unavailable
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
    connect,
    disconnect,
    pingreq,
    subscribe,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from core.clock import Clock
    from gateway.settings import MqttSettings

__all__ = ["Link", "Refused", "Session", "Sink", "tls_context"]

_SUBSCRIBE_ID = 1
_BIG_READ = 131_072  # half of what asyncio reads at once: more is waiting, so no nap
_WRONG_VERSION = {1, 0x84}
_BAD_CREDENTIALS = {4, 5, 0x86, 0x87, 0x8C}
_KEEPALIVE_GRACE = 1.5  # the factor that MQTT itself grants the other way round (3.1.2.10)

log = structlog.get_logger()


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
        self._nap: asyncio.TimerHandle | None = None
        self._is_held = False
        self._unsent: set[int] = set()  # QoS 2 ids handed over whose PUBREC waits for the commit
        self.ready: asyncio.Future[Connack] = self._loop.create_future()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._connack: Connack | None = None
        self.heard_at = session.clock.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Introduce ourselves."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"{type(transport).__name__}: a stream transport expected")
        self._transport = transport
        transport.write(self._session.greeting(self._version))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits that it is over."""
        if self._nap is not None:
            self._nap.cancel()
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
        if self._transport is None or self._transport.is_closing():
            return
        out = bytearray(acks(Kind.PUBACK, packet_ids))
        for message in received:
            if message.qos == 1:
                out += ack(Kind.PUBACK, message.packet_id)
            elif message.qos == 2:
                self._unsent.discard(message.packet_id)
                self._session.unreleased.add(message.packet_id)
                out += ack(Kind.PUBREC, message.packet_id)
        if out:
            self._transport.write(bytes(out))

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
            case Publish(qos=2, packet_id=packet_id) if packet_id in self._session.unreleased:
                self._write(ack(Kind.PUBREC, packet_id))
            case Publish(qos=2, packet_id=packet_id) if packet_id in self._unsent:
                pass  # its PUBREC goes out with the commit
            case Publish():
                if packet.qos == 2:
                    self._unsent.add(packet.packet_id)
                rare.append(packet)
            case Ack(kind=Kind.PUBREL):
                self._session.unreleased.discard(packet.packet_id)
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
            self._session.unreleased.clear()
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

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def _why(packet: Connack | Disconnect) -> str:
    reason = packet.properties.get("reason_string")
    return f" ({reason})" if reason else ""


def tls_context(settings: MqttSettings) -> ssl.SSLContext | None:
    """Return what TLS needs, None for plain connections.

    Raises:
        SettingsError: a file cannot be read or is no certificate; names the setting.
    """
    if not settings.uses_tls:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError("mqtt.tls_ca", f"{settings.tls_ca}: {error}") from error
    if settings.tls_certificate is not None:
        try:
            context.load_cert_chain(settings.tls_certificate, settings.tls_key)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError("mqtt.tls_certificate", f"{settings.tls_certificate}: {error}") from error
    return context


class Session:
    """Keeps a link to the broker as long as it runs, and remembers what outlives one."""

    def __init__(
        self,
        settings: MqttSettings,
        sink: Sink,
        *,
        clock: Clock,
        rng: random.Random,
        nap_seconds: float,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        """Check the TLS files.

        Raises:
            SettingsError: see `tls_context`.
        """
        self.settings = settings
        self.sink = sink
        self.clock = clock
        self.unreleased: set[int] = set()
        self.link: Link | None = None
        self.connects = 0
        self._on_ready = on_ready
        self._rng = rng
        self._nap_seconds = nap_seconds
        self._tls = tls_context(settings)
        self._version = Version.V311 if settings.protocol == "3.1.1" else Version.V5

    def greeting(self, version: Version) -> bytes:
        """Return our CONNECT: a session that persists."""
        settings = self.settings
        properties = {
            "session_expiry_interval": settings.session_expiry_seconds,
            "receive_maximum": settings.receive_maximum,
            "maximum_packet_size": settings.max_packet_bytes,
        }
        return connect(
            settings.client_id,
            version=version,
            keepalive=settings.keepalive_seconds,
            clean_start=False,
            username=settings.username,
            password=settings.password.get_secret_value().encode() if settings.password is not None else None,
            properties=properties,
        )

    async def run(self) -> None:
        """Connect, and connect again, until cancelled; then say goodbye."""
        failures = 0
        last = ""
        while True:
            wait = 0.0
            try:
                await self._live()
            except Refused as error:
                wait = self._after_refusal(error)
                failures += 1
            except Unavailable as error:
                if self.link is not None:
                    failures = 0
                if error.detail != last:
                    log.warning("broker is away", url=self.settings.url, detail=error.detail)
                    last = error.detail
                self._try_other_version(error)
                wait = min(self.settings.reconnect_max_seconds, self.settings.reconnect_min_seconds * 2.0**failures)
                failures = min(failures + 1, 30)
            finally:
                was_up, self.link = self.link is not None, None
            if was_up:
                last = ""
            await self.clock.sleep(wait * (0.5 + self._rng.random() / 2))

    async def _live(self) -> None:
        """Connect once and stay until the connection is over.

        Raises:
            Unavailable: always, sooner or later.
        """
        settings, loop = self.settings, asyncio.get_running_loop()
        link = Link(self, self._version, nap_seconds=self._nap_seconds)
        try:
            try:
                async with asyncio.timeout(settings.connect_seconds):
                    await loop.create_connection(
                        lambda: link,
                        settings.host,
                        settings.port,
                        ssl=self._tls,
                        server_hostname=settings.host if self._tls else None,
                    )
                    connack = await asyncio.shield(link.ready)
            except TimeoutError as error:
                raise Unavailable("broker", f"no answer within {settings.connect_seconds:g} s") from error
            except OSError as error:
                raise Unavailable("broker", str(error)) from error
            self.link = link
            self.connects += 1
            keepalive = int(connack.properties.get("server_keep_alive", settings.keepalive_seconds))
            log.info(
                "connected to the broker",
                url=settings.url,
                protocol="5" if self._version is Version.V5 else "3.1.1",
                session_present=connack.session_present,
            )
            if self._on_ready is not None:
                self._on_ready()
            while not link.closed.done():
                await asyncio.wait({link.closed}, timeout=keepalive / 2)
                if not link.closed.done():
                    link.ping()
            link.closed.result()
        finally:
            link.close()

    def _after_refusal(self, error: Refused) -> float:
        """Return how long to wait after the broker said no."""
        if error.code in _WRONG_VERSION and self._try_other_version(error):
            return 0.0
        setting = "mqtt.username, mqtt.password" if error.code in _BAD_CREDENTIALS else "mqtt"
        log.error("broker refuses us: a person must change the settings", setting=setting, detail=error.detail)
        return self.settings.refused_seconds

    def _try_other_version(self, error: Unavailable) -> bool:
        """Change from MQTT 5 to 3.1.1 if the broker seems not to know 5; tell whether we did."""
        is_refusal = isinstance(error, Refused) and error.code in _WRONG_VERSION
        if self.settings.protocol != "auto" or (self.connects and not is_refusal):
            return False
        if isinstance(error, Refused) or "closed" in error.detail or "lost" in error.detail:
            self._version = Version.V311 if self._version is Version.V5 else Version.V5
            return self._version is Version.V311
        return False
