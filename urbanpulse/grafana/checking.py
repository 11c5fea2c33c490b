"""This module checks dashboards: that they are whole, and that every question names what there is to ask for.

Grafana loads nearly anything and shows "No data". So what would only be seen by looking at each panel is found here:
measurements, tags, fields, metrics of the city, metrics and labels of the platform, data sources, variables, times,
refresh, ids, places.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from urbanpulse.grafana.questions import influx_faults, prometheus_faults

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from urbanpulse.grafana.questions import Schema

__all__ = ["Finding", "check", "panels_of"]

_OLDEST_SCHEMA = 36  # of Grafana 9
READINGS, ROLLUPS, PLATFORM = "urbanpulse-influx", "urbanpulse-influx-rollups", "urbanpulse-prometheus"
_OWN = {"-- Grafana --", "-- Mixed --"}
_KINDS = {READINGS: "influxdb", ROLLUPS: "influxdb", PLATFORM: "prometheus"}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LEAST_REFRESH = 5
_VARIABLE = re.compile(r"\$\{(\w+)(?:[:.][\w:]+)?\}|\$(\w+)|\[\[(\w+)\]\]")
_BUILT_IN = re.compile(r"__\w+|timeFilter|interval|(?:tag_\w+|col|m|measurement)")
_RELATIVE = re.compile(r"now(?:[-+]\d+[smhdwMy])*(?:/[smhdwMy])?")
_DATE = re.compile(r"\b(?:19|20)\d\d-\d\d-\d\d\b|\b1\d{9}(?:\d{3}|\d{9})?\b")
_WITHOUT_QUESTION = {"annolist", "text", "row", "dashlist"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, and where: the dashboard, and the panel, variable or part of it."""

    dashboard: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.where}: {self.text}"


def panels_of(board: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the panels of *board*, those within rows too."""
    for panel in board.get("panels") or []:
        yield panel
        yield from panel.get("panels") or []


def check(boards: Mapping[str, Mapping[str, Any]], schema: Schema, sources: Collection[str]) -> list[Finding]:
    """Return what is wrong with *boards* (by file name); *sources* are what is provisioned."""
    found: list[Finding] = []
    for name, board in boards.items():
        found += _Check(name, board, schema, sources).run()
    uids = Counter(str(board.get("uid")) for board in boards.values())
    titles = Counter(str(board.get("title")) for board in boards.values())
    for name, board in boards.items():
        found += [
            Finding(name, what, f"{board.get(what)!r} is used by another dashboard too")
            for what, seen in (("uid", uids), ("title", titles))
            if seen[str(board.get(what))] > 1
        ]
    return found


@dataclass
class _Check:
    name: str
    board: Mapping[str, Any]
    schema: Schema
    sources: Collection[str]
    found: list[Finding] = field(default_factory=list)

    def say(self, where: str, text: str) -> None:
        self.found.append(Finding(self.name, where, text))

    def _all(self, where: str, texts: Iterable[str]) -> None:
        for text in texts:
            self.say(where, text)

    def run(self) -> list[Finding]:
        try:
            self._frame()
            self._variables()
            self._places()
            for panel in panels_of(self.board):
                self._panel(panel)
        except (TypeError, AttributeError, KeyError, ValueError) as error:
            self.say("dashboard", f"is not built as one: {error!r}")
        return self.found

    # -- the frame

    def _frame(self) -> None:
        board = self.board
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", str(board.get("uid") or "")):
            self.say("uid", "1 to 40 letters, digits, - or _ expected")
        if not board.get("title"):
            self.say("title", "none")
        if board.get("id") is not None:
            self.say("id", "belongs to one Grafana: leave it out")
        version = board.get("schemaVersion")
        if not isinstance(version, int) or version < _OLDEST_SCHEMA:
            self.say("schemaVersion", f"{version}: {_OLDEST_SCHEMA} or later expected")
        if not board.get("panels"):
            self.say("panels", "none")
        for end in ("from", "to"):
            at = str((board.get("time") or {}).get(end))
            if not _RELATIVE.fullmatch(at):
                self.say("time", f"{end} {at!r}: a time relative to now expected")
        intervals = (board.get("timepicker") or {}).get("refresh_intervals") or []
        for text in [board.get("refresh") or "1h", *intervals]:
            match = re.fullmatch(r"(\d+)([smhd])", str(text))
            if match is None or int(match[1]) * _SECONDS[match[2]] < _LEAST_REFRESH:
                self.say("refresh", f"{text!r}: at least {_LEAST_REFRESH}s expected")

    def _places(self) -> None:
        taken: dict[tuple[int, int], str] = {}
        ids = Counter(panel.get("id") for panel in panels_of(self.board))
        for panel in panels_of(self.board):
            if not isinstance(panel.get("id"), int) or ids[panel.get("id")] > 1:
                self.say(_title(panel), f"id {panel.get('id')!r}: a number of its own expected")
        for panel in self.board.get("panels") or []:  # those within a folded row have no place yet
            where, place = _title(panel), panel.get("gridPos") or {}
            if not all(type(place.get(side)) is int for side in "xywh"):
                self.say(where, f"gridPos {place}: whole numbers expected")
                continue
            x, y, w, h = (place[side] for side in "xywh")
            if x < 0 or y < 0 or w < 1 or h < 1 or x + w > 24:
                self.say(where, f"gridPos {place}: outside of the 24 columns")
            over = {taken.setdefault((i, j), where) for i in range(x, x + w) for j in range(y, y + h)} - {where}
            for other in sorted(over):
                self.say(where, f"lies over {other!r}")

    # -- variables

    def _variables(self) -> None:
        known: list[str] = []
        for variable in (self.board.get("templating") or {}).get("list") or []:
            name = str(variable.get("name"))
            if name in known:
                self.say(f"variable {name}", "defined twice")
            if variable.get("type") == "query":
                query = variable.get("query")
                text = str(query.get("query") if isinstance(query, dict) else query)
                self._uses(f"variable {name}", text, known)
                uid = self._source(f"variable {name}", variable.get("datasource"))
                self._influx(f"variable {name}", uid, text, "")
            known.append(name)
        self._uses_of_variables(known)

    def _uses_of_variables(self, known: list[str]) -> None:
        for query in (self.board.get("annotations") or {}).get("list") or []:
            where = f"annotation {query.get('name')}"
            self._source(where, query.get("datasource"))
            self._uses(where, json.dumps(query.get("target")), known)
        for panel in panels_of(self.board):
            self._uses(_title(panel), json.dumps(panel, ensure_ascii=False), known)
            if panel.get("repeat") and panel["repeat"] not in known:
                self.say(_title(panel), f"repeats by ${panel['repeat']}, which no variable defines")

    def _uses(self, where: str, text: str, known: Iterable[str]) -> None:
        for groups in sorted(set(_VARIABLE.findall(text))):
            name = "".join(groups)
            if name not in known and not _BUILT_IN.fullmatch(name) and not name.isdigit():
                self.say(where, f"${name} is not defined (before it is used)")

    def _source(self, where: str, source: Any) -> str:
        uid = source.get("uid") if isinstance(source, dict) else source
        if uid in _OWN:
            return str(uid)
        if uid not in self.sources:
            self.say(where, f"data source {uid!r} is not provisioned")
        elif isinstance(source, dict) and source.get("type") != _KINDS.get(str(uid)):
            self.say(where, f"data source {uid} is of type {_KINDS.get(str(uid))}, not {source.get('type')}")
        return str(uid)

    # -- panels

    def _panel(self, panel: dict[str, Any]) -> None:
        where = _title(panel)
        if panel.get("type") == "row":
            return
        if not panel.get("title") or not panel.get("description"):
            self.say(where, "title and description expected")
        if panel.get("type") not in _WITHOUT_QUESTION:
            self._asks(where, panel)

    def _asks(self, where: str, panel: dict[str, Any]) -> None:
        if not ((panel.get("fieldConfig") or {}).get("defaults") or {}).get("unit"):
            self.say(where, "has no unit")
        for when in ("timeFrom", "timeShift"):
            if panel.get(when) and not re.fullmatch(r"(?:now-)?\d+[smhdwMy]", str(panel[when])):
                self.say(where, f"{when} {panel[when]!r}: relative expected")
        self._source(where, panel.get("datasource"))
        targets = panel.get("targets") or []
        if not targets:
            self.say(where, "asks nothing")
        refs = Counter(target.get("refId") for target in targets)
        for ref, n in refs.items():
            if n > 1:
                self.say(where, f"refId {ref!r} is used twice")
        for target in targets:
            self._target(where, target)

    def _target(self, where: str, target: dict[str, Any]) -> None:
        uid = self._source(where, target.get("datasource"))
        asked = str(target.get("expr") if uid == PLATFORM else target.get("query"))
        if _DATE.search(asked):
            self.say(where, "names an absolute time")
        if uid == PLATFORM:
            legend = str(target.get("legendFormat") or "")
            self._all(where, prometheus_faults(asked, legend, self.schema.platform))
        elif uid in {READINGS, ROLLUPS}:
            if target.get("rawQuery") is not True:
                self.say(where, "rawQuery is not set: Grafana would ignore the question")
            self._influx(where, uid, asked, str(target.get("alias") or ""))

    def _influx(self, where: str, uid: str, asked: str, alias: str) -> None:
        measurements = self.schema.rollups if uid == ROLLUPS else self.schema.readings
        self._all(where, influx_faults(asked, alias, measurements, self.schema.metrics))


def _title(panel: Mapping[str, Any]) -> str:
    return str(panel.get("title") or f"panel {panel.get('id')}")
