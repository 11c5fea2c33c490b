"""Fixtures of the contract suites: a catalog on every database that there is, and ways to start other processes."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from backends.catalog import Catalog, CatalogSettings, open_catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DATABASES = ["sqlite", "postgresql"]


def empty_database(kind: str, folder: Path, request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty database."""
    if kind == "sqlite":
        return f"sqlite:///{folder}/catalog.sqlite"
    url: str = request.getfixturevalue("empty_postgres")
    return url


def small_catalog(url: str) -> closing[Catalog]:
    """Open a catalog with small limits."""
    settings = CatalogSettings(quarantine_keep=5, quarantine_megabytes=1, outbox_keep=3, sessions_per_user=2)
    return closing(open_catalog(url, settings))


@pytest.fixture(params=DATABASES)
def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database, one of each kind."""
    return empty_database(request.param, tmp_path, request)


@pytest.fixture
def catalog(catalog_url: str) -> Iterator[Catalog]:
    """Return a fresh catalog with small limits."""
    with small_catalog(catalog_url) as catalog:
        yield catalog


@pytest.fixture
def processes(request: pytest.FixtureRequest) -> Callable[..., list[str]]:
    """Return a function that runs a Python program in several processes at once and returns what each printed."""

    def run(program: str, *arguments: str, n: int = 2) -> list[str]:
        folders = [str(request.config.rootpath), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))}
        children = [
            subprocess.Popen(
                [sys.executable, "-c", program, *arguments, str(number)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in range(n)
        ]
        outputs = []
        for child in children:
            out, err = child.communicate(timeout=60)
            assert child.returncode == 0, err
            outputs.append(out)
        return outputs

    return run
