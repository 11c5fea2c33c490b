"""This module writes the dashboards into deploy/grafana/dashboards: python -m deploy.dashboards."""

from __future__ import annotations

from pathlib import Path

from deploy.dashboards.boards import boards

if __name__ == "__main__":
    folder = Path(__file__).parents[1] / "grafana" / "dashboards"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.json"):
        old.unlink()
    for board in boards():
        (folder / f"{board.uid}.json").write_text(board.json())
