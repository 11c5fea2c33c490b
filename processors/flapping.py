"""This module notices devices that come and go: lost again and again within a while, by silence or by their own word.

    there --silent, or said offline--> lost (counted)      lost --heard, or said online--> there

A device flaps from the `losses`-th loss within its window on, and until half a window has passed without another loss.
So one that stays away for good stops flapping, too, and its silence is told as such. Windows go by the interval at
which a device reports: who speaks once an hour needs a longer look than who speaks every ten seconds.

Saying offline is no loss for a device that sleeps between reports: one that does so about once per interval. Of devices
whose interval is not known yet words count for nothing. Time is log time (ns).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Flapping", "FlappingSettings", "Losses"]

_SECOND = 1_000_000_000


class FlappingSettings(BaseModel):
    """When a device that comes and goes is told as such, in place of each of its silences."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    losses: int = Field(4, ge=2, le=1000, description="times that a device is lost within its window: then it flaps")
    window_seconds: float = Field(
        3600.0, gt=0, le=31 * 86_400, description="least window; half of it without a loss ends the flapping"
    )
    window_intervals: float = Field(
        60.0, ge=0, le=100_000, description="the window in reporting intervals of the device, if that is longer"
    )
    max_devices: int = Field(100_000, ge=1, description="devices lost lately that are followed; others are counted")


class Losses(msgspec.Struct, array_like=True):
    """What is remembered of a device.

    Attributes:
        times: of its last losses, at most as many as make it flap.
        window: ns.
        away: whether it is lost now.
        said: when it said offline last, 0 = never.
        flaps: since when it flaps, 0 = it does not.
    """

    times: list[int]
    window: int
    away: bool = False
    said: int = 0
    flaps: int = 0

    @property
    def newest(self) -> int:
        """Return when something happened last."""
        return max(self.said, self.times[-1] if self.times else 0)


class Flapping:
    """Losses of devices.

    Attributes:
        refused: losses of devices beyond `max_devices`, which are not followed.
        active: the devices that flap, by name.
    """

    def __init__(self, settings: FlappingSettings | None = None) -> None:
        self.settings = settings or FlappingSettings()
        self.refused = 0
        self.active: dict[str, Losses] = {}
        self._known: dict[str, Losses] = {}

    def lost(self, device: str, now: int, interval: int) -> None:
        """Note that *device*, of which a reading is expected every *interval* ns (0 = not known), fell silent."""
        known = self._of(device, interval)
        if known is not None:
            self._lose(device, known, now)

    def offline(self, device: str, now: int, interval: int) -> None:
        """Note that *device* said, or the broker for it, that it is gone."""
        if not interval:
            return
        known = self._of(device, interval)
        if known is None:
            return
        sleeps = known.said > 0 and abs(now - known.said - interval) <= interval // 2
        known.said = now
        if not sleeps:
            self._lose(device, known, now)

    def back(self, device: str) -> None:
        """Note that *device* is there again."""
        known = self._known.get(device)
        if known is not None:
            known.away = False

    def _of(self, device: str, interval: int) -> Losses | None:
        known = self._known.get(device)
        if known is None:
            if len(self._known) >= self.settings.max_devices:
                self.refused += 1
                return None
            known = self._known[device] = Losses([], 0)
        plan = self.settings
        known.window = int(max(plan.window_seconds * _SECOND, plan.window_intervals * interval))
        return known

    def _lose(self, device: str, known: Losses, now: int) -> None:
        if known.away:
            return
        known.away = True
        known.times = [*known.times[-self.settings.losses + 1 :], now]
        if not known.flaps and self.count(device, now) == self.settings.losses:
            known.flaps = now
            self.active[device] = known

    def count(self, device: str, now: int) -> int:
        """Return how many losses of *device* lie within its window at log time *now*; no more than make it flap."""
        known = self._known.get(device)
        return 0 if known is None else sum(now - at <= known.window for at in known.times)

    def nearly(self, now: int) -> Iterable[str]:
        """Return the devices that flap at the next loss, or do so already."""
        least = self.settings.losses - 1
        return [device for device, known in self._known.items() if known.flaps or self.count(device, now) >= least]

    def settle(self, now: int) -> None:
        """Let end what is over at log time *now*."""
        for device, known in list(self.active.items()):
            if now - known.times[-1] >= known.window // 2:
                known.flaps, known.times = 0, []
                del self.active[device]

    def forget(self, now: int) -> None:
        """Forget who was not lost for a whole window."""
        for device, known in list(self._known.items()):
            if not known.flaps and now - known.newest > known.window:
                del self._known[device]

    def to_state(self) -> dict[str, Losses]:
        """Return what is remembered, by device."""
        return dict(sorted(self._known.items()))

    def restore(self, known: dict[str, Losses]) -> None:
        """Take over what `to_state` returned."""
        self._known = known
        self.active = {device: losses for device, losses in known.items() if losses.flaps}
