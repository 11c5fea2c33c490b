"""Tests of how each kind of InfluxDB is recognised, written, created and asked: on recorded exchanges.

What 1.x does is tested on a real one (`tests/contracts/test_series.py`, `test_influx_real.py`). For 2.x and 3 no
server is at hand, so the exchanges of their documentation are played here.
"""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal

import pytest
from pydantic import SecretStr

from backends.series import InfluxSettings, SeriesSettings, create_store
from backends.series.influx import InfluxServer
from backends.series.influx.answers import Away, LinesRefused, TooLarge
from core.errors import Conflict, SettingsError
from tests.stack import free_port
from tests.unit.backends.series.influx_double import Play, Reply, Request

if TYPE_CHECKING:
    from pathlib import Path

Flavour = Literal["auto", "v1", "v2", "v3"]
DAY = 86_400_000_000_000
LINE = b"reading,device=a value=1.0 5"


def settings(flavour: Flavour = "auto", **more: Any) -> InfluxSettings:
    return InfluxSettings(flavour=flavour, org="city-hall", token=SecretStr("s3cret"), **more)


@pytest.mark.parametrize(
    ("ping", "health", "flavour"),
    [
        pytest.param({"X-Influxdb-Version": "1.6.7~rc0"}, {}, "v1", id="1.x says so at ping"),
        pytest.param({"X-Influxdb-Version": "1.11.8"}, {}, "v1", id="two digits"),
        pytest.param({"X-Influxdb-Version": "v2.7.11", "X-Influxdb-Build": "OSS"}, {}, "v2", id="2.x with a v"),
        pytest.param({}, {"name": "influxdb", "status": "pass", "version": "2.0.4"}, "v2", id="2.x only at health"),
        pytest.param({"X-Influxdb-Version": "3.2.1", "X-Influxdb-Build": "Core"}, {}, "v3", id="3 Core"),
    ],
)
def test_the_kind_of_server_is_asked_for_once(ping: dict[str, str], health: dict[str, str], flavour: str) -> None:
    def script(request: Request) -> Reply:
        return Reply(200, b"", ping) if request.path == "/ping" else Reply(200, health)

    with Play(script) as play, closing(InfluxServer(play.url, settings())) as server:
        assert [server.flavour.name, server.flavour.name] == [flavour] * 2
        assert len(play.asked("/ping")) == 1
        assert server.health().ok


def test_a_kind_that_is_set_is_not_asked_for() -> None:
    with Play(lambda _: Reply(204)) as play, closing(InfluxServer(play.url, settings("v2"))) as server:
        assert server.flavour.name == "v2"
        assert play.requests == []


@pytest.mark.parametrize(
    "reply", [Reply(200, b"<html>"), Reply(200, {"version": "9.1"}), Reply(200, ["x"]), Reply(404, b"")]
)
def test_what_is_no_influxdb_is_a_settings_error(reply: Reply) -> None:
    with Play(lambda _: reply) as play, closing(InfluxServer(play.url, settings())) as server:
        with pytest.raises(SettingsError, match=r"^series\.influx\.flavour: .*set v1, v2 or v3"):
            _ = server.flavour
        assert not server.health().ok


def test_a_server_that_starts_up_is_away_not_wrong() -> None:
    with (
        Play(lambda _: Reply(503, b"starting")) as play,
        closing(InfluxServer(play.url, settings())) as server,
        pytest.raises(Away, match="503"),
    ):
        _ = server.flavour


@pytest.mark.parametrize("flavour", ["v1", "v2", "v3"])
def test_a_server_that_is_not_there_is_away(flavour: Flavour) -> None:
    server = InfluxServer(f"http://127.0.0.1:{free_port()}", settings(flavour, timeout_seconds=1))
    with closing(server):
        with pytest.raises(Away, match=r"127\.0\.0\.1"):
            server.write("city", LINE)
        with pytest.raises(Away):
            server.ask("city", "SELECT 1")
        assert server.health().ok is False


@pytest.mark.parametrize("flavour", ["v1", "v2", "v3"])
def test_a_server_that_does_not_answer_in_time_is_away(flavour: Flavour) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        server = InfluxServer(f"http://127.0.0.1:{deaf.getsockname()[1]}", settings(flavour, timeout_seconds=0.2))
        with closing(server), pytest.raises(Away, match="timed out"):
            server.write("city", LINE)


@pytest.mark.parametrize(
    ("flavour", "path", "query", "login"),
    [
        pytest.param("v1", "/write", {"db": "city", "precision": "ns"}, "Token s3cret", id="v1"),
        pytest.param(
            "v2", "/api/v2/write", {"org": "city-hall", "bucket": "city", "precision": "ns"}, "Token s3cret", id="v2"
        ),
        pytest.param(
            "v3",
            "/api/v3/write_lp",
            {"db": "city", "precision": "nanosecond", "accept_partial": "true"},
            "Token s3cret",
            id="v3",
        ),
    ],
)
@pytest.mark.parametrize("compressed", ["on", "off", "auto"])
def test_our_bytes_go_out_as_they_are(
    flavour: Flavour, path: str, query: dict[str, str], login: str, compressed: Literal["on", "off", "auto"]
) -> None:
    """2.x through influxdb-client. To this machine nothing is compressed unless asked for."""
    with (
        Play(lambda _: Reply(204)) as play,
        closing(InfluxServer(play.url, settings(flavour, gzip=compressed))) as server,
    ):
        server.write("city", LINE)

    [request] = play.requests
    assert (request.method, request.path, request.query) == ("POST", path, query)
    assert request.headers["authorization"] == login
    assert request.headers["content-type"].startswith("text/plain")
    assert request.headers.get("content-encoding") == ("gzip" if compressed == "on" else None)
    assert (gzip.decompress(request.body) if compressed == "on" else request.body) == LINE


def test_a_user_of_1_x_logs_in_with_a_password() -> None:
    login = InfluxSettings(flavour="v1", user="city", password=SecretStr("pw"))
    with Play(lambda _: Reply(204)) as play, closing(InfluxServer(play.url, login)) as server:
        server.write("city", LINE)

    assert play.requests[0].headers["authorization"] == "Basic Y2l0eTpwdw=="


@pytest.mark.parametrize("flavour", ["v1", "v2", "v3"])
@pytest.mark.parametrize(
    ("reply", "error", "text"),
    [
        pytest.param(Reply(400, {"error": "partial write: dropped=2"}), LinesRefused, "dropped=2", id="400"),
        pytest.param(Reply(422, {"message": "partial write: dropped=2"}), LinesRefused, "dropped=2", id="422"),
        pytest.param(Reply(413, {"message": "too large"}), TooLarge, "too large", id="413"),
        pytest.param(Reply(401, {"message": "unauthorized"}), SettingsError, r"influx\.\w+: .*unauth", id="401"),
        pytest.param(Reply(403, {"message": "no"}), SettingsError, r"series\.influx\.\w+: .*may not", id="403"),
        pytest.param(
            Reply(404, {"message": 'bucket "city" not found'}),
            SettingsError,
            r"series\.influx\.database: .*init",
            id="404",
        ),
        pytest.param(Reply(429, {"message": "slow"}, {"Retry-After": "9"}), Away, "429", id="429"),
        pytest.param(Reply(503, b"no json"), Away, "no json", id="503"),
    ],
)
def test_refusals_mean_the_same_whatever_the_kind(
    flavour: Flavour, reply: Reply, error: type[Exception], text: str
) -> None:
    with (
        Play(lambda _: reply) as play,
        closing(InfluxServer(play.url, settings(flavour))) as server,
        pytest.raises(error, match=text) as caught,
    ):
        server.write("city", LINE)
    if reply.status == 429:
        assert isinstance(caught.value, Away)
        assert caught.value.wait_seconds == 9.0


# -- asking


@pytest.mark.parametrize(
    ("reply", "error", "text"),
    [
        pytest.param(
            Reply(200, {"results": [{"statement_id": 0, "error": "database not found: city"}]}),
            SettingsError,
            r"^series\.influx\.database: .*series init",
            id="no database",
        ),
        pytest.param(
            Reply(200, {"results": [{"error": "query would exceed the file limit of 432 parquet files"}]}),
            Away,
            "ask for less",
            id="3 Core opens so many files",
        ),
        pytest.param(Reply(200, {"results": [{"error": "timeout"}]}), Away, "timeout", id="a failed statement"),
        pytest.param(Reply(400, {"error": "error parsing query"}), Away, "error parsing query", id="not understood"),
        pytest.param(Reply(200, b"<html>"), Away, "no InfluxQL answer", id="a page"),
        pytest.param(Reply(401, {"error": "auth"}), SettingsError, r"series\.influx", id="login"),
    ],
)
def test_a_question_that_fails_says_why(reply: Reply, error: type[Exception], text: str) -> None:
    with (
        Play(lambda _: reply) as play,
        closing(InfluxServer(play.url, settings("v3"))) as server,
        pytest.raises(error, match=text),
    ):
        server.ask("city", "SELECT 1")


def test_a_measurement_that_is_not_there_holds_nothing() -> None:
    reply = Reply(200, {"results": [{"statement_id": 0, "error": "table 'public.iox.platform' not found"}]})
    with Play(lambda _: reply) as play, closing(InfluxServer(play.url, settings("v3"))) as server:
        assert server.ask("city", "SELECT 1") == [[]]


def test_questions_name_database_organisation_and_time_unit() -> None:
    with (
        Play(lambda _: Reply(200, {"results": [{"statement_id": 0}]})) as play,
        closing(InfluxServer(play.url, settings("v2"))) as server,
    ):
        assert server.ask("city", "SELECT 'µ'") == [[]]

    [request] = play.requests
    assert request.query == {"db": "city", "epoch": "ns", "org": "city-hall"}
    assert request.question == "SELECT 'µ'"
    assert request.headers["authorization"] == "Token s3cret"


# -- creating and deleting

BUCKET = {"id": "b1", "orgID": "o1", "name": "city", "type": "user", "retentionRules": []}


def test_2_x_gets_buckets_with_a_retention_and_names_for_influxql(tmp_path: Any) -> None:
    """An old server that maps no names by itself: the bucket is mapped; a new one lists its own, and is left alone."""
    made: list[dict[str, Any]] = []

    def script(request: Request) -> Reply:
        content = json.loads(request.body) if request.body else {}
        match request.method, request.path:
            case "GET", "/api/v2/buckets":
                return Reply(200, {"buckets": []})
            case "GET", "/api/v2/orgs":
                return Reply(200, {"orgs": [{"id": "o1", "name": "city-hall"}]})
            case "POST", "/api/v2/buckets":
                made.append(content)
                return Reply(201, BUCKET | {"name": content["name"]})
            case "GET", "/api/v2/dbrps":
                is_new = request.query["db"] == "city_rollup"
                found = [{"database": "city_rollup", "virtual": True, "bucketID": "b1", "orgID": "o1", "id": "m1",
                          "retention_policy": "autogen", "default": True}]  # fmt: skip
                return Reply(200, {"content": found if is_new else []})
            case "POST", "/api/v2/dbrps":
                made.append(content)
                return Reply(201, content | {"id": "m1"})
        return Reply(500, f"unexpected: {request.method} {request.path}".encode())

    with Play(script) as play:
        done = create_store(tmp_path, SeriesSettings(url=play.url, raw_days=30, influx=settings("v2")))

    assert done == ["bucket city: created, keeps 30 days", "bucket city_rollup: created, keeps everything"]
    assert [m["retentionRules"] for m in made if "retentionRules" in m] == [
        [{"type": "expire", "everySeconds": 30 * 86_400}],
        [{"type": "expire", "everySeconds": 0}],
    ]
    assert [m["database"] for m in made if "database" in m] == ["city"]


@pytest.mark.parametrize(
    ("rules", "days", "changed"),
    [
        pytest.param([], 36_500, False, id="for ever, as it is"),
        pytest.param([{"type": "expire", "everySeconds": 30 * 86_400}], 30, False, id="30 days, as it is"),
        pytest.param([{"type": "expire", "everySeconds": 60}], 30, True, id="another retention"),
        pytest.param([], 30, True, id="for ever, and no longer"),
    ],
)
def test_a_bucket_that_is_there_keeps_its_readings(tmp_path: Any, rules: list[Any], days: int, changed: bool) -> None:
    def script(request: Request) -> Reply:
        match request.method, request.path:
            case "GET", "/api/v2/buckets":
                return Reply(200, {"buckets": [BUCKET | {"retentionRules": rules}]})
            case "GET", "/api/v2/dbrps":
                return Reply(200, {"content": [{"database": "city", "bucketID": "b1", "orgID": "o1", "id": "m1",
                                                "retention_policy": "autogen", "default": True}]})  # fmt: skip
            case "PATCH", "/api/v2/buckets/b1":
                return Reply(200, BUCKET)
        return Reply(500, f"unexpected: {request.method} {request.path}".encode())

    one = settings("v2", rollup_database="city")
    with Play(script) as play:
        done = create_store(tmp_path, SeriesSettings(url=play.url, raw_days=days, influx=one))

    assert len(done) == 1
    assert ("was there, now" in done[0]) is changed
    assert len([r for r in play.requests if r.method == "PATCH"]) == int(changed)


def test_a_token_that_may_not_create_is_named(tmp_path: Any) -> None:
    def script(request: Request) -> Reply:
        found = {"buckets": [], "orgs": [{"id": "o1", "name": "city-hall"}]}
        return Reply(200, found) if request.method == "GET" else Reply(403, {"message": "insufficient"})

    with Play(script) as play, pytest.raises(SettingsError, match=r"^series\.influx\.token: .*insufficient"):
        create_store(tmp_path, SeriesSettings(url=play.url, influx=settings("v2")))


@pytest.mark.parametrize(
    ("days", "body", "status", "said"),
    [
        pytest.param(36_500, b'{"db":"city"}', 200, "created, keeps everything", id="for ever"),
        pytest.param(7, b'{"db":"city","retention_period":"7d"}', 201, "created, keeps 7 days", id="a week"),
        pytest.param(7, b'{"db":"city","retention_period":"7d"}', 409, "is there", id="there already"),
    ],
)
def test_3_gets_a_database_with_a_retention(tmp_path: Any, days: int, body: bytes, status: int, said: str) -> None:
    with Play(lambda _: Reply(status, {})) as play:
        one = settings("v3", rollup_database="city")
        [done] = create_store(tmp_path, SeriesSettings(url=play.url, raw_days=days, influx=one))

    [request] = play.asked("/api/v3/configure/database")
    assert request.body == body
    assert said in done


def test_2_x_deletes_by_time_and_measurement_to_the_nanosecond() -> None:
    with Play(lambda _: Reply(204)) as play, closing(InfluxServer(play.url, settings("v2"))) as server:
        server.delete_before("city", "reading", 20_000 * DAY)

    [request] = play.asked("/api/v2/delete")
    assert request.query == {"org": "city-hall", "bucket": "city"}
    assert b'"stop": "2024-10-03T23:59:59.999999999Z"' in request.body
    assert rb'"predicate": "_measurement=\"reading\""' in request.body


def test_3_deletes_nothing_and_says_so() -> None:
    with closing(InfluxServer("http://127.0.0.1:1", settings("v3"))) as server:
        assert not server.capabilities().deletes
        with pytest.raises(Conflict, match="retention"):
            server.delete_before("city", "reading", DAY)


# -- TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a key and a certificate for this machine that signs itself."""
    folder = tmp_path_factory.mktemp("tls")
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout key.pem -out ca.pem"
    names = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", *words.split(), *names], cwd=folder, check=True, capture_output=True, timeout=60)
    return folder


@pytest.mark.parametrize("flavour", ["v1", "v2", "v3"])
def test_an_authority_of_one_s_own_is_trusted_when_named_and_only_then(authority: Path, flavour: Flavour) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "ca.pem", authority / "key.pem")
    with Play(lambda _: Reply(204), tls=context) as play:
        with closing(InfluxServer(play.url, settings(flavour, tls_ca=authority / "ca.pem"))) as server:
            server.write("city", LINE)
        with (
            closing(InfluxServer(play.url, settings(flavour))) as stranger,
            pytest.raises(Away, match=r"CERTIFICATE_VERIFY_FAILED"),
        ):
            stranger.write("city", LINE)

    assert [request.body for request in play.requests] == [LINE]


@pytest.mark.parametrize("content", [pytest.param(None, id="absent"), pytest.param("nothing", id="no certificates")])
def test_authorities_that_cannot_be_read_are_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)

    with pytest.raises(SettingsError, match=r"^series\.influx\.tls_ca: .*ca\.pem"):
        InfluxServer("https://127.0.0.1:1", settings(tls_ca=file))


# -- addresses


@pytest.mark.parametrize(
    ("url", "text"),
    [
        pytest.param("influx:8086", "an address such as", id="no scheme"),
        pytest.param("http://", "an address such as", id="no host"),
        pytest.param("http://host:99999", "Port out of range", id="no such port"),
        pytest.param("http://city:pw@host:port", "not in the address", id="a login in a broken one"),
        pytest.param("http://city:pw@host:8086", "not in the address", id="a login in it"),
        pytest.param("http://host:8086/?db=city", "nothing may follow", id="a query in it"),
    ],
)
def test_a_bad_address_is_a_settings_error_that_keeps_secrets(url: str, text: str) -> None:
    with pytest.raises(SettingsError, match=rf"^series\.url: .*{text}") as caught:
        InfluxServer(url, settings())

    assert "pw" not in str(caught.value)


def test_an_organisation_that_is_not_there_is_named(tmp_path: Any) -> None:
    def script(request: Request) -> Reply:
        found: dict[str, list[Any]] = {"buckets": []} if request.path == "/api/v2/buckets" else {"orgs": []}
        return Reply(200, found) if request.method == "GET" else Reply(500, b"")

    with Play(script) as play, pytest.raises(SettingsError, match=r"^series\.influx\.org: .*city-hall"):
        create_store(tmp_path, SeriesSettings(url=play.url, influx=settings("v2")))
