"""This module mangles messages: what a fault makes of bytes that were well-formed, each format in ways of its own.

No decoder of the format takes a reading out of what is left, wherever it happens.
"""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["GROUPS", "JSON", "LINES", "PROTOBUF", "Ways", "mangled"]

Ways = tuple[tuple[str, Callable[[bytes, float], bytes]], ...]
"""What becomes of a payload, by name; the number in [0, 1) says where it happens."""


def mangled(ways: Ways, payload: bytes, damage: tuple[float, float]) -> bytes:
    """Return *payload* in one of *ways*; *damage* in [0, 1) says which and where (`Emission.damage`)."""
    how, where = damage
    _, way = ways[int(how * len(ways))]
    return way(payload, where)


def _insert(what: bytes, text: bytes, at: float) -> bytes:
    place = int(at * len(text))
    return text[:place] + what + text[place:]


def _before_a(mark: bytes, text: bytes, at: float) -> bytes:
    """Cut *text* before one of its *mark*s."""
    places = [found.start() for found in re.finditer(re.escape(mark), text)]
    return text[: places[int(at * len(places))]]


def _nameless(text: bytes, at: float) -> bytes:
    """Cut the last group of Ultralight after a name, before its value."""
    parts = text.split(b"|")
    return b"|".join(parts[: 2 + 2 * int(at * (len(parts[1:]) // 2))])


_UTF_16 = ("UTF-16", lambda text, _: b"\xff\xfe" + text.decode().encode("utf-16-le"))
_PROXY = ("page of a proxy", lambda _, __: b"<html><body>504 Gateway Time-out</body></html>")
_NOTHING = ("nothing", lambda _, __: b"")

JSON: Ways = (
    ("cut short", lambda text, u: text[: 1 + int(u * (len(text) - 1))]),
    _UTF_16,
    ("Latin-1", lambda text, _: text.replace(b'"', b'"\xb5', 1)),  # µ as one byte
    ("wrong braces", lambda text, _: text.replace(b"}", b"]")),
    ("wrong quotes", lambda text, _: text.replace(b'"', b"'")),
    ("NUL", lambda text, u: _insert(b"\0\0\0", text, u)),
    ("NaN", lambda text, _: text.replace(b'{"', b'{"nan":NaN,"', 1)),
    ("two in one", lambda text, _: text + text),
    _PROXY,
    _NOTHING,
)
"""Ours, SenML, and the events of ChirpStack and The Things Stack."""

GROUPS: Ways = (
    ("cut short", _nameless),
    ("Latin-1", lambda text, u: _insert(b"\xb5", text, u)),
    ("wrong separator", lambda text, _: text.replace(b"|", b";")),
    ("NUL", lambda text, u: _insert(b"\0", text[: text.index(b"|")], u) + text[text.index(b"|") :]),  # in the time
    _UTF_16,
    _PROXY,
    _NOTHING,
)
"""Ultralight: of bytes in a value it would make a text."""

LINES: Ways = (
    ("cut short", lambda text, u: _before_a(b"=", text, u)),
    ("Latin-1", lambda text, u: _insert(b"\xb5", text, u)),
    ("no spaces", lambda text, _: text.replace(b" ", b"")),
    ("NUL", lambda text, _: text[:-1] + b"\0" + text[-1:]),  # in the time; elsewhere it is a name as good as others
    ("two in one", lambda text, _: text + text),
    _UTF_16,
    _PROXY,
    _NOTHING,
)
"""Influx line protocol."""

PROTOBUF: Ways = (
    ("cut short", lambda data, u: data[: 2 + int(u * 5)]),  # within the time, a varint of six bytes
    ("flipped bits", lambda data, _: bytes([data[0] ^ 0b111]) + data[1:]),  # the first field is of a type that is none
    ("JSON", lambda _, u: b'{"timestamp":%d}' % int(u * 1e12)),
    _PROXY,
)
"""Sparkplug B. Nothing, and two in one, would be messages."""
