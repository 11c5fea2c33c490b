"""What an operator sees and does in the console, in a real browser."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from core.alerts import AlertState, EventKind, Priority
from core.city import District
from core.quality import Flag
from tests.browser.fake_server import PASSWORD, USER

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests.browser.fake_city import FakeCity
    from tests.browser.fake_server import FakeServer

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

SPIKE = {"value": 164.0, "expected": 19.2, "low": 12.0, "high": 27.5, "severity": 6.4}


def test_a_wrong_password_is_told_and_the_right_one_opens_the_city(open_page: Callable[..., Page]) -> None:
    page = open_page(sign_in=False)

    page.get_by_label("Name", exact=True).fill(USER)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")

    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Districts")).to_be_visible()
    expect(page.get_by_role("button", name="Köpetdag", exact=True)).to_be_visible()

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_a_live_value_changes_on_the_screen_with_its_quality(open_page: Callable[..., Page], city: FakeCity) -> None:
    page = open_page()
    page.get_by_role("searchbox").fill("air-101")
    page.get_by_role("button", name="Bagtyyarlyk air 1").click()
    reading = page.locator("[data-value=pm25]")
    expect(reading).to_be_visible()

    city.measure({city.of("air-101", "pm25").id: 77.7}, quality=Flag.SPIKE | Flag.LATE)

    expect(reading).to_have_text(re.compile(r"77\.7\sµg/m³"))
    expect(page.locator(".flags")).to_have_text("spike, late")


def test_an_alert_appears_explains_itself_and_key_a_acknowledges_it(
    open_page: Callable[..., Page], city: FakeCity
) -> None:
    page = open_page()
    expect(page.get_by_text("Nothing needs you. All is calm.")).to_be_visible()

    alert = city.raise_alert("air-201", "pm25", "novelty.season", Priority.CRITICAL, **SPIKE)

    card = page.get_by_role("article", name=re.compile("PM2.5 · Berkararlyk air 1"))
    expect(card).to_be_visible()
    for words in ("Unusual for this hour of the week.", "164", "19.2", "12 to 27.5", "6.4", "Berkararlyk · since"):
        expect(card).to_contain_text(words)
    page.keyboard.press("a")
    expect(card).to_contain_text(f"acknowledged by {USER}")
    assert city.alert(alert).state == AlertState.ACKNOWLEDGED
    assert city.alert(alert).owner == USER

    card.get_by_role("button", name="Resolve").click()
    expect(card).to_have_count(0)
    page.get_by_role("combobox", name="Show").select_option("resolved")
    expect(card).to_contain_text("resolved")


def test_a_change_by_somebody_else_reaches_the_screen(open_page: Callable[..., Page], city: FakeCity) -> None:
    alert = city.raise_alert("air-201", "pm25", "novelty.season", Priority.HIGH, **SPIKE)
    page = open_page()
    card = page.locator(f"[data-alert='{alert}']")
    expect(card).to_have_attribute("data-state", "open")

    city.happen(alert, EventKind.ACKNOWLEDGED, actor="merdan")

    expect(card).to_contain_text("acknowledged by merdan")


def test_who_was_first_is_shown_when_two_acknowledge(open_page: Callable[..., Page], city: FakeCity) -> None:
    alert = city.raise_alert("air-201", "pm25", "novelty.season", Priority.HIGH, **SPIKE)
    page = open_page()
    card = page.locator(f"[data-alert='{alert}']")
    expect(card).to_be_visible()

    city.happen(alert, EventKind.ACKNOWLEDGED, actor="merdan", silent=True)
    card.get_by_role("button", name="Acknowledge").click()

    expect(card.get_by_role("alert")).to_contain_text("Somebody was first: merdan")
    assert city.alert(alert).owner == "merdan"


def test_the_history_of_an_alert_says_who_did_what_and_takes_a_comment(
    open_page: Callable[..., Page], city: FakeCity
) -> None:
    alert = city.raise_alert("air-201", "pm25", "novelty.season", Priority.HIGH, **SPIKE)
    city.happen(alert, EventKind.ACKNOWLEDGED, actor="merdan")
    page = open_page()
    card = page.locator(f"[data-alert='{alert}']")

    card.focus()
    for _ in range(4):  # evidence, resolve, chart, history
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(card.locator(".history li")).to_have_text(
        [re.compile(r"^\d\d:\d\d raised · system$"), re.compile(r"^\d\d:\d\d acknowledged · merdan$")]
    )
    page.keyboard.press("Tab")
    page.keyboard.type("a <b>lorry</b> idles there")
    page.keyboard.press("Enter")

    expect(card.locator(".history li").last).to_have_text(re.compile(f"comment · {USER}a <b>lorry</b> idles there$"))
    expect(card.locator(".history summary")).to_have_text("History · 1 comment")
    expect(card.get_by_label("Comment for the record")).to_have_value("")
    assert [(by, text) for _, by, text in city.alert(alert).comments] == [(USER, "a <b>lorry</b> idles there")]
    assert city.alert(alert).state == AlertState.ACKNOWLEDGED

    city.happen(alert, EventKind.COMMENTED, actor="merdan", comment="it has left")
    expect(card.locator(".history li").last).to_contain_text("it has left")


def test_a_dead_processor_is_not_taken_for_a_quiet_city(open_page: Callable[..., Page], city: FakeCity) -> None:
    page = open_page()

    city.publish(live_age_seconds=75.0)
    expect(page.locator("[data-link=halted]")).to_contain_text("Processing stopped")
    expect(page.get_by_role("alert")).to_contain_text(re.compile("Processing has stood still for 1 min"))

    city.publish(live_age_seconds=0.1)
    expect(page.locator("[data-link=live]")).to_be_visible()


def test_key_a_can_be_switched_off_for_good(open_page: Callable[..., Page], city: FakeCity) -> None:
    alert = city.raise_alert("air-201", "pm25", "novelty.season", Priority.HIGH, **SPIKE)
    page = open_page()
    card = page.locator(f"[data-alert='{alert}']")
    expect(card.locator("kbd")).to_have_count(1)

    page.get_by_label("Key A acknowledges the chosen alert").uncheck()
    page.reload()
    expect(card).to_be_visible()
    card.focus()
    page.keyboard.press("a")

    expect(card.locator("kbd")).to_have_count(0)
    assert city.alert(alert).state == AlertState.OPEN
    page.get_by_label("Key A acknowledges the chosen alert").check()
    card.focus()
    page.keyboard.press("a")
    expect(card).to_have_attribute("data-state", "acknowledged")


def test_key_a_types_a_letter_in_the_filter(open_page: Callable[..., Page], city: FakeCity) -> None:
    alert = city.raise_alert("air-201", "pm25", "novelty.season", Priority.HIGH, **SPIKE)
    page = open_page()

    page.get_by_role("searchbox").press_sequentially("a")

    expect(page.get_by_role("searchbox")).to_have_value("a")
    assert city.alert(alert).state == AlertState.OPEN


def test_the_language_changes_everywhere_and_is_remembered(open_page: Callable[..., Page], city: FakeCity) -> None:
    city.raise_alert(
        "noise-203", "noise", "threshold.above", Priority.MEDIUM, value=83.2, limit=80.0, duration_seconds=300.0
    )
    page = open_page()

    page.get_by_label("Language").select_option("ru")

    expect(page.get_by_role("heading", name="Районы")).to_be_visible()
    expect(page.get_by_role("article")).to_contain_text(re.compile(r"Выше предела 80\sдБ в течение 5 мин\."))
    assert page.evaluate("document.documentElement.lang") == "ru"
    page.reload()
    expect(page.get_by_role("heading", name="Районы")).to_be_visible()
    page.get_by_label("Язык").select_option("tk")
    expect(page.get_by_role("heading", name="Etraplar")).to_be_visible()


def test_an_unknown_reason_falls_back_to_the_words_of_the_server(
    open_page: Callable[..., Page], city: FakeCity
) -> None:
    page = open_page(lang="ru")

    city.raise_alert("air-201", "pm25", "brand.new", Priority.LOW, value=1.0)

    expect(page.get_by_role("article")).to_contain_text("pm25 at air-201 is 1")


def test_a_lost_stream_is_told_within_5_s_and_the_state_is_right_after_it(
    open_page: Callable[..., Page], city: FakeCity, server: FakeServer
) -> None:
    page = open_page()
    page.get_by_role("searchbox").fill("air-101")
    page.get_by_role("button", name="Bagtyyarlyk air 1").click()
    expect(page.locator("[data-value=pm25]")).to_be_visible()

    server.stop()
    banner = page.locator(".banner.lost")
    expect(banner).to_be_visible()
    expect(banner).to_contain_text("The live stream is lost.")
    expect(page.locator("main.board")).to_have_class(re.compile("stale"))
    city.measure({city.of("air-101", "pm25").id: 55.5})
    city.raise_alert("air-201", "pm25", "novelty.season", Priority.HIGH, **SPIKE)
    server.start()

    expect(banner).to_have_count(0)
    expect(page.locator("[data-value=pm25]")).to_have_text(re.compile("55.5"))
    expect(page.get_by_role("article")).to_have_count(1)


def test_a_chart_that_failed_while_the_server_was_away_comes_with_it(
    open_page: Callable[..., Page], server: FakeServer
) -> None:
    page = open_page()
    page.get_by_role("searchbox").fill("air-101")
    page.get_by_role("button", name="Bagtyyarlyk air 1").click()
    expect(page.locator(".summary")).to_contain_text("PM2.5, 1 hour")

    server.stop()
    page.get_by_role("button", name="24 hours").click()
    expect(page.locator(".chart .failure")).to_have_text("The chart could not be loaded: the server does not answer")
    server.start()

    expect(page.locator(".summary")).to_contain_text("PM2.5, 24 hours")
    expect(page.locator(".failure")).to_have_count(0)


def test_a_hole_in_the_frames_brings_a_fresh_snapshot(open_page: Callable[..., Page], city: FakeCity) -> None:
    page = open_page()
    page.get_by_role("searchbox").fill("air-101")
    page.get_by_role("button", name="Bagtyyarlyk air 1").click()
    series = city.of("air-101", "pm25").id

    listeners, city.listeners = city.listeners, set()
    city.measure({series: 61.5})  # nobody hears this one
    city.listeners = listeners
    city.measure({city.of("air-101", "no2").id: 44.4})

    expect(page.locator("[data-value=pm25]")).to_have_text(re.compile("61.5"))
    expect(page.locator("[data-value=no2]")).to_have_text(re.compile("44.4"))


def test_the_keyboard_alone_reaches_the_chart_of_a_sensor(open_page: Callable[..., Page]) -> None:
    page = open_page()

    page.get_by_role("searchbox").focus()
    page.keyboard.type("köpetdag air 1")
    expect(page.locator(".sensors tbody tr")).to_have_count(1)
    page.keyboard.press("Tab")  # the state filter
    page.keyboard.press("Tab")  # the only sensor
    page.keyboard.press("Enter")

    chart = page.get_by_role("img", name=re.compile(r"PM2\.5, 1 hour: [\d,]+ readings.*Expected now"))
    expect(chart).to_be_visible()
    page.get_by_role("button", name="24 hours").press("Enter")
    expect(page.get_by_role("img", name=re.compile("PM2.5, 24 hours"))).to_be_visible()


def test_the_chart_of_an_alert_is_one_click_away_and_shows_its_metric(
    open_page: Callable[..., Page], city: FakeCity
) -> None:
    city.raise_alert("air-201", "no2", "novelty.jump", Priority.HIGH, **SPIKE)
    page = open_page()

    page.get_by_role("article").get_by_role("button", name="Chart").click()

    expect(page.get_by_role("img", name=re.compile("NO₂, 1 hour.*1 alert in this time"))).to_be_visible()


def test_live_values_extend_the_chart_without_asking_for_it_again(
    open_page: Callable[..., Page], city: FakeCity
) -> None:
    page = open_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/readings" in request.url else None)
    page.get_by_role("searchbox").fill("air-101")
    page.get_by_role("button", name="Bagtyyarlyk air 1").click()
    expect(page.locator(".summary")).to_contain_text("PM2.5, 1 hour")
    before = int(page.locator(".plot").get_attribute("data-points") or 0)

    for k in range(5):
        city.measure({city.of("air-101", "pm25").id: 300.0 + k})
        expect(page.locator("[data-value=pm25]")).to_contain_text(str(300 + k))

    expect(page.locator(".plot")).to_have_attribute("data-points", str(before + 5))
    expect(page.locator(".summary")).to_contain_text(re.compile(r"to 304\sµg/m³; latest 304"))
    assert len(asked) == 1


def test_choosing_a_district_filters_sensors_and_alerts(open_page: Callable[..., Page], city: FakeCity) -> None:
    city.raise_alert("air-201", "pm25", "novelty.season", Priority.HIGH, **SPIKE)
    city.raise_alert("air-301", "pm25", "novelty.season", Priority.HIGH, **SPIKE)
    page = open_page()
    expect(page.get_by_role("article")).to_have_count(2)

    page.get_by_role("button", name="Berkararlyk", exact=True).press("Enter")

    expect(page.get_by_role("article")).to_have_count(1)
    expect(page.locator(".sensors [role=status]")).to_have_text("8 sensors")
    page.get_by_role("button", name="Show the whole city").click()
    expect(page.get_by_role("article")).to_have_count(2)


def test_a_device_that_goes_is_counted_at_once(open_page: Callable[..., Page], city: FakeCity) -> None:
    page = open_page()
    row = page.locator(".districts tbody tr", has_text="Archabil")
    expect(row).to_contain_text("7/8")

    city.presence("air-501", online=False)

    expect(row).to_contain_text("6/8")


def test_the_map_answers_to_keys_and_picks_the_sensor_under_the_pointer(
    open_page: Callable[..., Page], city: FakeCity
) -> None:
    device = next(d for d in city.devices if d.id == "air-401")
    city.districts = [d for d in city.districts if d.id == device.district]
    city.series = [s for s in city.series if s.device == device.id]
    city.devices = [device]
    page = open_page()
    canvas = page.get_by_role("application")
    drawn = "() => document.querySelectorAll('.canvas canvas')[1].toDataURL()"
    before = page.evaluate(drawn)

    canvas.focus()
    for key in ("+", "+", "ArrowLeft", "ArrowUp"):
        page.keyboard.press(key)
    page.wait_for_function(f"before => ({drawn})() !== before", arg=before)
    page.keyboard.press("0")
    page.wait_for_function(f"before => ({drawn})() === before", arg=before)

    # the middle of the outline's box is the middle of the map above the legend: work out where the sensor must be
    box = canvas.bounding_box()
    assert box is not None
    ring = city.districts[0].outline
    lons, lats = [p[0] for p in ring], [p[1] for p in ring]
    place = page.evaluate(
        """([w, h, west, east, south, north, lon, lat]) => {
            const cos = Math.cos((south + north) / 2 * Math.PI / 180)
            const k = Math.min((w - 40) / ((east - west) * cos), (h - 44 - 40) / (north - south))
            return [w / 2 + (lon - (west + east) / 2) * cos * k, (h - 44) / 2 - (lat - (south + north) / 2) * k]
        }""",
        [box["width"], box["height"], min(lons), max(lons), min(lats), max(lats), device.lon, device.lat],
    )
    page.mouse.click(box["x"] + place[0], box["y"] + place[1])
    expect(page.locator("#sensor-title")).to_have_text(re.compile(device.name))


def test_a_narrow_screen_shows_one_part_at_a_time_without_sideways_scrolling(
    open_page: Callable[..., Page], city: FakeCity
) -> None:
    city.raise_alert("air-201", "pm25", "novelty.season", Priority.HIGH, **SPIKE)
    page = open_page(width=390, height=844)

    for tab in ("Districts", "Alerts", "Sensor", "Map"):
        page.get_by_role("tab", name=re.compile(tab)).click()
        expect(page.get_by_role("tabpanel")).to_have_count(1)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, tab
    page.get_by_role("tab", name="Map").press("ArrowRight")
    expect(page.get_by_role("tab", name="Districts")).to_be_focused()
    page.get_by_role("tab", name=re.compile("Alerts")).click()
    page.get_by_role("button", name="Chart").click()
    expect(page.get_by_role("tab", name="Sensor")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("img", name=re.compile("PM2.5, 1 hour"))).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_many_alerts_are_paged_and_announced_in_one_summary(open_page: Callable[..., Page], city: FakeCity) -> None:
    for device in city.devices:
        for code in {s.metric for s in city.series if s.device == device.id}:
            city.raise_alert(device.id, code, "novelty.shift", Priority.LOW, **SPIKE)
    total = len(city.events)
    page = open_page()

    expect(page.get_by_role("article")).to_have_count(25)
    expect(page.locator("#alerts-title .count")).to_have_text(str(total))
    expect(page.locator("[data-announce]")).to_have_text(f"{total} active alerts, 0 critical")
    page.get_by_role("button", name="Show 25 more").click()
    expect(page.get_by_role("article")).to_have_count(50)


def test_an_ended_session_leads_back_to_the_login(open_page: Callable[..., Page], server: FakeServer) -> None:
    page = open_page()

    page.context.clear_cookies()
    server.stop()
    server.start()

    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_an_action_after_the_session_ended_leads_back_to_the_login_and_says_why(
    open_page: Callable[..., Page], city: FakeCity
) -> None:
    city.raise_alert("air-201", "pm25", "novelty.season", Priority.HIGH, **SPIKE)
    page = open_page()

    page.context.clear_cookies()
    page.get_by_role("button", name="Acknowledge").click()

    expect(page.get_by_role("alert")).to_have_text("Your session has ended. Sign in again.")
    page.get_by_label("Name", exact=True).fill(USER)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("article")).to_have_count(1)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_an_action_without_an_answer_is_told_in_the_language(
    open_page: Callable[..., Page], city: FakeCity, server: FakeServer
) -> None:
    city.raise_alert("air-201", "pm25", "novelty.season", Priority.HIGH, **SPIKE)
    page = open_page(lang="ru")

    server.stop()
    page.get_by_role("button", name="Принять").click()

    expect(page.get_by_role("article").get_by_role("alert")).to_contain_text("получилось: сервер не отвечает")


def test_the_completeness_of_a_series_is_shown_by_the_hour(open_page: Callable[..., Page], city: FakeCity) -> None:
    city.missed[city.of("air-101", "pm25").id] = {3: 120, 2: 90, 1: 6}
    page = open_page()
    page.get_by_role("searchbox").fill("air-101")
    page.get_by_role("button", name="Bagtyyarlyk air 1").click()

    row = page.locator(".complete")
    expect(row).to_contain_text(re.compile(r"Completeness, 24 h\s*92\.5\s%"))
    expect(row).to_contain_text("2,664 of 2,880, every 30 s")
    strip = row.get_by_role("img")
    said = r"^92\.5\s% of the readings .* came\. 2 hours are under 90\s%, the worst 0\s% from .*\d\d:00\.$"
    expect(strip).to_have_attribute("aria-label", re.compile(said))
    expect(strip.locator("g")).to_have_count(24)
    expect(strip.locator(".low")).to_have_count(2)
    expect(strip.locator("g").nth(23).locator("title")).to_have_text(re.compile(r"95\s% · 114 readings$"))

    page.get_by_role("button", name=re.compile("NO₂")).click()
    expect(row.locator("[data-complete]")).to_have_text(re.compile(r"^100\s%$"))
    expect(strip).to_have_attribute("aria-label", re.compile(r"No hour is under 90\s%\.$"))
    page.get_by_label("Language").select_option("ru")
    expect(row).to_contain_text(re.compile(r"из 2\s880, раз в 30"))


def test_escape_leads_back_to_where_a_sensor_was_opened(open_page: Callable[..., Page], city: FakeCity) -> None:
    city.raise_alert("air-201", "no2", "novelty.jump", Priority.HIGH, **SPIKE)
    page = open_page(width=390, height=844)
    page.locator("#tab-alerts").click()
    chart = page.get_by_role("article").get_by_role("button", name="Chart")

    chart.press("Enter")
    expect(page.locator("#sensor-title")).to_be_focused()
    page.keyboard.press("Escape")

    expect(chart).to_be_focused()
    page.locator("#tab-sensor").click()
    expect(page.get_by_role("tabpanel")).to_contain_text("Choose a sensor")


def test_a_sensor_that_is_closed_before_its_chart_is_drawn_breaks_nothing(
    open_page: Callable[..., Page], city: FakeCity
) -> None:
    """The page's errors fail it: what was to be drawn in the next frame, here a late one, is of no sensor any more."""
    city.raise_alert("air-201", "no2", "novelty.jump", Priority.HIGH, **SPIKE)
    page = open_page(width=390, height=844)
    page.locator("#tab-alerts").click()
    page.evaluate("requestAnimationFrame = job => setTimeout(job, 500); cancelAnimationFrame = clearTimeout")

    page.get_by_role("article").get_by_role("button", name="Chart").press("Enter")
    expect(page.locator("#sensor-title")).to_be_focused()
    page.keyboard.press("Escape")

    page.locator("#tab-sensor").click()
    expect(page.get_by_role("tabpanel")).to_contain_text("Choose a sensor")
    page.evaluate("new Promise(done => setTimeout(done, 1000))")


def test_the_keys_are_told_by_one_of_them(open_page: Callable[..., Page], city: FakeCity) -> None:
    alert = city.raise_alert("air-201", "pm25", "novelty.season", Priority.HIGH, **SPIKE)
    page = open_page()
    page.evaluate("id => { location.hash = `#alert/${id}` }", alert)
    expect(page.get_by_role("article")).to_be_focused()

    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_contain_text("move and zoom the map when it has the focus")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("article")).to_be_focused()
    expect(page.get_by_role("heading", name="One alert")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="One alert")).to_have_count(0)

    page.get_by_role("button", name="Keyboard shortcuts").click()
    expect(dialog).to_be_visible()


def test_a_city_without_sensors_says_so_everywhere(open_page: Callable[..., Page], city: FakeCity) -> None:
    city.districts, city.devices, city.series = [], [], []
    page = open_page(sign_in=False)
    page.locator("input[name=username]").fill(USER)
    page.locator("input[name=password]").fill(PASSWORD)
    page.keyboard.press("Enter")

    expect(page.locator(".map")).to_contain_text("No sensors yet")
    expect(page.locator(".districts")).to_contain_text("No districts yet")
    expect(page.locator(".sensors")).to_contain_text("register the first device")
    expect(page.locator(".inbox")).to_contain_text("No alerts: there are no sensors yet.")


@pytest.mark.parametrize("width", [1440, 390])
def test_long_names_push_nothing_out_of_sight(open_page: Callable[..., Page], city: FakeCity, width: int) -> None:
    long = "a_name_without_any_space_" * 4
    city.districts = [District(d.id, f"{long}{d.name}", d.outline) for d in city.districts]
    city.devices = [replace(d, name=f"{long}{d.name}") for d in city.devices]
    for priority in Priority:
        city.raise_alert("air-201", "pm25", f"novelty.{priority}", priority, **SPIKE)
    page = open_page(width=width, height=844)
    over = """() => [...document.querySelectorAll('.panel, .list, .alert, .title, th, td')]
        .filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1).map(e => e.className || e.tagName)"""

    if width > 1000:
        expect(page.get_by_role("article")).to_have_count(4)
        page.get_by_role("article").first.get_by_role("button", name="Chart").click()
        expect(page.locator(".summary")).to_contain_text("PM2.5, 1 hour")
        assert page.evaluate(over) == []
    else:
        for tab in ("Districts", "Alerts", "Map"):
            page.get_by_role("tab", name=re.compile(tab)).click()
            expect(page.get_by_role("tabpanel")).to_have_count(1)
            assert (tab, page.evaluate(over)) == (tab, [])


def test_the_zone_of_all_times_is_told(open_page: Callable[..., Page]) -> None:
    page = open_page()

    expect(page.locator("[data-clock]")).to_have_text(re.compile(r"\d\d:\d\d UTC([+-]\d+(:\d\d)?)?$"))
