"""The page on the real thing: device, broker, gateway, processor, api and a browser."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.test_access import violations
from tests.stack import Stack, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.acceptance,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="Debian's mosquitto-clients are not installed"),
]

RULES = """
[[rule]]
name = "pm25-test"
metric = "pm25"
above = 100
for = "0s"
priority = "high"

[[finding]]
kind = "range"
priority = "medium"
"""


@pytest.fixture
def stack(browser: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Return a running installation with one rule that needs no history."""
    folder = tmp_path_factory.mktemp("browser-real")
    (folder / "rules.toml").write_text(RULES)
    with Stack(folder, PROCESSOR__RULES_PATH=str(folder / "rules.toml"), API__CITY_NAME="Ak Bulak") as running:
        running.start_all()
        yield running


def test_an_operator_sees_a_reading_arrive_and_acknowledges_its_alert(
    stack: Stack, open_url: Callable[..., Page]
) -> None:
    """And sees it when the processor dies."""
    login = json.loads((stack.data / "secrets" / "first-user.json").read_text())
    credentials = stack.device("kerb-7")

    def publish(value: float) -> bool:
        sent = stack.publish(
            "kerb-7", credentials["password"], "devices/kerb-7/readings", json.dumps({"values": {"pm25": value}})
        )
        return sent.returncode == 0 and bool(stack.items("/api/v1/latest?device=kerb-7"))

    until(lambda: publish(12.5), "the device to be known")
    page = open_url(f"http://127.0.0.1:{stack.api_port}/", login["name"], login["password"])
    expect(page.get_by_role("heading", name="Ak Bulak")).to_be_visible()
    page.get_by_role("button", name="kerb-7").first.click()
    expect(page.locator(".complete")).to_contain_text("not known yet: too few readings")
    reading = page.locator("[data-value=pm25]")
    expect(reading).to_have_text(re.compile(r"12\.5\sµg/m³"))

    publish(164.25)

    expect(reading).to_have_text(re.compile(r"164\sµg/m³"))
    card = page.get_by_role("article", name=re.compile("PM2.5 · kerb-7"))
    expect(card).to_contain_text("Above the limit of 100")
    page.keyboard.press("a")
    expect(card).to_contain_text(f"acknowledged by {login['name']}")
    (alert,) = stack.items("/api/v1/alerts")
    assert (alert["state"], alert["owner"], alert["value"]) == ("acknowledged", login["name"], 164.25)

    expect(card.locator(".cause")).to_have_text("Cause unclear")
    card.locator(".evidence summary").press("Enter")
    expect(card.locator(".verdict")).to_have_text("Cannot be told: too few sensors near by have reported lately.")

    publish(-40.0)

    broken = page.get_by_role("article", name=re.compile("PM2.5 · kerb-7 Sensor fault"))
    expect(broken).to_contain_text("Outside what this metric can physically be.")
    broken.locator(".evidence summary").press("Enter")
    expect(broken.locator(".verdict")).to_have_text("The sensor: no city can show such a value.")
    page.get_by_role("combobox", name="Cause").select_option("Sensor fault: 1")
    expect(page.get_by_role("article")).to_have_count(1)
    assert violations(page) == []

    stack.kill("processor")
    expect(page.locator("[data-link=halted]")).to_be_visible()
