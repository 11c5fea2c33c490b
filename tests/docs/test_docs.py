"""Tests that the docs cannot lie: what they name exists in the program, and what the program has is named in them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.routes import alerts, completeness, devices, health, indices, latest, ledger, live, series, session
from core.admission import Outcome, Reason
from core.alerts import TRANSITIONS, AlertState, EventKind
from core.texts import _WHY
from urbanpulse.cli import app
from urbanpulse.grafana import platform_registry
from urbanpulse.settings import settings_table

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def text(name: str) -> str:
    return (ROOT / name).read_text()


def test_every_setting_stands_in_the_settings_page_as_it_is() -> None:
    assert settings_table() in text("docs/settings.md"), "run: urbanpulse print-config --markdown"


def test_every_metric_is_explained_and_no_other(tmp_path: Path) -> None:
    registry = platform_registry(tmp_path)
    rows = {
        (family.name + ("_total" if family.type == "counter" else ""), family.documentation.rstrip("."))
        for family in registry.collect()
    }

    table = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in sorted(rows))

    assert len(rows) > 30
    assert table in text("docs/operations.md"), table


def test_every_route_stands_in_the_api_page() -> None:
    page = text("docs/api.md")
    modules = (session, devices, latest, series, indices, completeness, alerts, ledger, live, health)
    routers = [m.router for m in modules]
    paths = {route.path for router in routers for route in router.routes}

    assert len(paths) > 15
    assert {path for path in paths if f"`{path}`" not in page and f" {path}`" not in page} == set()


def test_outcomes_reasons_and_message_codes_are_explained() -> None:
    pages = text("docs/api.md") + text("docs/alerts.md")

    assert {word for word in (*Outcome, *Reason, *_WHY) if f"`{word}`" not in pages} == set()


def test_the_life_of_an_alert_in_the_docs_is_the_table_in_the_code() -> None:
    rows = [f"| {state} | {' | '.join(_after(state, kind) for kind in EventKind)} |" for state in AlertState]

    assert "\n".join(rows) in text("docs/alerts.md")


def _after(state: AlertState, kind: EventKind) -> str:
    return TRANSITIONS.get((state, kind), AlertState.OPEN).value if (state, kind) in TRANSITIONS else "–"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())

    assert [t for t in targets if "://" not in t and not (page.parent / t).exists()] == []


def commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                command = line.split("#")[0].strip()
                if command:
                    found.append((page.name, command))
    return found


@pytest.mark.parametrize(("page", "command"), commands(), ids=lambda value: str(value)[:60])
def test_commands_in_the_docs_exist_with_their_options(page: str, command: str) -> None:
    """A command of ours is parsed by the command line itself; a make verb stands in the Makefile."""
    for part in re.split(r"&&|\|", command):
        words = shlex.split(part)
        while words and "=" in words[0] and not words[0].startswith("-"):
            words = words[1:]
        if words and words[0].endswith("urbanpulse") and words[0] != "urbanpulse/" and len(words) > 1:
            verbs = [w for w in words[1:3] if re.fullmatch(r"[a-z][a-z-]*", w)]
            result = CliRunner().invoke(app, [*verbs, "--help"])
            if result.exit_code:
                verbs = verbs[:1]
                result = CliRunner().invoke(app, [*verbs, "--help"], env={"COLUMNS": "200"})
            assert result.exit_code == 0, f"{page}: {command}"
            shown = CliRunner().invoke(app, [*verbs, "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
            missing = [w for w in words if w.startswith("--") and w.split("=")[0] not in shown]
            assert missing == [], f"{page}: {command}"
        elif words and words[0] == "make" and len(words) > 1:
            assert re.search(rf"^{words[1]}:", text("Makefile"), re.MULTILINE), f"{page}: {command}"
