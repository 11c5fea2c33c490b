"""This module tells what is behind an alert: the city, the sensor or the gateway; a function of what was looked at.

    value that cannot be, or one repeated for too long, or a poor battery     the sensor
    silence together with many others of its district                          the gateway (or its power)
    silence alone, while others near by speak                                  the sensor
    strange, and many peers strange to the same side, or much of what is near  the city
    drifted away from its peers, while they are not strange to the same side   the sensor
    strange, and peers and what is near calm                                   the sensor
    strange, and some peers, too, while an event goes on in the district           the city
    in between, or fewer than three peers and devices near by                  unclear

Shares are weighed: peers most, then devices of any kind near by, then whether another metric of the device is strange.

Peers may show an event some minutes after the first of them did, so an alert is judged when it opens and again when the
next rounds of `processors.peers` close, as long as the series itself stands out. It fails where an event reaches one
sensor only (then that sensor looks broken) and where many sensors break in the same way at once (then the city looks
strange).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.alerts import Card, Classification

if TYPE_CHECKING:
    from processors.peers import PeerBank

__all__ = ["NEAR", "classify", "look", "tells_more"]

NEAR = 8
"""Devices near by that are looked at."""

_STRANGE = 3.0  # usual deviations; about one reading in a hundred of a calm series
_LEAST = 3  # fewer say nothing
_PEERS, _NEAR, _SIBLINGS = 1.5, 1.0, 0.25  # weights; on the simulator (seed 1) peers from 1 to 2 and
_EVENT, _SENSOR = 0.75, 0.65  # limits from 0.6 to 1 serve as well; below the one and above the other nothing is said
_AMID = 0.35  # what is an event while one goes on in the district: at its edge most of what is near by is outside
_OF_SENSOR = frozenset({"range", "flat", "skew", "novelty.flat"})


def look(bank: PeerBank | None, device: str, series: int, past: int) -> Card:
    """Return what the bank of peers shows around *series* of *device* as of the last round; -1: the device itself."""
    if bank is None or not bank.at:
        return Card(past=past)
    battery, rssi = bank.last(device, "battery"), bank.last(device, "rssi")
    if series < 0:
        return Card(past=past, battery=battery, rssi=rssi)
    here = bank.compare(series)
    near, siblings = bank.around(series, NEAR)
    n = len(here.others)
    middle = None if not n else (here.others[(n - 1) // 2] + here.others[n // 2]) / 2
    up = sum(z >= _STRANGE for z in here.others)
    down = sum(z <= -_STRANGE for z in here.others)
    return Card(
        deviation=here.own,
        peers=n,
        peers_deviation=middle,
        peer_deviations=tuple(round(z, 2) for z in here.others),
        agreeing=max(up, down) if here.own is None or abs(here.own) < _STRANGE else (up if here.own > 0 else down),
        near=len(near),
        near_strange=sum(z >= _STRANGE for z in near),
        siblings=len(siblings),
        siblings_strange=sum(z >= _STRANGE for z in siblings),
        battery=battery,
        rssi=rssi,
        past=past,
    )


def tells_more(card: Card, before: Card) -> bool:
    """Tell whether a later look, *card*, says more of what was behind an alert than the look *before*.

    It does not when the series itself has calmed down since: what it was is over, and so it is near by.
    """
    own, then = abs(card.deviation or 0.0), abs(before.deviation or 0.0)
    return own >= min(then, max(_STRANGE, then / 2))


def classify(code: str, metric: str, card: Card, *, amid: bool = False) -> Classification:
    """Return what is most likely behind an alert of *code* about *metric*, by its *card*.

    *amid* tells whether other alerts say that an event goes on in its district.
    """
    if card.silent > 1:
        return Classification.GATEWAY_FAULT
    if code in _OF_SENSOR or code == "gap" or metric in {"battery", "rssi"}:
        return Classification.SENSOR_FAULT
    peers = card.agreeing / card.peers if card.peers >= _LEAST else None
    near = card.near_strange / card.near if card.near >= _LEAST else None
    if peers is None and near is None:
        return Classification.UNCLEAR
    others = _PEERS * (peers or 0.0) + _NEAR * (near or 0.0) + _SIBLINGS * (card.siblings_strange > 0)
    if others >= (_AMID if amid else _EVENT):
        return Classification.EVENT
    if code == "novelty.peer":
        return Classification.SENSOR_FAULT
    return Classification.SENSOR_FAULT if others < _SENSOR else Classification.UNCLEAR
