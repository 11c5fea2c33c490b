"""This module tests login, sessions, keys, origins and what never reaches a log."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import argon2
import bcrypt
import pytest
import structlog

from api import ApiSettings, hash_device_secret, hash_password, hash_token, new_token
from api.auth import COOKIE, Attempts, verify_password
from core.accounts import Role
from tests.unit.api.fakes import PASSWORD, World

if TYPE_CHECKING:
    import httpx

OURS = {"Origin": "http://city.example"}


async def log_in(client: httpx.AsyncClient, name: str = "operator", password: str = PASSWORD) -> httpx.Response:
    """Log in."""
    return await client.post("/api/v1/login", json={"name": name, "password": password})


def test_passwords_are_argon2id_with_a_salt() -> None:
    first, second = hash_password("secret"), hash_password("secret")

    assert first.startswith("$argon2id$")
    assert first != second
    assert verify_password(first, "secret")
    assert not verify_password(first, "Secret")
    assert not verify_password("not a hash", "secret")
    assert argon2.extract_parameters(first).memory_cost >= 19_456


def test_tokens_are_long_random_and_prefixed() -> None:
    tokens = {new_token() for _ in range(100)}

    assert len(tokens) == 100
    assert all(token.startswith("up_") and len(token) >= 45 for token in tokens)
    assert hash_token("up_x") == "fad3fff36b53fe3e4f2c023a1b239184adab4bedea48d6a59422b08fb69bda8b"


def test_a_device_secret_is_a_bcrypt_hash_that_the_broker_understands() -> None:
    assert bcrypt.checkpw(b"secret", hash_device_secret("secret").encode())


async def test_login_gives_a_cookie_that_authorises_until_logout(world: World) -> None:
    async with world.client(None) as client:
        answer = await log_in(client)
        cookie = answer.headers["set-cookie"]
        me = await client.get("/api/v1/me")
        out = await client.post("/api/v1/logout", headers=OURS)
        client.cookies.set(COOKIE, cookie.split("=")[1].split(";")[0])
        after = await client.get("/api/v1/me")

    assert answer.json() == {"name": "operator", "role": "operator", "city": "urbanpulse"}
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Max-Age=43200" in cookie
    assert "Secure" not in cookie
    assert me.json() == {"name": "operator", "role": "operator", "city": "urbanpulse", "kind": "user"}
    assert (out.status_code, after.status_code) == (204, 401)


async def test_the_session_token_is_stored_only_as_a_hash(world: World) -> None:
    async with world.client(None) as client:
        await log_in(client)
        token = client.cookies[COOKIE]

    assert list(world.accounts.sessions) == [hash_token(token)]


@pytest.mark.parametrize(("public", "secure"), [("https://city.example", True), ("http://city.example", False)])
async def test_the_cookie_is_secure_when_people_come_by_https(world: World, public: str, *, secure: bool) -> None:
    async with world.remade(public_url=public).client(None) as client:
        answer = await log_in(client)

    assert ("Secure" in answer.headers["set-cookie"]) == secure


async def test_a_session_ends_after_its_hours(world: World) -> None:
    brief = world.remade(session_hours=1e-5)
    async with brief.client(None) as client:
        await log_in(client)
        deadline = time.monotonic() + 60
        while (await client.get("/api/v1/me", headers={"Cookie": f"{COOKIE}={client.cookies.get(COOKIE, '')}"})
               ).status_code == 200:  # fmt: skip
            assert time.monotonic() < deadline


async def test_a_revoked_key_is_refused_at_once(world: World) -> None:
    async with world.client(Role.ENGINEER) as client:
        before = await client.get("/api/v1/me")
        world.accounts.revoke_key("engineer-key", 0)
        after = await client.get("/api/v1/me")

    assert (before.status_code, after.status_code) == (200, 401)


@pytest.mark.parametrize("header", ["Basic b3A6eA==", "Bearer", "Bearer up_wrong", "up_wrong", ""])
async def test_a_bad_authorization_header_is_not_helped_by_a_cookie(world: World, header: str) -> None:
    async with world.client(None) as client:
        await log_in(client)
        answer = await client.get("/api/v1/me", headers={"Authorization": header})

    assert answer.status_code == 401
    assert "Bearer" in answer.headers["www-authenticate"]


async def test_logins_per_name_stop_at_the_limit_even_with_the_right_password(world: World) -> None:
    strict = world.remade(login_attempts=3)
    async with strict.client(None) as client:
        wrong = [(await log_in(client, password="wrong")).status_code for _ in range(3)]
        refused = await log_in(client)
        other = await log_in(client, "viewer")

    assert wrong == [401, 401, 401]
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 301
    assert other.status_code == 200
    assert strict.app.state.context.guard.attempts.refused == 1


async def test_logins_per_address_stop_at_the_limit(world: World) -> None:
    strict = world.remade(login_attempts_per_address=3)
    async with strict.client(None) as client, strict.client(None, "192.0.2.2") as elsewhere:
        wrong = [(await log_in(client, f"name{n}")).status_code for n in range(4)]
        other = await log_in(elsewhere)

    assert wrong == [401, 401, 401, 429]
    assert other.status_code == 200


def test_the_table_of_attempts_is_bounded_and_the_window_passes() -> None:
    attempts = Attempts(size=3, window_seconds=10)
    for key in "abcd":
        assert attempts.take(key, 1, now=0.0) == 0

    assert len(attempts) == 3
    assert attempts.take("d", 1, now=9.0) == pytest.approx(1.0)
    assert attempts.take("d", 1, now=10.0) == 0


async def test_an_unknown_name_is_hashed_like_a_known_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[str] = []
    real = argon2.PasswordHasher.verify

    def verify(hasher: argon2.PasswordHasher, hashed: str, word: str) -> bool:
        verified.append(hashed)
        return real(hasher, hashed, word)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", verify)
    async with world.client(None) as client:
        known = await log_in(client, "viewer", "wrong")
        unknown = await log_in(client, "nobody", "wrong")

    assert known.json() == unknown.json()
    assert len(verified) == 2
    assert argon2.extract_parameters(verified[0]) == argon2.extract_parameters(verified[1])


FOREIGN = [
    pytest.param({"Origin": "https://evil.example"}, id="a foreign page"),
    pytest.param({"Origin": "null"}, id="a sandboxed page"),
    pytest.param({"Origin": "http://city.example.evil.example"}, id="a name that begins like ours"),
    pytest.param({"Origin": "http://city.example:81"}, id="another port"),
    pytest.param({"Origin": "http://[bad"}, id="no address at all"),
    pytest.param({"Sec-Fetch-Site": "cross-site"}, id="the browser says cross-site"),
    pytest.param({"Sec-Fetch-Site": "same-site"}, id="another host of our site"),
    pytest.param({}, id="nothing tells where it comes from"),
]


@pytest.mark.parametrize("headers", FOREIGN)
async def test_a_change_by_cookie_must_come_from_our_own_page(world: World, headers: dict[str, str]) -> None:
    alert = world.desk.raise_alert()
    async with world.client(None) as client:
        await log_in(client)
        refused = await client.post(f"/api/v1/alerts/{alert}/acknowledge", headers=headers)
        read = await client.get("/api/v1/alerts", headers=headers)

    assert refused.status_code == 403
    assert refused.json()["type"] == "urn:urbanpulse:problem:foreign-origin"
    assert read.json()["items"][0]["state"] == "open"


@pytest.mark.parametrize("headers", [OURS, {"Sec-Fetch-Site": "same-origin"}])
async def test_our_own_page_may_change_things(world: World, headers: dict[str, str]) -> None:
    alert = world.desk.raise_alert()
    async with world.client(None) as client:
        await log_in(client)
        answer = await client.post(f"/api/v1/alerts/{alert}/acknowledge", headers=headers)

    assert answer.status_code == 200
    assert answer.json()["owner"] == "operator"


async def test_a_program_with_a_key_needs_no_origin(world: World) -> None:
    alert = world.desk.raise_alert()
    async with world.client(Role.OPERATOR) as client:
        answer = await client.post(f"/api/v1/alerts/{alert}/acknowledge")

    assert answer.status_code == 200


async def test_the_public_url_counts_as_our_own(world: World) -> None:
    alert = world.desk.raise_alert()
    async with world.remade(public_url="https://pulse.city").client(None) as client:
        await log_in(client)
        token = client.cookies[COOKIE]
        answer = await client.post(
            f"/api/v1/alerts/{alert}/acknowledge",
            headers={"Origin": "https://pulse.city", "Cookie": f"{COOKIE}={token}"},
        )

    assert answer.status_code == 200


async def test_a_foreign_page_cannot_log_a_browser_in(world: World) -> None:
    async with world.client(None) as client:
        answer = await client.post(
            "/api/v1/login", json={"name": "viewer", "password": PASSWORD}, headers={"Origin": "https://evil.example"}
        )

    assert answer.status_code == 403
    assert not world.accounts.sessions


async def test_passwords_and_tokens_reach_no_log_and_no_answer(
    world: World, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    canary = "canary-Zx81-password"
    caplog.set_level(logging.DEBUG)
    world.store.bands = None  # type: ignore[assignment,method-assign]
    with structlog.testing.capture_logs() as events:
        async with world.client(Role.ADMIN) as client, world.client(None) as person:
            await log_in(person, "viewer", canary)
            await person.post("/api/v1/login", json={"name": ["viewer"], "password": canary})
            invalid = await person.post("/api/v1/login", json={"name": "viewer", "password": [canary]})
            await log_in(person)
            session = person.cookies[COOKIE]
            broken = await client.get("/api/v1/series/0/readings")
            broken_too = await person.get("/api/v1/series/0/readings")
            secret = (
                await client.post("/api/v1/devices", json={"id": "n", "kind": "air", "district": "north"})
            ).json()["password"]

    said = repr(events) + caplog.text + "".join(capsys.readouterr()) + invalid.text + broken.text
    assert (broken.status_code, broken_too.status_code) == (500, 500)
    assert [event["event"] for event in events] == ["request failed", "request failed"]
    for hidden in (canary, session, secret, PASSWORD, *world.accounts.tokens.values()):
        assert hidden not in said


def test_settings_refuse_an_unknown_name() -> None:
    with pytest.raises(ValueError, match="potr"):
        ApiSettings.model_validate({"potr": 1})
