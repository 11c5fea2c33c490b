"""This module is the gateway's session with the broker: one connection after another, one set of promises.

    connecting -- CONNACK 0 --> subscribing -- SUBACK --> up -- lost --> (wait, longer each time) --> connecting

Each connection is a `gateway.link.Link`; what outlives one is here: the protocol version, and the packet ids of QoS 2.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, NamedTuple

import structlog

from core.errors import SettingsError, Unavailable
from core.mqtt import Kind, Publish, Version, connect
from gateway.link import Link, Refused

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from core.clock import Clock
    from gateway.link import Sink
    from gateway.settings import MqttSettings

__all__ = ["Session", "tls_context"]

_WRONG_VERSION = {1, 0x84}
_BAD_CREDENTIALS = {4, 5, 0x86, 0x87, 0x8C}

log = structlog.get_logger()


class _Unsent(NamedTuple):
    """A message of QoS 2 that was handed over and not yet durable, and the link that shall get its PUBREC."""

    message: Publish
    link: Link


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
        self._unsent: dict[int, _Unsent] = {}  # by packet id
        self._unreleased: set[int] = set()  # PUBREC was due, PUBREL has not come
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

    def is_new(self, message: Publish, link: Link) -> bool:
        """Tell whether *message* of QoS 2, come on *link*, must be handed over; answer it if it is durable already."""
        packet_id = message.packet_id
        if packet_id in self._unreleased:
            link.answer(Kind.PUBREC, packet_id)
            return False
        waiting = self._unsent.get(packet_id)
        # of one that waits since before a reconnect, the broker wants to hear on the new link
        self._unsent[packet_id] = _Unsent(message if waiting is None else waiting.message, link)
        return waiting is None

    def receipt(self, message: Publish) -> Link | None:
        """Return the link that wants PUBREC for *message* of QoS 2, which is durable; None if its session is over."""
        waiting = self._unsent.get(message.packet_id)
        if waiting is None or waiting.message is not message:
            return None  # the id is another message's by now
        del self._unsent[message.packet_id]
        self._unreleased.add(message.packet_id)
        return waiting.link

    def release(self, packet_id: int) -> None:
        """Note PUBREL: the packet id may mean a new message."""
        self._unreleased.discard(packet_id)

    def forget(self) -> None:
        """Note that the broker has begun a new session: packet ids of the old one mean nothing."""
        self._unsent.clear()
        self._unreleased.clear()

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
