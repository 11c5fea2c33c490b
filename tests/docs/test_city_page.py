"""The page about the city tells the kinds, metrics, shares and events that the program has, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from core.metrics import KINDS
from simulators.events import EVENTS
from simulators.layout import KIND_SHARES
from simulators.world.radio import feed, has_radio

PAGE = (Path(__file__).parents[2] / "docs" / "city.md").read_text()


def rows(after: str) -> list[list[str]]:
    section = PAGE.split(f"## {after}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_kind_of_device_is_explained_as_it_is() -> None:
    told = {
        cells[0].strip("`"): (tuple(re.findall(r"`(\w+)`", cells[2])), int(cells[3]), cells[4])
        for cells in rows("Kinds of devices")
    }

    assert told == {
        kind: (KINDS[kind], share, f"{feed(kind)}, {'radio' if has_radio(kind) else 'cable'}")
        for kind, share in KIND_SHARES.items()
    }


def test_every_event_is_explained_as_it_is() -> None:
    told = {cells[0].strip("`"): (*cells[1:3], tuple(re.findall(r"`(\w+)`", cells[3]))) for cells in rows("Events")}

    assert told == {
        kind.value: (facts.text, f"{facts.usual:g}, at most {facts.most:g}: {facts.unit}", facts.metrics)
        for kind, facts in EVENTS.items()
    }
