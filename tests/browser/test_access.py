"""Whether everybody can use the console: axe finds nothing, in any theme, width and language."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.fake_alerts import fill

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests.browser.fake_city import FakeCity
    from tests.browser.fake_server import FakeServer

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

OPTIONS = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def violations(page: Page) -> list[str]:
    """Return what axe objects to, one line per rule and place."""
    response = Axe().run(page, options=OPTIONS).response
    return [
        f"{rule['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for rule in response["violations"]
        for node in rule["nodes"]
    ]


def _unfold(page: Page) -> None:
    """Open the history of the first alert, and the evidence of all."""
    page.locator(".alert .history summary").first.click()
    expect(page.locator(".alert .history li")).to_have_count(1)
    for summary in page.locator(".alert .evidence summary").all():
        summary.press("Enter")
    expect(page.locator(".alert .past li")).to_have_count(2)


@pytest.mark.parametrize("lang", ["en", "ru", "tk"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 360])
def test_axe_finds_nothing(open_page: Callable[..., Page], city: FakeCity, width: int, scheme: str, lang: str) -> None:
    fill(city)
    page = open_page(width=width, height=844, scheme=scheme, lang=lang)

    found: dict[str, list[str]] = {}
    if width > 1000:
        page.locator(".alert .actions button:last-child").first.click()
        expect(page.locator(".summary")).to_contain_text("PM2.5,")
        _unfold(page)
        found["all"] = violations(page)
    else:
        for tab in ("map", "districts", "alerts"):
            page.locator(f"#tab-{tab}").click()
            if tab == "alerts":
                _unfold(page)
            found[tab] = violations(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.locator(".alert .actions button:last-child").first.click()
        expect(page.locator(".summary")).to_contain_text("PM2.5,")
        found["sensor"] = violations(page)

    assert {part: [] for part in found} == found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_login(open_page: Callable[..., Page], scheme: str) -> None:
    page = open_page(scheme=scheme, sign_in=False)
    page.locator("input[name=username]").fill("nobody")
    page.locator("input[name=password]").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).not_to_be_empty()

    assert violations(page) == []


def test_the_page_needs_no_inline_script_or_style(open_page: Callable[..., Page], city: FakeCity) -> None:
    """A content security policy of 'self' alone is enough, so the server can send one."""
    fill(city)
    page = open_page()
    page.locator(".alert .actions button:last-child").first.click()

    assert page.evaluate("document.querySelectorAll('script:not([src]), style').length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_old_values_and_in_the_list_of_keys(
    open_page: Callable[..., Page], city: FakeCity, server: FakeServer, scheme: str
) -> None:
    """What is old is greyed, and must still be read."""
    fill(city)
    page = open_page(width=1440, height=900, scheme=scheme)
    page.locator(".alert .actions button:last-child").first.click()
    expect(page.locator("[data-complete]")).to_be_visible()

    server.stop()
    expect(page.locator(".banner.lost")).to_be_visible()
    assert violations(page) == []
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert violations(page) == []
