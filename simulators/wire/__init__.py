"""Wire formats: the same city in our JSON, SenML, ChirpStack v4, TTN v3, Sparkplug B, Ultralight 2.0 and lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.lazy import lazy

if TYPE_CHECKING:
    from simulators.wire.formats import FORMATS, wire_format

__all__ = ["FORMATS", "wire_format"]

__getattr__ = lazy(__name__, dict.fromkeys(__all__, "simulators.wire.formats"))
