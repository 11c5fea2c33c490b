"""This module is the recorder: what a broker passes on goes into a capture file.

There is no queue between network and disk. One thread reads the socket until nothing more is there, hands what it got
to the operating system in one write, and only then acknowledges it (QoS 1): so a slow disk slows the broker down, and
a recorder that dies has lost nothing that it acknowledged. What the broker itself drops, and what passes while a
connection is broken, no recorder can know: the interruptions are counted and said. It never publishes.
"""

from __future__ import annotations

import select
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

from core.errors import SettingsError, Unavailable
from gateway.session import tls_context
from simulators.capture import Capture

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from paho.mqtt.reasoncodes import ReasonCode

    from core.clock import Clock
    from gateway.settings import MqttSettings
    from simulators.capture import CaptureWriter

__all__ = ["Recorded", "record"]

_WAKE_SECONDS = 0.2  # how long a stop may go unnoticed
_BATCH = 1000  # messages acknowledged at once at most
_TELL_SECONDS = 0.5
_BAD_CREDENTIALS = {"Not authorized", "Bad user name or password"}
_WRONG_VERSION = "Unsupported protocol version"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Recorded:
    """How a recording stands.

    Attributes:
        messages: in the file.
        payload_bytes: of their payloads.
        topics: how many different ones, of the first 100,000.
        interruptions: how often the connection was lost; what passed meanwhile is not in the file.
        away_seconds: for how long, together.
        seconds: since the subscription.
    """

    messages: int = 0
    payload_bytes: int = 0
    topics: int = 0
    interruptions: int = 0
    away_seconds: float = 0.0
    seconds: float = 0.0


def record(
    settings: MqttSettings,
    writer: CaptureWriter,
    *,
    filters: Sequence[str],
    clock: Clock,
    stop: threading.Event,
    seconds: float | None = None,
    max_messages: int | None = None,
    tell: Callable[[Recorded], None] | None = None,
) -> Recorded:
    """Write what comes on *filters* to *writer* until *stop* is set, *seconds* are over or *max_messages* are there.

    Blocks: call it in a thread, or in a process of its own. *tell* is called about twice a second.

    Raises:
        SettingsError: the broker refuses us or a subscription, a filter is none, or the disk is full.
        Unavailable: the broker is away from the beginning; later it is waited for.
    """
    recorder = _Recorder(settings, writer, filters, clock=clock, stop=stop, seconds=seconds, max_messages=max_messages)
    try:
        recorder.run(tell or (lambda _: None))
    finally:
        writer.flush()
    return recorder.figures()


class _Recorder:
    def __init__(
        self,
        settings: MqttSettings,
        writer: CaptureWriter,
        filters: Sequence[str],
        *,
        clock: Clock,
        stop: threading.Event,
        seconds: float | None,
        max_messages: int | None,
    ) -> None:
        self._settings = settings
        self._writer = writer
        self._filters = filters
        self._clock = clock
        self._stop = stop
        self._seconds = seconds
        self._max_messages = max_messages
        self._version = MQTTProtocolVersion.MQTTv311 if settings.protocol == "3.1.1" else MQTTProtocolVersion.MQTTv5
        self._tls = tls_context(settings)
        self._unacked: list[tuple[int, int]] = []
        self._bytes = 0
        self._topics: set[str] = set()
        self._interruptions = 0
        self._away = 0.0
        self._since: float | None = None  # monotonic seconds
        self._told = 0.0
        self._refusal = ""
        self._ready = False

    def figures(self) -> Recorded:
        """Return how the recording stands."""
        since = 0.0 if self._since is None else self._clock.monotonic() - self._since
        return Recorded(
            self._writer.count, self._bytes, len(self._topics), self._interruptions, round(self._away, 3), since
        )

    def run(self, tell: Callable[[Recorded], None]) -> None:
        """Connect, follow, and connect again until done."""
        failures, lost_at = 0, 0.0
        while not self._is_done():
            client = self._client()
            try:
                self._open(client)
                if self._since is None:
                    self._since = self._clock.monotonic()
                else:
                    self._away += self._clock.monotonic() - lost_at
                failures = 0
                self._follow(client, tell)
            except Unavailable as error:
                if self._since is None:
                    if self._try_older_version():
                        continue
                    raise
                if failures == 0:
                    lost_at = self._clock.monotonic()
                    self._interruptions += 1
                    log.warning("connection lost: what passes meanwhile is not recorded", detail=error.detail)
                self._stop.wait(
                    min(self._settings.reconnect_max_seconds, self._settings.reconnect_min_seconds * 2.0**failures)
                )
                failures = min(failures + 1, 30)
            finally:
                self._close(client)

    def _is_done(self) -> bool:
        if self._stop.is_set():
            return True
        if self._max_messages is not None and self._writer.count >= self._max_messages:
            return True
        return (
            self._seconds is not None
            and self._since is not None
            and self._clock.monotonic() - self._since >= self._seconds
        )

    def _client(self) -> Client:
        settings = self._settings
        client = Client(
            CallbackAPIVersion.VERSION2,
            settings.client_id,
            protocol=self._version,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = settings.connect_seconds
        if settings.username is not None:
            client.username_pw_set(
                settings.username, settings.password.get_secret_value() if settings.password is not None else None
            )
        if self._tls is not None:
            client.tls_set_context(self._tls)
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_message = self._message
        self._ready, self._refusal = False, ""
        self._unacked.clear()
        return client

    def _open(self, client: Client) -> None:
        """Connect and subscribe.

        Raises:
            Unavailable: the broker is away, or does not answer.
            SettingsError: it says no.
        """
        settings = self._settings
        try:
            client.connect(settings.host, settings.port, settings.keepalive_seconds)
        except OSError as error:  # TLS errors are among them
            raise Unavailable("broker", f"{settings.url}: {error}") from error
        deadline = self._clock.monotonic() + settings.connect_seconds
        while not self._ready and not self._stop.is_set():
            self._turn(client, _WAKE_SECONDS)
            if self._clock.monotonic() > deadline:
                raise Unavailable("broker", f"{settings.url}: no answer within {settings.connect_seconds:g} s")

    def _follow(self, client: Client, tell: Callable[[Recorded], None]) -> None:
        while not self._is_done():
            is_idle = not self._turn(client, 0.0 if self._unacked else _WAKE_SECONDS)
            if is_idle or len(self._unacked) >= _BATCH:
                self._commit(client)
            now = self._clock.monotonic()
            if now - self._told >= _TELL_SECONDS:
                self._told = now
                client.loop_misc()
                tell(self.figures())
        self._commit(client)

    def _turn(self, client: Client, wait_seconds: float) -> bool:
        """Read and write once; tell whether something was read.

        Raises:
            Unavailable: the connection is lost.
            SettingsError: the broker said no.
        """
        sock: Any = client.socket()
        if sock is None:
            raise Unavailable("broker", f"{self._settings.url}: {self._refusal or 'connection lost'}")
        is_decrypted = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        readable, writable, _ = select.select(
            [sock], [sock] if client.want_write() else [], [], 0.0 if is_decrypted else wait_seconds
        )
        code = MQTTErrorCode.MQTT_ERR_SUCCESS
        if readable or is_decrypted:
            code = client.loop_read()
        if writable and code == MQTTErrorCode.MQTT_ERR_SUCCESS:
            code = client.loop_write()
        if self._refusal and self._refusal != _WRONG_VERSION:
            part = "mqtt.username, mqtt.password" if self._refusal in _BAD_CREDENTIALS else "record"
            raise SettingsError(part, f"{self._settings.url} refuses: {self._refusal}")
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise Unavailable("broker", f"{self._settings.url}: {self._refusal or 'connection lost'}")
        return bool(readable or is_decrypted)

    def _commit(self, client: Client) -> None:
        if self._unacked:
            self._writer.flush()
            for mid, qos in self._unacked:
                client.ack(mid, qos)
            self._unacked.clear()

    def _close(self, client: Client) -> None:
        if client.is_connected():
            client.disconnect()
            client.loop_write()
        sock: Any = client.socket()
        if sock is not None:
            sock.close()

    def _try_older_version(self) -> bool:
        if self._settings.protocol != "auto" or self._version is MQTTProtocolVersion.MQTTv311:
            return False
        self._version = MQTTProtocolVersion.MQTTv311
        return True

    # -- paho's callbacks --------------------------------------------------------------------------------------------

    def _connected(self, client: Client, _u: Any, _f: Any, reason: ReasonCode, _p: Any) -> None:
        if reason.is_failure:
            self._refusal = str(reason)
            return
        # MQTT 5 can leave the retain flag as it was published; 3.1.1 sets it only on what was kept from before
        asked: list[Any] = [
            (name, SubscribeOptions(1, retainAsPublished=True) if self._version is MQTTProtocolVersion.MQTTv5 else 1)
            for name in self._filters
        ]
        try:
            client.subscribe(asked)
        except ValueError as error:
            raise SettingsError("filter", f"{', '.join(map(repr, self._filters))}: {error}") from error

    def _subscribed(self, _c: Client, _u: Any, _mid: int, reasons: list[ReasonCode], _p: Any) -> None:
        refused = [name for name, reason in zip(self._filters, reasons, strict=False) if reason.is_failure]
        if refused:
            self._refusal = f"the subscription to {', '.join(map(repr, refused))}"
            if len(refused) < len(self._filters):  # nats-server grants 65,535 messages on their way to one client
                self._refusal += "; not the others: there may be too many for one client, record them one by one"
        self._ready = True

    def _message(self, _c: Client, _u: Any, message: MQTTMessage) -> None:
        if self._max_messages is not None and self._writer.count >= self._max_messages:
            return  # not acknowledged: nobody was promised that it is recorded
        capture = Capture(
            self._clock.now_ns(), message.topic, bytes(message.payload), message.qos, bool(message.retain)
        )
        self._writer.write(capture)
        self._bytes += len(capture.payload)
        if len(self._topics) < 100_000:
            self._topics.add(capture.topic)
        if capture.qos:
            self._unacked.append((message.mid, capture.qos))
