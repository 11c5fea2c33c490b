"""This module starts the real roles as processes for tests: own data folder, free ports, stopped by their handle."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["PM25_RULES", "Stack", "free_port", "listening", "until"]

PM25_RULES = """
[[rule]]
name = "pm25-test"
metric = "pm25"
above = 100
clear = 80
for = "0s"
clear_for = "0s"
priority = "high"
"""
"""A rule that one reading above 100 µg/m³ opens an alert by."""

VERBS = {"broker": "broker", "gateway": "gateway", "processor": "process", "api": "serve", "simulator": "simulate"}


def free_port() -> int:
    """Return a port that was free a moment ago, below those that the kernel lends to clients.

    One of theirs may be some client's again before it is listened on, here or in a test beside this one.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 32_768)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def until(condition: Callable[[], Any], what: str, *, seconds: float = 120.0) -> Any:
    """Wait until *condition* gives something true, and return that; fail naming *what* was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {seconds} s for: {what}"
        time.sleep(0.02)


@contextmanager
def listening(port: int, *, user: str = "", password: str = "", topics: str = "#") -> Iterator[list[tuple[str, bytes]]]:
    """Yield a list that grows by (topic, payload) of every message on *topics*; the subscription stands.

    What the broker repeats (DUP) is heard once.
    """
    heard: list[tuple[str, bytes]] = []
    ready: list[bool] = []

    def on_message(_client: Client, _userdata: Any, message: MQTTMessage) -> None:
        said = (message.topic, bytes(message.payload))
        if not (message.dup and said in heard):
            heard.append(said)

    client = Client(CallbackAPIVersion.VERSION2, "witness")
    if user:
        client.username_pw_set(user, password)
    client.on_connect = lambda c, *_: c.subscribe(topics, 1)
    client.on_subscribe = lambda *_: ready.append(True)
    client.on_message = on_message
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        until(lambda: ready, "the subscription")
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()


class Stack:
    """One installation below *folder*; use as a context manager."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.api_port, self.broker_port = free_port(), free_port()
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("URBANPULSE_")},
            "URBANPULSE_DATA_DIR": str(self.data),
            "URBANPULSE_API__PORT": str(self.api_port),
            "URBANPULSE_BROKER__PORT": str(self.broker_port),
            "PYTHONUNBUFFERED": "1",
            **{f"URBANPULSE_{name}": value for name, value in settings.items()},
        }
        self.roles: dict[str, subprocess.Popen[bytes]] = {}
        self._token = ""

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        for role in ("simulator", "gateway", "processor", "api", "broker"):
            if role in self.roles:
                self.stop(role)
        for role in list(self.roles):
            self.stop(role)

    # -- processes ---------------------------------------------------------------------------------------------------

    def command(self, *args: str, check: bool = True) -> str:
        """Run the command line and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "urbanpulse", *args],
            env=self.env, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert done.returncode == 0 or not check, f"urbanpulse {' '.join(args)}: {done.stderr}"
        return done.stdout if done.returncode == 0 else done.stderr

    def start(self, role: str, *args: str, program: list[str] | None = None) -> subprocess.Popen[bytes]:
        """Start *role* (or *program* under its name); what it says goes to `<role>.log`."""
        argv = program or [sys.executable, "-m", "urbanpulse", VERBS[role], *args]
        with (self.folder / f"{role}.log").open("ab") as out:
            self.roles[role] = subprocess.Popen(argv, env=self.env, stdout=out, stderr=subprocess.STDOUT)
        return self.roles[role]

    def start_all(self) -> None:
        """Start broker, gateway, processor and api, and wait until they are ready."""
        self.command("check-config")
        self.start("broker")
        until(lambda: self.is_open(self.broker_port), "the broker's port")
        for role in ("gateway", "processor", "api"):
            self.start(role)
        self.until_ready()

    def until_ready(self) -> None:
        """Wait until the api says that all its parts are well, and the gateway is connected."""
        until(lambda: self.get("/readyz", check=False, token="")[0] == 200, "the api to be ready")
        until(lambda: "connected to the broker" in self.log("gateway"), "the gateway to connect")

    def stop(self, role: str) -> None:
        """End *role* as an administrator would."""
        child = self.roles.pop(role)
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(60)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                raise AssertionError(f"{role} does not end: {self.log(role)[-2000:]}") from None

    def kill(self, role: str) -> None:
        """End *role* with -9."""
        child = self.roles.pop(role)
        child.kill()
        child.wait()

    def log(self, role: str) -> str:
        """Return what *role* has said so far."""
        file = self.folder / f"{role}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    @staticmethod
    def is_open(port: int) -> bool:
        """Tell whether something listens on *port*."""
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            return False
        return True

    # -- talking to it -----------------------------------------------------------------------------------------------

    @property
    def token(self) -> str:
        """Return the token of an admin key, made at first use."""
        if not self._token:
            self._token = json.loads(self.command("key", "add", "tests", "--role", "admin", "--json"))["token"]
        return self._token

    def device(self, name: str, kind: str = "air", district: str = "north") -> dict[str, str]:
        """Register a device and return its credentials."""
        found: dict[str, str] = json.loads(
            self.command("device", "add", name, "--kind", kind, "--district", district, "--json")
        )
        return found

    def get(self, path: str, *, check: bool = True, token: str | None = None) -> tuple[int, Any]:
        """GET *path*; return status and decoded body."""
        return self.call("GET", path, check=check, token=token)

    def call(
        self, method: str, path: str, body: Any = None, *, check: bool = True, token: str | None = None
    ) -> tuple[int, Any]:
        """Send a request; return status and decoded body."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.api_port}{path}", method=method)
        request.add_header("Authorization", f"Bearer {self.token if token is None else token}")
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, data, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            content = error.read()
            if check:
                raise AssertionError(f"{method} {path}: {error.code} {content.decode()}") from error
            return error.code, json.loads(content or b"null") if content.startswith(b"{") else None
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            if check:
                raise AssertionError(f"{method} {path}: no answer") from error
            return 0, None

    def items(self, path: str) -> list[dict[str, Any]]:
        """GET a list."""
        found: list[dict[str, Any]] = self.get(path)[1]["items"]
        return found

    def publish(
        self, user: str, password: str, topic: str, payload: str | bytes, *, qos: int = 1
    ) -> subprocess.CompletedProcess[bytes]:
        """Publish with Debian's client, the payload over standard input."""
        return subprocess.run(
            ["mosquitto_pub", "-p", str(self.broker_port), "-u", user, "-P", password,
             "-q", str(qos), "-t", topic, "-s"],
            input=payload.encode() if isinstance(payload, str) else payload,
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
