"""This module says in English what evidence says in facts: for webhooks, MQTT, logs and API readers.

The console does not use these sentences: it translates the code and the facts itself.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from core.alerts import Classification

if TYPE_CHECKING:
    from core.alerts import Evidence

__all__ = ["describe", "one_in"]

_WHY = {
    "novelty.range": "outside everything this series has shown so far",
    "novelty.season": "unusual for this hour of the week",
    "novelty.sustain": "off its usual course for a while",
    "novelty.shift": "its level has shifted",
    "novelty.noise": "it scatters more than before",
    "novelty.flat": "it repeats one value for longer than ever before",
    "novelty.jump": "a sudden step",
    "novelty.spike": "the reading before stood alone",
    "novelty.peer": "it no longer goes with the sensors near by",
    "threshold.above": "above the limit",
    "threshold.below": "below the limit",
    "range": "outside what the metric can be",
    "flat": "reported unchanged for longer than chance, habit or a known rest explain",
    "gap": "no reading for several reporting intervals",
    "flapping": "it is lost and comes back again and again",
    "late": "nothing that it sends comes in time",
    "skew": "its times differ from ours by as much in every reading",
}

_BEHIND = {
    Classification.EVENT: "the city rather than the sensor",
    Classification.SENSOR_FAULT: "probably the sensor",
    Classification.GATEWAY_FAULT: "probably the gateway or its power",
}

_OF_DEVICE = {
    "gap": "is silent for {0:.0f} s",
    "flapping": "is unsteady, {1:.0f} times away in {0:.0f} s",
    "late": "is late for {0:.0f} s now, by {1:.0f} s",
}

_MOST_SEVERITY = 99.0
_LEAST_RARE = 20  # what is more frequent is no news


def describe(evidence: Evidence) -> str:
    """Return one sentence with value, expected value, band and reason, as far as they are known.

    >>> from core.alerts import Evidence, Priority
    >>> describe(Evidence(code="gap", rule="silent", priority=Priority.LOW, district="d", device="a", measured=0,
    ...                   duration_seconds=90))
    'a is silent for 90 s: no reading for several reporting intervals'
    """
    e = evidence
    unit = f" {e.unit}" if e.unit else ""
    subject = f"{e.metric} at {e.device}" if e.metric else e.device
    why = _WHY.get(e.code, e.code)
    if e.code in _OF_DEVICE:
        text = f"{subject} {_OF_DEVICE[e.code].format(e.duration_seconds, e.value or 0)}: {why}"
        if e.card is not None and e.card.silent > 1:
            text += f", and so are {e.card.silent - 1} other devices of {e.card.of} in its district"
        return text + _behind(e)
    if e.code == "skew" and e.value is not None:
        off = "ahead" if e.value > 0 else "behind"
        return f"the clock of {e.device} is {abs(e.value):.0f} s {off}: {why}" + _behind(e)
    parts = [subject]
    if e.value is not None:
        parts.append(f"is {e.value:.6g}{unit}")
    if e.expected is not None:
        band = f" ({e.low:.4g} to {e.high:.4g})" if e.low is not None and e.high is not None else ""
        parts.append(f"where {e.expected:.4g}{unit}{band} is expected")
    text = " ".join(parts) + f": {why}"
    if e.limit is not None:
        text += f" of {e.limit:.6g}{unit}"
    if e.duration_seconds:
        text += f" for {e.duration_seconds:.0f} s"
    if e.severity:
        # far outside, the digits say nothing any more
        text += "; severity over 99" if e.severity > _MOST_SEVERITY else f"; severity {e.severity:.1f}"
    return text + _rare(e) + _behind(e)


def one_in(share: float) -> int:
    """Return the number of which at most one is that odd, in two digits, rounded so that it stays a bound; 0: unknown.

    >>> one_in(1 / 20_461)
    20000
    """
    if not 0 < share <= 1:
        return 0
    count = math.floor(1 / share * (1 + 1e-9))  # 1 / (1 / 20) is 20
    step: int = 10 ** max(len(str(count)) - 2, 0)
    return count // step * step


def _rare(e: Evidence) -> str:
    if e.card is None:
        return ""
    text = ""
    if e.card.at_most is not None and (count := one_in(e.card.at_most)) >= _LEAST_RARE:
        text += f"; at most 1 in {count:,} readings of {e.metric} is that odd"
    if e.card.budget is not None and e.card.needed is not None:
        text += f"; severity {e.card.needed:.2g} is needed here, to keep to {e.card.budget:g} alerts a day"
    return text


def _behind(e: Evidence) -> str:
    behind = _BEHIND.get(e.classification) if e.classification else None
    if behind is None:
        return ""
    seen = []
    if e.card is not None and e.card.peers:
        seen.append(f"{e.card.agreeing} of {e.card.peers} sensors near by deviate likewise")
    if e.card is not None and e.card.siblings:
        seen.append(f"{e.card.siblings_strange} of {e.card.siblings} other metrics of the device are strange")
    return f"; {behind}" + (f": {', '.join(seen)}" if seen else "")
