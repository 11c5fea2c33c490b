"""Indices: what concentrations, sound levels and heat mean for people, after the official tables. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.lazy import lazy

if TYPE_CHECKING:
    from core.indices.averages import nowcast, running_mean
    from core.indices.heat import heat_index
    from core.indices.noise import NoisePeriods, day_noise
    from core.indices.rating import Index, Part, air_index
    from core.indices.tables import IndexTables, builtin_indices, load_index, parse_index

__all__ = [
    "Index",
    "IndexTables",
    "NoisePeriods",
    "Part",
    "air_index",
    "builtin_indices",
    "day_noise",
    "heat_index",
    "load_index",
    "nowcast",
    "parse_index",
    "running_mean",
]

__getattr__ = lazy(
    __name__,
    {
        "Index": "core.indices.rating",
        "IndexTables": "core.indices.tables",
        "NoisePeriods": "core.indices.noise",
        "Part": "core.indices.rating",
        "air_index": "core.indices.rating",
        "builtin_indices": "core.indices.tables",
        "day_noise": "core.indices.noise",
        "heat_index": "core.indices.heat",
        "load_index": "core.indices.tables",
        "nowcast": "core.indices.averages",
        "parse_index": "core.indices.tables",
        "running_mean": "core.indices.averages",
    },
)
