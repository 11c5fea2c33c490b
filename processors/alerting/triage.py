"""This module tells what is behind an alert: the city, the sensor or the gateway; a function of what was looked at.

    value that cannot be, or one repeated for too long, or a poor battery     the sensor
    silence together with many others of its district                          the gateway (or its power)
    silence alone, while others near by speak                                  the sensor
    strange, and many peers strange to the same side, or much of what is near  the city
    strange, and peers and what is near calm                                   the sensor
    in between, or fewer than three peers and devices near by                  unclear

Shares are weighed: peers most, then devices of any kind near by, then whether another metric of the device is strange.

Peers may show an event some minutes after the first of them did, so an alert is judged when it opens and again when the
next rounds of `processors.peers` close. It fails where an event reaches one sensor only (then that sensor looks broken)
and where many sensors break in the same way at once (then the city looks strange).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.alerts import Card, Classification

if TYPE_CHECKING:
    from processors.peers import PeerBank

__all__ = ["NEAR", "classify", "look"]

NEAR = 8
"""Devices near by that are looked at."""

_STRANGE = 3.0  # usual deviations; about one reading in a hundred of a calm series
_LEAST = 3  # fewer say nothing
_PEERS, _NEAR, _SIBLINGS = 1.5, 1.0, 0.25  # weights; on the simulator (seed 1) peers from 1 to 2 and
_EVENT, _SENSOR = 0.75, 0.65  # limits from 0.6 to 1 serve as well; below the one and above the other nothing is said
_OF_SENSOR = frozenset({"range", "flat", "skew", "novelty.flat", "novelty.peer"})


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


def classify(code: str, metric: str, card: Card) -> Classification:
    """Return what is most likely behind an alert of *code* about *metric*, by its *card*."""
    if card.silent > 1:
        return Classification.GATEWAY_FAULT
    if code in _OF_SENSOR or code == "gap" or metric in {"battery", "rssi"}:
        return Classification.SENSOR_FAULT
    peers = card.agreeing / card.peers if card.peers >= _LEAST else None
    near = card.near_strange / card.near if card.near >= _LEAST else None
    if peers is None and near is None:
        return Classification.UNCLEAR
    others = _PEERS * (peers or 0.0) + _NEAR * (near or 0.0) + _SIBLINGS * (card.siblings_strange > 0)
    if others >= _EVENT:
        return Classification.EVENT
    return Classification.SENSOR_FAULT if others < _SENSOR else Classification.UNCLEAR
