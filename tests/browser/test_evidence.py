"""What an operator learns about the cause of an alert: badge, filter, incident and evidence card."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from core.alerts import Card, Classification, EventKind, Priority
from tests.browser.fake_alerts import ALONE, TOGETHER, fill

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Page, Route

    from tests.browser.fake_city import FakeCity

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def _card(page: Page, alert: str) -> Locator:
    return page.locator(f"[data-alert='{alert}']")


def test_every_alert_names_its_cause_in_words_and_shape(open_page: Callable[..., Page], city: FakeCity) -> None:
    ids = fill(city)
    page = open_page()

    shapes = set()
    for name, text in {"sensor": "Sensor fault", "event": "City event", "gateway": "Gateway fault"}.items():
        badge = _card(page, ids[name]).locator(".cause")
        expect(badge).to_have_text(text)
        shapes.add(badge.locator("path").get_attribute("d"))
    expect(_card(page, ids["unclear"]).locator(".cause")).to_have_text("Cause unclear")
    shapes.add(_card(page, ids["unclear"]).locator(".cause path").get_attribute("d"))
    assert len(shapes) == 4
    expect(page.get_by_role("article", name="PM2.5 · Bagtyyarlyk air 1 Sensor fault")).to_have_count(1)
    expect(_card(page, ids["gateway"])).to_contain_text("31 devices silent")
    expect(_card(page, ids["old"]).locator(".cause")).to_have_count(0)


def test_the_filter_by_cause_is_reached_and_used_by_keyboard(open_page: Callable[..., Page], city: FakeCity) -> None:
    ids = fill(city)
    page = open_page()
    expect(page.get_by_role("article")).to_have_count(8)

    page.locator(".inbox .title select").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("combobox", name="Cause")).to_be_focused()
    page.keyboard.type("Gate")

    expect(page.get_by_role("article")).to_have_count(1)
    expect(_card(page, ids["gateway"])).to_be_visible()
    expect(page.locator(".causes [role=status]")).to_have_text("1 of 8 shown")
    assert page.locator("[data-causes] option").all_text_contents() == [
        "Any cause", "City event: 3", "Sensor fault: 1", "Gateway fault: 1", "Cause unclear: 1", "Not judged: 2",
    ]  # fmt: skip

    page.get_by_role("combobox", name="Cause").select_option("Not judged: 2")
    expect(page.get_by_role("article")).to_have_count(2)
    page.locator(".inbox .title select").select_option("Resolved")
    expect(page.locator(".calm")).to_have_text("No alert with this cause.")
    page.get_by_role("combobox", name="Cause").select_option("Any cause")
    expect(page.get_by_role("article")).to_have_count(2)


def test_the_evidence_card_says_why_and_shows_it_by_keyboard_alone(
    open_page: Callable[..., Page], city: FakeCity
) -> None:
    ids = fill(city)
    page = open_page()
    card = _card(page, ids["sensor"])
    expect(card).to_be_visible()

    card.focus()
    page.keyboard.press("Tab")
    expect(card.locator(".evidence summary")).to_be_focused()
    page.keyboard.press("Enter")

    expect(card.locator(".verdict")).to_have_text("The sensor: 1 of 8 like it near by went the same way.")
    scale = card.get_by_role("img", name="measured, above the usual range of 12 to 27.5")
    expect(scale).to_have_attribute("aria-label", re.compile(r"^164\sµg/m³: "))
    strip = card.get_by_role("img", name=re.compile("How far from usual"))
    expect(strip).to_have_attribute(
        "aria-label", re.compile(r"this sensor \+8\.2\. 8 sensors .* near by: -1\.4; -0\.8; -0\.1; \+0\.2; .*; \+3\.2$")
    )
    expect(strip.locator("circle")).to_have_count(8)
    facts = dict(
        zip(card.locator(".facts dt").all_text_contents(), card.locator(".facts dd").all_text_contents(), strict=True)
    )
    assert {name: text.replace("\xa0", " ") for name, text in facts.items()} == {
        "Same metric near by": "1 of 8 likewise",
        "Other devices near by": "1 of 8 strange",
        "Other metrics of this device": "0 of 3 strange",
        "Battery": "23 %",
        "Signal": "-97 dBm",
        "As odd at most": "1 in 20,000 readings",
        "Such alerts before": "2",
    }


def test_a_past_case_is_a_link_to_it_and_the_way_back_keeps_the_place(
    open_page: Callable[..., Page], city: FakeCity
) -> None:
    ids = fill(city)
    page = open_page()
    card = _card(page, ids["sensor"])
    card.locator(".evidence summary").press("Enter")
    links = card.locator(".past a")
    expect(links).to_have_count(2)
    expect(links.first).to_have_text(re.compile(r"91\sµg/m³ · resolved · Sensor fault$"))

    links.first.press("Enter")

    expect(page.get_by_role("article")).to_have_count(1)
    past = _card(page, ids["past 1"])
    expect(past).to_be_focused()
    expect(past).to_have_attribute("data-state", "resolved")
    page.get_by_role("link", name="Back to the list").press("Enter")
    expect(page.get_by_role("article")).to_have_count(8)
    expect(card).to_be_focused()


def test_an_incident_says_how_many_joined_and_shows_them_together(
    open_page: Callable[..., Page], city: FakeCity
) -> None:
    ids = fill(city)
    page = open_page()

    _card(page, ids["event"]).get_by_role("link", name="Incident with 2 more alerts").press("Enter")

    expect(page.get_by_role("heading", name="One incident")).to_contain_text("3 alerts")
    shown = [one.get_attribute("data-alert") for one in page.get_by_role("article").all()]
    assert shown == [ids["event"], ids["joined 0"], ids["joined 1"]]
    expect(_card(page, ids["event"])).to_contain_text("The city: 6 of 8 like it near by went the same way.")

    later = city.raise_alert(
        "traffic-202", "speed", "novelty.shift", Priority.LOW, value=11.0,
        classification=Classification.EVENT, card=TOGETHER, incident=ids["event"],
    )  # fmt: skip
    expect(_card(page, later)).to_be_visible()
    expect(page.get_by_role("heading", name="One incident")).to_contain_text("4 alerts")

    city.happen(ids["joined 0"], EventKind.RESOLVED, actor="merdan")
    expect(_card(page, ids["joined 0"])).to_have_attribute("data-state", "resolved")
    page.go_back()
    expect(page.get_by_role("article")).to_have_count(8)
    _card(page, later).get_by_role("link", name="Part of an incident").press("Enter")
    expect(_card(page, ids["event"])).to_be_focused()


def test_an_address_leads_to_one_alert_and_a_wrong_one_says_so(open_page: Callable[..., Page], city: FakeCity) -> None:
    ids = fill(city)
    page = open_page(width=360, height=780)

    page.evaluate("id => { location.hash = `#alert/${id}` }", ids["past 0"])
    expect(_card(page, ids["past 0"])).to_be_focused()
    page.reload()
    expect(_card(page, ids["past 0"])).to_be_visible()
    expect(page.get_by_role("article")).to_have_count(1)

    page.evaluate("location.hash = '#alert/nothing-of-the-kind'")
    expect(page.get_by_role("article")).to_have_count(0)
    expect(page.get_by_role("alert")).to_have_text("This alert does not exist.")


def test_what_is_understood_later_changes_the_badge_of_an_open_card(
    open_page: Callable[..., Page], city: FakeCity
) -> None:
    facts = {"value": 164.0, "expected": 19.2, "low": 12.0, "high": 27.5}
    first = city.raise_alert(
        "air-201", "pm25", "novelty.season", Priority.HIGH,
        **facts, classification=Classification.SENSOR_FAULT, card=ALONE,
    )  # fmt: skip
    page = open_page()
    card = _card(page, first)
    card.locator(".evidence summary").press("Enter")
    expect(card.locator(".verdict")).to_contain_text("The sensor:")

    judged = city.raise_alert(
        "air-301", "pm25", "novelty.season", Priority.HIGH,
        **facts, classification=Classification.EVENT, card=TOGETHER, incident=first,
    )  # fmt: skip
    city.happen(first, EventKind.UPDATED, evidence=city.alert(judged).raised)

    expect(card.locator(".cause")).to_have_text("City event")
    expect(card.locator(".verdict")).to_contain_text("The city: 6 of 8")
    expect(card.get_by_role("link", name="Incident with 1 more alert")).to_be_visible()


def test_devices_that_do_the_same_at_once_point_to_their_gateway(
    open_page: Callable[..., Page], city: FakeCity
) -> None:
    many = city.raise_alert(
        "air-101", "", "flapping", Priority.MEDIUM, value=4.0, duration_seconds=1800.0,
        classification=Classification.GATEWAY_FAULT, card=Card(silent=9, of=40),
    )  # fmt: skip
    alone = city.raise_alert(
        "air-201", "", "late", Priority.LOW, value=7300.0, unit="s", duration_seconds=1900.0,
        classification=Classification.SENSOR_FAULT, card=Card(),
    )  # fmt: skip
    page = open_page()

    _card(page, many).locator(".evidence summary").press("Enter")
    _card(page, alone).locator(".evidence summary").press("Enter")

    expect(_card(page, many)).to_contain_text("9 devices alike")
    expect(_card(page, many)).to_contain_text("Times lost4")
    expect(_card(page, many).locator(".verdict")).to_contain_text("9 of 40 devices of the district do so")
    expect(_card(page, alone)).to_contain_text("Late by2 h")
    expect(_card(page, alone).locator(".verdict")).to_contain_text("by itself")


def _without_new_fields(route: Route) -> None:
    """Answer as a server did before there were causes."""
    answer = route.fetch()
    body: Any = answer.json()
    for alert in body.get("items", [body]):
        for facts in (alert, alert["worst"]):
            for name in ("classification", "card", "incident", "joined"):
                del facts[name]
    route.fulfill(response=answer, json=body)


def test_alerts_without_the_new_fields_break_nothing(open_page: Callable[..., Page], city: FakeCity) -> None:
    ids = fill(city)
    page = open_page(sign_in=False)
    page.route(re.compile(r"/api/v1/alerts(\?|/[\w-]+$)"), _without_new_fields)
    page.locator("input[name=username]").fill("amina")
    page.locator("input[name=password]").fill("correct horse")
    page.keyboard.press("Enter")

    expect(page.get_by_role("article")).to_have_count(8)
    expect(page.locator(".cause")).to_have_count(0)
    card = _card(page, ids["sensor"])
    card.locator(".evidence summary").press("Enter")
    expect(card.locator(".evidence img, .evidence [role=img]")).to_have_count(1)
    expect(card.locator(".verdict, .facts")).to_have_count(0)
    expect(_card(page, ids["gateway"]).locator(".evidence")).to_have_count(0)
    page.get_by_role("combobox", name="Cause").select_option("Not judged: 8")
    expect(page.get_by_role("article")).to_have_count(8)


@pytest.mark.parametrize(
    ("lang", "verdict", "band"),
    [
        pytest.param("ru", "Дело в датчике:", r"измерено, выше обычного, от 12 до 27,5", id="Russian"),
        pytest.param("tk", "Sebäp datçikde:", r"ölçelen, adatdakydan ýokary, 12 – 27,5", id="Turkmen"),
    ],
)
def test_the_evidence_speaks_the_language_and_its_numbers(
    open_page: Callable[..., Page], city: FakeCity, lang: str, verdict: str, band: str
) -> None:
    ids = fill(city)
    page = open_page(lang=lang, width=360, height=780)
    page.locator("#tab-alerts").click()
    card = _card(page, ids["sensor"])

    card.locator(".evidence summary").press("Enter")

    expect(card.locator(".verdict")).to_contain_text(verdict)
    expect(card.get_by_role("img", name=re.compile(band))).to_be_visible()
    expect(card.locator(".evidence")).to_contain_text(re.compile(r"\+8,2"))
    expect(card.locator(".evidence")).to_contain_text(re.compile(r"20\s000"))
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
