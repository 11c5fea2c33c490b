"""This module fills a fake city with one alert of each sort: every cause, an incident, and some without a card."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from core.alerts import Card, Classification, EventKind, Priority

if TYPE_CHECKING:
    from tests.browser.fake_city import FakeCity

__all__ = ["ALONE", "TOGETHER", "fill"]

ALONE = Card(
    deviation=8.2,
    peers=8,
    peers_deviation=0.25,
    peer_deviations=(-1.4, -0.8, -0.1, 0.2, 0.3, 0.35, 1.1, 3.2),
    agreeing=1,
    near=8,
    near_strange=1,
    siblings=3,
    battery=23.0,
    rssi=-97.0,
    past=2,
    at_most=1 / 20_461,
)
"""A sensor that is strange while those near by are calm."""

TOGETHER = Card(
    deviation=14.5,
    peers=8,
    peers_deviation=9.1,
    peer_deviations=(0.4, 2.1, 6.3, 9.0, 9.2, 9.3, 11.0, 31.5),
    agreeing=6,
    near=8,
    near_strange=5,
    siblings=3,
    siblings_strange=2,
    at_most=1 / 900,
    needed=1.4,
    budget=6,
)
"""A sensor among many that are strange in the same way."""


def fill(city: FakeCity) -> dict[str, str]:
    """Raise the alerts; return their ids by name."""
    spike = {"value": 164.0, "expected": 19.2, "low": 12.0, "high": 27.5, "severity": 6.4}
    ids: dict[str, str] = {}
    for k, days in enumerate((9, 2)):
        old = city.raise_alert(
            "air-101", "pm25", "novelty.season", Priority.HIGH,
            **{**spike, "value": 90.0 + k}, ago=days * 86_400.0,
            classification=Classification.SENSOR_FAULT, card=Card(),
        )  # fmt: skip
        city.happen(old, EventKind.RESOLVED, actor="merdan")
        ids[f"past {k}"] = old
    ids["sensor"] = city.raise_alert(
        "air-101", "pm25", "novelty.season", Priority.CRITICAL,
        **spike, ago=95, classification=Classification.SENSOR_FAULT, card=ALONE,
    )  # fmt: skip
    ids["event"] = city.raise_alert(
        "traffic-302", "speed", "novelty.shift", Priority.HIGH, value=9.5, expected=42.0, low=30.0, high=55.0,
        severity=3.1, ago=840, classification=Classification.EVENT, card=TOGETHER,
    )  # fmt: skip
    founder = ids["event"]
    for k, device in enumerate(("traffic-402", "traffic-502")):
        ids[f"joined {k}"] = city.raise_alert(
            device, "speed", "novelty.shift", Priority.MEDIUM, value=12.5, expected=40.0, low=29.0, high=52.0,
            severity=2.4, ago=700 - k, classification=Classification.EVENT, card=TOGETHER, incident=founder,
        )  # fmt: skip
    judged = msgspec.structs.replace(city.alert(founder).raised, incident=founder, joined=2)
    city.happen(founder, EventKind.UPDATED, evidence=judged)
    ids["unclear"] = city.raise_alert(
        "noise-203", "noise", "threshold.above", Priority.MEDIUM, value=83.2, limit=80.0, expected=61.0, low=48.0,
        high=74.0, duration_seconds=300.0, ago=1900, classification=Classification.UNCLEAR,
        card=Card(peers=1, peers_deviation=0.5, deviation=5.0),
    )  # fmt: skip
    ids["gateway"] = city.raise_alert(
        "air-406", "", "gap", Priority.LOW, duration_seconds=240.0, ago=500,
        classification=Classification.GATEWAY_FAULT, card=Card(silent=31, of=40, battery=88.0),
    )  # fmt: skip
    ids["old"] = city.raise_alert(
        "energy-105", "power", "flat", Priority.MEDIUM, value=310.0, expected=402.0, low=300.0, high=480.0,
        severity=1.4, ago=7200,
    )  # fmt: skip
    seen = city.raise_alert(
        "weather-104", "temperature", "novelty.jump", Priority.HIGH, value=31.5, expected=14.1, low=10.2, high=18.3,
        severity=2.2, ago=5400,
    )  # fmt: skip
    city.happen(seen, EventKind.ACKNOWLEDGED, actor="merdan")
    ids["acknowledged"] = seen
    ids["hindsight"] = city.raise_alert(
        "air-106", "no2", "novelty.sustain", Priority.LOW, value=51.0, expected=28.0, low=20.0, high=37.0,
        severity=1.1, ago=200_000, retrospective=True,
    )  # fmt: skip
    return ids
