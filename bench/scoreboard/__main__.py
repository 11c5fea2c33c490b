"""This script prints how good detection is, beside other detectors; see docs/detection.md for what that says.

    python -m bench.scoreboard [--quick] [--write] [--json] [--only nab,plateau,faults,scenarios,load]

Seeds 1 to 3 are for design; `--final` seeds get the threshold of the design seeds and are for a last look.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.scoreboard.board import Size, faults_board, load_board, nab_board, plateau_board, scenarios_board
from bench.scoreboard.report import draw, into_page, markdown, print_board

_ROOT = Path(__file__).resolve().parents[2]
_PARTS = ("nab", "plateau", "faults", "scenarios", "load")
_QUICK = Size(
    devices=40,
    days=24,
    from_day=14,
    river_series=8,
    city=100,
    weeks=2,
    week_days=2,
    scenario_devices=60,
    warm_days=4,
    scenarios=("inversion",),
)


def main() -> None:
    """Measure, print, and write where asked to."""
    options = _options()
    river = not options.no_river and find_spec("river") is not None
    if not river and not options.no_river:
        _say("River is not installed: its trees are left out")
    board = _measure(options, _QUICK if options.quick else Size(), river=river)
    if options.write:
        page = _ROOT / "docs" / "detection.md"
        folder = page.parent / "detection"
        pictures = {name: str(path.relative_to(page.parent)) for name, path in draw(board, folder).items()}
        folder.mkdir(exist_ok=True)
        (folder / "scoreboard.json").write_text(json.dumps(board, indent=1) + "\n")
        into_page(page, markdown(board, pictures))
    if options.json:
        print(json.dumps(board))
    else:
        print_board(board)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small city for few days, no plateau: figures scatter")
    parser.add_argument("--only", default=",".join(_PARTS), help="parts, with commas between them")
    parser.add_argument("--seeds", default="1,2,3", help="seeds of the simulator for design")
    parser.add_argument("--final", default="", help="seeds for the last look; not to be looked at while designing")
    parser.add_argument("--nab", type=Path, default=_ROOT.parent / "shared" / "data" / "nab", help="folder with NAB")
    parser.add_argument("--no-river", action="store_true", help="leave out River's trees, which are slow")
    parser.add_argument("--json", action="store_true", help="print one JSON object and no table")
    parser.add_argument("--write", action="store_true", help="put tables and plots into docs/detection.md")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(_PARTS):
        parser.error(f"--only: no {', '.join(sorted(unknown))}; there are {', '.join(_PARTS)}")
    for name in ("seeds", "final"):
        try:
            setattr(options, name, [int(seed) for seed in getattr(options, name).split(",") if seed])
        except ValueError:
            parser.error(f"--{name}: numbers with commas between them expected")
    if not options.seeds:
        parser.error("--seeds: one at least expected")
    return options


def _measure(options: argparse.Namespace, size: Size, *, river: bool) -> dict[str, Any]:
    board: dict[str, Any] = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "quick": options.quick}
    has_nab = options.nab.is_dir()
    if not has_nab and {"nab", "plateau"} & set(options.only):
        _say(f"{options.nab}: not there, NAB is left out (--nab FOLDER with data/ and windows.json)")
    if "nab" in options.only and has_nab:
        board["nab"] = nab_board(options.nab, _say, river=river)
    if "plateau" in options.only and has_nab and not options.quick:
        board["plateau"] = plateau_board(options.nab, _say)
    if "faults" in options.only:
        board["faults"] = faults_board(options.seeds, options.final, size, _say, river=river)
    if "scenarios" in options.only:
        board["scenarios"] = scenarios_board((options.final or options.seeds)[:1], size, _say)
    if "load" in options.only:
        board["load"] = load_board((options.final or options.seeds)[:1], size, _say)
    return board


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
