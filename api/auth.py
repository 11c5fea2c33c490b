"""This module decides who is asking and whether they may.

People log in with a password (argon2id) and get a session cookie; programs send `Authorization: Bearer up_…`. Of
tokens only the SHA-256 is stored: they are 32 random bytes, so there is nothing to guess and nothing to slow down.
An unknown name costs as much time as a wrong password. Requests that a cookie authorises and that change something
must come from our own pages (`Sec-Fetch-Site` or `Origin`); a bearer token is never sent by a browser on its own.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import argon2
import bcrypt

from api.problems import Refusal

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from api.settings import ApiSettings
    from core.accounts import Principal
    from core.clock import Clock
    from core.ports import Accounts

__all__ = [
    "COOKIE",
    "Attempts",
    "Guard",
    "hash_device_secret",
    "hash_password",
    "hash_token",
    "new_secret",
    "new_token",
    "verify_password",
]

COOKIE = "urbanpulse_session"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# OWASP password storage: argon2id with 19 MiB, 2 passes, 1 lane
_HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)

# of a random password that was never written down: verified for unknown names, so that they cost the same time
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$Zi+u/DRq2KHAqxL6CI926w$NPutJGortfJTR96IoIcXo4aRwDlz3+xtvXGOY7qw73U"


def hash_password(password: str) -> str:
    """Return the argon2id hash of *password*, parameters and salt included."""
    return _HASHER.hash(password)


def verify_password(password_hash: str, password: str) -> bool:
    """Tell whether *password* is the one behind *password_hash*."""
    try:
        return _HASHER.verify(password_hash, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


def hash_token(token: str) -> str:
    """Return the SHA-256 of *token* in hex: what is stored of sessions and API keys."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_secret() -> str:
    """Return 32 random bytes as text: a session, a device's secret or a first password."""
    return secrets.token_urlsafe(32)


def new_token() -> str:
    """Return a new API key, `up_` and 32 random bytes."""
    return f"up_{new_secret()}"


def hash_device_secret(secret: str) -> str:
    """Return the bcrypt hash that the broker compares; the cheapest cost, because *secret* is 32 random bytes."""
    return bcrypt.hashpw(secret.encode(), bcrypt.gensalt(rounds=4)).decode()


class Attempts:
    """Counts logins per key within a fixed window, for at most *size* keys; the longest unused one goes first."""

    def __init__(self, size: int, window_seconds: float) -> None:
        self._size = size
        self._window = window_seconds
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._lock = Lock()
        self.refused = 0

    def __len__(self) -> int:
        return len(self._counts)

    def take(self, key: str, limit: int, now: float) -> float:
        """Count one attempt of *key* at *now* (seconds); return 0 if allowed, else how long to wait."""
        with self._lock:
            since, count = self._counts.get(key, (now, 0))
            if now - since >= self._window:
                since, count = now, 0
            if count >= limit:
                self.refused += 1
                return since + self._window - now
            self._counts[key] = (since, count + 1)
            self._counts.move_to_end(key)
            while len(self._counts) > self._size:
                self._counts.popitem(last=False)
            return 0.0

    def forget(self, key: str) -> None:
        """Start *key* anew: its owner has proved who they are."""
        with self._lock:
            self._counts.pop(key, None)


class Guard:
    """Knows accounts and decides about logins, requests and origins. All methods may block and are thread-safe."""

    def __init__(self, accounts: Accounts, settings: ApiSettings, clock: Clock) -> None:
        self._accounts = accounts
        self._settings = settings
        self._clock = clock
        self.attempts = Attempts(settings.login_table_size, settings.login_window_seconds)

    def login(self, name: str, password: str, address: str) -> tuple[Principal, str]:
        """Return who logged in and the new session token.

        Raises:
            Refusal: 429 after too many attempts of this name or address, 401 for a wrong name or password.
        """
        now = self._clock.monotonic()
        limits = self._settings
        for key, limit in (
            (f"address {address}", limits.login_attempts_per_address),
            (f"name {name}", limits.login_attempts),
        ):
            wait = self.attempts.take(key, limit, now)
            if wait > 0:
                raise Refusal(
                    429, "too-many-logins", "too many logins, wait a little", headers={"Retry-After": f"{wait + 1:.0f}"}
                )
        known = self._accounts.user(name)
        right = verify_password(known[1] if known else _NOBODY, password)
        if known is None or not right:
            raise Refusal(401, "wrong-login", "wrong name or password")
        self.attempts.forget(f"name {name}")
        token = new_secret()
        expires = self._clock.now_ns() + int(limits.session_hours * 3600 * 1e9)
        self._accounts.add_session(hash_token(token), known[0].name, expires)
        return known[0], token

    def logout(self, connection: HTTPConnection) -> None:
        """Forget the session of *connection*, if it has one."""
        if token := connection.cookies.get(COOKIE):
            self._accounts.drop_session(hash_token(token))

    def principal(self, connection: HTTPConnection) -> Principal:
        """Return who is asking. A bearer token, when there is one, is the only thing looked at.

        Raises:
            Refusal: 401 for nobody or an unknown token, 403 for a change that another site's page asked for.
        """
        header = connection.headers.get("authorization")
        if header is not None:
            scheme, _, token = header.partition(" ")
            found = self._accounts.key(hash_token(token.strip())) if scheme.lower() == "bearer" else None
        else:
            cookie = connection.cookies.get(COOKIE)
            found = self._accounts.session(hash_token(cookie), self._clock.now_ns()) if cookie else None
            if found is not None and connection.scope.get("method") not in _SAFE:  # WebSockets have no method
                self.check_origin(connection, required=True)
        if found is None:
            raise Refusal(
                401, "not-logged-in", "log in or send an API key", headers={"WWW-Authenticate": 'Bearer realm="api"'}
            )
        return found

    def check_origin(self, connection: HTTPConnection, *, required: bool) -> None:
        """Refuse what a page of another site sent.

        *required* also refuses a request that does not tell where it comes from.

        Raises:
            Refusal: 403.
        """
        site = connection.headers.get("sec-fetch-site")
        origin = connection.headers.get("origin")
        ours = {connection.headers.get("host", "-").lower()}  # never empty: `Origin: null` names no host
        if self._settings.public_url:
            ours.add(urlsplit(self._settings.public_url).netloc.lower())
        if origin is not None:
            allowed = _host(origin) in ours
        elif site is not None:
            allowed = site in {"same-origin", "none"}
        else:
            allowed = not required
        if not allowed:
            raise Refusal(403, "foreign-origin", "this request must come from our own page (Origin)")


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
