"""Whatever comes, and whichever devices come and go meanwhile, every message has one outcome in the right account."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from core.city import Device, Series
from gateway.admission import Admission, Stage
from gateway.registry import Directory
from gateway.settings import GatewaySettings

NOW = 1_767_225_600_000_000_000  # midnight: entries span two days
S = 1_000_000_000
DEVICES = ("d0", "d1", "d2")
PAYLOADS = (
    b'{"ts": 1767225600, "values": {"pm25": 1}}',
    b'{"ts": 1767225600, "values": {"pm25": 2}}',
    b'{"ts": 1767225601, "values": {"no2": 1}}',
    b'{"values": {"pm25": 1, "no2": 2}}',
    b'[{"ts": 1767220000, "values": {"pm25": 3}}]',
    b'{"ts": 1767229999, "values": {"pm25": 4}}',
    b"garbage",
)
TOPICS = ("devices/{}/readings", "devices/{}/status", "devices/{}/readings/pm25", "devices/{}/no such thing")

messages = st.tuples(
    st.just("message"), st.sampled_from(DEVICES), st.sampled_from(TOPICS), st.sampled_from(PAYLOADS), st.booleans()
)
steps = st.one_of(
    messages,
    messages,
    messages,
    st.tuples(st.just("toggle"), st.sampled_from(DEVICES)),
    st.tuples(st.just("long"), st.sampled_from(DEVICES)),
    st.tuples(st.just("ask"), st.booleans()),
    st.tuples(st.just("seal")),
)


class Gateway:
    """Admission, a catalog beside it, and the sums of all its tallies."""

    def __init__(self) -> None:
        settings = GatewaySettings(max_burst=8, max_rate_per_second=1)
        self.directory = Directory(max_topics=5, burst=settings.max_burst)
        self.admission = Admission(settings, self.directory)
        self.known: set[str] = set()
        self.series: dict[tuple[str, str], Series] = {}
        self.balance: Counter[tuple[str, int]] = Counter()
        self.received: Counter[int] = Counter()
        self.outcomes = 0

    def load(self) -> None:
        self.directory.load([Device(name, "air", "centre") for name in self.known], self.series.values())

    def ask(self) -> None:
        """Do what the intake does about deferred messages."""
        self.load()
        if left := self.admission.judge_deferred(Stage.DEVICES_KNOWN, len(self.admission.deferred)):
            for device, metric in sorted(self.admission.wanted):
                if device in self.known:
                    key = (device, metric)
                    self.series.setdefault(key, Series(len(self.series), device, metric, "centre"))
            self.load()
            self.admission.judge_deferred(Stage.ALL_KNOWN, left)

    def seal(self) -> None:
        self.ask()
        for tally in self.admission.seal().tallies:
            assert tally.received >= 0
            self.balance[tally.device, tally.day] += tally.received - tally.messages
            self.received[tally.day] += tally.received
            self.outcomes += tally.messages


@given(st.lists(steps, max_size=40), st.integers(-3, 3))
def test_every_ledger_row_balances(life: list[tuple], start: int) -> None:  # type: ignore[type-arg]
    it, sent = Gateway(), 0
    for n, step in enumerate(life):
        now = NOW + (start + n - 5) * S
        match step:
            case ("message", device, topic, payload, defers):
                it.admission.defers_strangers = defers
                it.admission.judge([topic.format(device).encode()], [payload], now)
                sent += 1
            case ("long", device):
                it.admission.refuse_long(f"devices/{device}/readings".encode(), now)
                sent += 1
            case ("toggle", device):
                it.known ^= {device}
            case ("ask", True):
                it.ask()
            case ("ask", _):
                it.load()
            case _:
                it.seal()
    it.seal()

    assert not any(it.balance.values())
    assert it.outcomes == sum(it.received.values()) == sent
