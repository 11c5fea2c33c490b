"""This module is the directory: what a topic means, which device it belongs to, and which series its metrics are.

It lives in memory and is asked once per message, by the raw bytes of the topic; only a topic not seen before is parsed.
It is filled from the `Registry` port: all at once when the catalog's revision has grown, and by `allocate` when a
device reports a metric for the first time. The port blocks, so `Directory` never calls it: the runner does, in a
thread, and hands over what came back.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from core.admission import UNKNOWN_DEVICE, Reason
from core.errors import MalformedPayload
from core.topics import StatusTopic, parse_device_topic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.city import Device, Series

__all__ = ["Directory", "Route", "Station", "Use"]

_MAX_TOPIC_BYTES = 512
"""Longer topics are not remembered: none of them means anything, and 200,000 of the longest would fill 13 GB."""


class Station:
    """A device as the gateway holds it: its series by metric, and what is left of its rate.

    `slot` numbers devices densely within this process; slot 0 stands for all unknown ones.
    """

    __slots__ = ("id", "online", "refilled", "series", "slot", "tokens")

    def __init__(self, device: str, slot: int, tokens: int) -> None:
        self.id = device
        self.slot = slot
        self.series: dict[str, int] = {}
        self.tokens: float = tokens
        self.refilled = 0
        self.online: bool | None = None


class Use(Enum):
    """What a topic is for."""

    READINGS = "readings"
    NUMBER = "number"
    STATUS = "status"
    NOTHING = "nothing"


class Route:
    """The answer for one topic. `reason` and `detail` say why nothing on it can be admitted.

    `asked` is set once the catalog was asked about a device that we did not know.
    """

    __slots__ = ("asked", "detail", "metric", "name", "reason", "station", "use")

    def __init__(
        self,
        name: str,
        station: Station,
        use: Use,
        *,
        metric: str = "",
        reason: Reason = Reason.OK,
        detail: str = "",
    ) -> None:
        self.name = name
        self.station = station
        self.use = use
        self.metric = metric
        self.reason = reason
        self.detail = detail
        self.asked = False


class Directory:
    """Knows devices and series, and remembers at most *max_topics* topics; *burst* is a new device's first tokens."""

    def __init__(self, *, max_topics: int, burst: int) -> None:
        self.nobody = Station(UNKNOWN_DEVICE, 0, 0)
        self.slots: list[Station] = [self.nobody]
        self.routes: dict[bytes, Route] = {}
        self._stations: dict[str, Station] = {}
        self._ever: dict[str, Station] = {}
        self._max_topics = max_topics
        self._burst = burst

    def load(self, devices: Iterable[Device], series: Iterable[Series]) -> None:
        """Take over the catalog's *devices* and *series*; forgets what topics meant if devices came or went."""
        known = {device.id for device in devices}
        if known != self._stations.keys():
            self.routes.clear()
            self._stations = {device: self._station(device) for device in sorted(known)}
        self.learn(series)

    def learn(self, series: Iterable[Series]) -> None:
        """Take over *series* that the catalog allocated."""
        for one in series:
            station = self._stations.get(one.device)
            if station is not None:
                station.series[one.metric] = one.id

    def knows(self, device: str) -> bool:
        """Tell whether *device* is registered, as far as was loaded."""
        return device in self._stations

    def note_status(self, device: str, *, online: bool) -> None:
        """Take over what *device* said last, from the log."""
        if device in self._stations:
            self._stations[device].online = online

    def route(self, topic: bytes) -> Route:
        """Return what *topic* means; never raises."""
        route = self.routes.get(topic)
        if route is None:
            route = self._resolve(topic)
            if len(topic) <= _MAX_TOPIC_BYTES:
                if len(self.routes) >= self._max_topics:
                    self.routes.clear()
                self.routes[bytes(topic)] = route
        return route

    def _resolve(self, topic: bytes) -> Route:
        name = topic.decode(errors="replace")
        try:
            meaning = parse_device_topic(name)
        except MalformedPayload as error:
            # what stands in a broken topic is nobody's name: it is counted under the unknown device
            return Route(name, self.nobody, Use.NOTHING, reason=Reason(error.reason), detail=error.detail)
        station = self._stations.get(meaning.device)
        if station is None:
            detail = f"device {meaning.device!r} is not registered"
            return Route(name, self.nobody, Use.NOTHING, reason=Reason.UNKNOWN_DEVICE, detail=detail)
        if isinstance(meaning, StatusTopic):
            return Route(name, station, Use.STATUS)
        if meaning.metric is None:
            return Route(name, station, Use.READINGS)
        return Route(name, station, Use.NUMBER, metric=meaning.metric)

    def _station(self, device: str) -> Station:
        station = self._ever.get(device)
        if station is None:
            station = self._ever[device] = Station(device, len(self.slots), self._burst)
            self.slots.append(station)
        return station
