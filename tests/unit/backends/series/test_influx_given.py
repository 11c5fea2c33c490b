"""Tests of how the contract suites get into a server that is given to them by `URBANPULSE_TEST_INFLUX_URL`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from tests.influx import given
from tests.unit.backends.series.influx_double import Play, Reply, Request

TOKEN = SecretStr("t0ken")


@pytest.mark.parametrize(
    ("version", "address", "environment", "login"),
    [
        pytest.param("v2.7.11", "http://t0ken@{}", {}, {"token": TOKEN, "org": ""}, id="2.x: a token before the host"),
        pytest.param("v2.7.11", "http://me:t0ken@{}/", {}, {"token": TOKEN, "org": ""}, id="2.x: as its password"),
        pytest.param("v2.7.11", "http://{}?token=t0ken&org=o", {}, {"token": TOKEN, "org": "o"}, id="2.x: asked for"),
        pytest.param(
            "v2.7.11",
            "http://{}",
            {"URBANPULSE_TEST_INFLUX_TOKEN": "t0ken", "URBANPULSE_TEST_INFLUX_ORG": "o", "INFLUX_TOKEN": "no"},
            {"token": TOKEN, "org": "o"},
            id="2.x: under our names",
        ),
        pytest.param(
            "v2.7.11", "http://{}", {"INFLUX_TOKEN": "t0ken", "INFLUX_ORG": "o"}, {"token": TOKEN, "org": "o"},
            id="2.x: under those of the vendor's command line",
        ),
        pytest.param(
            "v2.7.11", "http://{}", {"DOCKER_INFLUXDB_INIT_ADMIN_TOKEN": "t0ken", "DOCKER_INFLUXDB_INIT_ORG": "o"},
            {"token": TOKEN, "org": "o"}, id="2.x: under those of its image",
        ),
        pytest.param("3.2.1", "http://t0ken@{}", {}, {"token": TOKEN, "org": ""}, id="3"),
        pytest.param("3.2.1", "http://{}", {}, {"token": None, "org": ""}, id="3 without logins"),
        pytest.param("", "http://t0ken@{}", {}, {"user": "t0ken", "password": None}, id="something else"),
        pytest.param("1.8.10", "http://{}", {}, {"user": "", "password": None}, id="1.x without logins"),
        pytest.param("1.8.10", "http://a:b%40c@{}", {}, {"user": "a", "password": SecretStr("b@c")}, id="1.x"),
    ],
)  # fmt: skip
def test_the_login_is_in_the_address_or_in_the_environment(
    version: str, address: str, environment: dict[str, str], login: dict[str, Any]
) -> None:
    with Play(lambda _: Reply(204, b"", {"X-Influxdb-Version": version})) as play:
        found = given(address.format(play.url.removeprefix("http://")), environment)

    assert found == (play.url, login)
    assert {request.path for request in play.requests} == {"/ping"}


def test_a_2_x_that_nobody_has_set_up_is_set_up_once() -> None:
    """What it takes and answers: influxdata/influxdb, tenant/http_server_onboarding.go."""
    made: list[dict[str, str]] = []

    def script(request: Request) -> Reply:
        match request.method, request.path:
            case "GET", "/ping":
                return Reply(204, b"", {"X-Influxdb-Version": "v2.7.11"})
            case "GET", "/api/v2/setup":
                return Reply(200, {"allowed": not made})
            case "POST", "/api/v2/setup":
                made.append(json.loads(request.body))
                return Reply(201, {})
        known = request.headers.get("authorization") == f"Token {made[0]['token']}"
        return Reply(200 if known else 401, {"orgs": []})

    with Play(script) as play:
        logins = [given(play.url, {})[1] for _ in range(2)]

    assert [set(content) for content in made] == [{"username", "password", "org", "bucket", "token"}]
    assert logins == [{"token": SecretStr(made[0]["token"]), "org": ""}] * 2
