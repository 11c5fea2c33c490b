"""This module lists what each room needs from outside, as small protocols named after the need.

Every port blocks; a runner with an event loop calls it in a thread. Every port raises `Unavailable` when the other
side is away and keeps its promise afterwards: nothing that it confirmed is lost, nothing that it refused is half done.
Implementations live in `backends`; `tests/contracts` runs one suite per port on each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from core.accounts import ApiKey, Principal, Role
    from core.admission import DeviceStatus, LedgerRow, Quarantined, Tally
    from core.alerts import Alert, AlertEvent, EventKind
    from core.batch import ReadingBatch
    from core.city import Device, District, Series
    from core.live import LiveFrame

__all__ = [
    "Accounts",
    "AlertDesk",
    "AlertJournal",
    "Bands",
    "Buckets",
    "Capabilities",
    "DeviceAdmin",
    "Groups",
    "Health",
    "LedgerBook",
    "LedgerReader",
    "LivePublisher",
    "LogAppender",
    "LogConsumer",
    "Outbox",
    "OutboxItem",
    "RankBy",
    "Ranking",
    "Registry",
    "RejectedReading",
    "Rollups",
    "SeriesAdmin",
    "SeriesHealth",
    "SeriesNames",
    "SeriesQueries",
    "SeriesReader",
    "SeriesStatistics",
    "SeriesStore",
    "SeriesWriter",
    "Snapshots",
]


# -- the log ---------------------------------------------------------------------------------------------------------


class LogAppender(Protocol):
    """What the gateway needs of the log."""

    def append(self, entries: Sequence[bytes]) -> int:
        """Make *entries* durable, in order, all or none; return the position (> 0) of the last one.

        Raises:
            Unavailable: locked, full or over its budget; nothing was appended.
        """

    def head(self) -> int:
        """Return the position of the newest entry, 0 if there never was one."""

    def tail(self, limit: int) -> list[tuple[int, bytes]]:
        """Return the newest *limit* entries, oldest first: to warm up from after a restart."""

    def trim(self, now_ns: int) -> int:
        """Delete entries that every consumer has committed and that are older than the retention; return how many."""


class LogConsumer(Protocol):
    """What a reader of the log needs. A consumer is known by its name and has one cursor."""

    def read(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Return up to *limit* entries with positions above *after*, in order; empty when there are none yet."""

    def cursor(self, consumer: str) -> int:
        """Return the position that *consumer* committed last, 0 at first; asking registers it for `trim`."""

    def commit(self, consumer: str, position: int) -> None:
        """Say that *consumer* never needs entries up to *position* again. Never goes back."""

    def head(self) -> int:
        """Return the position of the newest entry, 0 if there never was one."""


# -- the series store ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Bands:
    """What is expected of series, by hour: columns of equal length.

    series int32, hour int64 ns UTC (start of the hour), expected, low and high float64 in the metric's unit.
    """

    series: NDArray[np.int32]
    hour: NDArray[np.int64]
    expected: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Buckets:
    """Aggregates of one series: columns of equal length, ascending `start`, empty buckets left out.

    start int64 ns UTC, n int64, mean, low (minimum), high (maximum), last float64, quality uint16 (all masks or-ed).
    """

    start: NDArray[np.int64]
    n: NDArray[np.int64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    last: NDArray[np.float64]
    quality: NDArray[np.uint16]


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Aggregates of groups of series: columns of equal length, by `group`, then `start`; empty buckets left out.

    group int32 as the caller numbered them, start int64 ns UTC, n int64 readings, mean, low (minimum) and high
    (maximum) float64 over all readings of the group, each reading counting once.
    """

    group: NDArray[np.int32]
    start: NDArray[np.int64]
    n: NDArray[np.int64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Rollups:
    """Aggregates of many series: columns of equal length, by `series`, then `start`; empty buckets left out.

    series int32, start int64 ns UTC, n int64, mean, low, high, last float64, quality uint16 (all masks or-ed).
    """

    series: NDArray[np.int32]
    start: NDArray[np.int64]
    n: NDArray[np.int64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    last: NDArray[np.float64]
    quality: NDArray[np.uint16]


class RankBy(StrEnum):
    """What series are ranked by, over a span; the greatest comes first."""

    LAST = "last"
    MEAN = "mean"
    MAX = "max"


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """The first series of a ranking: `series` int32 and `value` float64, greatest first, equal ones by series."""

    series: NDArray[np.int32]
    value: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Health:
    """How a store is: `flavour` names the kind, `version` what it says of itself, `text` what a person should know."""

    ok: bool
    flavour: str
    version: str
    text: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store can do beyond writing; callers ask before they offer it.

    Attributes:
        reads: questions can be asked; without it everything but writing raises `Unavailable`.
        received: the time of receipt is kept; otherwise it reads as the measured time.
        deletes: `delete_before` works; otherwise only the retention of the server forgets.
        resolution_ns: times are cut to multiples of this.
        first_ns, last_ns: the range of measured times that can be kept (inclusive).
    """

    reads: bool = True
    received: bool = True
    deletes: bool = True
    resolution_ns: int = 1
    first_ns: int = -(1 << 63)
    last_ns: int = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class RejectedReading:
    """A reading that the store would not take, ever; `reason` is in the store's own words."""

    series: int
    measured: int
    value: float
    reason: str


class SeriesNames(Protocol):
    """What a store that keeps names beside values needs to know of series; `Registry` has it."""

    def revision(self) -> int:
        """Return a number that grows whenever series change; cheap to poll."""

    def series(self) -> list[Series]:
        """Return all series by id."""


class SeriesHealth(Protocol):
    """What whoever watches a store needs."""

    def health(self) -> Health:
        """Ask the store how it is; one that is away is an answer, not an error."""

    def capabilities(self) -> Capabilities:
        """Return what the store can do.

        Raises:
            Unavailable: that depends on the server's kind, and it did not answer yet.
        """


class SeriesAdmin(Protocol):
    """What the command line needs to forget readings."""

    def delete_before(self, before_ns: int, now_ns: int) -> None:
        """Forget readings of the UTC days that end at or before *before_ns*, for good; rollups and bands stay.

        Those that are written later on are not kept either.

        Raises:
            Conflict: this kind of store cannot (`Capabilities.deletes`).
        """


class SeriesWriter(Protocol):
    """What the processors need of the series store."""

    def write(self, source: str, position: int, batch: ReadingBatch, bands: Bands | None = None) -> bool:
        """Make *batch* durable under (source, position); return False if that position was written before.

        Positions of a source only grow; one at or below `position(source)` changes nothing. Of readings with equal
        (series, measured) the last one written wins.
        """

    def position(self, source: str) -> int:
        """Return the highest position written by *source*, 0 at first."""

    def maintain(self, now_ns: int) -> None:
        """Do due upkeep (sealing, merging, retention); called now and then from a thread of its own."""

    def close(self) -> None:
        """Release files."""


class SeriesReader(Protocol):
    """What the api needs of the series store; usable from another process while the writer writes."""

    def latest(self) -> ReadingBatch:
        """Return the newest reading (by measured time) of every series that has any."""

    def readings(self, series: int, start: int, end: int, limit: int) -> ReadingBatch:
        """Return at most *limit* readings of *series* with start <= measured < end (ns), ascending, oldest first."""

    def buckets(self, series: int, start: int, end: int, width: int) -> Buckets:
        """Return aggregates of *series* over buckets of *width* ns aligned to multiples of *width*."""

    def bands(self, series: int, start: int, end: int) -> Bands:
        """Return the expected bands of *series* for the hours that touch [start, end), ascending."""

    def count(self) -> int:
        """Return how many distinct readings (series, measured) are stored."""

    def close(self) -> None:
        """Release files."""


class SeriesStatistics(Protocol):
    """What dashboards need of the series store: questions about many series at once.

    A store may answer them from sums of whole hours that it keeps. A late reading in such an hour may then be missing
    until the next `SeriesWriter.maintain`.
    """

    def grouped(self, series: NDArray[np.int32], group: NDArray[np.int32], start: int, end: int, width: int) -> Groups:
        """Return aggregates of start <= measured < end per group, in buckets of *width* ns aligned to multiples of it.

        `group[i]` is the group that `series[i]` belongs to: a district, a sector, a metric; the caller numbers them.
        A series belongs to one group at most. Where readings are forgotten their rollups serve, an hour counting at
        its start.

        Raises:
            ValueError: *width* is not positive, the arrays differ in length, or a series is named twice.
        """

    def top(self, series: NDArray[np.int32], start: int, end: int, n: int, by: RankBy) -> Ranking:
        """Return the *n* of *series* with the greatest value over start <= measured < end, if they have any."""

    def rollups(self, series: NDArray[np.int32], start: int, end: int, width: int) -> Rollups:
        """Return the kept aggregates of *series* that begin in [start, end), by hour or by day (UTC).

        They outlive the readings. What was written after the last `SeriesWriter.maintain` may be missing, and so
        may an hour that is not over.

        Raises:
            ValueError: *width* is neither an hour nor a day in ns.
        """


class SeriesQueries(SeriesReader, SeriesStatistics, SeriesHealth, Protocol):
    """All questions that a series store answers."""


class SeriesStore(SeriesWriter, SeriesAdmin, SeriesHealth, Protocol):
    """All that changes a series store."""


# -- the catalog -----------------------------------------------------------------------------------------------------


class Registry(Protocol):
    """What gateway and processors need to know of devices and series."""

    def revision(self) -> int:
        """Return a number that grows whenever districts, devices or series change; cheap to poll."""

    def districts(self) -> list[District]:
        """Return all districts by id."""

    def devices(self) -> list[Device]:
        """Return all devices by id; removed ones are not listed."""

    def series(self) -> list[Series]:
        """Return all series by id, those of removed devices included: ids are never used again."""

    def allocate(self, pairs: Sequence[tuple[str, str]]) -> list[Series]:
        """Return the series of each (device, metric), creating what is missing. Same pair, same series, always.

        Raises:
            NotFound: a device that is not registered; nothing was created.
        """


class DeviceAdmin(Protocol):
    """What the command line and the api need to manage devices."""

    def put_district(self, district: District) -> None:
        """Create or change a district."""

    def add_device(self, device: Device, secret_hash: str) -> None:
        """Register *device* (creating its district if need be).

        Raises:
            Conflict: the id is taken, or was taken by a removed device.
        """

    def set_interval(self, device: str, interval_seconds: float | None) -> None:
        """Declare anew how often *device* reports; None: that is learned.

        Raises:
            NotFound: no such device.
            MalformedPayload: no device reports so often, or so rarely.
        """

    def remove_device(self, device: str) -> None:
        """Remove *device*; its readings and series stay.

        Raises:
            NotFound: no such device.
        """

    def credentials(self) -> dict[str, str]:
        """Return {device: bcrypt hash of its secret} of all devices, for the broker's user list."""


class LedgerBook(Protocol):
    """What the gateway's bookkeeper needs: tallies applied exactly once."""

    def position(self, source: str) -> int:
        """Return the log position up to which *source* was booked."""

    def book(
        self,
        source: str,
        position: int,
        tallies: Sequence[Tally],
        quarantined: Sequence[Quarantined],
        statuses: Sequence[DeviceStatus],
    ) -> None:
        """Add everything in one transaction and move the position; at or below it, change nothing.

        Keeps at most the configured number of quarantined messages: the oldest go, and are counted.
        """


class LedgerReader(Protocol):
    """What the api needs of the ledger."""

    def ledger(self, device: str | None = None, first_day: int = 0, last_day: int = 1 << 31) -> list[LedgerRow]:
        """Return the balances per device and day (days since 1970), by device, then day."""

    def quarantine(self, limit: int) -> list[Quarantined]:
        """Return the newest quarantined messages, newest first."""

    def statuses(self) -> dict[str, tuple[bool, int]]:
        """Return {device: (online, since ns)} as last said."""


class AlertJournal(Protocol):
    """What the processors need: alert events stored once, together with their notices."""

    def position(self, source: str) -> int:
        """Return the log position up to which *source* was recorded."""

    def record(self, source: str, position: int, events: Sequence[AlertEvent]) -> list[str]:
        """Store *events*, move the position and queue the notices they cause (`core.notices`), in one transaction.

        Return the ids of the alerts that changed. An event whose id is stored already is skipped, so a replay
        changes nothing and tells nobody twice.
        """


class AlertDesk(Protocol):
    """What the api needs to show alerts and act on them."""

    def alerts(
        self,
        *,
        active: bool | None = None,
        district: str | None = None,
        device: str | None = None,
        incident: str | None = None,
        retrospective: bool | None = None,
        limit: int = 200,
        before: int | None = None,
        before_id: str = "",
    ) -> list[Alert]:
        """Return alerts, newest opening first, then by falling id; those of an incident are its founder and who joined.

        (`before` in ns, `before_id`) are opening time and id of the last alert of a page: the next one begins after it.
        """

    def alert(self, alert: str) -> Alert:
        """Return one alert.

        Raises:
            NotFound: no such alert.
        """

    def history(self, alert: str) -> list[AlertEvent]:
        """Return the events of one alert, in order."""

    def act(
        self,
        alert: str,
        kind: EventKind,
        *,
        actor: str,
        now_ns: int,
        comment: str = "",
        version: int | None = None,
    ) -> Alert:
        """Append what a person did, with the notices it causes; return the alert after it.

        Raises:
            NotFound: no such alert.
            Conflict: impossible in its state, or *version* is given and not current; the text says who and when.
        """


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """A notice on its way. `id` is deterministic and goes out as idempotency key; `body` is JSON."""

    id: str
    channel: str
    alert: str
    topic: str
    body: bytes
    created: int
    attempts: int = 0


class Outbox(Protocol):
    """What the notifier needs: notices that must go out, at least once, in order per alert and channel."""

    def due(self, now_ns: int, limit: int) -> list[OutboxItem]:
        """Return notices whose time has come, oldest first."""

    def sent(self, item: str, now_ns: int) -> None:
        """Mark a notice as delivered."""

    def failed(self, item: str, retry_ns: int, error: str) -> None:
        """Note a failed attempt and when to try again."""

    def given_up(self, item: str, now_ns: int, error: str) -> None:
        """Stop trying; the notice stays listed as failed."""

    def pending(self) -> int:
        """Return how many notices wait."""


class Accounts(Protocol):
    """What the api and the command line need of users, keys and sessions."""

    def add_user(self, name: str, role: Role, password_hash: str) -> None:
        """Create a user, or Conflict if the name is taken."""

    def user(self, name: str) -> tuple[Principal, str] | None:
        """Return a user and the password hash, or None."""

    def add_key(self, name: str, role: Role, token_hash: str, now_ns: int) -> None:
        """Create an API key, or Conflict if a key of that name is in force."""

    def keys(self) -> list[ApiKey]:
        """Return all keys, revoked ones included."""

    def revoke_key(self, name: str, now_ns: int) -> None:
        """Revoke the key in force under *name*, or NotFound."""

    def key(self, token_hash: str) -> Principal | None:
        """Return whose token hashes to this, None if unknown or revoked."""

    def add_session(self, token_hash: str, user: str, expires_ns: int) -> None:
        """Remember a login."""

    def session(self, token_hash: str, now_ns: int) -> Principal | None:
        """Return who is logged in with this token, None if unknown or over."""

    def drop_session(self, token_hash: str) -> None:
        """Forget a login."""


# -- the live feed and snapshots -------------------------------------------------------------------------------------


class LivePublisher(Protocol):
    """What the processors need to tell what just changed; loss is allowed, blocking is not."""

    async def publish(self, frame: LiveFrame) -> None:
        """Send *frame* to whoever listens."""


class Snapshots(Protocol):
    """What the processors need to keep their state over a restart."""

    def save(self, position: int, state: bytes) -> None:
        """Make *state* durable as of log *position*; older snapshots may go, at least the last two stay."""

    def load(self) -> list[tuple[int, bytes]]:
        """Return what is kept, newest first; a damaged one is left out and logged by the caller."""
