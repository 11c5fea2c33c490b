"""This module makes any text storable: PostgreSQL refuses NUL, and no database takes half a surrogate pair."""

from __future__ import annotations

__all__ = ["storable"]


def storable(text: str) -> str:
    r"""Return *text* with what no database stores replaced by U+FFFD.

    >>> storable("a\0b\ud800") == "a\ufffdb\ufffd"
    True
    """
    return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in text)
