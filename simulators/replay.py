"""This module replays a recorded series from a CSV file as the readings of one device.

Two columns are read: time and value; a header is skipped. Times are `YYYY-MM-DD HH:MM:SS` (NAB's form, taken as UTC),
RFC 3339, or a number of seconds since the epoch. By default the recording is shifted so that it ends now.
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from core.city import check_name
from core.clock import to_ns
from core.errors import MalformedPayload, SettingsError
from simulators.fleet import Fleet, drive
from simulators.reports import Report, pack

if TYPE_CHECKING:
    import asyncio
    import random
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from core.clock import Clock
    from simulators.device import Broker
    from simulators.fleet import Progress
    from simulators.settings import SimulatorSettings

__all__ = ["Recording", "device_name", "read_recording", "run_replay"]

_S = 1_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A recorded series: int64[N] ns UTC, strictly ascending, and float64[N] finite values, in columns."""

    measured: NDArray[np.int64]
    value: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.measured)

    def ending(self, at: int) -> Recording:
        """Return the same recording, shifted so that its last reading is measured *at* (ns UTC, cut to ms)."""
        return Recording(self.measured + (at // 1_000_000 * 1_000_000 - self.measured[-1]), self.value)


def device_name(path: Path) -> str:
    """Return the device id that a file's name suggests.

    >>> from pathlib import Path
    >>> device_name(Path("data/nyc_taxi.csv"))
    'nyc_taxi'
    """
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem).strip("-_")[:64]
    return name or "replay"


def read_recording(path: Path) -> Recording:
    """Read the CSV file at *path*. Rows may come in any order; of two with one time the later row stays.

    Raises:
        MalformedPayload: reason `bad_value`, `bad_time` or `bad_shape`; the text names file and line.
        SettingsError: the file cannot be read.
    """
    rows: dict[int, float] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.reader(file), 1):
                if not any(cell.strip() for cell in row) or (number == 1 and _is_header(row)):
                    continue
                at, value = _parse(row, f"{path}:{number}")
                rows[at] = value
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError("replay", f"{path}: {error}") from error
    if not rows:
        raise MalformedPayload("bad_shape", f"{path}: no readings in it")
    measured = np.array(sorted(rows), np.int64)
    return Recording(measured, np.array([rows[at] for at in measured.tolist()], np.float64))


async def run_replay(
    recording: Recording,
    *,
    device: str,
    metric: str,
    speed: float | None,
    settings: SimulatorSettings,
    broker: Broker,
    credentials: Mapping[str, str],
    clock: Clock,
    rng: random.Random,
    stop: asyncio.Event,
    progress: Callable[[Progress], None] | None = None,
) -> Progress:
    """Publish *recording* as *metric* of *device* and return when all is acknowledged, or *stop* is set.

    *speed* is how much faster than recorded (1 = real time); None = packed and as fast as acks come. Shift the
    recording before (`Recording.ending`), or leave its own times: those come as late readings.

    Raises:
        MalformedPayload: *device* or *metric* is no possible name.
        SettingsError: *speed* is not above 0, or the device has no credential.
    """
    check_name("device", device)
    check_name("metric", metric)
    if speed is not None and not (speed > 0 and math.isfinite(speed)):
        raise SettingsError("speed", f"{speed}: a number above 0 expected")
    fleet = Fleet([device], credentials, broker=broker, settings=settings, clock=clock, rng=rng)
    said = [
        Report(at, n, {metric: value})
        for n, (at, value) in enumerate(zip(recording.measured.tolist(), recording.value.tolist(), strict=True))
    ]

    def show(phase: str) -> Progress:
        figures = fleet.progress(phase, fleet.numbers.acked, len(said))
        if progress is not None:
            progress(figures)
        return figures

    work = _publish(fleet, device, said, speed=speed, settings=settings, clock=clock)
    await drive(fleet, work, stop=stop, clock=clock, tell=partial(show, "replay"))
    return show("stopped")


async def _publish(
    fleet: Fleet, device: str, said: list[Report], *, speed: float | None, settings: SimulatorSettings, clock: Clock
) -> None:
    size = settings.backfill_pack if speed is None else 1
    for first in range(0, len(said), size):
        part = said[first : first + size]
        if speed is not None and first:
            await clock.sleep((part[0].at - said[first - 1].at) / _S / speed)
        await fleet.settle(settings.device_window - 1)
        fleet.devices[device].publish(pack(part), len(part))
    await fleet.settle(0)


def _is_header(row: list[str]) -> bool:
    return len(row) >= 2 and any(cell.strip().lower() in {"timestamp", "time", "ts", "date", "value"} for cell in row)


def _parse(row: list[str], where: str) -> tuple[int, float]:
    if len(row) < 2:
        raise MalformedPayload("bad_shape", f"{where}: two columns expected, time and value: {row!r}")
    try:
        value = float(row[1])
    except ValueError as error:
        raise MalformedPayload("bad_value", f"{where}: {row[1]!r} is not a number") from error
    if not math.isfinite(value):
        raise MalformedPayload("bad_value", f"{where}: {row[1]!r} is not a finite number")
    text = row[0].strip()
    try:
        at = datetime.fromtimestamp(float(text), UTC) if _NUMBER.fullmatch(text) else datetime.fromisoformat(text)
        return to_ns(at if at.tzinfo else at.replace(tzinfo=UTC)), value
    except (ValueError, OverflowError, OSError) as error:
        raise MalformedPayload(
            "bad_time", f"{where}: {row[0]!r} is not a time; YYYY-MM-DD HH:MM:SS, RFC 3339 or epoch seconds expected"
        ) from error


_NUMBER = re.compile(r"\d+(\.\d+)?")
