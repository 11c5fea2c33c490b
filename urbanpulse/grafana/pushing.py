"""This module brings dashboards, data sources and alerts into a running Grafana; doing it again changes nothing.

Everything of ours has a fixed uid or a tag of its own, and nothing else is touched: a dashboard under one of our uids
that does not carry our tag stops the push.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from urbanpulse.grafana.annotations import Note
    from urbanpulse.grafana.target import Grafana

__all__ = ["push_alerts", "push_dashboards", "push_data_sources"]

FOLDER = "urbanpulse"
TAG = "urbanpulse"
ALERT_TAGS = [TAG, "alert"]
_OF_GRAFANA = ("id", "version")
_LISTED = 10_000  # annotations that are asked for at once: a guess


def push_data_sources(target: Grafana, sources: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Create or update *sources*; yield a line about each, with what Grafana says when it tries it."""
    for source in sources:
        there = target.data_source(source["uid"])
        if there is None:
            target.create_data_source(source)
            done = "created"
        elif there.get("readOnly"):
            done = "comes from provisioning files: left as it is"
        else:
            target.update_data_source({**source, "version": there["version"]} if "version" in there else source)
            done = "updated"
        yield f"data source {source['name']}: {done}; {target.data_source_health(source['uid'])}"


def push_dashboards(target: Grafana, boards: Iterable[dict[str, Any]], title: str = FOLDER) -> Iterator[str]:
    """Create or update *boards* in the folder *title*, which is created if need be; yield a line about each.

    Raises:
        Conflict: a dashboard of another's has the uid of one of ours.
    """
    folder = _folder(target, title)
    if folder is None:
        folder = target.create_folder(title, FOLDER if title == FOLDER else None)
        yield f"folder {title}: created"
    for board in boards:
        there = target.dashboard(board["uid"])
        if there is None:
            done = "created"
        elif (there.get("meta") or {}).get("provisioned"):
            yield f"dashboard {board['title']}: comes from provisioning files: left as it is"
            continue
        elif TAG not in (there["dashboard"].get("tags") or []):
            raise Conflict(f"dashboard {board['uid']} of this Grafana is not ours: it has no tag {TAG!r}")
        elif _without(there["dashboard"]) == _without(board) and there["meta"].get("folderUid") == folder:
            yield f"dashboard {board['title']}: is there already"
            continue
        else:
            done = "updated"
        target.save_dashboard({**_without(board), "id": None}, folder)
        yield f"dashboard {board['title']}: {done}"


def _without(board: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in board.items() if key not in _OF_GRAFANA}


def _folder(target: Grafana, title: str) -> str | None:
    for folder in target.folders():
        if folder["title"] == title:
            return str(folder["uid"])
    return FOLDER if title == FOLDER and target.folder(FOLDER) is not None else None


def push_alerts(target: Grafana, notes: Iterable[Note]) -> Iterator[str]:
    """Note alerts as annotations, each once, known again by its tag; yield a line that says how many."""
    wanted = {note.tag: note for note in notes}
    counts = dict.fromkeys(("added", "changed", "there already"), 0)
    if wanted:
        start, end = min(note.time for note in wanted.values()), max(note.time for note in wanted.values())
        listed = target.annotations(ALERT_TAGS, start_ms=start, end_ms=end + 1, limit=_LISTED)
        known = {tag: found for found in listed for tag in found["tags"]}
        for tag, note in sorted(wanted.items(), key=lambda item: (item[1].time, item[0])):
            there = known.get(tag)
            if there is None and len(listed) >= _LISTED:
                one = target.annotations([tag], start_ms=note.time, end_ms=note.time + 1, limit=1)
                there = one[0] if one else None
            if there is None:
                target.add_annotation(note.body())
                counts["added"] += 1
            elif note.is_told_by(there):
                counts["there already"] += 1
            else:
                target.change_annotation(there["id"], note.body())
                counts["changed"] += 1
    yield "alerts: " + ", ".join(f"{n} {what}" for what, n in counts.items())
