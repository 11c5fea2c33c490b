"""Detectors: score readings against what their series did before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.lazy import lazy

if TYPE_CHECKING:
    from processors.detectors.contract import Detector, Reason, Scores
    from processors.detectors.novelty import NoveltyBank
    from processors.detectors.settings import LivenessSettings, NoveltySettings

__all__ = [
    "Detector",
    "LivenessSettings",
    "NoveltyBank",
    "NoveltySettings",
    "Reason",
    "Scores",
]

__getattr__ = lazy(
    __name__,
    {
        "Detector": "processors.detectors.contract",
        "LivenessSettings": "processors.detectors.settings",
        "NoveltyBank": "processors.detectors.novelty",
        "NoveltySettings": "processors.detectors.settings",
        "Reason": "processors.detectors.contract",
        "Scores": "processors.detectors.contract",
    },
)
