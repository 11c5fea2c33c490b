"""Fixtures that every folder may use: free ports, a PostgreSQL; the order of tests, and patience."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import create_engine, text

from tests.postgres import find_postgres, running_postgres
from tests.stack import free_port as find_free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# no time is asserted: a machine that does something else for 0.2 s is no bug of ours. And a landing must not hang on
# luck: the same examples each time; `HYPOTHESIS_PROFILE=search make test` looks for new ones
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("patient", settings.get_profile("search"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "patient"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put long tests first and browser tests last, and leave the soak runs to `make soak`.

    The browser's driver keeps an event loop running in its process until the end, so nothing may come after it there.
    """
    items.sort(key=lambda item: 2 if "browser" in item.keywords else int("acceptance" not in item.keywords))
    if "soak" in (config.option.markexpr or ""):
        return
    skip = pytest.mark.skip(reason="a soak run: `make soak` starts it")
    for item in items:
        if "soak" in item.keywords:
            item.add_marker(skip)


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Return a function that names a port which was free a moment ago."""
    return find_free_port


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Return the URL of a PostgreSQL: the one that is named for tests, else one started here."""
    named = os.environ.get("URBANPULSE_TEST_POSTGRES_URL")
    if named:
        yield named
        return
    programs = find_postgres()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with running_postgres(programs) as url:
        yield url


@pytest.fixture
def empty_postgres(postgres: str) -> str:
    """Return the URL of a PostgreSQL whose database holds nothing."""
    engine = create_engine(postgres)
    with engine.begin() as db:
        db.execute(text("DROP SCHEMA public CASCADE"))
        db.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return postgres
