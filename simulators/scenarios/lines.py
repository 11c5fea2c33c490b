"""This module is where things stand in a scenario file, so that an error can name the line.

`tomllib` tells the line of bad syntax only. What is wrong in what a file *says* is found by its header and key: enough
for files of `[[tables]]` with plain keys; a table that is written inline is named by the line of its key.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Place", "Source", "nearest"]

_QUOTES = re.compile(r'"""|' + "'''")
_HEADER = re.compile(r"""\s*\[{1,2}\s*["']?([\w-]+)["']?\s*\]{1,2}""")


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a scenario file and its name."""

    name: str
    text: str

    def wrong(self, detail: str, table: str = "", index: int = 0, key: str = "") -> SettingsError:
        """Return the error that says *detail* and where: *key* of the table number *index* (from 0) named *table*."""
        return SettingsError("scenario", f"{self.name}:{self.line(table, index, key)}: {detail}")

    def line(self, table: str = "", index: int = 0, key: str = "") -> int:
        """Return the line (from 1) of *key* in a table, of the table's header if the key is not there; else 1."""
        wanted = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*=""") if key else None
        found, inside, seen = 1, not table, -1
        for number, line in self._code():
            header = _HEADER.match(line)
            if header is not None:
                seen += header[1] == table
                inside = bool(table) and header[1] == table and seen == index
                found = number if inside else found
            elif inside and wanted is not None and wanted.match(line):
                return number
            elif table and seen < 0 and re.match(rf"\s*{re.escape(table)}\s*=", line):
                found = number
        return found

    def _code(self) -> Iterator[tuple[int, str]]:
        """Yield number and text of each line that does not begin inside a string of several lines."""
        quote = ""
        for number, line in enumerate(self.text.splitlines(), 1):
            if not quote:
                yield number, line
            for mark in _QUOTES.findall(line):
                quote = mark if not quote else "" if quote == mark else quote


@dataclass(frozen=True, slots=True)
class Place:
    """One table of a scenario file: the number *index* (from 0) of those named *table*."""

    source: Source
    table: str
    index: int

    def wrong(self, detail: str, key: str = "") -> SettingsError:
        """Return the error that says *detail* and the line of *key*, or else of the table."""
        return self.source.wrong(f"[[{self.table}]] {detail}", self.table, self.index, key)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the text that names what of *known* comes nearest to *name*.

    >>> nearest("spikes", ["drift", "spike"])
    "the nearest known is 'spike'"
    """
    near = difflib.get_close_matches(name.lower(), sorted(map(str, known)), 1, 0.0)
    return f"the nearest known is {near[0]!r}" if near else "none is known"
