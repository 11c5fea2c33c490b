"""Tests of the verb score: what it asks of an API, what it says when that goes wrong, and the report it writes."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from typer.testing import CliRunner

from core.clock import from_ns
from core.errors import MalformedPayload, SettingsError, Unavailable, UrbanpulseError
from tests.stack import free_port
from urbanpulse.cli import app
from urbanpulse.score_html import score_page
from urbanpulse.scoring import Asked, Source, make_score, parse_duration, parse_time
from urbanpulse.scoring_api import Api

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]
URL = "http://city"
MINUTE = 60_000_000_000
T0 = 1_777_593_600_000_000_000  # 2026-05-01T00:00:00Z


def iso(minute: float) -> str:
    return from_ns(T0 + round(minute * MINUTE)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def alert(name: str, minute: float, device: str = "air-1", metric: str = "pm25", **more: Any) -> dict[str, Any]:
    return {
        "id": name, "opened_at": iso(minute), "device": device, "district": "north", "metric": metric,
        "code": "novelty.jump", "rule": "novelty", "priority": "medium", "severity": 2.0, "retrospective": False,
        **more,
    }  # fmt: skip


def label(device: str = "air-1", metric: str = "pm25", start: float = 60, end: float = 70, what: str = "spike") -> str:
    return json.dumps({
        "class": "fault", "what": what, "device": device, "metric": metric, "district": "north", "metrics": [metric],
        "from": iso(start), "to": iso(end), "size": 100.0, "seed": 7,
    }) + "\n"  # fmt: skip


class FakeApi:
    """Answers as the API does, in pages of at most `page`; newest alert first."""

    def __init__(self, alerts: list[dict[str, Any]], *, series: int = 50, page: int = 3) -> None:
        self.alerts = sorted(alerts, key=lambda item: item["opened_at"], reverse=True)
        self.series = series
        self.page = page
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        query = request.url.params
        if request.url.path == "/api/v1/series":
            return httpx.Response(200, json={"items": [{"id": n} for n in range(self.series)]})
        assert request.url.path == "/api/v1/alerts"
        assert query["state"] == "all"
        assert "retrospective" not in query, "both live and retrospective ones are wanted"
        if int(query["limit"]) > self.page:
            return httpx.Response(422, json={"title": "invalid", "detail": f"limit: at most {self.page}"})
        first = int(query.get("cursor", "0"))
        last = first + int(query["limit"])
        following = str(last) if last < len(self.alerts) else None
        return httpx.Response(200, json={"items": self.alerts[first:last], "next_cursor": following})


def api(answer: Callable[[httpx.Request], httpx.Response], **more: str) -> Api:
    return Api(URL, transport=httpx.MockTransport(answer), **more)


def test_alerts_are_fetched_page_by_page_as_small_as_the_api_wants() -> None:
    fake = FakeApi([alert(f"a{n}", n) for n in range(8)])

    with api(fake) as city:
        found = city.openings(since=T0, most=100)

    assert [f"a{n}" for n in range(8)] == [item.id for item in found.items]
    assert not found.more
    assert len(fake.asked) == 4, "one refusal and three pages"


def test_alerts_before_the_span_are_not_asked_for() -> None:
    fake = FakeApi([alert(f"a{n}", n) for n in range(9)])

    with api(fake) as city:
        found = city.openings(since=T0 + 7 * MINUTE, most=100)

    assert [item.id for item in found.items] == ["a7", "a8"]
    assert len(fake.asked) == 2, "one refusal and one page"


@pytest.mark.parametrize(("most", "more"), [(7, True), (8, False), (9, False)])
def test_no_more_alerts_are_held_than_allowed(most: int, more: bool) -> None:
    with api(FakeApi([alert(f"a{n}", n) for n in range(8)])) as city:
        found = city.openings(since=T0, most=most)

    assert (min(most, 8), more) == (len(found.items), more)
    assert found.items[-1].id == "a7", "the newest stay"
    assert more == found.more


def test_the_key_goes_along_and_a_login_is_kept() -> None:
    fake = FakeApi([])

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/login"):
            assert json.loads(request.content) == {"name": "ada", "password": "secret"}
            return httpx.Response(200, json={"name": "ada"}, headers={"set-cookie": "urbanpulse_session=s; Path=/"})
        return fake(request)

    with api(fake, key="up_key") as city:
        city.series_count()
    with api(answer) as city:
        city.login("ada", "secret")
        city.series_count()

    assert fake.asked[0].headers["authorization"] == "Bearer up_key"
    assert fake.asked[1].headers["cookie"] == "urbanpulse_session=s"


@pytest.mark.parametrize(
    ("status", "content", "error", "message"),
    [
        pytest.param(401, "{}", SettingsError, "key: http://city does not know who asks: a valid --key", id="no key"),
        pytest.param(403, "{}", SettingsError, "key: http://city forbids /api/v1/series: the role", id="forbidden"),
        pytest.param(
            503, '{"detail": "the catalog is away"}', Unavailable,
            "http://city: /api/v1/series answers 503: the catalog is away", id="a part is away",
        ),
        pytest.param(502, "<html>", Unavailable, "http://city: /api/v1/series answers 502: Bad Gateway", id="a proxy"),
        pytest.param(
            200, "<html>", SettingsError,
            "api: http://city does not answer as urbanpulse does: /api/v1/series gives 200", id="a web page",
        ),
        pytest.param(404, "{}", SettingsError, "does not answer as urbanpulse does: .* gives 404", id="no such route"),
        pytest.param(302, "", SettingsError, "does not answer as urbanpulse does: .* gives 302", id="a redirect"),
        pytest.param(200, '{"items": 3}', SettingsError, "no items in what it lists", id="another API"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_one_clear_line(
    status: int, content: str, error: type[UrbanpulseError], message: str
) -> None:
    with api(lambda _: httpx.Response(status, content=content)) as city, pytest.raises(error, match=message):
        city.series_count()


def test_a_wrong_password_is_told() -> None:
    with (
        api(lambda _: httpx.Response(401, json={})) as city,
        pytest.raises(SettingsError, match="login: http://city knows no such name and password"),
    ):
        city.login("ada", "wrong")


def test_an_api_that_is_away_is_told() -> None:
    with (
        Api(f"http://127.0.0.1:{free_port()}") as city,
        pytest.raises(Unavailable, match=r"^http://127.0.0.1:\d+: .*refused; does `urbanpulse serve` run there\?"),
    ):
        city.series_count()


def test_an_api_that_sends_no_answer_is_told() -> None:
    def silent(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("", request=request)

    with api(silent) as city, pytest.raises(Unavailable, match="http://city: no answer within 30 s"):
        city.series_count()


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://city", "http://", "http:// city", "http://city:port"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^api: "):
        Api(url)


# -- terms -------------------------------------------------------------------------------------------------------------


def written(folder: Path, labels: str, alerts: list[dict[str, Any]]) -> tuple[Path, Source]:
    (folder / "labels.jsonl").write_text(labels)
    (folder / "alerts.json").write_text(json.dumps(alerts))
    return folder / "labels.jsonl", Source(file=folder / "alerts.json")


def test_what_is_not_told_is_found_out_and_said(tmp_path: Path) -> None:
    file, source = written(tmp_path, label() + label("air-2"), [alert("a", 61), alert("b", 62, "air-3", "no2")])

    made = make_score(file, source, Asked())
    terms = made.score.terms

    assert (terms.start, terms.end) == (T0 + 50 * MINUTE, T0 + 80 * MINUTE)
    assert terms.sensors == 3
    assert "only the 3 series that labels and alerts name are counted as sensors: --sensors says better" in made.notes


def test_what_is_told_holds(tmp_path: Path) -> None:
    file, source = written(tmp_path, label(), [alert("a", 61)])

    made = make_score(file, source, Asked(start=T0, end=T0 + 120 * MINUTE, sensors=5))

    assert (
        made.score.terms.hours, made.score.terms.sensors, made.score.terms.span_from, made.notes
    ) == (2.0, 5, "given", ())  # fmt: skip


def test_older_alerts_beyond_the_limit_are_left_out_with_a_note(tmp_path: Path) -> None:
    file, source = written(tmp_path, label(), [alert("old", 61), alert("new", 62)])

    made = make_score(file, source, Asked(most=1, sensors=1))

    assert [opening.id for opening, _ in made.score.attributed] == ["new"]
    assert made.notes == ("there are more alerts than the 1 that were taken: older ones are missing",)


def test_alerts_of_another_run_are_noticed(tmp_path: Path) -> None:
    file, source = written(tmp_path, label(), [alert("a", 9000)])

    made = make_score(file, source, Asked(sensors=1))

    assert made.notes == ("none of the 1 alerts opened within the span: is it the same run?",)


def test_empty_labels_need_a_span(tmp_path: Path) -> None:
    file, source = written(tmp_path, "", [alert("a", 61)])

    with pytest.raises(SettingsError, match="labels: there are none, so say with --from and --to"):
        make_score(file, source, Asked(start=T0))
    made = make_score(file, source, Asked(start=T0, end=T0 + 120 * MINUTE, sensors=1))

    assert (made.score.recall, len(made.score.false_alarms)) == (None, 1)


def test_the_span_is_the_runs_own_where_a_fast_run_says_it(tmp_path: Path) -> None:
    file, source = written(tmp_path, label(), [alert("a", 61), alert("b", 1439)])
    run = {
        "start": "2026-05-01T00:00:00Z",
        "hours": 24.0,
        "labels_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    (tmp_path / "run-0of0.json").write_text("{}")
    (tmp_path / "run-1of2.json").write_text(json.dumps({"run": run | {"labels_sha256": "another run's", "hours": 1.0}}))
    (tmp_path / "run-2of2.json").write_text(json.dumps({"run": run, "part": "2of2", "complete": True}))

    terms = make_score(file, source, Asked(sensors=1)).score.terms

    assert (terms.start, terms.end, terms.span_from) == (T0, T0 + 1450 * MINUTE, "the run, and the grace")


def test_a_bad_label_is_named_by_file_and_line(tmp_path: Path) -> None:
    file, source = written(tmp_path, label() + label().replace('"from"', '"form"'), [])

    with pytest.raises(MalformedPayload, match=r"labels.jsonl:2: .*"):
        make_score(file, source, Asked())


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    file, source = written(tmp_path, label(), [])

    with pytest.raises(SettingsError, match=r"^labels: .*nothing: No such file"):
        make_score(tmp_path / "nothing", source, Asked())
    with pytest.raises(SettingsError, match=r"^alerts: .*: Is a directory"):
        make_score(file, Source(file=tmp_path), Asked())


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172_800), ("0s", 0), (" 5m ", 300)]
)
def test_durations(text: str, seconds: int) -> None:
    assert seconds * 1_000_000_000 == parse_duration("grace", text)


@pytest.mark.parametrize("text", ["", "10", "m", "10 minutes", "-5m", "5m1h", "1.5h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^grace: .* is no time; one like"):
        parse_duration("grace", text)


@pytest.mark.parametrize(
    "text", ["2026-05-01T00:00:00Z", "2026-05-01", "2026-05-01T05:00:00+05:00", "2026-05-01 00:00"]
)
def test_times_without_a_zone_are_utc(text: str) -> None:
    assert parse_time("from", text) == T0


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "", "1e9", "0001-01-01T00:00:00+14:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^from: .* is not a time such as 2026-05-28T20:00:00Z"):
        parse_time("from", text)


# -- the command -------------------------------------------------------------------------------------------------------


def run(*args: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "urbanpulse", "score", *map(str, args)],
        cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_command_prints_tables_or_json_and_takes_standard_input(tmp_path: Path) -> None:
    file, source = written(tmp_path, label() + label("air-2"), [alert("a", 61), alert("b", 500)])
    assert source.file is not None
    common = ("--sensors", "4", "--to", "2026-05-02")

    shown = run(file, "--alerts", source.file, *common)
    told = run(file, "--alerts", "-", "--json", *common, stdin=source.file.read_text())

    assert (shown.returncode, told.returncode) == (0, 0), shown.stderr + told.stderr
    assert "1 of 2 detected: 50%" in shown.stdout
    numbers = json.loads(told.stdout)
    assert (
        numbers["labels"]["recall"],
        numbers["alerts"]["precision"],
        numbers["kinds"][0]["repeats"] + 1,
    ) == (0.5, 0.5, 1)
    assert numbers["sensors"] == {"count": 4, "source": "given"}
    assert all(len(line) <= 80 for line in shown.stdout.splitlines())


def test_requirements_decide_the_exit_status(tmp_path: Path) -> None:
    file, source = written(tmp_path, label() + label("air-2"), [alert("a", 61)])
    assert source.file is not None

    held = run(file, "--alerts", source.file, "--require", "recall.spike>=0.5", "--require", "precision>=1")
    broken = run(file, "--alerts", source.file, "--require", "recall.spike>=0.51", "--require", "precision>=1")

    assert held.returncode == 0, held.stderr
    assert broken.returncode == 1
    assert "not met: recall.spike>=0.51: it is 0.5" in broken.stderr
    assert "precision" not in broken.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param((), "score: either --api URL or --alerts FILE expected", id="no alerts"),
        pytest.param(("--alerts", "a", "--api", "http://city"), "score: either --api URL or --alerts", id="both"),
        pytest.param(("--alerts", "nowhere"), "alerts: nowhere: No such file or directory", id="no such file"),
        pytest.param(("--alerts", "alerts.json", "--grace", "long"), "grace: 'long' is no time", id="grace"),
        pytest.param(("--alerts", "alerts.json", "--from", "noon"), "from: 'noon' is not a time", id="from"),
        pytest.param(("--alerts", "alerts.json", "--from", "2027-01-01"), "is not after 2027-01-01", id="no span"),
        pytest.param(("--alerts", "alerts.json", "--require", "x"), "require: 'x': such as recall.spike", id="require"),
        pytest.param(("--alerts", "alerts.json", "--html", "no/r.html"), "html: no/r.html: No such file", id="html"),
        pytest.param(("--api", "city"), "api: 'city': an address such as http://127.0.0.1:8080", id="api"),
    ],
)
def test_wrong_use_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], message: str
) -> None:
    written(tmp_path, label(), [alert("a", 61)])
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(app, ["score", "labels.jsonl", *options])

    assert isinstance(result.exception, UrbanpulseError)
    assert message in str(result.exception)


# -- the report --------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Collects what a page names: ids, what refers to them, and what it would fetch."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.refers: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        assert tag not in {"script", "link", "img", "iframe"}
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in {"href", "src", "xlink:href"}:
                self.refers.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def page(tmp_path: Path) -> str:
    labels = label() + label("air-<b>", what="stuck") + label("air-3", start=400, end=500, what="drift")
    alerts = [alert("a", 61), alert("b", 62), alert("c", 410, "air-3"), alert("<i>&", 450, "x-1", "no2", severity=0.0)]
    file, source = written(tmp_path, labels, alerts)
    return score_page(make_score(file, source, Asked(sensors=4)))


def test_the_report_stands_alone(page: str) -> None:
    found = Page(page)

    assert found.open == []
    assert len(found.ids) == len(set(found.ids)) > 20
    assert {f"#{name}" for name in found.ids} >= set(found.refers), "nothing is fetched"
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(found.ids)
    assert "url(http" not in page
    assert "@import" not in page
    assert page.count("<svg ") == 5


def test_the_report_says_what_the_score_says_and_trusts_no_name(page: str) -> None:
    texts = " ".join(Page(page).texts)

    assert "2 of 3 detected: 67%" in texts
    assert "air-<b> pm25" in texts, "escaped, so it comes out as it was"
    assert "<i>&" in texts
    assert "drift · air-3" in texts, "plots keep their texts"


def test_the_report_is_the_same_for_the_same_score(page: str, tmp_path: Path) -> None:
    file, source = tmp_path / "labels.jsonl", Source(file=tmp_path / "alerts.json")

    assert page == score_page(make_score(file, source, Asked(sensors=4)))


def test_colours_are_left_to_the_page(page: str) -> None:
    drawings = re.findall(r"<svg .*?</svg>", page, re.DOTALL)

    assert [text for text in drawings if re.search(r"0[1-6]0b0c", text)] == []
    assert {"ink", "muted", "grid", "good", "bad"} <= set(re.findall(r"var\(--(\w+)\)", "".join(drawings)))
    # black that was not asked for would not be seen in the dark
    assert re.findall(r"(?:fill|stroke): #\w+", "".join(drawings)) == []


@pytest.mark.parametrize("labels", ["", label()], ids=["no labels", "no alerts"])
def test_a_report_of_nothing_can_be_read(tmp_path: Path, labels: str) -> None:
    file, source = written(tmp_path, labels, [])

    text = score_page(make_score(file, source, Asked(start=T0, end=T0 + 120 * MINUTE, sensors=1)))

    assert Page(text).open == []
    assert "0 counted, precision –" in text


def test_a_large_report_stays_small(tmp_path: Path) -> None:
    labels = "".join(label(f"air-{n}", start=n, end=n + 5) for n in range(2000))
    alerts = [alert(f"a{n}", n + 1, f"air-{n % 2500}") for n in range(4000)]
    file, source = written(tmp_path, labels, alerts)

    text = score_page(make_score(file, source, Asked(sensors=1)))

    assert len(text) < 1_000_000


def test_drawing_is_loaded_only_to_draw() -> None:
    code = "import sys, urbanpulse.cli, urbanpulse.score_html, urbanpulse.scoring; print('matplotlib' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
