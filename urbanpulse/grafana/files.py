"""This module finds and reads the files for Grafana: in a clone `deploy/grafana`, installed a folder beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec

from core.errors import SettingsError

__all__ = ["GrafanaFiles", "read_dashboard"]

_HERE = Path(__file__).parent / "files"
_CLONE = Path(__file__).parents[2] / "deploy" / "grafana"
_UID = re.compile(r"^ +(?:- )?uid: (\S+)$", re.MULTILINE)


def read_dashboard(path: Path) -> dict[str, Any]:
    """Return the dashboard in the file *path*.

    Raises:
        SettingsError: it cannot be read, or is no JSON object.
    """
    try:
        content = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise SettingsError(str(path), f"cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise SettingsError(str(path), f"not JSON: {error}") from error
    if not isinstance(content, dict):
        raise SettingsError(str(path), "not a dashboard: a JSON object expected")
    return content


@dataclass(frozen=True, slots=True)
class GrafanaFiles:
    """The folder of dashboards and provisioning files."""

    folder: Path

    @classmethod
    def shipped(cls) -> Self:
        """Return the files that came with this urbanpulse.

        Raises:
            SettingsError: they are not there.
        """
        for folder in (_HERE, _CLONE):
            if (folder / "dashboards").is_dir():
                return cls(folder)
        raise SettingsError("grafana", f"the dashboards are not in {_HERE}: install urbanpulse again")

    def dashboards(self) -> list[Path]:
        """Return the dashboards, sorted."""
        return sorted((self.folder / "dashboards").glob("*.json"))

    def data_sources(self) -> frozenset[str]:
        """Return the uids that Grafana knows after reading the provisioning files."""
        files = (self.folder / "provisioning" / "datasources").glob("*.yaml")
        return frozenset(uid for file in files for uid in _UID.findall(file.read_text()))
