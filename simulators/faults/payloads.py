"""This module is messages that are none: bytes that nobody can decode, and numbers that are no numbers.

The mangled text is our JSON; no decoder of another format can make sense of it either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from simulators.noise import key, uniform

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["FORMS", "MANGLERS", "firmware", "mangled"]

MANGLERS: dict[str, Callable[[bytes, float], bytes]] = {
    "cut short": lambda text, u: text[: 1 + int(u * (len(text) - 1))],
    "UTF-16": lambda text, _: b"\xff\xfe" + text.decode().encode("utf-16-le"),
    "Latin-1": lambda text, _: text.replace(b'"', b'"\xb5', 1),  # µ as one byte
    "wrong braces": lambda text, _: text.replace(b"}", b"]"),
    "wrong quotes": lambda text, _: text.replace(b'"', b"'"),
    "NUL": lambda text, u: text[: int(u * len(text))] + b"\0\0\0" + text[int(u * len(text)) :],
    "NaN": lambda text, _: text.replace(b":{", b':{"nan":NaN,', 1),
    "two in one": lambda text, _: text + text,
    "page of a proxy": lambda _, __: b"<html><body>504 Gateway Time-out</body></html>",
    "nothing": lambda _, __: b"",
}
"""What becomes of a message's text; the number in [0, 1) says where it happens."""

FORMS: dict[str, Callable[[float], object]] = {
    "text": repr,
    "comma": lambda value: repr(value).replace(".", ","),
    "object": lambda value: {"value": value},
    "bool": lambda value: value > 0,
}
"""What firmware makes of a number."""


def mangled(seed: int, device: str, seq: int, at: int, values: Mapping[str, object]) -> bytes:
    """Return bytes that should have been the message of *values* at *at* (ns UTC), measured by *device*.

    Which of `MANGLERS` was at work hangs on the other arguments alone.
    """
    how, where = uniform(key(seed, device, "mangled"), np.array([at // 1_000_000, -at // 1_000_000])).tolist()
    text = msgspec.json.encode({"ts": at // 1_000_000, "values": values, "seq": seq})
    return list(MANGLERS.values())[int(how * len(MANGLERS))](text, where)


def firmware(seed: int, device: str, start: int) -> Callable[[float], object]:
    """Return how the firmware that *device* has since *start* (ns UTC) writes a number: one of `FORMS`, always that."""
    return list(FORMS.values())[int(uniform(key(seed, device, "firmware"), np.array([start]))[0] * len(FORMS))]
