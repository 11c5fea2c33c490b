"""The bank of peers: who is beside whom, what drifts away from them, and that nothing hangs on cuts or order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from core.batch import ReadingBatch
from core.city import Device, Series
from core.errors import MalformedPayload
from core.quality import Flag
from processors.near import nearest
from processors.peer_settings import PeerSettings
from processors.peers import PeerBank
from processors.standard import StandardParts

if TYPE_CHECKING:
    from processors.peers import Round

START = 1_767_225_600_000_000_000
STEP = 600_000_000_000
DAY = 144
SENSORS = 12


def _bank(places: int = SENSORS, *, bank: PeerBank | None = None, **settings: float) -> PeerBank:
    bank = bank or PeerBank(PeerSettings.model_validate(settings))
    for k in range(SENSORS):
        device = Device(f"d{k}", "air", "x", "", 37.9 + 0.01 * (k % 4), 58.3 + 0.01 * (k // 4))
        bank.place(Series(k, f"d{k}", "pm25", "x"), device if k < places else None)
    return bank


def _city(days: float, *, seed: int = 1) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return readings [rounds, sensors]: a daily course and a common wander, both far larger than the noise."""
    rng = np.random.default_rng(seed)
    n = int(days * DAY)
    common = 8 * np.sin(np.arange(n) / DAY * 2 * np.pi) + np.cumsum(rng.normal(0, 0.6, n))
    return 30 + common[:, None] * rng.uniform(0.8, 1.2, SENSORS) + rng.normal(0, 0.5, (n, SENSORS))


def _batch(values: np.ndarray[tuple[int, int], np.dtype[np.float64]], row: int) -> ReadingBatch:
    told = np.flatnonzero(~np.isnan(values[row]))
    return ReadingBatch.of(told, np.full(len(told), START + row * STEP), values[row, told])


def _run(bank: PeerBank, values: np.ndarray[tuple[int, int], np.dtype[np.float64]], first: int = 0) -> list[Round]:
    found = []
    for row in range(first, len(values)):
        bank.hear(_batch(values, row))
        closed = bank.close(START + row * STEP)
        if closed is not None:
            found.append(closed)
    return found


def _worst(found: list[Round], series: int, since: int = 0) -> float:
    return max((float(r.severity[r.series == series].max(initial=0)) for r in found[since:]), default=0.0)


def test_a_drift_that_hides_in_the_common_wander_is_found_and_only_there() -> None:
    values = _city(14)
    values[10 * DAY : 12 * DAY, 5] += np.linspace(0, 8, 2 * DAY)

    found = _run(_bank(), values)

    assert _worst(found, 5) >= 1
    assert [k for k in range(SENSORS) if k != 5 and _worst(found, k) >= 1] == []


def test_a_step_is_found_within_an_hour_or_two_and_only_there() -> None:
    values = _city(14)
    values[10 * DAY + 7 :, 5] += 10  # the common wander moves as far

    found = _run(_bank(), values)

    first = next(r.at for r in found if (r.severity[r.series == 5] >= 1).any())
    assert 0 < first - (START + (10 * DAY + 7) * STEP) <= 2 * 3600 * 10**9
    assert [k for k in range(SENSORS) if k != 5 and _worst(found, k) >= 1] == []


def test_a_step_behind_a_silence_is_left_to_the_slower_comparison() -> None:
    values = _city(14)
    values[10 * DAY : 10 * DAY + 12, 5] = np.nan
    values[10 * DAY + 12 :, 5] += 10

    found = _run(_bank(), values)

    hours = [r for r in found if 0 <= r.at - START - 10 * DAY * STEP <= 4 * 3600 * 10**9]
    assert _worst(hours, 5) < 1
    assert _worst(found, 5) >= 1  # drift


def test_readings_of_a_series_that_is_strange_to_its_peers_are_flagged() -> None:
    places = {f"d{k}": Device(f"d{k}", "air", "x", "", 37.9 + 0.01 * (k % 4), 58.3 + 0.01 * (k // 4)) for k in range(9)}
    parts = StandardParts(places.get)
    for k in range(9):
        parts.learn(Series(k, f"d{k}", "pm25", "x"))
    values = _city(8)[:, :9]
    values[6 * DAY :, 5] += 30
    flagged = np.zeros(values.shape, bool)

    for row in range(len(values)):
        batch, _ = parts.judge(_batch(values, row), START + row * STEP)
        flagged[row, batch.series] = (batch.quality & Flag.NEIGHBOUR) != 0
        parts.compare(START + row * STEP)

    assert flagged[6 * DAY :, 5].any()
    assert not flagged[: 6 * DAY].any()
    assert not np.delete(flagged, 5, axis=1).any()


def test_what_all_do_together_is_nobodys_drift() -> None:
    values = _city(14)
    values[10 * DAY : 12 * DAY] += np.linspace(0, 12, 2 * DAY)[:, None]

    found = _run(_bank(), values)

    assert [k for k in range(SENSORS) if _worst(found, k) >= 1] == []


def test_a_series_without_a_place_has_no_peers_and_is_nobodys() -> None:
    bank = _bank(places=10)
    values = _city(5)
    values[3 * DAY :, 11] += 100

    found = _run(bank, values)

    assert len(bank.peers(11)) == 0
    assert not {10, 11} & {int(p) for k in range(10) for p in bank.peers(k)}
    assert all(11 not in r.series for r in found)


@pytest.mark.parametrize(("metric", "told"), [("energy", False), ("level", False), ("pm25", True)])
def test_what_is_restless_by_nature_is_compared_and_never_strange(metric: str, told: bool) -> None:
    bank = PeerBank()
    for k in range(SENSORS):
        bank.place(Series(k, f"d{k}", metric, "x"), Device(f"d{k}", "meter", "x", "", 37.9 + 0.01 * k, 58.3))
    values = _city(8)
    values[6 * DAY :, 5] += 30

    found = _run(bank, values)

    assert len(bank.peers(5)) == 8
    assert (_worst(found, 5) >= 1) == told
    assert _worst(_run(PeerBank.from_bytes(bank.to_bytes()), values), 5) == 0 or told


def test_with_two_neighbours_nothing_is_said() -> None:
    bank = _bank(places=3)
    values = _city(6)
    values[4 * DAY :, 0] += 100

    assert _worst(_run(bank, values), 0) == 0


def test_what_stands_still_as_a_rule_is_not_compared() -> None:
    values = np.zeros((8 * DAY, SENSORS))
    values[6 * DAY : 6 * DAY + 9, :4] = np.linspace(1, 30, 9)[:, None]  # a shower reaches some of the gauges

    found = _run(_bank(), values)

    assert max(_worst(found, k) for k in range(SENSORS)) == 0


def test_cuts_order_and_snapshots_change_no_bit() -> None:
    values = _city(4)
    values[np.random.default_rng(3).random(values.shape) < 0.1] = np.nan
    whole, cut = _bank(), _bank()
    rng = np.random.default_rng(5)

    expected = _run(whole, values)
    found = []
    for row in range(len(values)):
        batch = _batch(values, row)
        first = batch.take(np.arange(len(batch) // 2))
        cut.hear(first)
        rest = np.arange(len(batch) // 2, len(batch))
        cut.hear(batch.take(rng.permutation(rest) if row > DAY else rest))  # who spoke first decides the order of rows
        if row % 50 == 0:
            cut = _bank(bank=PeerBank.from_bytes(cut.to_bytes()))
        closed = cut.close(START + row * STEP)
        if closed is not None:
            found.append(closed)

    assert cut.to_bytes() == whole.to_bytes()
    for a, b in zip(expected, found, strict=True):
        assert (a.at, a.series.tobytes(), a.severity.tobytes()) == (b.at, b.series.tobytes(), b.severity.tobytes())


def test_scores_do_not_know_the_future() -> None:
    values = _city(6)
    other = values.copy()
    other[4 * DAY :] *= -3

    before = _run(_bank(), values)
    after = _run(_bank(), other)

    same = [r for r in before if r.at <= START + 4 * DAY * STEP - STEP]
    assert len(same) > 3 * DAY
    assert [r.severity.tobytes() for r in same] == [r.severity.tobytes() for r in after[: len(same)]]


def test_absurd_values_and_a_clock_that_runs_ahead_poison_nothing() -> None:
    values = _city(14)
    values[3 * DAY : 3 * DAY + 40, 2] = np.inf
    values[5 * DAY : 5 * DAY + 40, 2] = 1e29
    values[10 * DAY : 12 * DAY, 5] += np.linspace(0, 8, 2 * DAY)
    bank = _bank()
    bank.hear(ReadingBatch.of([3], [START + 400 * DAY * STEP], [1.0]))

    found = _run(bank, values)

    assert _worst(found, 5) >= 1
    assert all(np.isfinite(r.severity).all() for r in found)


def test_a_round_does_not_wait_for_ever_for_those_that_fell_silent() -> None:
    values = _city(3)
    values[2 * DAY :, : SENSORS - 4] = np.nan

    found = _run(_bank(), values)

    assert found[-1].at > START + (len(values) - 12) * STEP


def test_series_beyond_the_limit_are_counted_and_not_compared() -> None:
    bank = _bank(max_series=SENSORS - 1)

    _run(bank, _city(1))

    assert bank.refused == DAY


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_state_that_is_cut_short_or_of_another_version_is_refused(cut: int) -> None:
    bank = _bank()
    _run(bank, _city(1))
    data = bank.to_bytes()

    with pytest.raises(MalformedPayload, match=r"bank of peers|column"):
        PeerBank.from_bytes(data[:cut])
    with pytest.raises(MalformedPayload, match="version 9"):
        PeerBank.from_bytes(data.replace(b"\xa7version\x02", b"\xa7version\x09", 1))


def test_the_nearest_are_those_of_the_same_kind_first_and_never_of_the_same_device() -> None:
    lat = np.array([0.0, 0.001, 0.002, 0.003, 0.5])
    lon = np.zeros(5)

    found = nearest(lat, lon, np.array([0, 1, 0, 0, 0]), np.array([0, 1, 2, 0, 4]), 3)

    assert found[0].tolist() == [2, 1, 4]
    assert nearest(lat[:1], lon[:1], np.zeros(1, int), np.zeros(1, int), 2).tolist() == [[-1, -1]]


def test_of_many_places_nearly_the_nearest_are_found() -> None:
    rng = np.random.default_rng(2)
    lat, lon = rng.uniform(0, 0.2, 3000), rng.uniform(0, 0.2, 3000)

    found = nearest(lat, lon, np.zeros(3000, int), np.arange(3000), 8)

    def away(k: int, others: list[int]) -> float:
        return float(np.hypot(lat[others] - lat[k], lon[others] - lon[k]).mean())

    worse = []
    for k in range(0, 3000, 50):
        best = np.argsort(np.hypot(lat - lat[k], lon - lon[k]))[1:9]
        worse.append(away(k, found[k].tolist()) / away(k, best.tolist()))
    assert np.median(worse) < 1.1
    assert max(worse) < 4
