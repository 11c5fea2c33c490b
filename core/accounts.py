"""This module holds the nouns of access: role, principal and API key.

Roles are ordered: each may do all that the ones before it may.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["ApiKey", "Principal", "Role"]


class Role(StrEnum):
    """What somebody may do."""

    VIEWER = "viewer"  # read
    OPERATOR = "operator"  # and act on alerts
    ENGINEER = "engineer"  # and read quarantine and internals
    ADMIN = "admin"  # and manage devices, users and keys

    def may(self, needed: Role) -> bool:
        """Tell whether this role includes *needed*."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking: a person (`user`) or a program (`key`)."""

    name: str
    role: Role
    kind: str


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as listed; the token itself was shown once and is stored only as a hash."""

    name: str
    role: Role
    created: int
    revoked: int | None
