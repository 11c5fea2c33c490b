"""This module shows the scoreboard: tables at a terminal, the same as Markdown between marks of a page, and plots."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.scoreboard.board import OURS
from bench.scoreboard.fleet import KINDS

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["draw", "into_page", "markdown", "print_board", "tables"]

BEGIN, END = "<!-- scoreboard: begin -->", "<!-- scoreboard: end -->"
_PROFILES = ("standard", "reward_low_FP", "reward_low_FN")
_COLOURS = ("#c2410c", "#fdba74", "#64748b", "#94a3b8", "#cbd5e1")
_INK = "#1f2937"
_STYLE: Any = {
    "svg.hashsalt": "urbanpulse",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#94a3b8",
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}

_Block = tuple[str, str, list[str], list[list[str]]]


def tables(board: dict[str, Any]) -> list[_Block]:
    """Return what there is to show: title, a sentence, head, rows."""
    blocks = []
    if nab := board.get("nab"):
        blocks.append(_nab(nab))
    if plateau := board.get("plateau"):
        blocks.append(_plateau(plateau))
    for group, facts in board.get("faults", {}).get("groups", {}).items():
        blocks.append(_faults(group, facts))
    for seed, scenarios in board.get("scenarios", {}).items():
        blocks += [_scenarios(seed, scenarios), _triage(seed, scenarios)]
    if load := board.get("load"):
        blocks.append(_load(load))
    return blocks


def _nab(nab: dict[str, Any]) -> _Block:
    rows = []
    for name, scores in nab["scores"].items():
        facts = [f"{scores[profile]:.1f}" for profile in _PROFILES]
        found = f"{scores['found']} of {scores['windows']}, {scores['false']} false" if "found" in scores else ""
        rows.append([name, *facts, found])
    text = (
        f"{nab['files']} files, {nab['readings']:,} readings, {nab['windows']} labelled windows. One threshold for all "
        "files, picked on them as NAB does; the line *severity 1* has none picked. All rest 30 readings after an alert."
    )
    return "Numenta Anomaly Benchmark", text, ["detector", "standard", "low FP", "low FN", "windows, readings"], rows


def _plateau(plateau: dict[str, Any]) -> _Block:
    default = plateau["default"]
    moved = sorted(plateau["moved"].items(), key=lambda each: min(each[1]))
    rows = [[f"`{name}`", *(f"{score:.1f} ({score - default:+.1f})" for score in scores)] for name, scores in moved]
    worst = min(min(scores) for scores in plateau["moved"].values()) - default
    text = (
        f"Every number of the settings moved by 30 %, one at a time: NAB, standard, {default:.1f} as it is; "
        f"the worst of {2 * len(rows)} moves costs {-worst:.1f}."
    )
    return "A plateau, not a peak", text, ["setting", "30 % less", "30 % more"], rows


def _faults(group: str, facts: dict[str, Any]) -> _Block:
    rows = [
        [name, f"{row['false']:.4f}", *(_percent(row["recall"][kind]) for kind in KINDS)]
        for name, row in facts["rows"].items()
    ]
    seeds = ", ".join(map(str, facts["seeds"]))
    what = {"design": "looked at while building", "final": "not used in design"}[group]
    counts = ", ".join(f"{count} {kind}" for kind, count in facts["faults"].items())
    text = (
        f"Simulated city, seeds {seeds} ({what}): {facts['sensors']} sensors; faults: {counts}. "
        "False: alerts per sensor and day where nothing is wrong. Numbers are recall, %."
    )
    return f"Faults, {group} seeds", text, ["detector", "false", *KINDS], rows


def _scenarios(seed: str, scenarios: dict[str, Any]) -> _Block:
    rows = []
    for name, facts in scenarios.items():
        kinds = ", ".join(f"{kind} {found}/{of}" for kind, (found, of) in facts["kinds"].items())
        share = "–" if facts["recall"] is None else f"{100 * facts['recall']:.0f}"
        rows.append([name, str(facts["alerts"]), share, f"{facts['false_per_sensor_day']:.4f}", kinds])
    text = (
        f"The shipped scenarios in the city of seed {seed}, a reading each 300 s, after plain weeks to learn from, "
        "through the whole pipeline with the rules that come with it; scored as `urbanpulse score` does. Found: share "
        "of labels, %; false: alerts per sensor and day that no label explains."
    )
    return "Scenarios", text, ["scenario", "alerts", "found", "false", "by kind"], rows


def _triage(seed: str, scenarios: dict[str, Any]) -> _Block:
    total: dict[str, Counter[str]] = {}
    for facts in scenarios.values():
        for truth, said in facts["confusion"].items():
            total.setdefault(truth, Counter()).update(said)
    words = [word for word in next(iter(total.values()), {}) if any(said[word] for said in total.values())]
    rows = [[truth, *(str(said[word]) for word in words)] for truth, said in total.items() if said.total()]
    judged = [(said[truth], said.total()) for truth, said in total.items() if truth in words]
    right, of = sum(n for n, _ in judged), sum(n for _, n in judged)
    share = f"{100 * right / of:.0f} % of {of} right" if of else "nothing to judge"
    text = f"All scenarios of seed {seed} together; rows: what was behind an alert, columns: what it said. {share}."
    return "City or sensor", text, ["there was", *words], rows


def _load(load: dict[str, Any]) -> _Block:
    rows = []
    for seed, facts in load.items():
        for n, week in enumerate(facts["weeks"], 1):
            codes = ", ".join(f"{code} {count}" for code, count in list(week["codes"].items())[:4])
            rows.append([seed, str(n), f"{week['per_hour']:.2f}", f"{week['busy']:.2f} %", codes])
    one = next(iter(load.values()))
    text = (
        f"A plain city in which nothing goes wrong: {one['devices']:,} sensors, {one['series']:,} series, a reading "
        f"each {one['interval']} s, through the whole pipeline with the rules that come with it. Week 1 begins with "
        "nothing learned. EEMUA 191 accepts 6 alerts an hour, and 1 % of ten-minute periods above 10."
    )
    return "What a plain city asks of its operator", text, ["seed", "week", "alerts/h", "busy periods", "codes"], rows


def _percent(recall: float) -> str:
    return "–" if recall != recall else f"{recall:.0f}"  # noqa: PLR0124 - NaN


def print_board(board: dict[str, Any]) -> None:
    """Print the tables."""
    console = Console()
    for title, text, head, rows in tables(board):
        table = Table(title=title, caption=text, box=SIMPLE_HEAD, title_justify="left", caption_justify="left")
        for n, name in enumerate(head):
            table.add_column(name, justify="left" if n in {0, len(head) - 1} else "right", overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table)


def markdown(board: dict[str, Any], pictures: dict[str, str]) -> str:
    """Return the tables as Markdown, with *pictures*, by name their path beside the page."""
    lines = [f"Printed by `make scoreboard` on {board['date']}."]
    for title, text, head, rows in tables(board):
        lines += ["", f"### {title}", "", text, ""]
        lines += [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
        lines += [f"| {' | '.join(f'**{cell}**' if cell.startswith(OURS) else cell for cell in row)} |" for row in rows]
    lines += [text for name, path in pictures.items() for text in ("", f"![{name}]({path})")]
    return "\n".join(lines)


def into_page(page: Path, text: str) -> None:
    """Put *text* between the marks of *page*.

    Raises:
        ValueError: the page has no marks.
    """
    whole = page.read_text()
    if BEGIN not in whole or END not in whole:
        raise ValueError(f"{page}: no {BEGIN} … {END}")
    before, rest = whole.split(BEGIN, 1)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END, 1)[1]}")


def draw(board: dict[str, Any], folder: Path) -> dict[str, Path]:
    """Draw what there is into *folder*; return the pictures by what they show."""
    import matplotlib as mpl  # noqa: PLC0415 - only who draws needs it
    from matplotlib.figure import Figure  # noqa: PLC0415

    groups = board.get("faults", {}).get("groups", {})
    if not groups:
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    group, facts = list(groups.items())[-1]
    pictures = {}
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 2.8), facecolor="white", layout="constrained")
        axes = figure.add_subplot()
        # as many false alarms as ours at the higher severity, which is what operators get
        shown = [(name, row) for k, (name, row) in enumerate(facts["rows"].items()) if k % 2 == 1]
        for n, (name, row) in enumerate(shown):
            heights = [row["recall"][kind] for kind in KINDS]
            places = [k + (n - len(shown) / 2 + 0.5) * 0.8 / len(shown) for k in range(len(KINDS))]
            label = name.split(", as many")[0]
            axes.bar(places, heights, width=0.75 / len(shown), color=_COLOURS[n % len(_COLOURS)], label=label)
        axes.set_xticks(range(len(KINDS)), list(KINDS))
        axes.set_ylabel("recall, %")
        axes.set_ylim(0, 105)
        axes.set_title(f"{group} seeds, {shown[0][1]['false']:.3f} false alarms per sensor and day", loc="left")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
        pictures["recall by kind of fault"] = _save(figure, folder / "recall.svg")

        figure = Figure(figsize=(7.2, 2.8), facecolor="white", layout="constrained")
        axes = figure.add_subplot()
        colours = ("#c2410c", "#7c3aed", "#0f766e", "#be123c", "#0369a1")
        for kind, colour in zip([kind for kind in KINDS if kind != "dropout"], colours, strict=True):
            points = sorted((row["false"], row["recall"][kind]) for _, row in facts["curve"])
            axes.plot([x for x, _ in points], [y for _, y in points], "o-", color=colour, lw=1.2, ms=3, label=kind)
        axes.set_xlabel("false alarms per sensor and day; the severity asked for falls from left to right")
        axes.set_ylabel("recall, %")
        axes.set_ylim(0, 105)
        axes.set_xlim(left=0)
        axes.set_title(f"{OURS}, {group} seeds", loc="left")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
        pictures["recall against false alarms"] = _save(figure, folder / "trade.svg")
    return pictures


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    return path
