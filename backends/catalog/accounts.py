"""This module keeps users, API keys and sessions. It sees only hashes: of passwords, of tokens, never either."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from backends.catalog import tables
from core.accounts import ApiKey, Principal, Role
from core.errors import Conflict, NotFound

if TYPE_CHECKING:
    from backends.catalog.engine import Store
    from backends.catalog.settings import CatalogSettings

__all__ = ["SqlAccounts"]

_USER, _KEY, _SESSION = tables.account, tables.api_key, tables.session


class SqlAccounts:
    """`core.ports.Accounts` over a catalog. Of a user's sessions the last `sessions_per_user` are kept."""

    def __init__(self, store: Store, settings: CatalogSettings) -> None:
        self._store = store
        self._sessions = settings.sessions_per_user

    def add_user(self, name: str, role: Role, password_hash: str) -> None:
        """Create a user, or Conflict if the name is taken."""
        with self._store.write() as db:
            if db.scalar(select(_USER.c.name).where(_USER.c.name == name)) is not None:
                raise Conflict(f"user {name}: the name is taken")
            db.execute(insert(_USER).values(name=name, role=role.value, password_hash=password_hash))

    def user(self, name: str) -> tuple[Principal, str] | None:
        """Return a user and the password hash, or None."""
        with self._store.read() as db:
            row = db.execute(select(_USER).where(_USER.c.name == name)).first()
        return None if row is None else (Principal(row.name, Role(row.role), "user"), row.password_hash)

    def add_key(self, name: str, role: Role, token_hash: str, now_ns: int) -> None:
        """Create an API key, or Conflict if a key of that name is in force."""
        with self._store.write() as db:
            if db.scalar(select(_KEY.c.id).where(_KEY.c.name == name, _KEY.c.revoked.is_(None))) is not None:
                raise Conflict(f"key {name}: a key of that name is in force")
            db.execute(insert(_KEY).values(name=name, role=role.value, token_hash=token_hash, created=now_ns))

    def keys(self) -> list[ApiKey]:
        """Return all keys in order of creation, revoked ones included."""
        with self._store.read() as db:
            rows = db.execute(select(_KEY).order_by(_KEY.c.id)).all()
        return [ApiKey(row.name, Role(row.role), row.created, row.revoked) for row in rows]

    def revoke_key(self, name: str, now_ns: int) -> None:
        """Revoke the key in force under *name*, or NotFound."""
        in_force = (_KEY.c.name == name) & _KEY.c.revoked.is_(None)
        with self._store.write() as db:
            if not db.execute(update(_KEY).where(in_force).values(revoked=now_ns)).rowcount:
                raise NotFound(f"key {name}: no key of that name is in force")

    def key(self, token_hash: str) -> Principal | None:
        """Return whose token hashes to this, None if unknown or revoked."""
        with self._store.read() as db:
            row = db.execute(select(_KEY).where(_KEY.c.token_hash == token_hash, _KEY.c.revoked.is_(None))).first()
        return None if row is None else Principal(row.name, Role(row.role), "key")

    def add_session(self, token_hash: str, user: str, expires_ns: int) -> None:
        """Remember a login.

        Raises:
            NotFound: no such user.
        """
        with self._store.write() as db:
            if db.scalar(select(_USER.c.name).where(_USER.c.name == user)) is None:
                raise NotFound(f"user {user}: no such user")
            db.execute(insert(_SESSION).values(token_hash=token_hash, account=user, expires=expires_ns))
            mine = select(_SESSION.c.token_hash).where(_SESSION.c.account == user)
            surplus = mine.order_by(_SESSION.c.expires.desc(), _SESSION.c.token_hash).offset(self._sessions).limit(1000)
            db.execute(delete(_SESSION).where(_SESSION.c.token_hash.in_(list(db.scalars(surplus)))))

    def session(self, token_hash: str, now_ns: int) -> Principal | None:
        """Return who is logged in with this token, None if unknown or over."""
        query = select(_USER.c.name, _USER.c.role).join(_SESSION, _SESSION.c.account == _USER.c.name)
        with self._store.read() as db:
            row = db.execute(query.where(_SESSION.c.token_hash == token_hash, _SESSION.c.expires > now_ns)).first()
        return None if row is None else Principal(row.name, Role(row.role), "user")

    def drop_session(self, token_hash: str) -> None:
        """Forget a login."""
        with self._store.write() as db:
            db.execute(delete(_SESSION).where(_SESSION.c.token_hash == token_hash))
