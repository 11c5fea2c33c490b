"""A scenario played by true devices: the same messages at every speed and in parts, and nothing lost on the way."""

from __future__ import annotations

import asyncio
import json
import random
import re
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from core.errors import Unavailable
from simulators import Broker, Progress, SimulatorSettings
from simulators.labels import Label, LabelClass
from simulators.layout import City, city
from simulators.reports import Grid
from simulators.run import ScenarioRun, Summary, run_scenario
from simulators.scenarios import Scenario, load_scenario
from simulators.script import Script
from simulators.wire import wire_format
from simulators.world import World
from urbanpulse.certs import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from core.city import Device

START = 1_774_000_000_000_000_000
SEED = 11
CALM = """
title = "calm"
hours = 0.2
interval_seconds = 10
devices = 20
"""
WRONG = """
title = "all that changes what is sent"
hours = 0.2
interval_seconds = 10
devices = 20

[[fault]]
what = "duplicates"
at = "2m"
for = "4m"
count = 3

[[fault]]
what = "reordering"
at = "2m"
for = "4m"
count = 3

[[fault]]
what = "malformed"
at = "2m"
for = "4m"
count = 3

[[outage]]
at = "3m"
for = "3m"
count = 4
"""


@pytest.fixture(scope="module")
def town() -> City:
    return city(SEED, 20)


@pytest.fixture
def wrong(tmp_path: Path, town: City) -> Scenario:
    return scenario(tmp_path, town, WRONG)


@pytest.fixture
def calm(tmp_path: Path, town: City) -> Scenario:
    return scenario(tmp_path, town, CALM)


def scenario(folder: Path, town: City, text: str) -> Scenario:
    file = folder / "played.toml"
    file.write_text(text)
    return load_scenario(file, town, SEED, START)


class Listener:
    """A subscriber to everything, whose session outlives the broker: an independent witness of what arrived."""

    def __init__(self, broker: Broker) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self._ready = self._asked = False
        self._client = Client(CallbackAPIVersion.VERSION2, "listener", clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        if broker.tls is not None:
            self._client.tls_set_context(broker.tls)
        self._client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self._client.on_subscribe = self._subscribed
        self._client.on_message = self._heard
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()

    def _subscribed(self, *_: Any) -> None:
        self._ready = True

    def _heard(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        self.messages.append((message.topic, bytes(message.payload)))

    def has_all(self) -> bool:
        """Tell whether what was acknowledged before the first call has arrived: a word of our own comes after it."""
        if not self._asked:
            self._client.publish("end", b"", 1)
            self._asked = True
        return ("end", b"") in list(self.messages)

    @property
    def ready(self) -> bool:
        return self._ready

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def said(self) -> set[tuple[str, bytes]]:
        """Return every message but those about devices themselves, once."""
        return {
            (topic, payload)
            for topic, payload in list(self.messages)
            if topic != "end" and not topic.endswith("/status")
        }

    def readings(self) -> set[tuple[str, int, int, str]]:
        """Return (device, time, number, values) of all readings that are well-formed JSON of ours."""
        found = set()
        for topic, payload in self.said():
            try:
                said = json.loads(payload)
                for item in said if isinstance(said, list) else [said]:
                    values = json.dumps(item["values"], sort_keys=True)
                    found.add((topic.split("/")[1], item["ts"], item["seq"], values))
            except (ValueError, TypeError, KeyError):
                continue
        return found


@pytest.fixture
def listen(until: Any) -> Iterator[Any]:
    """Return a coroutine function that opens a listener which is closed at the test's end."""
    opened: list[Listener] = []

    async def opening(broker: Broker) -> Listener:
        listener = Listener(broker)
        opened.append(listener)
        await until(lambda: listener.ready)
        return listener

    yield opening
    for listener in opened:
        listener.close()


def make_run(scenario: Scenario, town: City, broker: Broker, clock: Any, **options: Any) -> ScenarioRun:
    devices: Sequence[Device] = options.pop("devices", town.devices)
    wire = options.pop("wire", "json")
    told = {
        "speed": options.pop("speed", 3600.0),
        "credentials": options.pop("credentials", {}),
        "on_label": options.pop("on_label", lambda _: None),
        "live": options.pop("live", False),
    }
    settings = SimulatorSettings(
        **{"reconnect_min_seconds": 0.05, "reconnect_max_seconds": 0.2, "keepalive_seconds": 5} | options
    )
    return ScenarioRun(
        scenario,
        World(SEED, town.devices, scenario.events),
        devices,
        wire=wire_format(wire, devices, SEED),
        persistent=wire != "sparkplug",
        settings=settings,
        broker=broker,
        clock=clock,
        rng=random.Random(1),
        labels=scenario.labels,
        **told,
    )


async def play(run: ScenarioRun, clock: Any, stop: asyncio.Event | None = None, show: Any = None) -> Summary:
    return await run_scenario(run, clock=clock, stop=stop or asyncio.Event(), progress=show or (lambda _: None))


async def test_speed_and_parts_change_neither_a_byte_nor_a_message(
    start_broker: Any, listen: Any, clock: Any, wrong: Scenario, town: City, until: Any
) -> None:
    """One message a report, so that packing is equal; faults and a broken connection in the middle."""
    broker = start_broker("mosquitto")
    heard: list[set[tuple[str, bytes]]] = []
    for speed, parts in ((600.0, 1), (3600.0, 1), (7200.0, 2)):
        listener = await listen(broker.address)
        runs = [
            make_run(
                wrong, town, broker.address, clock, speed=speed, devices=town.devices[k::parts], message_seconds=0.001
            )
            for k in range(parts)
        ]
        summaries = await asyncio.gather(*(play(run, clock) for run in runs))

        await until(listener.has_all)
        assert [summary.lost for summary in summaries] == [0] * parts
        heard.append(listener.said())
        listener.close()

    assert len(heard[0]) > 20 * 60
    assert heard[1] == heard[0]
    assert heard[2] == heard[0]


async def test_a_run_that_packs_says_the_same_readings(
    start_broker: Any, listen: Any, clock: Any, wrong: Scenario, town: City, until: Any
) -> None:
    broker = start_broker("mosquitto")
    heard = []
    for speed, seconds in ((600.0, 0.001), (600.0, 1.0), (3600.0, 1.0)):
        listener = await listen(broker.address)
        run = make_run(wrong, town, broker.address, clock, speed=speed, message_seconds=seconds)
        summary = await play(run, clock)

        await until(listener.has_all)
        heard.append((run.pack, summary.numbers.messages, listener.readings()))
        listener.close()

    assert [pack for pack, _, _ in heard] == [1, 60, 100]
    assert heard[0][1] > 3 * heard[1][1] > 3 * heard[2][1] > 0
    assert heard[1][2] == heard[0][2]
    assert heard[2][2] == heard[0][2]
    assert len(heard[0][2]) > 20 * 60


async def test_another_seed_says_something_else(calm: Scenario, town: City) -> None:
    def said(seed: int) -> list[Any]:
        device = town.devices[0].id
        world = World(seed, town.devices)
        grid = Grid(seed, device, calm.interval_seconds, 0.4)
        run = range(grid.first_after(calm.start), grid.first_after(calm.end))
        script = Script(world, calm.plan, grid, run, first=7, stretch=16)
        found = []
        while script.due is not None:
            found.append(script.say())
        return found

    assert said(1) == said(1)
    assert len(said(1)) in {71, 72, 73}
    assert said(1) != said(2)


@pytest.mark.parametrize("secure", [False, True], ids=["plain TCP", "TLS"])
async def test_a_broker_that_is_killed_in_the_middle_loses_nothing(
    start_broker: Any, listen: Any, clock: Any, tmp_path: Path, until: Any, *, secure: bool
) -> None:
    """Fifty devices, killed with -9 and started again; a listener with a session of its own counts what arrives."""
    town = city(SEED, 50)
    played = scenario(tmp_path, town, CALM)
    tls, options = None, {}
    if secure:
        tls, files = certificates(tmp_path)
        options = {"tls": files}
    broker = start_broker("nats", **options)
    address = Broker("127.0.0.1", broker.port, tls)
    listener = await listen(address)
    run = make_run(played, town, address, clock, speed=200.0, message_seconds=0.05)
    task = asyncio.create_task(play(run, clock))
    await until(lambda: run.fleet.numbers.acked > 300)
    broker.stop()
    await until(lambda: run.fleet.connected == 0)
    await until(lambda: run.fleet.stored > 50)
    broker.start()
    summary = await task

    assert (summary.finished, summary.lost, summary.unsent) == (True, 0, 0)
    assert summary.numbers.reconnects >= 50
    assert summary.numbers.acked == summary.numbers.published == expected(played, town)
    await until(lambda: len(listener.readings()) >= expected(played, town))
    assert len(listener.readings()) == expected(played, town)


async def test_an_outage_of_a_gateway_is_seen_as_last_wills_and_then_as_a_backlog(
    start_broker: Any, watch: Any, clock: Any, wrong: Scenario, town: City, until: Any
) -> None:
    broker = start_broker("mosquitto")
    watcher = watch(broker.port)
    shown: list[Progress] = []
    run = make_run(wrong, town, broker.address, clock, speed=100.0, message_seconds=0.001)

    summary = await play(run, clock, show=shown.append)

    (outage,) = wrong.outages
    assert len(outage.devices) == 4
    for device in outage.devices:
        status = f"devices/{device}/status"
        await until(lambda topic=status: len(watcher.on(topic)) >= 4)
        assert watcher.on(status) == [b"online", b"offline", b"online", b"offline"]
    away = [p for p in shown if p.phase == "live" and p.connected < p.devices]
    assert {progress.devices - progress.connected for progress in away} >= {len(outage.devices)}
    assert summary.numbers.reconnects == len(outage.devices)
    assert summary.lost == 0
    assert summary.faults == {
        "duplicates": 3, "late_backlog": len(outage.devices), "malformed": 3, "reordering": 3
    }  # fmt: skip


async def test_labels_are_told_when_the_world_reaches_them(
    start_broker: Any, clock: Any, wrong: Scenario, town: City
) -> None:
    broker = start_broker("mosquitto")
    told: list[Label] = []
    run = make_run(wrong, town, broker.address, clock, speed=30.0, on_label=told.append)
    stop = asyncio.Event()
    active: set[str] = set()

    def show(progress: Progress) -> None:
        active.update(progress.faults)
        if told:
            stop.set()

    summary = await play(run, clock, stop, show)

    assert 0 < len(told) < len(wrong.labels)
    assert told == list(wrong.labels[: len(told)])
    assert all(label.kind is LabelClass.FAULT and label.start <= summary.end for label in told)
    assert active >= {f"{told[0].what} {told[0].device} {told[0].metric}"}
    assert not summary.finished
    assert summary.end < wrong.end


async def test_a_broker_that_cannot_follow_slows_the_world_down_and_drops_nothing(
    start_broker: Any, clock: Any, calm: Scenario, town: City
) -> None:
    broker = start_broker("mosquitto")
    run = make_run(
        calm, town, broker.address, clock, speed=1_000_000.0, message_seconds=1e-9, backlog_messages=4, device_window=1
    )

    summary = await play(run, clock)

    assert summary.numbers.acked == summary.numbers.messages == expected(calm, town)
    assert summary.effective_speed < 500_000
    assert summary.lost == 0


async def test_a_live_world_keeps_our_time_and_loses_no_report_from_before_all_were_connected(
    start_broker: Any, listen: Any, clock: Any, tmp_path: Path, town: City, until: Any
) -> None:
    broker = start_broker("mosquitto")
    file = tmp_path / "live.toml"
    file.write_text(CALM)
    played = load_scenario(file, town, SEED, clock.now_ns() - 20_000_000_000, hours=0.01, interval_seconds=1.0)
    listener = await listen(broker.address)
    run = make_run(played, town, broker.address, clock, speed=1.0, live=True)
    stop = asyncio.Event()
    lag: list[float] = []

    def show(progress: Progress) -> None:
        behind = (clock.now_ns() - run.pace.now()) / 1e9
        if progress.phase == "live" and run.fleet.numbers.acked > 20 * 21 and behind < 10:  # of 20 s that had gone by
            lag.append(behind)
            stop.set()

    summary = await play(run, clock, stop, show)

    assert summary.lost == 0
    assert lag, "it never kept our time"
    await until(listener.has_all)
    assert len(listener.readings()) == summary.numbers.acked
    assert min(at for _, at, _, _ in listener.readings()) < played.start // 1_000_000 + 2000


@pytest.mark.parametrize("wire", ["senml", "chirpstack", "ttn", "ultralight", "line"])
async def test_every_format_is_spoken_and_acknowledged(
    start_broker: Any, listen: Any, clock: Any, calm: Scenario, town: City, wire: str, until: Any
) -> None:
    broker = start_broker("nats")
    listener = await listen(broker.address)
    run = make_run(calm, town, broker.address, clock, wire=wire)

    summary = await play(run, clock)

    assert (summary.lost, summary.numbers.acked) == (0, expected(calm, town))
    await until(listener.has_all)
    assert len(listener.messages) > summary.numbers.messages  # and a word of the listener's own


async def test_what_goes_out_with_qos_0_is_counted_as_unconfirmed(
    start_broker: Any, listen: Any, clock: Any, calm: Scenario, town: City, until: Any
) -> None:
    broker = start_broker("mosquitto")
    listener = await listen(broker.address)

    summary = await play(make_run(calm, town, broker.address, clock, wire="sparkplug"), clock)

    assert (summary.numbers.acked, summary.numbers.unconfirmed, summary.lost) == (0, expected(calm, town), 0)
    await until(lambda: sum("DATA" in topic for topic, _ in listener.messages) == summary.numbers.messages)


async def test_a_broker_that_lets_nobody_in_ends_the_run_with_its_reason(
    start_broker: Any, clock: Any, calm: Scenario, town: City
) -> None:
    broker = start_broker("nats", password_for={town.devices[0].id: "right"})
    wrong = dict.fromkeys((device.id for device in town.devices), "wrong")
    run = make_run(calm, town, broker.address, clock, credentials=wrong, give_up_seconds=5)

    with pytest.raises(ExceptionGroup) as raised:
        await play(run, clock)

    error = raised.value.exceptions[0]
    assert isinstance(error, Unavailable)
    assert f"mqtt://127.0.0.1:{broker.port}" in str(error)
    told = re.search(r"20 of 20 devices are not connected; the last refusal was: (\S+): Not authorized", str(error))
    assert told is not None, error
    assert told[1] in wrong
    assert run.summary().numbers.published == 0


async def test_nobody_at_the_address_is_told_too(clock: Any, calm: Scenario, town: City, free_port: Any) -> None:
    run = make_run(calm, town, Broker("127.0.0.1", free_port()), clock, give_up_seconds=3)

    with pytest.raises(ExceptionGroup) as raised:
        await play(run, clock)

    assert "Connection refused" in str(raised.value.exceptions[0])


async def test_one_device_that_is_refused_is_named(start_broker: Any, clock: Any, calm: Scenario, town: City) -> None:
    passwords = {device.id: "right" for device in town.devices}
    broker = start_broker("nats", password_for=passwords)
    bad = town.devices[-1].id
    run = make_run(calm, town, broker.address, clock, credentials=passwords | {bad: "wrong"}, give_up_seconds=5)

    with pytest.raises(ExceptionGroup) as raised:
        await play(run, clock)

    assert f"1 of 20 devices are not connected; the last refusal was: {bad}: " in str(raised.value.exceptions[0])


async def test_a_broker_that_stays_away_ends_the_run_after_a_while(
    start_broker: Any, clock: Any, calm: Scenario, town: City, until: Any
) -> None:
    broker = start_broker("mosquitto")
    run = make_run(
        calm, town, broker.address, clock, speed=200.0, stall_seconds=5, backlog_messages=30, message_seconds=0.001
    )
    task = asyncio.create_task(play(run, clock))
    await until(lambda: run.fleet.numbers.acked > 20)
    broker.stop()

    with pytest.raises(ExceptionGroup) as raised:
        await task

    assert "nothing moved for 5 s; 20 of 20 devices are not connected" in str(raised.value.exceptions[0])
    summary = run.summary()
    assert summary.lost > 0
    assert not summary.finished


def expected(scenario: Scenario, town: City) -> int:
    """Return how many reports a scenario without faults has: one a slot and device."""
    grids = [Grid(SEED, device.id, scenario.interval_seconds, 0.4) for device in town.devices]
    return sum(grid.first_after(scenario.end) - grid.first_after(scenario.start) for grid in grids)


def certificates(folder: Path) -> tuple[ssl.SSLContext, tuple[Path, Path]]:
    """Return what a client needs to trust the broker, and the broker's certificate and key."""
    authority = Authority(folder / "ca")
    authority.create("Test", datetime.now(UTC), 2)
    authority.issue("broker", datetime.now(UTC), 1, ["127.0.0.1", "localhost"])
    context = ssl.create_default_context(cafile=str(folder / "ca" / "ca.pem"))
    return context, (folder / "ca" / "broker.pem", folder / "ca" / "broker.key")
