"""Tests against the real servers of Debian: their refusals, their limits, their death."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydantic import SecretStr

from backends.series import InfluxSettings, SeriesSettings, create_store, open_reader, open_writer
from core.batch import ReadingBatch
from core.clock import ManualClock
from core.errors import SettingsError, Unavailable
from core.ports import RankBy
from tests.influx import influxd, listed, victoria_metrics
from tests.stack import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from core.ports import RejectedReading, SeriesQueries, SeriesStore

DAY = 86_400_000_000_000
START = 20_000 * DAY


class House:
    """A writer and a reader of databases on the server at *url*."""

    def __init__(self, folder: Path, url: str, *, raw_days: int = 36_500, **influx: Any) -> None:
        self.folder = folder
        self.settings = SeriesSettings(url=url, raw_days=raw_days, influx=InfluxSettings(**influx))
        self.rejected: list[RejectedReading] = []
        self.names = listed()

    def open(self, stack: ExitStack) -> tuple[SeriesStore, SeriesQueries]:
        def keep(_: int, readings: Sequence[RejectedReading]) -> None:
            self.rejected += readings

        writer = open_writer(self.folder, self.settings, names=self.names, clock=ManualClock(), on_rejected=keep)
        reader = open_reader(self.folder, self.settings, names=self.names)
        return stack.enter_context(closing(writer)), stack.enter_context(closing(reader))


def command(url: str, text: str, **login: str) -> Any:
    """Run InfluxQL as an administrator would."""
    body = urllib.parse.urlencode({"q": text}).encode()
    with urllib.request.urlopen(f"{url}/query?{urllib.parse.urlencode(login)}", body, timeout=20) as answer:
        return json.loads(answer.read())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with influxd(tmp_path_factory.mktemp("influxd"), body=20_000) as url:
        yield url


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_a_database_that_is_not_there_is_named_with_the_way_to_make_it(
    tmp_path: Path, server: str, stack: ExitStack
) -> None:
    writer, reader = House(tmp_path, server, database="nowhere").open(stack)

    with pytest.raises(SettingsError, match=r"^series\.influx\.database: .*nowhere.*urbanpulse series init"):
        writer.write("log", 1, ReadingBatch.of([1], [START], [1.0]))
    with pytest.raises(Unavailable, match=r"series\.influx\.database"):
        reader.latest()
    health = reader.health()
    assert not health.ok
    assert "nowhere" in health.text


def test_a_request_over_the_server_s_limit_is_halved_until_it_fits(
    tmp_path: Path, server: str, stack: ExitStack
) -> None:
    house = House(tmp_path, server, database="large", rollup_database="large_rollup")
    create_store(tmp_path, house.settings)
    writer, reader = house.open(stack)

    writer.write("log", 1, ReadingBatch.of([1] * 4000, START + np.arange(4000), np.arange(4000, dtype=float)))

    assert reader.count() == 4000
    assert house.rejected == []


def test_readings_that_conflict_with_what_somebody_else_wrote_are_refused_alone(
    tmp_path: Path, server: str, stack: ExitStack
) -> None:
    """Somebody wrote integers into one week; readings of that week cannot be stored, all others are."""
    house = House(tmp_path, server, database="mixed", rollup_database="mixed_rollup")
    create_store(tmp_path, house.settings)
    stray = urllib.request.Request(f"{server}/write?db=mixed", f"reading,device=x value=1i {START}".encode())
    with urllib.request.urlopen(stray, timeout=20) as answer:
        assert answer.status == 204
    writer, reader = house.open(stack)
    at = [START + 5, START + 30 * DAY, START + 6, START + 31 * DAY, START + 32 * DAY]

    assert writer.write("log", 1, ReadingBatch.of([1, 1, 2, 2, 3], at, [1.0, 2.0, 3.0, 4.0, 5.0]))

    assert sorted((r.series, r.measured, r.value) for r in house.rejected) == [(1, at[0], 1.0), (2, at[2], 3.0)]
    assert all("field type conflict" in r.reason for r in house.rejected)
    assert reader.latest().value.tolist() == [2.0, 4.0, 5.0]
    assert writer.position("log") == 1


def test_readings_older_than_the_server_keeps_are_left_out(tmp_path: Path, server: str, stack: ExitStack) -> None:
    house = House(tmp_path, server, raw_days=10_000, database="short", rollup_database="short_rollup")
    create_store(tmp_path, house.settings)
    writer, reader = house.open(stack)

    assert writer.write("log", 1, ReadingBatch.of([1, 2], [DAY, START], [1.0, 2.0]))

    assert reader.latest().value.tolist() == [2.0]
    assert house.rejected == []


def test_init_changes_the_retention_and_keeps_what_is_there(tmp_path: Path, server: str, stack: ExitStack) -> None:
    house = House(tmp_path, server, database="kept", rollup_database="kept_rollup")
    first = create_store(tmp_path, house.settings)
    writer, reader = house.open(stack)
    writer.write("log", 1, ReadingBatch.of([1], [START], [1.0]))

    again = create_store(tmp_path, house.settings)
    changed = create_store(tmp_path, house.settings.model_copy(update={"raw_days": 9000}))

    assert first == ["database kept: created, keeps everything", "database kept_rollup: created, keeps everything"]
    assert again == ["database kept: is there, keeps everything", "database kept_rollup: is there, keeps everything"]
    assert changed[0] == "database kept: was there, now keeps 9000 days"
    [policies] = command(server, 'SHOW RETENTION POLICIES ON "kept"')["results"][0]["series"]
    assert [row[1] for row in policies["values"]] == ["216000h0m0s"]
    assert reader.count() == 1


def test_what_somebody_else_keeps_there_does_not_disturb(tmp_path: Path, server: str, stack: ExitStack) -> None:
    """Points of devices that are not registered, other measurements, other tags."""
    house = House(tmp_path, server, database="shared", rollup_database="shared", rollup_delay_seconds=0)
    create_store(tmp_path, house.settings)
    foreign = f"cpu,host=a value=1 {START}\nreading,device=foreign,metric=pm25 value=9 {START}\nreading value=8 {START}"
    with urllib.request.urlopen(f"{server}/write?db=shared", foreign.encode(), timeout=20) as answer:
        assert answer.status == 204
    writer, reader = house.open(stack)

    writer.write("log", 1, ReadingBatch.of([1, 2], [START, START], [1.0, 2.0]))
    writer.maintain(START + 10 * DAY)

    assert reader.latest().value.tolist() == [1.0, 2.0]
    series = np.array([1, 2], np.int32)
    assert reader.rollups(series, START, START + DAY, DAY).n.tolist() == [1, 1]
    assert reader.grouped(series, series, START, START + DAY, DAY).n.tolist() == [1, 1]


def test_groups_come_from_the_sums_of_whole_hours_where_those_are_up_to_date(
    tmp_path: Path, server: str, stack: ExitStack
) -> None:
    """Told apart by readings that somebody else wrote past us: sums do not know them until a reading of ours comes."""
    house = House(tmp_path, server, database="sums", rollup_database="sums_rollup", rollup_delay_seconds=0)
    create_store(tmp_path, house.settings)
    writer, reader = house.open(stack)
    hour = 3_600_000_000_000
    at = START + np.arange(8) * (hour // 2)
    series = np.array([1], np.int32)

    def counts(start: int = START, end: int = START + 4 * hour) -> list[int]:
        found: list[int] = reader.grouped(series, series, start, end, hour).n.tolist()
        return found

    writer.write("log", 1, ReadingBatch.of([1] * 8, at, np.arange(8.0)))
    for i in range(4):
        tags = "device=dev-0,district=north,metric=humidity"
        line = f"reading,{tags} value=99 {START + i * hour + 7}"
        with urllib.request.urlopen(f"{server}/write?db=sums", line.encode(), timeout=20):
            pass

    assert counts() == [3, 3, 3, 3]
    writer.maintain(START + 3 * hour)
    for i in range(4):
        line = f"reading,{tags} value=98 {START + i * hour + 8}"
        with urllib.request.urlopen(f"{server}/write?db=sums", line.encode(), timeout=20):
            pass

    assert counts() == [3, 3, 3, 4]
    assert counts(START + 1, START + 4 * hour - 1) == [3, 3, 3, 4]
    assert reader.top(series, START, START + 4 * hour, 1, RankBy.LAST).value.tolist() == [7.0]
    writer.write("log", 2, ReadingBatch.of([1], [START + 9], [5.0]))
    writer.maintain(START + 3 * hour)
    assert counts() == [5, 3, 3, 4]


def test_a_login_that_is_wrong_is_named(tmp_path: Path, stack: ExitStack) -> None:
    url = stack.enter_context(influxd(tmp_path / "server", auth=True))
    command(url, "CREATE USER boss WITH PASSWORD 'pw' WITH ALL PRIVILEGES")
    command(url, "CREATE USER guest WITH PASSWORD 'pw'", u="boss", p="pw")

    def settings(user: str, password: str) -> SeriesSettings:
        return SeriesSettings(url=url, influx=InfluxSettings(user=user, password=SecretStr(password)))

    with pytest.raises(SettingsError, match=r"^series\.influx\.password: .*does not know this login"):
        create_store(tmp_path, settings("boss", "wrong"))
    with pytest.raises(SettingsError, match=r"^series\.influx"):
        create_store(tmp_path, settings("guest", "pw"))
    assert len(create_store(tmp_path, settings("boss", "pw"))) == 2
    house = House(tmp_path / "store", url, user="boss", password=SecretStr("pw"))
    writer, reader = house.open(stack)
    assert writer.write("log", 1, ReadingBatch.of([1], [START], [1.0]))
    assert reader.count() == 1
    house.settings = settings("guest", "pw")
    house.folder = tmp_path / "guest"
    other, _ = house.open(stack)
    with pytest.raises(SettingsError, match=r"^series\.influx\.password: .*"):
        other.write("log", 1, ReadingBatch.of([1], [START], [1.0]))


def test_nothing_is_lost_or_twice_when_server_and_writer_die(tmp_path: Path) -> None:
    """The server is killed with -9 three times, each time between two writes; writers start anew."""
    port = free_port()
    house = House(tmp_path / "store", f"http://127.0.0.1:{port}", database="lives", rollup_database="lives_rollup")
    batches = [
        ReadingBatch.of([s] * 3, START + i * 10 + np.arange(3), [1.0 * i] * 3) for i in range(20) for s in (1, 2)
    ]
    for life in range(3):
        with ExitStack() as stack:
            stack.enter_context(influxd(tmp_path / "server", port=port, kill=True))
            if life == 0:
                create_store(tmp_path, house.settings)
            writer, _ = house.open(stack)
            first = writer.position("log")
            assert first == 13 * life
            for position in range(first, first + 13):
                assert writer.write("log", position + 1, batches[position])
            assert not writer.write("log", first + 13, batches[0])
    with ExitStack() as stack:
        writer, reader = house.open(stack)
        with pytest.raises(Unavailable):
            writer.write("log", 40, batches[39])
        stack.enter_context(influxd(tmp_path / "server", port=port))
        for position in range(writer.position("log"), len(batches)):
            assert writer.write("log", position + 1, batches[position])
        for position in range(30, len(batches)):  # as if what was noted had been lost
            assert writer.write("again", position + 1, batches[position])

        assert reader.count() == 3 * len(batches)
        found = reader.readings(1, START, START + 1000, 1000)
        assert found.value.tolist() == [float(i) for i in range(20) for _ in range(3)]


@pytest.mark.parametrize("compressed", ["off", "on"])
def test_the_vendor_s_client_carries_our_bytes_to_a_server_of_the_2_x_kind(tmp_path: Path, compressed: str) -> None:
    """Compressed ones too: without the right header this server answers 204 and stores nothing."""
    with ExitStack() as stack:
        url = stack.enter_context(victoria_metrics(tmp_path / "server"))
        house = House(tmp_path / "store", url, flavour="v2", gzip=compressed, token=SecretStr("any"), org="any")
        writer, _ = house.open(stack)

        writer.write("log", 1, ReadingBatch.of([1, 2], [START, START], [1.5, 2.5]))

        with urllib.request.urlopen(f"{url}/internal/force_flush", timeout=20):
            pass
        question = urllib.parse.urlencode({"match[]": '{__name__="reading_value"}', "start": 0})
        with urllib.request.urlopen(f"{url}/api/v1/export?{question}", timeout=20) as answer:
            found = [json.loads(line) for line in answer.read().splitlines()]
        assert sorted((f["metric"]["metric"], f["metric"]["district"], f["values"]) for f in found) == [
            ("humidity", "north", [1.5]),
            ("pm25", "north", [2.5]),
        ]
