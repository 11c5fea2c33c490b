"""Tests of an installation: what is made once, and what an older one gets added."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from core.errors import SettingsError
from urbanpulse.installation import alone, prepare
from urbanpulse.nats_config import SERVICES
from urbanpulse.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_preparing_twice_changes_no_secret(tmp_path: Path) -> None:
    first = prepare(Settings(data_dir=tmp_path))

    again = prepare(Settings(data_dir=tmp_path))

    assert (again.services, again.service_hashes()) == (first.services, first.service_hashes())
    assert set(again.services) == set(again.service_hashes()) == set(SERVICES)


def test_a_service_that_is_younger_than_the_installation_gets_its_own_secret(tmp_path: Path) -> None:
    first = prepare(Settings(data_dir=tmp_path))
    for name in ("services", "service-hashes"):
        file = first.secrets.path / f"{name}.json"
        kept = json.loads(file.read_text())
        del kept["recorder"]
        file.write_text(json.dumps(kept))

    again = prepare(Settings(data_dir=tmp_path))

    assert set(again.services) == set(again.service_hashes()) == set(SERVICES)
    assert again.services["recorder"] != first.services["recorder"]
    assert again.services["gateway"] == first.services["gateway"]
    assert again.service_hashes()["gateway"] == first.service_hashes()["gateway"]


@pytest.mark.parametrize("inside", [".", "below", "folder/secrets"])
def test_a_data_folder_that_cannot_be_is_named_with_its_setting(tmp_path: Path, inside: str) -> None:
    """A file stands where a folder is wanted: at its place, above it, and where the secrets go."""
    place = (tmp_path / "folder" / inside).resolve()
    is_below = inside == "folder/secrets"
    file = tmp_path / "folder" / "secrets" if is_below else tmp_path / "folder"
    file.parent.mkdir(exist_ok=True)
    file.write_text("no folder")

    with pytest.raises(SettingsError, match=f"data_dir: .*{tmp_path}"):
        prepare(Settings(data_dir=tmp_path / "folder" if is_below else place))


def test_one_broker_at_a_time_uses_a_data_folder(tmp_path: Path) -> None:
    with alone(tmp_path, "broker"):
        with pytest.raises(SettingsError, match=r"data_dir: .*: another `urbanpulse broker` uses it"):
            alone(tmp_path, "broker").__enter__()
        with alone(tmp_path, "up"):
            pass

    with alone(tmp_path, "broker"):
        pass
