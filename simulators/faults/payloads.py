"""This module is messages that go wrong as bytes, and numbers that are no numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulators.noise import key, uniform

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FORMS", "damage", "firmware"]

FORMS: dict[str, Callable[[float], object]] = {
    "text": repr,
    "comma": lambda value: repr(value).replace(".", ","),
    "object": lambda value: {"value": value},
    "bool": lambda value: value > 0,
}
"""What firmware makes of a number."""


def damage(seed: int, device: str, at: int) -> tuple[float, float]:
    """Return how, and where, the message of what *device* measured *at* (ns UTC) is mangled: each in [0, 1)."""
    how, where = uniform(key(seed, device, "mangled"), np.array([at // 1_000_000, -at // 1_000_000])).tolist()
    return how, where


def firmware(seed: int, device: str, start: int) -> Callable[[float], object]:
    """Return how the firmware that *device* has since *start* (ns UTC) writes a number: one of `FORMS`, always that."""
    return list(FORMS.values())[int(uniform(key(seed, device, "firmware"), np.array([start]))[0] * len(FORMS))]
