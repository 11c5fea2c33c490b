"""Fixtures of the browser tests: one chromium, a fake city on a port of its own, a signed-in page."""

from __future__ import annotations

import shutil
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.fake_city import FakeCity
from tests.browser.fake_server import PASSWORD, STATIC, USER, FakeServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_MS = 60_000  # of a busy machine: what is awaited comes at once on a quiet one
expect.set_options(timeout=PATIENCE_MS)

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return a running chromium, or skip and say what is missing."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium on this machine")
    if not (STATIC / "index.html").exists():
        pytest.skip("the console is not built: `npm ci && npm run build` in console/")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture
def city() -> FakeCity:
    """Return five districts with eight sensors each and no alerts."""
    return FakeCity(time.time_ns)


@pytest.fixture
def server(city: FakeCity) -> Iterator[FakeServer]:
    """Serve the city."""
    with FakeServer(city) as running:
        yield running


@pytest.fixture
def open_url(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Return a function that opens the console at an address and signs in; errors in the page fail the test."""
    contexts = []
    errors: list[str] = []

    def open_one(
        url: str,
        user: str,
        password: str,
        *,
        width: int = 1366,
        height: int = 768,
        scheme: str = "light",
        lang: str = "en",
        sign_in: bool = True,
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
            reduced_motion="reduce",
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(f"localStorage.getItem('lang') ?? localStorage.setItem('lang', '{lang}')")
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        if sign_in:
            page.locator("input[name=username]").fill(user)
            page.locator("input[name=password]").fill(password)
            page.keyboard.press("Enter")
            page.locator("[data-link=live]").wait_for()
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def open_page(open_url: Callable[..., Page], server: FakeServer) -> Callable[..., Page]:
    """Return a function that opens the fake city."""
    return partial(open_url, server.url, USER, PASSWORD)
