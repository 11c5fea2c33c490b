"""This module wires a replay to one installation: who publishes, with which credentials, and how it goes."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rich.console import Console

from core.city import Device
from core.clock import from_ns
from core.errors import SettingsError
from gateway.session import tls_context
from simulators import Broker, Choice, Recording, Stage, run_replay
from simulators.capture_replay import look_at_captures, run_capture_replay
from simulators.recordings import files_of, kind_of
from urbanpulse.clock import SystemClock
from urbanpulse.demo import register_devices
from urbanpulse.installation import prepare
from urbanpulse.roles.common import stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from simulators import Progress
    from simulators.capture_replay import CaptureOverview
    from simulators.recordings import Overview
    from simulators.replay import Replayed
    from urbanpulse.settings import Settings

__all__ = ["replay_files"]

_INTEGRATION = "integration"
"""The service of the embedded broker that may publish on the topics of others."""


@dataclass(frozen=True, slots=True)
class _Target:
    """Where to, and with which passwords; without an installation devices are the other broker's business."""

    broker: Broker
    credentials: dict[str, str]
    foreign_user: str = "urbanpulse-replay"


async def replay_files(
    settings: Settings,
    files: Sequence[Path],
    *,
    device: str = "",
    metric: str = "",
    speed: float = 0.0,
    shift: bool = False,
    skip_bad: bool = False,
    elsewhere: bool = False,
    credentials: Path | None = None,
    as_json: bool = False,
) -> None:
    """Publish the recordings or captures in *files* (folders, too) until done or stopped, and say how it went.

    *device* and *metric* name what a file does not, and choose where it does. *elsewhere*: the broker in *settings* was
    named on the command line, so nothing is registered with the platform, and devices without a password in the JSON
    file *credentials*, {device: password}, use its user.

    Raises:
        MalformedPayload: a bad row or line, named by file and line, unless *skip_bad*; or nothing to play.
        SettingsError: a file, a name or a number that cannot be; a device whose secret is not ours to know.
        Unavailable: the broker lets nobody in, or does not acknowledge.
    """
    stop, clock, tell = stop_on_signals(), SystemClock(), _Teller(as_json=as_json)
    stage = Stage(
        settings=settings.simulator,
        broker=Broker("", 0),
        credentials={},
        clock=clock,
        rng=random.Random(),  # noqa: S311 - spreads reconnects, guards nothing
        stop=stop,
        speed=speed or None,
        progress=tell,
    )
    given = _read_credentials(credentials)
    found = files_of(files)
    captures = [file for file in found if kind_of(file) == "capture"]
    if captures and len(captures) < len(found):
        raise SettingsError("replay", f"{captures[0]} is a capture: replay captures and recordings one after the other")
    limit = settings.simulator.replay_devices
    now_ms = clock.now_ns() // 1_000_000 * 1_000_000
    if captures:
        if metric:
            raise SettingsError("metric", "a capture is played as it was recorded: metrics cannot be chosen")
        overview = await asyncio.to_thread(
            look_at_captures, captures, device=device, max_devices=limit, skip_bad=skip_bad
        )
        target = await asyncio.to_thread(
            _target, settings, given, overview.devices, overview.foreign_topic, elsewhere=elsewhere
        )
        shift_ns = now_ms - overview.last if shift else 0
        result = await run_capture_replay(
            captures,
            overview,
            replace(stage, broker=target.broker, credentials=target.credentials),
            device=device,
            foreign_user=target.foreign_user,
            shift_ns=shift_ns,
        )
        tell.end(_facts(overview, result, shift_ns) | _capture_facts(overview, result))
        return
    recording = Recording(
        tuple(found),
        Choice(device, metric),
        window_rows=settings.simulator.replay_window_rows,
        max_devices=limit,
        skip_bad=skip_bad,
    )
    seen = await asyncio.to_thread(recording.look, tell.looking)
    target = await asyncio.to_thread(_target, settings, given, seen.devices, "", elsewhere=elsewhere)
    shift_ns = now_ms - seen.last if shift else 0
    result = await run_replay(
        recording, seen, replace(stage, broker=target.broker, credentials=target.credentials), shift_ns=shift_ns
    )
    tell.end(_facts(seen, result, shift_ns) | {"readings": result.sent, "bad_rows": seen.bad})


def _target(
    settings: Settings, given: dict[str, str], devices: Sequence[str], foreign_topic: str, *, elsewhere: bool
) -> _Target:
    """Return where the replay goes to; with a platform of our own unknown devices are registered."""
    address = settings.broker_address
    mqtt = settings.mqtt.model_copy(update={"url": address.url})
    login = None
    if not settings.embedded_broker and mqtt.username is not None:
        login = (mqtt.username, mqtt.password.get_secret_value() if mqtt.password else "")
    broker = Broker(address.host, address.port, tls_context(mqtt), login)
    if elsewhere:
        return _Target(broker, given | {login[0]: login[1]}, login[0]) if given and login else _Target(broker, given)
    installation = prepare(settings)
    secrets: dict[str, str] = {}
    for file in sorted(installation.secrets.path.glob("*-devices.json")):
        secrets |= installation.secrets.read(file.stem)
    secrets |= given
    missing = [Device(name, "generic", "replay") for name in devices if name not in secrets]
    secrets |= register_devices(installation, "replay-devices", missing) if missing else {}
    if not foreign_topic:
        return _Target(broker, secrets)
    user = _INTEGRATION if settings.embedded_broker else mqtt.username or ""
    secret = installation.services[user] if settings.embedded_broker else login[1] if login else None
    if secret is None:
        raise SettingsError(
            "mqtt.username", f"a user is needed who may publish on topics of others, such as {foreign_topic!r}"
        )
    return _Target(broker, secrets | {user: secret}, user)


def _read_credentials(file: Path | None) -> dict[str, str]:
    if file is None:
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError("credentials", f"{file}: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(secret, str) for secret in content.values()):
        raise SettingsError("credentials", f"{file}: an object {{device: password}} expected")
    return content


def _facts(seen: Overview | CaptureOverview, result: Replayed, shift_ns: int) -> dict[str, Any]:
    numbers = result.progress.numbers if result.progress else None
    return {
        "from": f"{from_ns(seen.first + shift_ns):%Y-%m-%dT%H:%M:%SZ}",
        "to": f"{from_ns(seen.last + shift_ns):%Y-%m-%dT%H:%M:%SZ}",
        "devices": len(seen.devices),
        "acknowledged": numbers.acked + numbers.unconfirmed if numbers else 0,
        "rejected": numbers.rejected if numbers else 0,
        "out_of_order": result.disordered,
    }


def _capture_facts(seen: CaptureOverview, result: Replayed) -> dict[str, Any]:
    return {
        "messages": result.sent,
        "foreign": seen.foreign,
        "left_out": seen.left_out,
        "unshifted": result.unshifted,
        "bad_rows": seen.bad,
    }


class _Teller:
    """Says how the replay stands: JSON lines for programs, one changing line for people."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console()
        self._status = self._console.status("")
        self._started = False

    def looking(self, readings: int) -> None:
        self._tell(0, 1, f"reading: {readings} so far")

    def __call__(self, progress: Progress) -> None:
        numbers = progress.numbers
        text = f"{progress.phase}: {numbers.acked} of {numbers.published} acknowledged"
        if numbers.refusal and progress.connected < progress.devices:
            text += f"; {progress.connected} of {progress.devices} devices connected, refused: {numbers.refusal}"
        self._tell(progress.done, progress.total or 1, text)

    def end(self, facts: dict[str, Any]) -> None:
        self._status.stop()
        if self._as_json:
            self._write({"summary": facts})
        else:
            told = [
                f"{value} {name.replace('_', ' ')}" for name, value in facts.items() if value and name not in _TIMES
            ]
            self._console.print(f"{facts['from']} to {facts['to']}: {', '.join(told)}", highlight=False, soft_wrap=True)
            if facts.get("unshifted"):
                self._console.print(
                    f"{facts['unshifted']} messages kept their times: they are not readings of ours", highlight=False
                )

    def _tell(self, done: int, total: int, text: str) -> None:
        if self._as_json:
            self._write({"progress": {"done": done, "total": total, "text": text}})
        elif self._console.is_terminal:
            self._status.update(text)
            self._status.start()

    @staticmethod
    def _write(fact: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(fact) + "\n")
        sys.stdout.flush()


_TIMES = {"from", "to"}
