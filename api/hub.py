"""This module is the live hub: the table of latest values, and frames for every browser that watches.

Frames from the processor are folded into the table and coalesced; at most five times a second what changed is encoded
once and offered to every client. The hub has an epoch and numbers of its own, so that clients see one unbroken row
of numbers whatever happens upstream:

    client too slow           -> its queue is emptied and it gets a hello with the current number: a gap, it refetches
    gap upstream              -> the table is read again from the store, then one number is left out: all refetch
    nothing changed for 2 s   -> an empty frame, so that a dead connection is noticed

Every frame tells for how long the processor was not heard, so that nobody takes a dead one for a quiet city.

All methods belong to the event loop's thread; only `latest` (the store) is called in another one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
from anyio import to_thread

from api.problems import Refusal
from core.errors import Unavailable
from core.live import LiveFrame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from api.settings import ApiSettings
    from core.batch import ReadingBatch
    from core.clock import Clock

__all__ = ["Client", "Encoded", "HubStats", "LiveHub", "Row", "Snapshot"]

log = structlog.get_logger()

_PATIENT_TRIES = 5
"""Parts start in any order: that one is away is worth a warning only after this many tries in a row."""


class Row(NamedTuple):
    """The newest reading of a series; `measured` in ms UTC."""

    measured: int
    value: float
    quality: int
    severity: float


class Encoded(NamedTuple):
    """A frame in the forms that go out: WebSocket text and SSE bytes."""

    n: int
    text: str
    sse: bytes


class Snapshot(NamedTuple):
    """The table as of frame `n`."""

    epoch: str
    n: int
    rows: dict[int, Row]


@dataclass(slots=True)
class HubStats:
    """Counters since the start."""

    frames: int = 0
    resyncs: int = 0
    reloads: int = 0
    refused_clients: int = 0
    refused_series: int = 0


class Client:
    """One stream: a bounded queue. None in the queue means that the hub is closing."""

    def __init__(self, size: int) -> None:
        self.queue: asyncio.Queue[Encoded | None] = asyncio.Queue(size)

    def offer(self, frame: Encoded, hello: Callable[[], Encoded]) -> bool:
        """Queue *frame*; if the client is too slow, forget what waits, queue a hello instead and return False."""
        if not self.queue.full():
            self.queue.put_nowait(frame)
            return True
        self.drain()
        self.queue.put_nowait(hello())
        return False

    def drain(self) -> None:
        """Forget what waits."""
        while not self.queue.empty():
            self.queue.get_nowait()


class LiveHub:
    """Folds the live feed into a table and fans out what changed.

    *frames* starts a subscription to the processor's feed each time it is called; *latest* is `SeriesReader.latest`;
    *epoch* names this run of the hub and must differ from every earlier one.
    """

    def __init__(
        self,
        frames: Callable[[], AsyncIterator[LiveFrame]],
        latest: Callable[[], ReadingBatch],
        *,
        clock: Clock,
        settings: ApiSettings,
        epoch: str,
    ) -> None:
        self._frames = frames
        self._latest = latest
        self._clock = clock
        self._settings = settings
        self._epoch = epoch
        self._n = 0
        self._table: dict[int, Row] = {}
        self._changed: dict[int, Row] = {}
        self._alerts: dict[str, None] = {}
        self._online: dict[str, bool] = {}
        self._urgent = True
        self._stale = asyncio.Event()
        self._stale.set()
        self._sent_at = self._started_at = clock.monotonic()
        self._heard_at: float | None = None
        self._upstream: tuple[str, int] | None = None
        self._ring: deque[Encoded] = deque(maxlen=settings.replay_frames)
        self._clients: dict[Client, str] = {}
        self._closed = False
        self.seeded = False
        self.stats = HubStats()

    # -- what routes ask -------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Return the table now: it contains at least frame `n`."""
        return Snapshot(self._epoch, self._n, self._table.copy())

    def clients(self, transport: str) -> int:
        """Return how many clients of *transport* are connected."""
        return sum(1 for kind in self._clients.values() if kind == transport)

    def age(self) -> float | None:
        """Return the seconds since the processor was heard, None if it never was."""
        return None if self._heard_at is None else self._clock.monotonic() - self._heard_at

    def hello(self) -> Encoded:
        """Return a frame of nothing with the current number."""
        return self._encode(self._frame())

    @property
    def closed(self) -> bool:
        """Tell whether the hub has ended its streams."""
        return self._closed

    def add(self, transport: str, last_event: str | None = None) -> Client:
        """Add a client; whoever adds it removes it.

        It starts with a hello, or with the frames after *last_event* (`epoch:n`) if all of these are still here.

        Raises:
            Refusal: 503, too many clients or shutting down.
        """
        if self._closed or len(self._clients) >= self._settings.max_stream_clients:
            self.stats.refused_clients += 1
            raise Refusal(503, "too-many-streams", "too many live streams, try again", headers={"Retry-After": "5"})
        client = Client(self._settings.client_queue_frames)
        missed = self._after(last_event)
        for frame in [self.hello()] if missed is None or len(missed) > client.queue.maxsize else missed:
            client.queue.put_nowait(frame)
        self._clients[client] = transport
        return client

    def remove(self, client: Client) -> None:
        """Forget a client that left."""
        self._clients.pop(client, None)

    def _after(self, last_event: str | None) -> list[Encoded] | None:
        epoch, _, number = (last_event or "").rpartition(":")
        if epoch != self._epoch or not number.isdecimal() or len(number) > 18:
            return None
        n = int(number)
        missed = [frame for frame in self._ring if frame.n > n]
        return missed if n <= self._n and len(missed) == self._n - n else None

    def alert_changed(self, alert: str) -> None:
        """Tell every client at the next frame that somebody acted on *alert*."""
        self._alerts[alert] = None

    def close(self) -> None:
        """End every stream and take no new one."""
        self._closed = True
        for client in self._clients:
            client.drain()
            client.queue.put_nowait(None)

    # -- running ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow the feed and send frames until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(), name="api live feed")
            tasks.create_task(self._keep_whole(), name="api live table")
            tasks.create_task(self._pump(), name="api live frames")

    async def _listen(self) -> None:
        tries = 0
        while True:
            tries += 1
            try:
                async for frame in self._frames():
                    tries = 0
                    self.take(frame)
                log.warning("live feed ended, subscribing again")
            except Unavailable as error:
                tell = log.warning if tries > _PATIENT_TRIES else log.info
                tell("live feed away, trying again", part=error.part, reason=error.detail)
            except Exception:
                # whatever broke, operators must not lose the rest of the api with it; readyz tells by the feed's age
                log.exception("live feed broke, trying again")
            self._upstream = None
            await self._clock.sleep(self._settings.retry_seconds)

    async def _keep_whole(self) -> None:
        """Read the table from the store at first and after every gap, for as long as that takes."""
        tries = 0
        while True:
            await self._stale.wait()
            self._stale.clear()
            tries += 1
            try:
                await self.reload()
            except Unavailable as error:
                tell = log.warning if tries > _PATIENT_TRIES else log.info
                tell("latest values not read, trying again", part=error.part, reason=error.detail)
            except Exception:
                log.exception("latest values not read, trying again")
            else:
                tries = 0
                continue
            self._stale.set()
            await self._clock.sleep(self._settings.retry_seconds)

    async def _pump(self) -> None:
        while True:
            self.flush()
            await self._clock.sleep(1.0 / self._settings.frames_per_second)

    async def reload(self) -> None:
        """Merge the store's latest values into the table and make every client refetch.

        Raises:
            Unavailable: the store is away; the table is as it was.
        """
        batch = await to_thread.run_sync(self._latest)
        columns = (batch.series, batch.measured // 1_000_000, batch.value, batch.quality)
        for series, measured, value, quality in zip(*(column.tolist() for column in columns), strict=True):
            old = self._table.get(series)
            # the store knows no severity: keep a row that is the same reading
            if old is None or measured > old.measured or (measured == old.measured and value != old.value):
                self._put(series, Row(measured, value, quality, 0.0))
        self.seeded = True
        self.stats.reloads += 1
        self._n += 1
        self._urgent = True

    def take(self, frame: LiveFrame) -> None:
        """Fold a frame of the processor into the table; a gap before it asks for the store to be read."""
        self._heard_at = self._clock.monotonic()
        if self._upstream != (frame.epoch, frame.n - 1):
            self._stale.set()
        self._upstream = (frame.epoch, frame.n)
        columns = zip(frame.series, frame.measured, frame.value, frame.quality, frame.severity, strict=True)
        for series, measured, value, quality, severity in columns:
            row = Row(measured, value, quality, severity)
            old = self._table.get(series)
            if (old is None or row.measured >= old.measured) and self._put(series, row):
                self._changed[series] = row
        self._alerts.update(dict.fromkeys(frame.alerts))
        self._online.update(dict.fromkeys(frame.online, True))
        self._online.update(dict.fromkeys(frame.offline, False))

    def _put(self, series: int, row: Row) -> bool:
        if series not in self._table and len(self._table) >= self._settings.max_series:
            self.stats.refused_series += 1
            return False
        self._table[series] = row
        return True

    def flush(self) -> None:
        """Send what changed since the last frame, if anything did or the heartbeat is due."""
        now = self._clock.monotonic()
        due = now - self._sent_at >= self._settings.heartbeat_seconds
        if self._closed or not (self._changed or self._alerts or self._online or self._urgent or due):
            return
        self._sent_at = now
        self._n += 1
        rows = self._changed.values()
        frame = self._frame(
            series=list(self._changed),
            measured=[row.measured for row in rows],
            value=[row.value for row in rows],
            quality=[row.quality for row in rows],
            severity=[row.severity for row in rows],
            alerts=list(self._alerts),
            online=[device for device, there in self._online.items() if there],
            offline=[device for device, there in self._online.items() if not there],
        )
        self._changed, self._alerts, self._online, self._urgent = {}, {}, {}, False
        encoded = self._encode(frame)
        self._ring.append(encoded)
        self.stats.frames += 1
        self.stats.resyncs += sum(not client.offer(encoded, self.hello) for client in self._clients)

    def _frame(self, **changes: Any) -> LiveFrame:
        since = self._started_at if self._heard_at is None else self._heard_at
        return LiveFrame(
            epoch=self._epoch,
            n=self._n,
            sent=self._clock.now_ns() // 1_000_000,
            live_age_seconds=round(self._clock.monotonic() - since, 1),
            **changes,
        )

    def _encode(self, frame: LiveFrame) -> Encoded:
        data = frame.to_bytes()
        sse = b"event: frame\nid: %s:%d\ndata: %s\n\n" % (frame.epoch.encode(), frame.n, data)
        return Encoded(frame.n, data.decode(), sse)
