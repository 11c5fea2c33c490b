"""How the console gets into the package: the hook decides rightly, and a machine without Node can install."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import hatch_build

ROOT = Path(__file__).parents[2]
PACKAGES = ("core", "backends", "gateway", "processors", "api", "simulators", "urbanpulse")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a checkout in small: a console's sources, `.git`, nothing built."""
    console = tmp_path / "console"
    for name in hatch_build.SOURCES:
        source = ROOT / "console" / name
        if source.is_dir():
            shutil.copytree(source, console / name)
        else:
            console.mkdir(exist_ok=True)
            shutil.copy(source, console / name)
    (tmp_path / ".git").mkdir()
    return tmp_path


def hook(tree: Path) -> hatch_build.ConsoleBuildHook:
    """Return the hook as hatchling would make it."""
    return hatch_build.ConsoleBuildHook(str(tree), {}, None, None, "", "wheel")  # type: ignore[arg-type]


def pretend_built(tree: Path) -> None:
    """Leave built files with the stamp of the sources as they are."""
    static = tree / "api" / "static"
    static.mkdir(parents=True)
    (static / "index.html").write_text("built")
    (static / hatch_build.STAMP).write_text(hatch_build.stamp_of(tree / "console"))


def test_a_clone_without_built_files_asks_for_node(tree: Path) -> None:
    assert hook(tree).dependencies() == [hatch_build.NODE]


def test_built_files_of_todays_sources_are_reused(tree: Path) -> None:
    pretend_built(tree)

    assert hook(tree).dependencies() == []
    hook(tree).initialize("editable", {})
    assert (tree / "api/static/index.html").read_text() == "built"


@pytest.mark.parametrize("name", ["src/App.svelte", "package-lock.json", "public/favicon.svg", "index.html"])
def test_a_changed_source_makes_built_files_old(tree: Path, name: str) -> None:
    pretend_built(tree)

    with (tree / "console" / name).open("a") as file:
        file.write("\n")

    assert hook(tree).dependencies() == [hatch_build.NODE]


def test_a_new_source_makes_built_files_old(tree: Path) -> None:
    pretend_built(tree)

    (tree / "console/src/new.ts").write_text("export {}")

    assert hook(tree).dependencies() == [hatch_build.NODE]


def test_a_changed_test_does_not_make_built_files_old(tree: Path) -> None:
    pretend_built(tree)

    (tree / "console/test").mkdir()
    (tree / "console/test/new.test.ts").write_text("")

    assert hook(tree).dependencies() == []


def test_an_sdist_is_taken_as_it_is(tree: Path) -> None:
    pretend_built(tree)
    (tree / ".git").rmdir()
    (tree / "console/src/new.ts").write_text("export {}")

    assert hook(tree).dependencies() == []


def test_a_source_archive_with_nothing_built_is_built(tree: Path) -> None:
    (tree / ".git").rmdir()

    assert hook(tree).dependencies() == [hatch_build.NODE]


def test_it_can_be_skipped(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(hatch_build.SKIP, "1")

    assert hook(tree).dependencies() == []
    hook(tree).initialize("standard", {})
    assert not (tree / "api").exists()


def test_the_lock_file_names_no_address_to_download_from() -> None:
    lock = json.loads((ROOT / "console/package-lock.json").read_text())

    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert len(packages) > 30
    assert [name for name, entry in packages.items() if "resolved" in entry] == []
    assert [name for name, entry in packages.items() if "integrity" not in entry and not entry.get("inBundle")] == []


@pytest.mark.acceptance
@pytest.mark.timeout(600)
def test_a_clone_installs_with_console_and_data_files_on_a_machine_without_node(tmp_path: Path) -> None:
    """Clone, build the wheel with pip's build isolation and a PATH without node, install it, look inside."""
    git = shutil.which("git")
    assert git is not None
    clone = tmp_path / "clone"
    subprocess.run([git, "clone", "-q", str(ROOT), str(clone)], check=True)
    bare = tmp_path / "bin"
    bare.mkdir()
    for name in ("sh", "env", "uname"):
        program = shutil.which(name)
        assert program is not None
        (bare / name).symlink_to(program)
    environment = {**os.environ, "PATH": str(bare)}
    environment.pop(hatch_build.SKIP, None)
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"

    wheels = tmp_path / "wheels"
    command = [str(python), "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(wheels), str(clone)]
    subprocess.run(command, check=True, env=environment, cwd=tmp_path)
    (wheel,) = wheels.glob("urbanpulse-*.whl")
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--no-deps", wheel], check=True, env=environment, cwd=tmp_path
    )

    names = zipfile.ZipFile(wheel).namelist()
    assert "api/static/index.html" in names
    assert "api/static/favicon.svg" in names
    assert any(name.startswith("api/static/assets/") and name.endswith(".js") for name in names)
    tracked = subprocess.run(
        [git, "ls-files", *PACKAGES], cwd=clone, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert sorted(set(tracked) - set(names)) == [], "files of the packages that the wheel leaves out"
    site = tmp_path / f"venv/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    assert "<script" in (site / "api/static/index.html").read_text()
    scripts = [name for name in names if name.startswith("api/static/") and name.endswith((".js", ".css", ".html"))]
    packed = sum(len(gzip.compress(zipfile.ZipFile(wheel).read(name))) for name in scripts)
    assert packed <= 150_000, "the console's budget, compressed"
