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
    from collections.abc import Callable, Sequence
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


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_lets_nobody_in_without_a_token_says_so_at_once(status: int) -> None:
    """3 asks for a token at /ping as well (influxdb3_server/src/http.rs, authenticate_request)."""
    with (
        Play(lambda _: Reply(status, {"error": "the request was not authenticated"})) as play,
        closing(InfluxServer(play.url, InfluxSettings())) as server,
        pytest.raises(SettingsError, match=r"^series\.influx\.token: ping: .*not authenticated"),
    ):
        _ = server.flavour


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
            Reply(401, {"code": "unauthorized", "message": "write:orgs/0a1b/buckets is unauthorized"}),
            SettingsError,
            r"series\.influx\.\w+: .*may not",
            id="401 of a login that 2.x knows: authorizer/authorize.go",
        ),
        pytest.param(Reply(408, {"message": "timed out"}), Away, "408", id="408: kit/transport/http/error_handler.go"),
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
            Reply(200, {"results": [{"statement_id": 0, "error": "default retention policy not set for: city"}]}),
            SettingsError,
            r"^series\.influx\.database: .*series init",
            id="2.x finds no bucket under the name: v1/coordinator/statement_executor.go",
        ),
        pytest.param(
            Reply(200, {"results": [{"statement_id": 0, "error": "retention policy not found: autogen"}]}),
            SettingsError,
            r"^series\.influx\.database: .*series init",
            id="2.x finds no policy of the name: v1/coordinator/shard_mapper.go",
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


def test_several_statements_are_one_question_but_for_3() -> None:
    """3: "must provide only one InfluxQl statement per query" (influxdata/influxdb, influxdb3_server/src/http.rs)."""

    def script(request: Request) -> Reply:
        found = [{"statement_id": i, "series": [{"name": s}]} for i, s in enumerate(request.question.split("; "))]
        return Reply(200, {"results": found})

    asked: dict[Flavour, list[str]] = {"v1": ["a; b"], "v2": ["a; b"], "v3": ["a", "b"]}
    for flavour, questions in asked.items():
        with Play(script) as play, closing(InfluxServer(play.url, settings(flavour))) as server:
            assert server.ask("city", "a", "b") == [[{"name": "a"}], [{"name": "b"}]]
        assert [request.question for request in play.requests] == questions


def test_a_statement_that_failed_among_others_is_asked_for_its_reason() -> None:
    """1.x and 2.x put "not executed" in the place of the error itself (influxql/query/executor.go, its last loop)."""

    def script(request: Request) -> Reply:
        words = "not executed" if ";" in request.question else "database not found: city"
        return Reply(200, {"results": [{"statement_id": 0, "error": words}]})

    with (
        Play(script) as play,
        closing(InfluxServer(play.url, settings("v2"))) as server,
        pytest.raises(SettingsError, match=r"^series\.influx\.database: 'city': database not found"),
    ):
        server.ask("city", "a", "b")


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

ORG = {"id": "0000000000000001", "name": "city-hall"}
BUCKET = {"id": "b1", "orgID": ORG["id"], "name": "city", "type": "user", "retentionRules": []}
VIRTUAL = {"database": "city", "retention_policy": "autogen", "default": True, "virtual": True, "id": "b1",
           "bucketID": "b1", "orgID": ORG["id"]}  # fmt: skip
"""What 2.4 and later list for a bucket that nobody mapped (dbrp/service.go)."""


class House:
    """A 2.x that knows `orgs`, `buckets` and `mappings`; `made` is what was posted or patched."""

    def __init__(self, *buckets: dict[str, Any], mappings: Sequence[dict[str, Any]] = ()) -> None:
        self.orgs: list[dict[str, str]] = [ORG]
        self.buckets = buckets
        self.mappings = mappings
        self.made: list[tuple[str, Any]] = []

    def __call__(self, request: Request) -> Reply:
        if request.method == "GET":
            return Reply(200, self._listed(request.path, request.query))
        content = json.loads(request.body)
        self.made.append((request.path, content))
        made = {"/api/v2/buckets": BUCKET | content, "/api/v2/dbrps": content | {"id": "m1"}}
        return Reply(201, made[request.path]) if request.method == "POST" else Reply(200, BUCKET)

    def _listed(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        if path == "/api/v2/orgs":
            return {"orgs": self.orgs}
        if path == "/api/v2/buckets":
            return {"buckets": [bucket for bucket in self.buckets if query.get("name") in {bucket["name"], None}]}
        return {"content": [mapping for mapping in self.mappings if mapping["database"] == query["db"]]}


def init(folder: Path, script: Callable[[Request], Reply], days: int = 36_500, **influx: Any) -> list[str]:
    with Play(script) as play:
        one = {"org": "city-hall", "token": SecretStr("s3cret"), "flavour": "v2", **influx}
        return create_store(folder, SeriesSettings(url=play.url, raw_days=days, influx=InfluxSettings(**one)))


def test_2_x_gets_buckets_with_a_retention_and_names_for_influxql(tmp_path: Path) -> None:
    """A server before 2.4 maps no names by itself: the bucket is mapped, not as `autogen`, which later ones use too.

    Of two mappings of one name and policy InfluxQL says "finding DBRP mappings: expected 1, found 2"
    (v1/coordinator/shard_mapper.go).
    """
    house = House(mappings=[VIRTUAL | {"database": "city_rollup"}])

    done = init(tmp_path, house, 30)

    assert done == ["bucket city: created, keeps 30 days", "bucket city_rollup: created, keeps everything"]
    rules = [content["retentionRules"] for path, content in house.made if path == "/api/v2/buckets"]
    assert rules == [[{"type": "expire", "everySeconds": 30 * 86_400}], [{"type": "expire", "everySeconds": 0}]]
    assert [content for path, content in house.made if path == "/api/v2/dbrps"] == [
        {"bucketID": "b1", "database": "city", "default": True, "orgID": ORG["id"], "retention_policy": "kept"}
    ]


@pytest.mark.parametrize(
    ("rules", "days", "changed"),
    [
        pytest.param([], 36_500, 0, id="for ever, as it is"),
        pytest.param([{"type": "expire", "everySeconds": 0, "shardGroupDurationSeconds": 604_800}], 36_500, 0, id="so"),
        pytest.param([{"type": "expire", "everySeconds": 30 * 86_400}], 30, 0, id="30 days, as it is"),
        pytest.param([{"type": "expire", "everySeconds": 60}], 30, 86_400, id="another retention"),
        pytest.param([], 3, 86_400, id="for ever, and no longer"),
        pytest.param([], 1, 3600, id="for a day now"),
        pytest.param([{"type": "expire", "everySeconds": 60}], 36_500, 604_800, id="for ever now"),
    ],
)
def test_a_bucket_that_is_there_keeps_its_readings(tmp_path: Path, rules: list[Any], days: int, changed: int) -> None:
    """Shards shrink with the retention, or 2.x refuses it with a 422 (storage/engine.go): *changed* is their length."""
    house = House(BUCKET | {"retentionRules": rules}, mappings=[VIRTUAL])

    [done] = init(tmp_path, house, days, rollup_database="city")

    rule = {"type": "expire", "everySeconds": days % 36_500 * 86_400, "shardGroupDurationSeconds": changed}
    assert house.made == ([("/api/v2/buckets/b1", {"name": "city", "retentionRules": [rule]})] if changed else [])
    assert ("was there, now" in done) is bool(changed)


def test_a_bucket_of_another_organisation_is_not_ours(tmp_path: Path) -> None:
    """An operator token sees the buckets of all (tenant/storage_bucket.go, ListBuckets without an organisation)."""
    house = House(BUCKET | {"orgID": "0000000000000002"}, mappings=[VIRTUAL])

    assert init(tmp_path, house, rollup_database="city") == ["bucket city: created, keeps everything"]
    assert house.made[0][1]["orgID"] == ORG["id"]


def test_a_name_that_leads_to_another_bucket_is_said(tmp_path: Path) -> None:
    house = House(
        BUCKET, mappings=[VIRTUAL | {"default": False}, VIRTUAL | {"id": "m7", "bucketID": "b2", "virtual": False}]
    )

    with pytest.raises(SettingsError, match=r"^series\.influx\.database: .*another bucket .*b2: .*--id m7"):
        init(tmp_path, house)


def test_without_an_organisation_the_only_one_is_taken() -> None:
    house = House(mappings=[VIRTUAL])
    points = ("/api/v2/write", "/api/v2/delete")
    with (
        Play(lambda r: Reply(204) if r.path in points else house(r)) as play,
        closing(InfluxServer(play.url, InfluxSettings(flavour="v2", token=SecretStr("s3cret")))) as server,
    ):
        server.write("city", LINE)
        server.create("city", 0)
        server.delete_before("city", "reading", DAY)

    assert len(play.asked("/api/v2/orgs")) == 1
    assert [r.query["org"] for r in play.requests if r.path in points] == [ORG["id"]] * 2
    assert [(path, content["orgID"]) for path, content in house.made] == [("/api/v2/buckets", ORG["id"])]


@pytest.mark.parametrize(
    "orgs", [pytest.param([], id="none"), pytest.param([ORG, ORG | {"id": "0000000000000002"}], id="two")]
)
def test_without_an_organisation_that_can_be_told_it_is_asked_for(tmp_path: Path, orgs: list[dict[str, str]]) -> None:
    house = House()
    house.orgs = orgs

    with pytest.raises(SettingsError, match=r"^series\.influx\.org: must be set: "):
        init(tmp_path, house, org="")


def test_a_token_that_may_not_create_is_named(tmp_path: Path) -> None:
    """The words of 2.x for a login that it knows (authorizer/authorize.go): 401 all the same."""

    def script(request: Request) -> Reply:
        found = {"buckets": [], "orgs": [ORG]}
        refusal = {"code": "unauthorized", "message": f"write:orgs/{ORG['id']}/buckets is unauthorized"}
        return Reply(200, found) if request.method == "GET" else Reply(401, refusal)

    with pytest.raises(
        SettingsError, match=r"^series\.influx\.token: create bucket city: this login may not: write:orgs"
    ):
        init(tmp_path, script)


@pytest.mark.parametrize("org", ["city-hall", ""])
def test_a_token_for_two_buckets_may_look_but_not_create(tmp_path: Path, org: str) -> None:
    """It sees its buckets and no organisation (tenant/middleware_bucket_auth.go, middleware_org_auth.go)."""
    house = House(BUCKET, BUCKET | {"id": "b2", "name": "city_rollup"}, mappings=[
        VIRTUAL, VIRTUAL | {"database": "city_rollup", "id": "b2", "bucketID": "b2"},
    ])  # fmt: skip
    house.orgs = []
    refusal = Reply(401, {"code": "unauthorized", "message": f"write:orgs/{ORG['id']}/buckets is unauthorized"})

    done = init(tmp_path, house, org=org)

    assert done == ["bucket city: is there, keeps everything", "bucket city_rollup: is there, keeps everything"]
    assert house.made == []
    with pytest.raises(SettingsError, match=r"^series\.influx\.token: create bucket other: this login may not: write"):
        init(tmp_path, lambda r: house(r) if r.method == "GET" else refusal, org=org, database="other")


def test_a_token_that_sees_nothing_is_named(tmp_path: Path) -> None:
    house = House()
    house.orgs = []

    with pytest.raises(SettingsError, match=r"^series\.influx\.token: create bucket city: .* sees no organisation"):
        init(tmp_path, house)
    assert house.made == []


def test_an_organisation_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Its words: tenant/error_org.go."""
    missing = Reply(404, {"code": "not found", "message": 'organization name "city-hall" not found'})

    with pytest.raises(SettingsError, match=r"^series\.influx\.org: .*city-hall"):
        init(tmp_path, lambda _: missing)


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
