"""What is told of whole devices, by the parts that a city runs on: silent, flapping, late; alone or with many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from core.admission import DeviceStatus
from core.batch import ReadingBatch
from core.city import Series
from core.entry import LogEntry
from core.quality import Flag
from core.texts import describe
from processors.alerting.rules import RuleBook, parse_rules
from processors.pipeline import Pipeline
from processors.settings import ProcessorSettings
from processors.standard import StandardParts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.alerts import AlertEvent

S = 1_000_000_000
T0 = 1_767_225_600 * S
RULES = '[[finding]]\nkind = "gap"\n[[finding]]\nkind = "flapping"\n[[finding]]\nkind = "late"\n'
EVERY = 10  # seconds between the readings of a device; so 30 s of silence are a gap


class City:
    """Devices that report every ten seconds, a pipeline that judges them, and what it told."""

    def __init__(self, count: int = 1, *, rules: str = RULES, interval: float | None = None) -> None:
        self.names = [f"d{k:02}" for k in range(count)]
        self._book: RuleBook = parse_rules(rules, "test")
        self._interval = interval
        self.events: list[AlertEvent] = []
        self.second = 0
        self._position = 0
        self.pipeline = self._fresh()

    def _fresh(self) -> Pipeline:
        settings = ProcessorSettings.model_validate({"windows": {"enabled": False}})
        return Pipeline(
            parts=StandardParts(liveness=settings.liveness),
            book=self._book,
            settings=settings,
            lookup=lambda k: Series(k, self.names[k], "temperature", "north", self._interval),
        )

    def restart(self) -> None:
        state = self.pipeline.to_bytes()
        self.pipeline = self._fresh()
        self.pipeline.restore(state)
        assert self.pipeline.to_bytes() == state

    def log(self, batch: ReadingBatch, statuses: Iterable[DeviceStatus] = ()) -> None:
        self._position += 1
        now = T0 + self.second * S
        self.events += self.pipeline.process([(self._position, LogEntry(now, batch, statuses=tuple(statuses)))]).events

    def run(self, seconds: int, *, quiet: Iterable[int] = (), behind: int = 0, late: Iterable[int] = ()) -> None:
        """Let time pass; the devices in *quiet* say nothing, those in *late* what they measured *behind* s ago."""
        away, delayed = set(quiet), set(late)
        for _ in range(seconds):
            self.second += 1
            now = T0 + self.second * S
            said = np.array([k for k in range(len(self.names)) if k not in away and (self.second + k) % EVERY == 0])
            is_late = np.array([k in delayed for k in said], bool)
            batch = ReadingBatch.of(
                said, now - np.where(is_late, behind, 0) * S, 20.0 + (self.second % 7) * np.ones(len(said)),
                received=np.full(len(said), now), quality=np.where(is_late, int(Flag.LATE), 0),
            )  # fmt: skip
            self.log(batch)

    def say(self, device: int, *, online: bool) -> None:
        self.log(ReadingBatch.empty(), [DeviceStatus(self.names[device], online, T0 + self.second * S)])

    @property
    def told(self) -> list[tuple[str, str, str]]:
        """Return (kind of event, code, device) of all that was told."""
        about = {e.alert: (e.evidence.code, e.evidence.device) for e in self.events if e.evidence}
        return [(e.kind.value, *about[e.alert]) for e in self.events if e.kind.value != "updated"]

    def raised(self, code: str) -> list[AlertEvent]:
        return [e for e in self.events if e.kind == "raised" and e.evidence and e.evidence.code == code]


def test_a_declared_interval_is_judged_by_at_once() -> None:
    city = City(2, interval=60)
    city.run(10)
    city.run(179, quiet=[0])
    assert city.told == []

    city.run(2, quiet=[0])

    assert city.told == [("raised", "gap", "d00")]


@pytest.mark.parametrize("restart", [False, True])
def test_a_device_that_comes_and_goes_is_one_finding_and_back_to_normal_by_itself(*, restart: bool) -> None:
    city = City()
    city.run(100)
    for _ in range(8):
        city.run(90, quiet=[0])
        city.run(60)
        if restart:
            city.restart()

    # the cool-down of gaps held the second and third back, the fourth made it flap
    assert city.told == [("raised", "gap", "d00"), ("cleared", "gap", "d00"), ("raised", "flapping", "d00")]
    (flapping,) = city.raised("flapping")
    assert flapping.evidence
    assert (flapping.evidence.value, flapping.evidence.duration_seconds) == (4, 452)
    assert flapping.evidence.classification == "sensor fault"
    assert describe(flapping.evidence).startswith("d00 is unsteady, 4 times away in 452 s: it is lost and comes back")
    assert city.pipeline.devices.counts == {"flapping": 1, "late": 0}

    city.run(1800)

    assert city.told[3:] == [("cleared", "flapping", "d00")]
    city.run(60, quiet=[0])
    assert city.told[4:] == [("raised", "gap", "d00")]


def test_three_losses_are_three_silences() -> None:
    city = City()
    city.run(100)
    for _ in range(3):
        city.run(60, quiet=[0])
        city.run(700)

    assert city.told == [("raised", "gap", "d00"), ("cleared", "gap", "d00")] * 3


def test_what_stays_away_while_it_flaps_is_told_silent_when_that_is_over() -> None:
    city = City()
    city.run(100)
    for _ in range(4):
        city.run(60, quiet=[0])
        city.run(60)
    assert city.told[-1] == ("raised", "flapping", "d00")

    city.run(3600, quiet=[0])

    assert city.told[-2:] == [("cleared", "flapping", "d00"), ("raised", "gap", "d00")]
    city.run(30)
    assert city.told[-1] == ("cleared", "gap", "d00")


def test_who_wants_no_finding_of_flapping_keeps_each_silence() -> None:
    city = City(rules='[[finding]]\nkind = "gap"\n')
    city.run(100)
    for _ in range(6):
        city.run(60, quiet=[0])
        city.run(700)

    assert city.told == [("raised", "gap", "d00"), ("cleared", "gap", "d00")] * 6


def test_a_connection_that_toggles_is_the_same_finding() -> None:
    """Nothing is missed long enough to be a gap."""
    city = City()
    city.run(100)
    for _ in range(4):
        assert city.told == []
        city.say(0, online=False)
        city.run(20)
        city.say(0, online=True)
        city.run(40)

    assert city.told == [("raised", "flapping", "d00")]


def test_who_says_offline_after_each_report_is_calm() -> None:
    city = City()
    city.run(100)
    for _ in range(60):
        city.run(9)
        city.say(0, online=False)
        city.run(1)
        city.say(0, online=True)

    assert city.told == []


def test_a_gateway_that_comes_and_goes_is_one_finding_of_all_its_devices() -> None:
    city = City(20)
    gone = range(8)
    city.run(100)
    for _ in range(7):
        city.run(90, quiet=gone)
        city.run(60)

    assert [what for what in city.told if what[1] == "gap"] == [("raised", "gap", "d07"), ("cleared", "gap", "d07")]
    (flapping,) = city.raised("flapping")
    assert flapping.evidence
    assert flapping.evidence.card
    assert (flapping.evidence.card.silent, flapping.evidence.card.of) == (8, 20)
    assert flapping.evidence.classification == "gateway fault"
    assert "and so are 7 other devices of 20 in its district" in describe(flapping.evidence)
    assert city.pipeline.devices.counts == {"flapping": 8, "late": 0}

    city.run(1900)

    assert city.told[-1] == ("cleared", "flapping", flapping.evidence.device)
    assert city.pipeline.devices.counts == {"flapping": 0, "late": 0}


def test_four_that_flap_are_no_crowd() -> None:
    city = City(20)
    city.run(100)
    for _ in range(4):
        city.run(90, quiet=range(4))
        city.run(60)

    assert sorted(e.evidence.device for e in city.raised("flapping") if e.evidence) == ["d00", "d01", "d02", "d03"]


def test_a_device_that_sends_only_the_past_is_late_until_it_is_in_time_again() -> None:
    city = City(2)
    city.run(100)
    city.run(1805, late=[0], behind=3600)
    city.restart()
    assert city.told == []
    city.run(20, late=[0], behind=3600)
    city.restart()

    assert city.told == [("raised", "late", "d00")]
    (late,) = city.raised("late")
    assert late.evidence
    assert (late.evidence.value, late.evidence.unit, late.evidence.duration_seconds) == (3600, "s", 1801)
    assert describe(late.evidence).startswith("d00 is late for 1801 s now, by 3600 s: nothing that it sends comes in")
    city.run(20)
    assert city.told[1:] == [("cleared", "late", "d00")]


def test_many_late_devices_of_a_district_are_one_finding() -> None:
    city = City(12)
    city.run(100)
    city.run(1900, late=range(6), behind=3600)

    (late,) = city.raised("late")
    assert late.evidence
    assert late.evidence.card
    assert (late.evidence.card.silent, late.evidence.card.of) == (6, 12)
    assert late.evidence.classification == "gateway fault"
    assert city.pipeline.devices.counts == {"flapping": 0, "late": 6}


@pytest.mark.parametrize("restart", [False, True])
def test_many_silent_behind_one_gateway_are_one_finding_and_their_return_is_one_too(*, restart: bool) -> None:
    city = City(20)
    city.run(200)
    city.run(20, quiet=range(12))
    if restart:
        city.restart()
    city.run(80, quiet=range(12))
    if restart:
        city.restart()

    assert city.told == [("raised", "gap", "d09")]  # its last word was the first of theirs
    (gap,) = city.raised("gap")
    assert gap.evidence
    assert gap.evidence.card
    assert (gap.evidence.card.silent, gap.evidence.card.of) == (12, 20)
    assert gap.evidence.classification == "gateway fault"

    city.run(300, quiet=[11])  # all are back but one

    assert city.told[1:] == [("cleared", "gap", "d09"), ("raised", "gap", "d11")]
    city.run(20)
    assert city.told[3:] == [("cleared", "gap", "d11")]
