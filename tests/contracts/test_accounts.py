"""Every account book keeps the promises of `core.ports.Accounts`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.accounts import ApiKey, Principal, Role
from core.errors import Conflict, NotFound

if TYPE_CHECKING:
    from backends.catalog import Catalog


def test_a_user_is_found_with_the_password_hash(catalog: Catalog) -> None:
    catalog.accounts.add_user("ann", Role.OPERATOR, "$argon2")

    assert catalog.accounts.user("ann") == (Principal("ann", Role.OPERATOR, "user"), "$argon2")
    assert catalog.accounts.user("bob") is None


def test_a_users_name_is_taken_once(catalog: Catalog) -> None:
    catalog.accounts.add_user("ann", Role.OPERATOR, "one")

    with pytest.raises(Conflict, match="ann"):
        catalog.accounts.add_user("ann", Role.ADMIN, "two")

    assert catalog.accounts.user("ann") == (Principal("ann", Role.OPERATOR, "user"), "one")


def test_a_key_is_known_by_its_hash_until_it_is_revoked(catalog: Catalog) -> None:
    catalog.accounts.add_key("grafana", Role.VIEWER, "hash", 1)
    assert catalog.accounts.key("hash") == Principal("grafana", Role.VIEWER, "key")

    catalog.accounts.revoke_key("grafana", 2)

    assert catalog.accounts.key("hash") is None
    assert catalog.accounts.key("other") is None


def test_the_name_of_a_revoked_key_can_be_used_again(catalog: Catalog) -> None:
    catalog.accounts.add_key("grafana", Role.VIEWER, "one", 1)
    with pytest.raises(Conflict, match="grafana"):
        catalog.accounts.add_key("grafana", Role.VIEWER, "two", 2)
    catalog.accounts.revoke_key("grafana", 3)

    catalog.accounts.add_key("grafana", Role.ENGINEER, "two", 4)

    assert (catalog.accounts.key("one"), catalog.accounts.key("two")) == (
        None,
        Principal("grafana", Role.ENGINEER, "key"),
    )
    assert catalog.accounts.keys() == [
        ApiKey("grafana", Role.VIEWER, 1, 3),
        ApiKey("grafana", Role.ENGINEER, 4, None),
    ]


def test_only_a_key_in_force_can_be_revoked(catalog: Catalog) -> None:
    with pytest.raises(NotFound, match="grafana"):
        catalog.accounts.revoke_key("grafana", 1)


def test_a_session_ends_at_its_time_or_when_dropped(catalog: Catalog) -> None:
    catalog.accounts.add_user("ann", Role.OPERATOR, "h")
    catalog.accounts.add_session("s1", "ann", 10)
    catalog.accounts.add_session("s2", "ann", 20)

    assert catalog.accounts.session("s1", 9) == Principal("ann", Role.OPERATOR, "user")
    assert catalog.accounts.session("s1", 10) is None
    catalog.accounts.drop_session("s2")
    assert catalog.accounts.session("s2", 9) is None
    assert catalog.accounts.session("unknown", 9) is None


def test_a_session_needs_a_user(catalog: Catalog) -> None:
    with pytest.raises(NotFound, match="ghost"):
        catalog.accounts.add_session("s", "ghost", 10)


def test_of_too_many_sessions_the_one_to_expire_first_goes(catalog: Catalog) -> None:
    """`sessions_per_user` is 2 here."""
    catalog.accounts.add_user("ann", Role.OPERATOR, "h")
    catalog.accounts.add_user("bob", Role.OPERATOR, "h")
    catalog.accounts.add_session("bobs", "bob", 5)
    for name, expires in (("a", 20), ("b", 10), ("c", 30)):
        catalog.accounts.add_session(name, "ann", expires)

    alive = [name for name in ("a", "b", "c", "bobs") if catalog.accounts.session(name, 1)]

    assert alive == ["a", "c", "bobs"]
