"""Tests of the secret folder: made once, mode 0600, refused when others could read it."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from core.errors import SettingsError
from urbanpulse.secrets import SecretFolder

if TYPE_CHECKING:
    from pathlib import Path


def test_a_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    folder = SecretFolder(tmp_path / "secrets")

    first = folder.ensure("x", lambda: {"password": "one"})
    second = folder.ensure("x", lambda: {"password": "two"})

    assert (first, second) == ({"password": "one"}, {"password": "one"})
    assert stat.S_IMODE((tmp_path / "secrets" / "x.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    folder = SecretFolder(tmp_path)
    folder.write("x", {"password": "one"})
    (tmp_path / "x.json").chmod(0o644)

    with pytest.raises(SettingsError, match=r"x\.json is readable by others"):
        folder.read("x")


@pytest.mark.parametrize("content", ["{", "[1]", "null"])
def test_a_secret_that_is_no_object_names_the_file(tmp_path: Path, content: str) -> None:
    folder = SecretFolder(tmp_path)
    folder.write("x", {})
    (tmp_path / "x.json").write_text(content)

    with pytest.raises(SettingsError, match=r"cannot read .*x\.json"):
        folder.read("x")


def test_a_missing_secret_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read .*y\.json"):
        SecretFolder(tmp_path).read("y")
