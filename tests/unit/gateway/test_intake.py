"""Nothing is acknowledged before the entry that contains it is durable, whatever fails, and nothing stalls for good."""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
import time
import zlib
from typing import TYPE_CHECKING

import msgspec
import pytest
import structlog
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from core.admission import DeviceStatus, Tally
from core.batch import ReadingBatch
from core.clock import ManualClock
from core.entry import LogEntry
from core.mqtt import Kind, Version, acks, publish
from gateway.ledger import Bookkeeper, add_up
from gateway.metrics import GatewayMetrics
from gateway.settings import GatewaySettings, MqttSettings
from tests.unit.gateway.conftest import FakeLedger, FakeLog, FakeRegistry, eventually, running
from urbanpulse.settings import load_settings, shown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

V = Version.V311
TOPIC = "devices/air-01/readings"
BASE_MS = 0


@pytest.fixture(autouse=True)
def _now() -> None:
    """Let readings be of now: a suite that runs for minutes must not make them late."""
    global BASE_MS  # noqa: PLW0603 - the same for all messages of a test
    BASE_MS = time.time_ns() // 1_000_000 - 10_000


class Broker:
    """A scripted broker: welcomes, grants, and keeps every byte that the gateway sends after that."""

    def __init__(self) -> None:
        self.port = 0
        self.writer: asyncio.StreamWriter | None = None
        self.got = bytearray()
        self.connections = 0
        self.session_present = False
        self.answers_pings = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                first, size = await reader.readexactly(2)
                while size > 127:
                    size = size - 128 + (await reader.readexactly(1))[0] * 128
                body = await reader.readexactly(size)
                match first >> 4:
                    case Kind.CONNECT:
                        assert body[6] == 4, "the tests speak 3.1.1"
                        self.connections += 1
                        writer.write(bytes((0x20, 2, self.session_present, 0)))
                    case Kind.SUBSCRIBE:
                        self.writer = writer
                        writer.write(bytes((0x90, 3)) + body[:2] + b"\1")
                    case Kind.PINGREQ:
                        if self.answers_pings:
                            writer.write(b"\xd0\0")
                    case Kind.DISCONNECT:
                        break
                    case _:
                        self.got += bytes((first, size)) + body
        writer.close()

    def send(self, *packets: bytes) -> None:
        assert self.writer is not None
        self.writer.write(b"".join(packets))

    def drop(self) -> None:
        assert self.writer is not None
        self.writer.transport.abort()
        self.writer = None


@contextlib.asynccontextmanager
async def scripted() -> AsyncIterator[tuple[Broker, MqttSettings]]:
    broker = Broker()
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    broker.port = server.sockets[0].getsockname()[1]
    try:
        yield (
            broker,
            MqttSettings(url=f"mqtt://127.0.0.1:{broker.port}", protocol="3.1.1", reconnect_min_seconds=0.02, qos=2),
        )
    finally:
        server.close()


FAST = GatewaySettings(retry_min_seconds=0.01, retry_max_seconds=0.02, ledger_seconds=0.05, registry_poll_seconds=0.05)


def message(i: int, *, qos: int = 1, metric: str = "pm25", dup: bool = False) -> bytes:
    payload = f'{{"ts": {BASE_MS + i}, "values": {{"{metric}": {i}}}}}'.encode()
    return publish(TOPIC, payload, version=V, qos=qos, packet_id=i, dup=dup)


def pubacks(*ids: int) -> bytes:
    return acks(Kind.PUBACK, [struct.pack("!H", i) for i in ids])


@pytest.mark.parametrize(
    "failures",
    [
        pytest.param([], id="at once"),
        pytest.param(["database is locked"] * 5, id="after five failures"),
    ],
)
async def test_no_acknowledgement_escapes_before_the_entry_is_durable(failures: list[str]) -> None:
    log, early = FakeLog(failures=list(failures)), list[int]()
    async with scripted() as (broker, mqtt), running(mqtt, log=log, settings=FAST):
        log.before_append = lambda: early.append(len(broker.got))
        with structlog.testing.capture_logs() as logs:
            broker.send(*(message(i) for i in range(1, 101)))
            await eventually(lambda: bytes(broker.got) == pubacks(*range(1, 101)))

        assert [v for _, _, v in log.rows()] == [float(i) for i in range(1, 101)]

    waiting = early[: len(failures) + 1]
    assert waiting == [0] * len(waiting)
    assert log.attempts > len(failures)
    complaints = [e for e in logs if e["log_level"] == "error"]
    assert len(complaints) == bool(failures), "one line when it begins, none per retry"


async def test_while_nothing_can_be_kept_nothing_is_read_and_nothing_acknowledged() -> None:
    log = FakeLog()
    async with scripted() as (broker, mqtt), running(mqtt, log=log, settings=FAST) as it:
        log.failures = ["disk full"] * 1_000_000
        broker.send(message(1))
        await eventually(lambda: it.metrics.get_sample_value("city_gateway_held"))
        broker.send(*(message(i) for i in range(2, 5000)))
        attempts = log.attempts
        await eventually(lambda: log.attempts > attempts + 5)
        assert not broker.got
        log.failures.clear()

        await eventually(lambda: len(broker.got) == 4 * 4999)

    assert bytes(broker.got) == pubacks(*range(1, 5000))
    assert [v for _, _, v in log.rows()] == [float(i) for i in range(1, 5000)]


async def test_acknowledgements_of_a_lost_connection_are_not_sent_on_the_next() -> None:
    log, registry = FakeLog(), FakeRegistry.of("air-01")
    async with scripted() as (broker, mqtt), running(mqtt, log=log, registry=registry, settings=FAST):
        broker.session_present = True
        log.failures = ["disk full"] * 1_000_000
        broker.send(message(1), message(2))
        await eventually(lambda: len(log.failures) < 1_000_000)
        broker.drop()  # a link that reads nothing notices when it reads again
        log.failures.clear()
        await eventually(lambda: broker.writer is not None)
        broker.send(message(2, dup=True))  # the broker deals ids anew: only this one may be acknowledged

        await eventually(lambda: bytes(broker.got) == pubacks(2))
        await eventually(lambda: log.tallies().get(("air-01", "duplicate", "repeated")) == 1)

    assert [v for _, _, v in log.rows()] == [1.0, 2.0]


async def test_a_catalog_that_is_away_delays_only_and_loses_nothing() -> None:
    registry = FakeRegistry.of("air-01", "gone")
    async with scripted() as (broker, mqtt), running(mqtt, registry=registry, settings=FAST) as it:
        registry.failures = ["database is locked"] * 3
        broker.send(message(1), message(2, metric="no2"))
        await eventually(lambda: bytes(broker.got) == pubacks(1, 2))

        assert {s.metric for s in registry.series()} == {"pm25", "no2"}
        assert len(it.log.rows()) == 2


async def test_a_device_removed_while_its_series_is_allocated_is_unknown_and_the_rest_goes_on() -> None:
    registry = FakeRegistry.of("air-01", "gone")
    settings = FAST.model_copy(update={"registry_poll_seconds": 60.0})
    async with scripted() as (broker, mqtt), running(mqtt, registry=registry, settings=settings) as it:
        registry.remove("gone")
        body = b'{"values": {"pm25": 1}}'
        broker.send(publish("devices/gone/readings", body, version=V, qos=1, packet_id=9), message(1))
        await eventually(lambda: bytes(broker.got) == pubacks(9, 1))

        assert it.log.tallies() == {("-", "quarantined", "unknown_device"): 1, ("air-01", "accepted", "ok"): 1}


async def test_a_device_added_just_now_is_known_at_its_first_message() -> None:
    registry = FakeRegistry.of("air-01")
    settings = FAST.model_copy(update={"registry_poll_seconds": 60.0})
    async with scripted() as (broker, mqtt), running(mqtt, registry=registry, settings=settings) as it:
        await asyncio.sleep(0.3)  # older than what the gateway calls fresh
        registry.add("new")
        broker.send(publish("devices/new/readings/pm25", b"3", version=V, qos=1, packet_id=1))
        await eventually(lambda: bytes(broker.got) == pubacks(1))

        assert it.log.tallies() == {("new", "accepted", "ok"): 1}


async def test_qos_2_is_received_once_and_released() -> None:
    log = FakeLog()
    async with scripted() as (broker, mqtt), running(mqtt, log=log, settings=FAST):
        broker.session_present = True
        broker.send(message(7, qos=2))
        await eventually(lambda: bytes(broker.got) == bytes.fromhex("50020007"))
        broker.send(message(7, qos=2, dup=True))
        await eventually(lambda: bytes(broker.got) == bytes.fromhex("5002000750020007"))
        broker.drop()
        await eventually(lambda: broker.writer is not None)
        broker.send(message(7, qos=2, dup=True), bytes.fromhex("62020007"))
        await eventually(lambda: broker.got.endswith(bytes.fromhex("5002000770020007")))
        broker.send(message(7, qos=2))  # released: a new message that happens to say the same
        await eventually(lambda: log.received() == 2)

    assert len(log.rows()) == 1
    assert log.tallies() == {("air-01", "accepted", "ok"): 1, ("air-01", "duplicate", "repeated"): 1}


async def test_a_broker_that_breaks_the_protocol_is_left_and_met_again() -> None:
    async with scripted() as (broker, mqtt), running(mqtt, settings=FAST):
        with structlog.testing.capture_logs() as logs:
            broker.send(b"\x36\0")
            await eventually(lambda: broker.connections == 2)

    assert "broke the protocol: PUBLISH: QoS 3" in [e.get("detail") for e in logs]


async def test_a_silent_broker_is_given_up() -> None:
    async with scripted() as (broker, mqtt):
        broker.answers_pings = False
        async with running(mqtt.model_copy(update={"keepalive_seconds": 1}), settings=FAST):
            with structlog.testing.capture_logs() as logs:
                await eventually(lambda: broker.connections == 2)

    assert any("silent for" in e.get("detail", "") for e in logs)


async def test_log_time_never_goes_back_and_silence_has_heartbeats() -> None:
    ahead = LogEntry(4_000_000_000 * 10**9)  # an earlier run had its clock in 2096
    log = FakeLog(entries=[ahead.to_bytes()])
    settings = FAST.model_copy(update={"heartbeat_seconds": 0.05})
    async with scripted() as (broker, mqtt), running(mqtt, log=log, settings=settings):
        await eventually(lambda: len(log.entries) >= 3)
        broker.send(message(1))
        await eventually(lambda: bytes(broker.got) == pubacks(1))

    logged = [entry.logged for entry in log.decoded()]
    assert logged == sorted(logged)
    assert logged[0] == logged[-1] == ahead.logged


async def test_statuses_travel_to_the_ledger_with_tallies_and_quarantine() -> None:
    async with scripted() as (broker, mqtt), running(mqtt, settings=FAST) as it:
        broker.send(publish("devices/air-01/status", b"online", version=V, qos=1, packet_id=1), message(2))
        broker.send(publish(TOPIC, b"garbage", version=V, qos=1, packet_id=3))
        await eventually(lambda: sum(t.messages for t in it.ledger.tallies) == 3)

        assert [(s.device, s.online) for s in it.ledger.statuses] == [("air-01", True)]
        assert [q.payload for q in it.ledger.quarantined] == [b"garbage"]
        assert sum(t.received for t in it.ledger.tallies) == 3


def bookkeeper(log: FakeLog, ledger: FakeLedger) -> Bookkeeper:
    metrics = GatewayMetrics(CollectorRegistry())
    return Bookkeeper(log, ledger, settings=GatewaySettings(ledger_entries=3), clock=ManualClock(), metrics=metrics)


def entries(n: int) -> list[bytes]:
    tally = Tally("air-01", 20_000, "accepted", "ok", 2, 2, 4)
    return [LogEntry(i, tallies=(tally,), statuses=(DeviceStatus("air-01", True, i),)).to_bytes() for i in range(n)]


def test_the_bookkeeper_books_every_entry_once_and_in_few_transactions() -> None:
    log, ledger = FakeLog(entries=entries(7)), FakeLedger()

    assert bookkeeper(log, ledger).book_all() == 7
    assert bookkeeper(log, ledger).book_all() == 0

    assert ledger.bookings == 3
    assert add_up(ledger.tallies) == [Tally("air-01", 20_000, "accepted", "ok", 14, 14, 28)]
    assert (ledger.at, log.cursors) == (7, {"ledger": 7})


def test_the_bookkeeper_goes_by_the_catalogs_position_not_by_the_cursor() -> None:
    log, ledger = FakeLog(entries=entries(5), cursors={"ledger": 5}), FakeLedger(at=2)

    assert bookkeeper(log, ledger).book_all() == 3


def test_an_unreadable_entry_is_told_and_does_not_stop_the_books() -> None:
    blobs = entries(3)
    blobs[1] = blobs[1][:-1]
    log, ledger = FakeLog(entries=blobs), FakeLedger()

    with structlog.testing.capture_logs() as logs:
        bookkeeper(log, ledger).book_all()

    assert [e["position"] for e in logs if e["log_level"] == "error"] == [2]
    assert sum(t.messages for t in ledger.tallies) == 4
    assert ledger.at == 3


async def test_the_ledger_survives_a_catalog_that_is_away() -> None:
    ledger = FakeLedger(failures=["locked"] * 3)
    async with scripted() as (broker, mqtt), running(mqtt, ledger=ledger, settings=FAST):
        broker.send(message(1))
        await eventually(lambda: sum(t.messages for t in ledger.tallies) == 1)


@pytest.mark.parametrize("url", ["http://h", "mqtt://", "mqtt://h/path", "mqtt://h:99999", "nonsense"])
def test_an_impossible_broker_address_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        MqttSettings(url=url)


def test_addresses_have_default_ports() -> None:
    plain, tls = MqttSettings(url="mqtt://h"), MqttSettings(url="mqtts://h")

    assert (plain.host, plain.port, plain.uses_tls) == ("h", 1883, False)
    assert (tls.host, tls.port, tls.uses_tls) == ("h", 8883, True)


async def test_chaos_loses_nothing_and_stores_nothing_twice() -> None:
    """Connections drop and appends fail at random; a broker that resends what was not acknowledged gets all through."""
    rng = random.Random(5)
    log, total = FakeLog(), 300
    log.failures = ["locked" for _ in range(60)]
    async with scripted() as (broker, mqtt), running(mqtt, log=log, settings=FAST):
        broker.session_present = True
        open_ids = set(range(1, total + 1))
        deadline = asyncio.get_running_loop().time() + 60
        while open_ids and asyncio.get_running_loop().time() < deadline:
            await eventually(lambda: broker.writer is not None)
            broker.got.clear()
            broker.send(*(message(i, dup=True) for i in sorted(open_ids)[:40]))
            await asyncio.sleep(rng.random() * 0.05)
            durable = {int(v) for _, _, v in log.rows()}
            acked = {struct.unpack("!H", broker.got[at + 2 : at + 4])[0] for at in range(0, len(broker.got) - 3, 4)}
            assert acked <= durable
            open_ids -= acked
            if rng.random() < 0.5:
                broker.drop()
        assert not open_ids

    assert sorted(v for _, _, v in log.rows()) == [float(i) for i in range(1, total + 1)]


async def test_an_over_long_message_is_refused_and_acknowledged_and_stalls_nothing() -> None:
    """An honest broker of MQTT 3.1.1 would send it again on every connection, and nothing else behind it."""
    body = b"[" + b" " * 300_000 + b"]"
    async with scripted() as (broker, mqtt):
        narrow = mqtt.model_copy(update={"max_packet_bytes": 1024})
        async with running(narrow, settings=FAST) as it:
            broker.send(
                publish(TOPIC, body, version=V, qos=1, packet_id=1),
                publish(TOPIC, body, version=V, qos=2, packet_id=2),
                publish("devices/ghost/readings", body, version=V, qos=1, packet_id=3, retain=True),
                message(4),
            )
            await eventually(lambda: len(broker.got) == 16)

            assert sorted(broker.got[at : at + 4] for at in range(0, 16, 4)) == [
                *(pubacks(i) for i in (1, 3, 4)),
                bytes.fromhex("50020002"),
            ]
            assert it.log.tallies() == {
                ("air-01", "refused", "too_large"): 2,
                ("-", "refused", "too_large"): 1,
                ("air-01", "accepted", "ok"): 1,
            }
            assert it.log.received() == 4
            assert broker.connections == 1


async def test_qos_2_that_waits_over_a_reconnect_is_stored_once_and_answered_on_the_new_link() -> None:
    """Without a time of its own nothing but the packet id tells that it is the same message."""
    log = FakeLog(failures=["disk full"] * 1_000_000)
    timeless = publish(f"{TOPIC}/pm25", b"3", version=V, qos=2, packet_id=7)
    async with scripted() as (broker, mqtt):
        impatient = mqtt.model_copy(update={"keepalive_seconds": 1})  # a held link notices by its pings that it is lost
        async with running(impatient, log=log, settings=FAST):
            broker.session_present = True
            broker.send(timeless)
            await eventually(lambda: log.attempts > 1)
            broker.drop()
            await eventually(lambda: broker.writer is not None)
            broker.send(timeless)
            await asyncio.sleep(0.1)  # the new link takes it, and is not held for it
            assert not broker.got
            log.failures.clear()

            await eventually(lambda: bytes(broker.got) == bytes.fromhex("50020007"))

    assert log.received() == 1
    assert len(log.rows()) == 1


async def test_a_packet_id_of_a_new_session_is_not_answered_for_the_old_one() -> None:
    log = FakeLog(failures=["disk full"] * 1_000_000)
    async with scripted() as (broker, mqtt):
        impatient = mqtt.model_copy(update={"keepalive_seconds": 1})
        async with running(impatient, log=log, settings=FAST):
            broker.send(message(7, qos=2))
            await eventually(lambda: log.attempts > 1)
            broker.drop()
            await eventually(lambda: broker.writer is not None)
            other = publish(f"{TOPIC}/no2", b"3", version=V, qos=2, packet_id=7)
            broker.send(other)
            await asyncio.sleep(0.1)
            log.failures.clear()

            await eventually(lambda: bytes(broker.got) == bytes.fromhex("50020007"))

    assert log.received() == 2
    assert len(log.rows()) == 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"url": "mqtt://gw:secret@h:1884"}, ("mqtt://h:1884", "gw", "secret"), id="in the address"),
        pytest.param({"url": "mqtts://gw@h"}, ("mqtts://h", "gw", None), id="a user alone"),
        pytest.param({"url": "mqtt://g%40w:s%3Aecret%2F@h"}, ("mqtt://h", "g@w", "s:ecret/"), id="quoted"),
        pytest.param({"url": "mqtt://gw:se@c/ret@h"}, ("mqtt://h", "gw", "se@c/ret"), id="not quoted, as people write"),
        pytest.param(
            {"url": "mqtt://gw:secret@h", "username": "me", "password": "mine"},
            ("mqtt://h", "me", "mine"),
            id="what is set itself wins",
        ),
        pytest.param(
            {"url": "mqtt://gw:secret@h", "username": None}, ("mqtt://h", "gw", "secret"), id="nothing set is nothing"
        ),
    ],
)
def test_credentials_in_the_address_move_into_their_settings(
    given: dict[str, str | None], expected: tuple[str, str, str | None]
) -> None:
    mqtt = MqttSettings.model_validate(given)

    password = None if mqtt.password is None else mqtt.password.get_secret_value()
    assert (mqtt.url, mqtt.username, password) == expected


def test_a_password_in_the_address_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("URBANPULSE_MQTT__URL", "mqtt://gw:hush@h:1884")

    settings = load_settings(None)

    assert settings.mqtt.url == "mqtt://h:1884"
    assert settings.mqtt.username == "gw"
    assert "hush" not in f"{shown(settings)} {settings!r}"


@pytest.mark.parametrize("url", ["mqtt://gw:hush@h:99999", "http://gw:hush@h", "mqtt://gw:hush@"])
def test_a_wrong_address_is_refused_without_telling_its_password(url: str) -> None:
    with pytest.raises(ValidationError) as found:
        MqttSettings(url=url)

    assert "hush" not in f"{found.value} {found.value!r}"


def test_a_tally_that_cannot_be_read_is_told_and_the_others_are_booked() -> None:
    foreign = msgspec.msgpack.encode([1, 5, ReadingBatch.empty().to_columns(), [["?"]], [], []])
    log, ledger = FakeLog(entries=[zlib.crc32(foreign).to_bytes(4, "little") + foreign, *entries(2)]), FakeLedger()

    with structlog.testing.capture_logs() as logs:
        bookkeeper(log, ledger).book_all()

    assert [e["event"] for e in logs] == ["tally cannot be read: its messages are missing in the ledger"]
    assert sum(t.messages for t in ledger.tallies) == 4
    assert ledger.at == 3
