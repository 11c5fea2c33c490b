"""Tests of what answers mean: whose move it is, and what is named."""

from __future__ import annotations

import json

import pytest

from backends.series.influx.answers import Answer, Away, LinesRefused, TooLarge, check
from core.errors import SettingsError, Unavailable, UrbanpulseError

# seen on 1.6.7 (evidence/storage.md B), reported of 2.7 and 3 in their issues and docs
PARTIAL_V1 = {
    "error": 'partial write: field type conflict: input field "value" on measurement "reading" is type float,'
    " already exists as type integer dropped=3"
}
PARTIAL_V2 = {
    "code": "unprocessable entity",
    "message": 'failure writing points to database: partial write: field type conflict: input field "value" dropped=11',
}
PARTIAL_V3 = {
    "error": "partial write of line protocol occurred",
    "data": [{"original_line": "reading,dev", "line_number": 2, "error_message": "invalid column type"}],
}


@pytest.mark.parametrize(
    ("status", "content", "error", "text"),
    [
        pytest.param(400, PARTIAL_V1, LinesRefused, r"type conflict.*dropped=3", id="1.x, partial"),
        pytest.param(422, PARTIAL_V2, LinesRefused, r"dropped=11", id="2.x, partial"),
        pytest.param(500, PARTIAL_V2, LinesRefused, r"dropped=11", id="2.0 release candidate, partial as 500"),
        pytest.param(400, PARTIAL_V3, LinesRefused, r"occurred: invalid column type", id="3.x, partial"),
        pytest.param(413, {"error": "Request Entity Too Large"}, TooLarge, "Too Large", id="too large"),
        pytest.param(
            500,
            b"max request size (10485760 bytes) exceeded",
            TooLarge,
            "max request",
            id="3.x, influxdb3_server http.rs",
        ),
        pytest.param(
            401, {"error": "authorization failed"}, SettingsError, r"^the\.secret: .*authorization failed", id="login"
        ),
        pytest.param(403, {"message": "forbidden"}, SettingsError, r"^the\.secret: .*may not: forb", id="permission"),
        pytest.param(
            404,
            {"error": 'database not found: "x"'},
            SettingsError,
            r"^the\.name: .*not found.*series init",
            id="absent",
        ),
        pytest.param(429, {"message": "limit"}, Away, "status 429: limit", id="too many requests"),
        pytest.param(500, b"", Away, "status 500: status 500", id="a server error without words"),
        pytest.param(503, b"engine is shutting down", Away, "shutting down", id="unavailable"),
        pytest.param(302, b"", SettingsError, r"^series\.url: .*302", id="a redirect: something stands before it"),
        pytest.param(405, b"<html>", SettingsError, r"^series\.url", id="no InfluxDB at all"),
    ],
)
def test_an_answer_says_whose_move_it_is(status: int, content: object, error: type[UrbanpulseError], text: str) -> None:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()

    with pytest.raises(error, match=text):
        check(Answer(status, {}, body), "write", secret="the.secret", name="the.name")


@pytest.mark.parametrize("status", [200, 204])
def test_done_is_done(status: int) -> None:
    check(Answer(status, {}, b""), "write", secret="a", name="b")


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7.0), ("0.5", 0.5), ("-3", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0)]
)
def test_a_server_may_ask_to_be_left_alone(value: str, seconds: float) -> None:
    with pytest.raises(Away) as caught:
        check(Answer(503, {"retry-after": value}, b""), "write", secret="a", name="b")

    assert caught.value.wait_seconds == seconds
    assert isinstance(caught.value, Unavailable)


def test_a_refusal_says_how_many_and_whether_they_were_too_old() -> None:
    conflict = LinesRefused(PARTIAL_V1["error"])
    old = LinesRefused("partial write: points beyond retention policy dropped=5")
    bound = "at 1970-01-01T00:00:01Z dropped because it violates a Retention Policy Lower Bound at 2025-05-20T19:06:17Z"
    newer = LinesRefused(  # of later 2.7 (influxdata/docs-v2, troubleshooting of writes)
        "failure writing points to database: partial write: dropped 4 points outside retention policy of duration"
        f" 24h0m0s - oldest point home {bound}, newest point home {bound} dropped=4 for database: 9f28"
        " for retention policy: autogen"
    )

    assert (conflict.dropped, conflict.is_too_old) == (3, False)
    assert (old.dropped, old.is_too_old) == (5, True)
    assert (newer.dropped, newer.is_too_old) == (4, True)
    assert LinesRefused("unable to parse").dropped == 0


def test_words_are_one_line_and_bounded() -> None:
    with pytest.raises(LinesRefused) as caught:
        check(Answer(400, {}, b"a\nb" + b"x" * 10_000), "write", secret="a", name="b")

    assert caught.value.text.startswith("a bx")
    assert len(caught.value.text) == 500
