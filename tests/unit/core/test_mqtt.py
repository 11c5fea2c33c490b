"""The MQTT codec: the same bytes as paho's, every truncation waits for more, every malformed packet says why."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.subscribeoptions import SubscribeOptions

from core.errors import MalformedPayload
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
    Will,
    ack,
    acks,
    connect,
    disconnect,
    pingreq,
    publish,
    subscribe,
)
from core.mqtt.wire import encode_length

V311, V5 = Version.V311, Version.V5
LEVELS = {V311: paho.MQTTv311, V5: paho.MQTTv5}


class Captured(paho.Client):
    """paho, whose packets end up in a list instead of a socket."""

    def __init__(self, version: Version, client_id: str = "gw", **options: Any) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id, protocol=LEVELS[version], **options)
        self.sent: list[bytes] = []
        self._sock = SimpleNamespace(close=lambda: None)  # only looked at: nothing is written

    def _packet_queue(self, _command: int, packet: bytes | bytearray, *_: Any) -> MQTTErrorCode:
        self.sent.append(bytes(packet))
        return MQTTErrorCode.MQTT_ERR_SUCCESS


def paho_connect(
    version: Version, *, properties: PahoProperties | None = None, clean: bool = False, **how: Any
) -> bytes:
    options: dict[str, Any] = {"clean_session": clean} if version is V311 else {}
    client = Captured(version, **options)
    if version is V5:
        client._clean_start = clean
        client._connect_properties = properties
    if "username" in how:
        client.username_pw_set(how["username"], how.get("password"))
    if "will" in how:
        will = how["will"]
        client.will_set(will.topic, will.payload, will.qos, will.retain)
    client._send_connect(60)
    return client.sent[0]


WILL = Will("devices/air-01/status", b"offline", qos=1, retain=True)


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize(
    "how",
    [
        pytest.param({}, id="anonymous"),
        pytest.param({"username": "ашгабат"}, id="a user name without password"),
        pytest.param({"username": "gw", "password": "s3cret"}, id="with credentials"),
        pytest.param({"username": "gw", "password": "s3cret", "will": WILL}, id="with credentials and a will"),
        pytest.param({"will": Will("t", b"")}, id="with an empty will"),
    ],
)
@pytest.mark.parametrize("clean", [True, False])
def test_connect_is_what_paho_sends(version: Version, how: dict[str, Any], clean: bool) -> None:
    ours = dict(how)
    if "password" in ours:
        ours["password"] = ours["password"].encode()

    packet = connect("gw", version=version, clean_start=clean, **ours)

    assert paho_connect(version, clean=clean, **how) == packet


def test_connect_of_version_5_carries_properties_as_paho_does() -> None:
    properties = PahoProperties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 604_800
    properties.ReceiveMaximum = 10_000
    properties.MaximumPacketSize = 1 << 24

    packet = connect(
        "gw",
        version=V5,
        clean_start=False,
        properties={
            "session_expiry_interval": 604_800,
            "receive_maximum": 10_000,
            "maximum_packet_size": 1 << 24,
        },
    )

    assert paho_connect(V5, properties=properties) == packet


@pytest.mark.parametrize("version", [V311, V5])
def test_subscribe_is_what_paho_sends(version: Version) -> None:
    client = Captured(version)
    topics = [("devices/#", 1), ("a/+/b", 2)]
    sent = [(t, SubscribeOptions(q)) for t, q in topics] if version is V5 else topics
    client._send_subscribe(False, [(t.encode(), q) for t, q in sent])

    packet = subscribe(1, topics, version=version)

    assert client.sent[0] == packet


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_384, 2_097_152])
def test_publish_is_what_paho_sends(version: Version, qos: int, size: int) -> None:
    client = Captured(version)
    client._send_publish(7, b"devices/a/readings", b"x" * size, qos, True, True)

    packet = publish("devices/a/readings", b"x" * size, version=version, qos=qos, packet_id=7, retain=True, dup=True)

    assert client.sent[0] == packet


@pytest.mark.parametrize("version", [V311, V5])
def test_acknowledgements_and_the_rest_are_what_paho_sends(version: Version) -> None:
    client = Captured(version)
    for send in (client._send_puback, client._send_pubrec, client._send_pubrel, client._send_pubcomp):
        send(513)
    client._send_pingreq()
    client._send_disconnect()

    ours = [ack(kind, 513) for kind in (Kind.PUBACK, Kind.PUBREC, Kind.PUBREL, Kind.PUBCOMP)]
    ours += [pingreq(), disconnect(version)]

    assert client.sent == ours


def test_acks_in_one_piece_are_single_acks_in_a_row() -> None:
    assert acks(Kind.PUBACK, [b"\0\1", b"\2\1"]) == ack(Kind.PUBACK, 1) + ack(Kind.PUBACK, 513)
    assert acks(Kind.PUBACK, []) == b""


def test_disconnect_of_version_5_carries_a_reason() -> None:
    assert disconnect(V5, 4).hex() == "e00104"


def feed(version: Version, *pieces: bytes, max_packet_bytes: int = 1 << 20) -> tuple[PublishRun, list[Packet]]:
    reader, run, packets = Reader(version, max_packet_bytes=max_packet_bytes), PublishRun(), []
    for piece in pieces:
        packets += reader.feed(piece, run)
    return run, packets


def columns(run: PublishRun) -> tuple[list[bytes], list[bytes], list[bytes]]:
    return run.topics, run.payloads, run.packet_ids


ALL_PROPERTIES: dict[str, Any] = {
    "payload_format_indicator": 1,
    "message_expiry_interval": 60,
    "content_type": "application/json",
    "response_topic": "r",
    "correlation_data": b"\1\2",
    "subscription_identifier": [200],
    "user_property": [("a", "b"), ("a", "ü")],
}

RARE: list[Any] = [
    pytest.param(V311, bytes.fromhex("20020100"), Connack(True, 0), id="CONNACK 3.1.1 with a session"),
    pytest.param(V311, bytes.fromhex("20020005"), Connack(False, 5), id="CONNACK 3.1.1 not authorised"),
    pytest.param(V5, bytes.fromhex("20020001"), Connack(False, 1), id="CONNACK of a broker that has no version 5"),
    pytest.param(V5, bytes.fromhex("2003000000"), Connack(False, 0), id="CONNACK 5 without properties"),
    pytest.param(
        V5,
        bytes.fromhex("200b0000 08 13003c 21000a 2401".replace(" ", "")),
        Connack(False, 0, {"server_keep_alive": 60, "receive_maximum": 10, "maximum_qos": 1}),
        id="CONNACK 5 with properties",
    ),
    pytest.param(V311, bytes.fromhex("9004000101 80".replace(" ", "")), Suback(1, (1, 0x80)), id="SUBACK 3.1.1"),
    pytest.param(V5, bytes.fromhex("900400010001"), Suback(1, (1,)), id="SUBACK 5"),
    pytest.param(V311, bytes.fromhex("62020102"), Ack(Kind.PUBREL, 258), id="PUBREL 3.1.1"),
    pytest.param(V5, bytes.fromhex("62020102"), Ack(Kind.PUBREL, 258), id="PUBREL 5, short"),
    pytest.param(V5, bytes.fromhex("6203010292"), Ack(Kind.PUBREL, 258, 0x92), id="PUBREL 5 with a code"),
    pytest.param(V5, bytes.fromhex("620401029200"), Ack(Kind.PUBREL, 258, 0x92), id="PUBREL 5, long"),
    pytest.param(V5, bytes.fromhex("40020001"), Ack(Kind.PUBACK, 1), id="PUBACK 5"),
    pytest.param(V311, bytes.fromhex("d000"), Pingresp(), id="PINGRESP"),
    pytest.param(V5, bytes.fromhex("e000"), Disconnect(), id="DISCONNECT 5, short"),
    pytest.param(
        V5,
        bytes.fromhex("e007 8b 05 1f 0002 6869".replace(" ", "")),
        Disconnect(0x8B, {"reason_string": "hi"}),
        id="DISCONNECT 5 with a text",
    ),
    *[
        pytest.param(
            version,
            publish(
                b"t/x",
                b"body",
                version=version,
                qos=qos,
                packet_id=9,
                retain=retain,
                dup=dup,
                properties=ALL_PROPERTIES,
            ),
            Publish(b"t/x", b"body", qos, 9 if qos else 0, retain, dup, ALL_PROPERTIES if version is V5 else {}),
            id=f"PUBLISH {version.name} QoS {qos} retain {retain} dup {dup}",
        )
        for version in (V311, V5)
        for qos, retain, dup in ((2, False, False), (2, True, True), (1, True, False), (0, True, False))
    ],
]


@pytest.mark.parametrize(("version", "raw", "expected"), RARE)
def test_a_packet_is_read_back(version: Version, raw: bytes, expected: Packet) -> None:
    run, packets = feed(version, raw)

    assert [expected] == packets
    assert not run.topics


@pytest.mark.parametrize(("version", "raw", "expected"), RARE)
def test_every_truncation_waits_for_more(version: Version, raw: bytes, expected: Packet) -> None:
    for cut in range(len(raw)):
        reader, run = Reader(version, max_packet_bytes=1 << 20), PublishRun()

        assert reader.feed(raw[:cut], run) == []
        assert reader.feed(raw[cut:], run) == [expected]


@pytest.mark.parametrize("version", [V311, V5])
def test_plain_messages_become_columns_however_they_arrive(version: Version) -> None:
    raw = b"".join(
        publish(
            f"devices/d{i}/readings",
            b"p" * i,
            version=version,
            qos=i % 2,
            packet_id=i + 1,
            dup=bool(i % 3 == 0 and i % 2),
            properties={"user_property": [("k", "v")]} if i % 5 == 0 else {},
        )
        for i in range(300)
    )

    whole, _ = feed(version, raw)
    dripped, _ = feed(version, *(raw[i : i + 1] for i in range(len(raw))))
    lumps, _ = feed(version, *(raw[i : i + 333] for i in range(0, len(raw), 333)))

    assert columns(whole) == (
        [b"devices/d%d/readings" % i for i in range(300)],
        [b"p" * i for i in range(300)],
        [struct.pack("!H", i + 1) for i in range(1, 300, 2)],
    )
    assert columns(dripped) == columns(whole) == columns(lumps)


def test_the_fast_path_reads_what_the_slow_path_reads() -> None:
    for version in (V311, V5):
        for properties in ({}, ALL_PROPERTIES):
            raw = publish(b"a/b", b"xyz", version=version, qos=1, packet_id=300, properties=properties)
            retained = bytes([raw[0] | 1]) + raw[1:]

            run, _ = feed(version, raw)
            _, (slow,) = feed(version, retained)

            assert isinstance(slow, Publish)
            assert (run.topics[0], run.payloads[0], run.packet_ids[0]) == (
                slow.topic,
                slow.payload,
                struct.pack("!H", slow.packet_id),
            )


MALFORMED: list[Any] = [
    pytest.param(V311, "0000", "packet type 0 with flags 0: not MQTT", id="type 0"),
    pytest.param(V5, "f000", "AUTH: a broker does not send that in MQTT 5", id="AUTH that nobody asked for"),
    pytest.param(V311, "e000", "DISCONNECT: a broker does not send that in MQTT 3.1.1", id="DISCONNECT in 3.1.1"),
    pytest.param(V311, "1000", "CONNECT: a broker does not send that in MQTT 3.1.1", id="CONNECT from a broker"),
    pytest.param(V311, "21020000", "packet type 2 with flags 1: not MQTT", id="flags where none belong"),
    pytest.param(V311, "6002000a", "packet type 6 with flags 0: not MQTT", id="PUBREL without its flag"),
    pytest.param(V311, "30ffffffff7f", "remaining length: more than four bytes", id="an endless length"),
    pytest.param(V311, "90808040", "SUBACK of 1048576 bytes: at most 1000", id="a packet that is too long"),
    pytest.param(
        V311, "3080804000000000", "PUBLISH topic: empty, and no topic alias was agreed", id="long, empty topic"
    ),
    pytest.param(V311, "32808040000161 0000".replace(" ", ""), "PUBLISH packet id: 0", id="long, packet id 0"),
    pytest.param(V311, "36808040000161 0001".replace(" ", ""), "PUBLISH: QoS 3", id="long, QoS 3"),
    pytest.param(V311, "30e907 0fff".replace(" ", ""), "PUBLISH topic: cut short", id="long, its topic longer"),
    pytest.param(V311, "200100", "CONNACK: cut short", id="CONNACK of one byte"),
    pytest.param(V311, "20020200", "CONNACK flags: 0x02", id="CONNACK with reserved flags"),
    pytest.param(V311, "2003000000", "CONNACK: 1 bytes too many", id="CONNACK with more behind it"),
    pytest.param(V5, "200400000000", "CONNACK: 1 bytes too many", id="CONNACK 5 with more behind it"),
    pytest.param(V5, "20050000020400", "CONNACK: unknown property 0x04", id="an unknown property"),
    pytest.param(V5, "20060000 03130000".replace(" ", ""), None, id="a property that is whole"),
    pytest.param(V5, "200500000213ff", "CONNACK server_keep_alive: cut short", id="a property cut short"),
    pytest.param(
        V5, "200900000613000113 0002".replace(" ", ""), "CONNACK: server_keep_alive given twice", id="given twice"
    ),
    pytest.param(V5, "20030000 05".replace(" ", ""), "CONNACK properties: 5 bytes announced, 0 there", id="short list"),
    pytest.param(
        V5,
        "e005 8b 03 1f 0009".replace(" ", ""),
        "DISCONNECT reason_string: 9 bytes announced, 0 there",
        id="a text cut short",
    ),
    pytest.param(V5, "e006 8b 04 1f 0001 ff".replace(" ", ""), "DISCONNECT reason_string: not UTF-8", id="not UTF-8"),
    pytest.param(V5, "e006 8b 04 1f 0001 00".replace(" ", ""), "DISCONNECT reason_string: holds a NUL", id="a NUL"),
    pytest.param(V311, "40020000", "PUBACK packet id: 0", id="packet id 0"),
    pytest.param(V311, "400101", "PUBACK packet id: cut short", id="half a packet id"),
    pytest.param(V311, "4003000100", "PUBACK: 1 bytes too many", id="PUBACK 3.1.1 with a code"),
    pytest.param(V5, "4005 0001 00 00 00".replace(" ", ""), "PUBACK: 1 bytes too many", id="PUBACK 5 with more"),
    pytest.param(V311, "90020001", "SUBACK: no codes", id="SUBACK without codes"),
    pytest.param(V311, "d00100", "PINGRESP: 1 bytes too many", id="PINGRESP with a body"),
    pytest.param(V311, "3600", "PUBLISH: QoS 3", id="QoS 3"),
    pytest.param(V311, "3000", "PUBLISH topic: cut short", id="PUBLISH of nothing"),
    pytest.param(V311, "300100", "PUBLISH topic: cut short", id="PUBLISH of one byte"),
    pytest.param(V311, "3003000561", "PUBLISH topic: cut short", id="a topic longer than its packet"),
    pytest.param(V311, "30020000", "PUBLISH topic: empty, and no topic alias was agreed", id="an empty topic"),
    pytest.param(V311, "3205000161 0000".replace(" ", ""), "PUBLISH packet id: 0", id="a message with packet id 0"),
    pytest.param(V311, "3203000161", "PUBLISH topic: cut short", id="a message without its packet id"),
    pytest.param(V5, "3003000161", "PUBLISH properties: cut short", id="a message of version 5 without properties"),
    pytest.param(V5, "3007 000161 03 23 0001".replace(" ", ""), "PUBLISH topic_alias: none was agreed", id="an alias"),
    pytest.param(
        V5, "3005 000161 01 04".replace(" ", ""), "PUBLISH: unknown property 0x04", id="unknown, in a message"
    ),
    pytest.param(
        V5,
        "3506 0001610001 02".replace(" ", ""),
        "PUBLISH properties: 2 bytes announced, 0 there",
        id="properties cut short, QoS 2",
    ),
    pytest.param(V311, "3400", "PUBLISH topic: cut short", id="QoS 2 of nothing"),
    pytest.param(V311, "3403000561", "PUBLISH topic: 5 bytes announced, 1 there", id="QoS 2, topic too long"),
    pytest.param(V311, "34020000", "PUBLISH topic: empty, and no topic alias was agreed", id="QoS 2, empty topic"),
    pytest.param(V311, "3405000161 0000".replace(" ", ""), "PUBLISH packet id: 0", id="QoS 2, packet id 0"),
    pytest.param(V5, "340a 000161 0001 03 23 0001".replace(" ", ""), None, id="a packet that is not yet whole"),
]


@pytest.mark.parametrize(("version", "raw", "message"), MALFORMED)
def test_malformed_packets_say_what_is_wrong(version: Version, raw: str, message: str | None) -> None:
    if message is None:
        feed(version, bytes.fromhex(raw), max_packet_bytes=1000)
        return

    with pytest.raises(MalformedPayload) as whole:
        feed(version, bytes.fromhex(raw), max_packet_bytes=1000)
    with pytest.raises(MalformedPayload) as dripped:
        feed(version, *(bytes([b]) for b in bytes.fromhex(raw)), max_packet_bytes=1000)

    assert (whole.value.reason, whole.value.detail) == ("bad_packet", message)
    assert dripped.value.detail == message


def test_a_packet_at_the_limit_passes_and_one_byte_more_does_not() -> None:
    raw = publish(b"t", b"x" * 997, version=V311)

    assert len(feed(V311, raw, max_packet_bytes=1000)[0]) == 1
    run, packets = feed(V311, raw, max_packet_bytes=999)
    assert len(run) == 0
    assert packets == [Publish(b"t", b"", unread=997)]


@pytest.mark.parametrize("version", list(Version))
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_an_over_long_message_is_skipped_and_the_next_one_read(version: Version, qos: int) -> None:
    long = publish(b"long", b"x" * 2000, version=version, qos=qos, packet_id=7, dup=qos > 0, retain=True)
    raw = long + publish(b"t", b"next", version=version)
    expected = [Publish(b"long", b"", qos, 7 if qos else 0, True, qos > 0, unread=2000 + (version is V5))]

    for size in (1, 2, 7, 1000, 5000):
        run, packets = feed(version, *(raw[at : at + size] for at in range(0, len(raw), size)), max_packet_bytes=1000)

        assert packets == expected
        assert run.payloads == [b"next"]


def test_nothing_of_an_over_long_message_is_kept() -> None:
    reader, run = Reader(V311, max_packet_bytes=1000), PublishRun()
    head = publish(b"t", b"", version=V311, qos=1, packet_id=1)[2:]
    reader.feed(b"\x32\xff\xff\xff\x7f" + head, run)  # 256 MB are announced

    for _ in range(100):
        assert reader.feed(bytes(100_000), run) == []
        assert not reader._rest


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(MalformedPayload, match="text of 65536 bytes: at most 65535"):
        publish(b"t" * 65_536, b"", version=V311)
    with pytest.raises(MalformedPayload, match="length 268435456: 0 to 268435455 expected"):
        encode_length(268_435_456)
