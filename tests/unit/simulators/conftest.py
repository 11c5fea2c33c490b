"""Real brokers on loopback, a real clock, and a watcher that sees what they pass on."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from simulators import Broker
from tests.stack import Stack, free_port
from tests.stack import until as until_true
from urbanpulse.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class BrokerProcess:
    """A broker that can be stopped and started again on the same port."""

    def __init__(
        self,
        kind: str,
        folder: Path,
        password_for: dict[str, str] | None = None,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self.port = free_port()
        self._config = folder / f"{kind}.conf"
        if kind == "mosquitto":
            program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
            if program is None:
                pytest.skip("mosquitto is not installed")
            self._config.write_text(
                f"listener {self.port} 127.0.0.1\nallow_anonymous true\nlog_dest none\n"
                "max_queued_messages 0\nmax_inflight_messages 0\n"
            )
        else:
            program = str(Path(sysconfig.get_path("scripts")) / "nats-server")
            secure = f', tls {{ cert_file: "{tls[0]}", key_file: "{tls[1]}" }}' if tls else ""
            users = "".join(f'{{user: "{u}", password: "{p}"}}\n' for u, p in (password_for or {}).items())
            self._config.write_text(
                f'server_name: test\nhost: "127.0.0.1"\nport: -1\njetstream {{ store_dir: "{folder}/js" }}\n'
                f'mqtt {{ host: "127.0.0.1", port: {self.port}, max_ack_pending: 20000 {secure} }}\n'
                + (f"authorization {{ users: [\n{users}] }}\n" if users else "")
            )
        self._command = [program, "-c", str(self._config)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> Broker:
        return Broker("127.0.0.1", self.port)

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until_true(lambda: Stack.is_open(self.port), f"the broker to start: {self._command}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Watcher:
    """An independent paho subscriber to everything below `devices/`. What the broker repeats (DUP) is heard once."""

    def __init__(self, port: int, user: str | None = None, password: str | None = None) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self._ready = False
        self._client = Client(CallbackAPIVersion.VERSION2, "watcher")
        if user is not None:
            self._client.username_pw_set(user, password)
        self._client.on_connect = lambda client, *_: client.subscribe("devices/#", 1)
        self._client.on_subscribe = self._subscribed
        self._client.on_message = self._message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        until_true(lambda: self._ready, "the subscription")

    def _subscribed(self, *_: Any) -> None:
        self._ready = True

    def _message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        heard = (message.topic, bytes(message.payload), message.retain)
        if not (message.dup and heard in self.messages):
            self.messages.append(heard)

    def on(self, topic: str) -> list[bytes]:
        return [payload for name, payload, _ in list(self.messages) if name == topic]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def clock() -> SystemClock:
    return SystemClock()


@pytest.fixture(params=["nats", "mosquitto"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BrokerProcess]:
    process = BrokerProcess(request.param, tmp_path)
    process.start()
    yield process
    process.stop()


@pytest.fixture
def start_broker(tmp_path: Path) -> Iterator[Callable[..., BrokerProcess]]:
    """Return a function that makes and starts a broker which is stopped at the test's end."""
    started: list[BrokerProcess] = []

    def start(kind: str, **options: Any) -> BrokerProcess:
        process = BrokerProcess(kind, tmp_path, **options)
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def watch() -> Iterator[Callable[..., Watcher]]:
    """Return a function that opens a watcher which is closed at the test's end."""
    opened: list[Watcher] = []

    def opening(port: int, **options: Any) -> Watcher:
        opened.append(Watcher(port, **options))
        return opened[-1]

    yield opening
    for watcher in opened:
        watcher.close()


async def wait_until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until *true* holds; fail after *seconds*."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)


@pytest.fixture
def until() -> Callable[..., Any]:
    """Return the coroutine function that waits until a condition holds."""
    return wait_until
