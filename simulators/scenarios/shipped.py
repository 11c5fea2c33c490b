"""This module finds scenarios: those that come with the program, by name, and files of people's own."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import SettingsError
from simulators.scenarios.check import check
from simulators.scenarios.file import ScenarioFile, parse_scenario
from simulators.scenarios.lines import nearest

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["read_scenario", "scenario_names"]


def scenario_names() -> list[str]:
    """Return the names of the scenarios that come with the program, sorted."""
    return sorted(file.name.removesuffix(".toml") for file in _folder().iterdir() if file.name.endswith(".toml"))


def read_scenario(name_or_path: str | Path) -> ScenarioFile:
    """Read the scenario of this name, or in this file (a path, or text with a slash or `.toml` at its end).

    Raises:
        SettingsError: there is none, or what it says is impossible; the text names file, line and nearest known name.
    """
    name = str(name_or_path)
    if isinstance(name_or_path, Path) or "/" in name or name.endswith(".toml"):
        path = Path(name_or_path)
        try:
            file = parse_scenario(path.stem, str(path), path.read_bytes())
        except OSError as error:
            raise SettingsError("scenario", f"{path}: {error.strerror or error}") from error
    elif name in scenario_names():
        file = parse_scenario(name, f"{name}.toml", (_folder() / f"{name}.toml").read_bytes())
    else:
        raise SettingsError("scenario", f"{name!r} is unknown; {nearest(name, scenario_names())}")
    check(file)
    return file


def _folder() -> Traversable:
    return importlib.resources.files("simulators.scenarios")
