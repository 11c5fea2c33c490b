"""Every format through a real broker: paho sends, an independent paho subscriber takes, the decoders understand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from simulators.messages import Message
from simulators.wire import FORMATS, wire_format
from tests.decoders import DECODERS, SparkplugHost
from tests.stack import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from core.city import Device
    from simulators.messages import Emission

AT = 1_795_322_328_123_000_000


class Subscriber:
    """Hears everything, in order."""

    def __init__(self, port: int) -> None:
        self.heard: list[Message] = []
        self._ready = False
        self._client = Client(CallbackAPIVersion.VERSION2, "subscriber")
        self._client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self._client.on_subscribe = self._subscribed
        self._client.on_message = self._message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        until(lambda: self._ready, "subscribed")

    def _subscribed(self, *_: Any) -> None:
        self._ready = True

    def _message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        self.heard.append(Message(message.topic, bytes(message.payload), message.qos, message.retain))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def port(start_broker: Callable[..., Any]) -> int:
    """Return the port of a Mosquitto of this test's own."""
    return int(start_broker("mosquitto").port)


@pytest.fixture
def subscriber(port: int) -> Iterator[Subscriber]:
    """Return a subscriber to all topics."""
    subscriber = Subscriber(port)
    yield subscriber
    subscriber.close()


@pytest.fixture
def client(port: int) -> Iterator[Callable[[Message | None], Client]]:
    """Return a function that connects a device with a last will."""
    opened: list[Client] = []

    def connect(will: Message | None) -> Client:
        client = Client(CallbackAPIVersion.VERSION2, f"device-{len(opened)}")
        if will:
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        client.connect("127.0.0.1", port)
        client.loop_start()
        opened.append(client)
        until(client.is_connected, "connected")
        return client

    yield connect
    for one in opened:
        one.disconnect()
        one.loop_stop()


def send(client: Client, messages: list[Message]) -> None:
    for message in messages:
        client.publish(message.topic, message.payload, message.qos, message.retain).wait_for_publish(60)


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_broker_passes_on_is_what_the_world_said(
    name: str,
    subscriber: Subscriber,
    client: Callable[[Message | None], Client],
    devices: tuple[Device, ...],
    said: dict[str, tuple[Emission, ...]],
) -> None:
    device = devices[0]
    wire = wire_format(name, devices, 7)
    will = wire.will(device.id, AT)

    sent = [*wire.births(device.id, AT), *(m for emission in said[device.id] for m in wire.encode(emission))]
    sent += wire.farewell(device.id, AT)
    send(client(will), sent)
    until(lambda: len(subscriber.heard) >= len(sent), f"{len(sent)} messages")

    assert [(m.topic, m.payload, m.qos) for m in sent] == [(m.topic, m.payload, m.qos) for m in subscriber.heard]
    values = [one for one in DECODERS[name](subscriber.heard) if one.metric not in {"battery", "rssi"}]
    reports = [report for emission in said[device.id] for report in emission.reports]
    assert sorted((one.at, one.metric, one.value) for one in values) == sorted(
        (report.at // 1_000_000, metric, value) for report in reports for metric, value in report.values.items()
    )


def test_a_broker_tells_the_death_of_the_session_when_the_connection_breaks(
    subscriber: Subscriber, client: Callable[[Message | None], Client], devices: tuple[Device, ...]
) -> None:
    wire, host = wire_format("sparkplug", devices, 7), SparkplugHost()
    wire.will(devices[0].id, AT)  # an attempt that failed

    connected = client(wire.will(devices[0].id, AT))
    send(connected, list(wire.births(devices[0].id, AT)))
    until(lambda: len(subscriber.heard) == 2, "births")
    sock: Any = connected.socket()
    connected.loop_stop()
    sock.close()
    until(lambda: len(subscriber.heard) == 3, "death")
    for message in subscriber.heard:
        host.hear(message)

    assert (list(host.sessions.items()), [1]) == (host.deaths, list(host.sessions.values()))
