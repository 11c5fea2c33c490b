"""This module wires `urbanpulse record` to one installation or another broker, and says how it goes."""

from __future__ import annotations

import json
import signal
import sys
import threading
from dataclasses import asdict
from secrets import token_hex
from typing import TYPE_CHECKING, Self

from rich.console import Console

from core.errors import SettingsError, UrbanpulseError
from simulators.capture import CaptureWriter
from urbanpulse.clock import SystemClock
from urbanpulse.commands.common import show
from urbanpulse.connections import mqtt_at, mqtt_for
from urbanpulse.installation import prepare
from urbanpulse.recorder import record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from urbanpulse.recorder import Recorded
    from urbanpulse.settings import Settings

__all__ = ["record_to"]


def record_to(
    settings: Settings,
    out: Path,
    *,
    filters: Sequence[str],
    seconds: float | None,
    max_messages: int | None,
    broker: str,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Record into the new file *out* until a signal or a limit ends it, and print how it went.

    Raises:
        SettingsError: see `record`; or the file is there already.
        Unavailable: the broker is away.
    """
    if out.suffix in {".zst", ".bz2", ".xz"}:
        raise SettingsError("record", f"{out}: only .gz is known for compressed captures")
    mqtt = mqtt_at(settings, broker) if broker else mqtt_for(prepare(settings), "recorder")
    mqtt = mqtt.model_copy(update={"client_id": f"urbanpulse-recorder-{token_hex(4)}"})  # two may record at once
    clock, stop = SystemClock(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    teller = _Teller(out, as_json=as_json)
    writer = CaptureWriter(out, started=clock.now_ns(), broker=mqtt.url, overwrite=overwrite)
    try:
        with writer, teller:
            end = record(
                mqtt,
                writer,
                filters=filters,
                clock=clock,
                stop=stop,
                seconds=seconds,
                max_messages=max_messages,
                tell=teller.tell,
            )
    except UrbanpulseError:
        if writer.count == 0:  # refused, or nobody there: a file with nothing in it would be in the way next time
            out.unlink(missing_ok=True)
        raise
    show({"file": str(out), **asdict(end), "seconds": round(end.seconds, 3)}, as_json=as_json)


class _Teller:
    """Says how it goes: a line that changes on a terminal, JSON lines for scripts, else nothing but the end."""

    def __init__(self, out: Path, *, as_json: bool) -> None:
        self._out = out
        self._as_json = as_json
        self._status = Console(stderr=True).status(f"connecting, to record into {out}")

    def __enter__(self) -> Self:
        if not self._as_json:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def tell(self, recorded: Recorded) -> None:
        if self._as_json:
            sys.stdout.write(json.dumps({"progress": asdict(recorded)}) + "\n")
            sys.stdout.flush()
        else:
            lost = f", {recorded.interruptions} interruptions" if recorded.interruptions else ""
            count = f"{recorded.messages} messages on {recorded.topics} topics in {recorded.seconds:.0f} s"
            self._status.update(f"{self._out}: {count}{lost}")
