"""`urbanpulse grafana push` in an environment of its own, with the real grafana-client, against a played Grafana."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from core.alerts import Alert, AlertState, Evidence, Priority, alert_id
from core.notices import alert_json
from tests.grafana import TOKEN, PlayedGrafana, played_grafana, serving
from tests.stack import free_port
from urbanpulse.grafana import GrafanaFiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.grafana import Answer

ROOT = Path(__file__).parents[2]
START = 1_790_000_000 * 10**9
UIDS = {path.stem for path in GrafanaFiles.shipped().dashboards()}

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("grafana-push")]

Push = "Callable[..., subprocess.CompletedProcess[str]]"


@pytest.fixture(scope="module")
def extra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of the extra in a folder, which goes before ours: its HTTP library then replaces urllib3."""
    folder = tmp_path_factory.mktemp("grafana-client")
    argv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable]
    argv += ["--target", str(folder), "--require-hashes", "-r", str(ROOT / "requirements-grafana.lock")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"grafana-client cannot be installed: {done.stderr.strip()[-200:]}")
    return folder


@pytest.fixture
def grafana() -> Iterator[PlayedGrafana]:
    with played_grafana() as played:
        yield played


@pytest.fixture
def push(extra: Path, grafana: PlayedGrafana, tmp_path: Path) -> Any:
    def run(
        *options: str, url: str = "", token: str = TOKEN, with_extra: bool = True, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        folders = [str(extra)] * with_extra + [str(ROOT)]
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("URBANPULSE_", "PYTHONPATH"))
        }
        environment |= {"PYTHONPATH": os.pathsep.join(folders), "URBANPULSE_GRAFANA_TOKEN": token, **settings}
        argv = [sys.executable, "-m", "urbanpulse", "grafana", "push", "--url", url or grafana.url, *options]
        return subprocess.run(
            argv, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
        )

    return run


def told(done: subprocess.CompletedProcess[str], text: str) -> None:
    """The command refused in one line with *text*."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert text in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr


INFLUX = {
    "URBANPULSE_SERIES__URL": "http://series:8086",
    "URBANPULSE_SERIES__INFLUX__ORG": "city",
    "URBANPULSE_SERIES__INFLUX__TOKEN": "influx-secret",
    "URBANPULSE_SERIES__INFLUX__DATABASE": "town",
    "URBANPULSE_SERIES__INFLUX__ROLLUP_DATABASE": "town-long",
}


def test_a_push_brings_everything_and_a_second_one_changes_nothing(push: Any, grafana: PlayedGrafana) -> None:
    first = push("--prometheus-url", "http://metrics:8428", **INFLUX)

    assert first.returncode == 0, first.stderr
    assert grafana.folders == {"urbanpulse": "urbanpulse"}
    assert set(grafana.dashboards) == UIDS
    assert {board["meta"]["folderUid"] for board in grafana.dashboards.values()} == {"urbanpulse"}
    assert "City overview: created" in first.stdout
    readings, rollups = grafana.sources["urbanpulse-influx"], grafana.sources["urbanpulse-influx-rollups"]
    assert readings["url"] == "http://series:8086"
    assert (readings["jsonData"]["dbName"], rollups["jsonData"]["dbName"]) == ("town", "town-long")
    assert readings["jsonData"]["httpHeaderName1"] == "Authorization"
    assert readings["secureJsonData"] == {"httpHeaderValue1": "Token influx-secret"}
    assert grafana.sources["urbanpulse-prometheus"]["url"] == "http://metrics:8428"
    assert "urbanpulse metrics: created; connection refused" in first.stdout
    assert "influx-secret" not in first.stdout + first.stderr
    grafana.asked.clear()

    second = push(**INFLUX)

    assert second.returncode == 0, second.stderr
    assert second.stdout.count("is there already") == len(UIDS)
    assert {method for method, _ in grafana.writes()} == {"PUT"}  # secrets cannot be compared
    assert {path.rpartition("/")[2] for _, path in grafana.writes()} == {
        *("urbanpulse-influx", "urbanpulse-influx-rollups"),
    }


def test_what_is_pushed_is_what_is_shipped(push: Any, grafana: PlayedGrafana) -> None:
    push()

    for path in GrafanaFiles.shipped().dashboards():
        there = grafana.dashboards[path.stem]["dashboard"]
        assert {key: value for key, value in there.items() if key not in {"id", "version"}} == json.loads(
            path.read_text()
        )


def test_an_old_dashboard_of_ours_is_replaced_and_another_one_stays(push: Any, grafana: PlayedGrafana) -> None:
    push()
    old = grafana.dashboards["urbanpulse-city"]["dashboard"]
    old["title"] = "Yesterday's city"
    grafana.dashboards["theirs"] = {"dashboard": {"uid": "theirs"}, "meta": {}}

    done = push()

    assert "City overview: updated" in done.stdout
    assert done.stdout.count("is there already") == len(UIDS) - 1
    assert grafana.dashboards["urbanpulse-city"]["dashboard"]["title"] == "City overview"
    assert grafana.dashboards["theirs"] == {"dashboard": {"uid": "theirs"}, "meta": {}}


def test_a_dashboard_of_another_under_our_uid_is_not_overwritten(push: Any, grafana: PlayedGrafana) -> None:
    theirs = {"dashboard": {"uid": "urbanpulse-city", "title": "Mine", "tags": ["mine"]}, "meta": {}}
    grafana.dashboards["urbanpulse-city"] = theirs

    told(push(), "dashboard urbanpulse-city of this Grafana is not ours")

    assert grafana.dashboards["urbanpulse-city"] is theirs


def test_what_comes_from_provisioning_files_is_left_alone(push: Any, grafana: PlayedGrafana) -> None:
    push(**INFLUX)
    grafana.dashboards["urbanpulse-air"]["meta"]["provisioned"] = True
    grafana.dashboards["urbanpulse-air"]["dashboard"]["title"] = "Air of old"
    grafana.sources["urbanpulse-influx"]["readOnly"] = True

    done = push(**INFLUX)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("comes from provisioning files: left as it is") == 2
    assert grafana.dashboards["urbanpulse-air"]["dashboard"]["title"] == "Air of old"


def test_a_folder_of_that_name_is_used_and_another_is_made_once(push: Any, grafana: PlayedGrafana) -> None:
    grafana.folders["abc"] = "City hall"

    used = push("--folder", "City hall")
    made = push("--folder", "Ministry")
    again = push("--folder", "Ministry")

    assert "folder" not in used.stdout
    assert "folder Ministry: created" in made.stdout
    assert "folder" not in again.stdout
    assert sorted(grafana.folders.values()) == ["City hall", "Ministry"]
    assert {board["meta"]["folderUid"] for board in grafana.dashboards.values()} == {
        uid for uid, title in grafana.folders.items() if title == "Ministry"
    }


def test_without_an_influxdb_the_dashboards_come_all_the_same(push: Any, grafana: PlayedGrafana) -> None:
    done = push()

    assert done.returncode == 0, done.stderr
    assert "neither --influx-url nor series.url names an InfluxDB" in done.stdout
    assert grafana.sources == {}


def test_a_login_of_influxdb_1_becomes_user_and_password(push: Any, grafana: PlayedGrafana) -> None:
    login = {"URBANPULSE_SERIES__INFLUX__USER": "reader", "URBANPULSE_SERIES__INFLUX__PASSWORD": "so secret"}

    done = push("--influx-url", "http://old:8086", **login)

    assert done.returncode == 0, done.stderr
    source = grafana.sources["urbanpulse-influx"]
    assert (source["url"], source["user"]) == ("http://old:8086", "reader")
    assert source["secureJsonData"] == {"password": "so secret"}
    assert "httpHeaderName1" not in source["jsonData"]


def test_a_grafana_below_a_path_is_found(push: Any, grafana: PlayedGrafana) -> None:
    def strip(method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        if not target.startswith("/grafana/"):
            return 404, "nothing here"
        return grafana.answer(method, target.removeprefix("/grafana"), headers, body)

    with serving(strip) as url:
        done = push(url=f"{url}/grafana/")

    assert done.returncode == 0, done.stderr
    assert set(grafana.dashboards) == UIDS


# -- alerts


def alert(n: int, *, state: AlertState = AlertState.OPEN, cleared: int | None = None) -> Alert:
    evidence = Evidence(
        code="threshold.above",
        rule="pm25-high",
        priority=Priority.HIGH,
        district="old-town",
        device=f"air-{n}",
        metric="pm25",
        unit="µg/m³",
        value=80.0 + n,
        limit=55.0,
        measured=START + n * 10**9,
    )
    opened = START + n * 60 * 10**9
    return Alert(
        alert_id("pm25-high", f"air-{n}", opened), state, 1, evidence, evidence, opened, cleared or opened, cleared
    )


class PlayedCity:
    """The alerts of the API, in its own pages and form."""

    def __init__(self, alerts: list[Alert]) -> None:
        self.alerts = alerts
        self.pages = 0

    def answer(self, method: str, target: str, headers: dict[str, str], _body: bytes) -> Answer:
        parts = urlsplit(target)
        assert (method, parts.path) == ("GET", "/api/v1/alerts")
        if headers.get("Authorization") != "Bearer city-key":
            return 401, {"type": "about:blank", "detail": "log in"}
        query = parse_qs(parts.query)
        assert query["state"] == ["all"]
        at, size = int(query.get("cursor", ["0"])[0]), min(int(query["limit"][0]), 2)
        self.pages += 1
        newest = sorted(self.alerts, key=lambda one: -one.opened_at)
        items = [alert_json(one) for one in newest[at : at + size]]
        return 200, {"items": items, "next_cursor": str(at + size) if at + size < len(newest) else None}


def test_alerts_are_noted_once_and_their_end_later(push: Any, grafana: PlayedGrafana) -> None:
    city = PlayedCity([alert(n) for n in range(5)])
    with serving(city.answer) as url:
        options = ("--annotations", "--api", url, "--key", "city-key")
        first = push(*options)
        again = push(*options)
        city.alerts[2] = alert(2, state=AlertState.RETURNED, cleared=START + 3600 * 10**9)
        after = push(*options)

    assert first.returncode == 0, first.stderr
    assert "alerts: 5 added, 0 changed, 0 there already" in first.stdout
    assert "alerts: 0 added, 0 changed, 5 there already" in again.stdout
    assert "alerts: 0 added, 1 changed, 4 there already" in after.stdout
    assert city.pages > 3
    assert len(grafana.annotations) == 5
    note = next(note for note in grafana.annotations.values() if "device:air-2" in note["tags"])
    assert note["time"] == (START + 120 * 10**9) // 10**6
    assert note["timeEnd"] == (START + 3600 * 10**9) // 10**6
    assert {"urbanpulse", "alert", "district:old-town", "priority:high", f"alert:{city.alerts[2].id}"} <= set(
        note["tags"]
    )
    assert "air-2" in note["text"]


def test_only_the_newest_alerts_are_noted_if_there_are_too_many(push: Any, grafana: PlayedGrafana) -> None:
    with serving(PlayedCity([alert(n) for n in range(7)]).answer) as url:
        push("--annotations", "--api", url, "--key", "city-key", "--most", "3")

    devices = {tag for note in grafana.annotations.values() for tag in note["tags"] if tag.startswith("device:")}
    assert devices == {"device:air-4", "device:air-5", "device:air-6"}


def test_no_alerts_are_no_annotations(push: Any, grafana: PlayedGrafana) -> None:
    with serving(PlayedCity([]).answer) as url:
        done = push("--annotations", "--api", url, "--key", "city-key")

    assert "alerts: 0 added, 0 changed, 0 there already" in done.stdout
    assert grafana.annotations == {}


def test_a_wrong_key_of_the_api_is_told(push: Any) -> None:
    with serving(PlayedCity([]).answer) as url:
        told(push("--annotations", "--api", url, "--key", "other"), "does not know who asks")


def test_an_api_that_is_away_is_told(push: Any) -> None:
    told(push("--annotations", "--api", f"http://127.0.0.1:{free_port()}"), "does `urbanpulse serve` run there?")


# -- refusals


def test_nobody_there(push: Any) -> None:
    told(push(url=f"http://127.0.0.1:{free_port()}"), "Connection refused; does Grafana run there?")


def test_a_wrong_token(push: Any, grafana: PlayedGrafana) -> None:
    told(push(token="glsa_other"), f"{grafana.url} does not know the token")


@pytest.mark.parametrize("token", ["", "  ", "two words", "naïve"])
def test_no_token_at_all(token: str, push: Any, grafana: PlayedGrafana) -> None:
    told(push(token=token), "token")
    assert grafana.asked == []


def test_a_token_from_a_file(push: Any, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")

    assert push("--token-file", str(file), token="").returncode == 0
    told(push("--token-file", str(tmp_path / "none")), "cannot be read")


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        pytest.param("/api/datasources", 403, "data sources Admin", id="a token that may not"),
        pytest.param("/api/dashboards/db", 500, "status 500: database is locked", id="a Grafana in trouble"),
        pytest.param("/api/dashboards/db", 400, "refuses with status 400: database", id="a refusal"),
        pytest.param("/api/datasources", 409, "database is locked", id="a name that is taken"),
    ],
)
def test_a_refusal_is_one_line(path: str, status: int, text: str, push: Any, grafana: PlayedGrafana) -> None:
    said = {"message": "database is locked"}
    grafana.refuse = lambda method, asked: (status, said) if (method, asked) == ("POST", path) else None

    told(push(**INFLUX), text)


@pytest.mark.parametrize(
    ("status", "content"),
    [
        pytest.param(200, "<html>Welcome to nginx</html>", id="a page"),
        pytest.param(200, {"status": "alive"}, id="other JSON"),
        pytest.param(200, ["database"], id="a list"),
        pytest.param(404, "not found", id="not found"),
    ],
)
def test_something_else_is_not_taken_for_grafana(status: int, content: Any, push: Any, grafana: PlayedGrafana) -> None:
    grafana.refuse = lambda _method, _path: (status, content)

    told(push(), "does not answer as Grafana does")


@pytest.mark.parametrize("url", ["localhost:3000", "ftp://x", "http://", "http://x:99999", "http://me:secret@x"])
def test_an_address_that_is_none(url: str, push: Any) -> None:
    told(push(url=url), "url: ")


def test_without_the_extra_it_says_how_to_get_it(push: Any, grafana: PlayedGrafana) -> None:
    told(push(with_extra=False), "pip install 'urbanpulse[grafana]'")
    assert grafana.asked == []


def test_pushing_loads_nothing_that_its_http_library_breaks(extra: Path) -> None:
    """The library replaces urllib3 under influxdb-client, so nothing of that may be loaded on the way."""
    program = (
        "import sys; from urbanpulse.grafana import pushing, sources, annotations;"
        "from urbanpulse.commands import grafana;"
        "from urbanpulse.settings import load_settings; from urbanpulse.grafana.target import Grafana;"
        "import urbanpulse.scoring_api; load_settings(None); Grafana('http://x', 'y'); import urllib3;"
        "print('influxdb_client' in sys.modules, 'duckdb' in sys.modules, urllib3.__file__)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(extra), str(ROOT)])}

    shown = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout.split()

    assert shown[:2] == ["False", "False"]
    assert shown[2].startswith(str(extra)), "it no longer replaces urllib3: the extra could live with the platform"
