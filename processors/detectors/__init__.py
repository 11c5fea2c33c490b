"""Detectors: score readings against what their series did before."""

from processors.detectors.contract import Detector, Reason, Scores
from processors.detectors.novelty import NoveltyBank
from processors.detectors.settings import LivenessSettings, NoveltySettings, QualitySettings

__all__ = ["Detector", "LivenessSettings", "NoveltyBank", "NoveltySettings", "QualitySettings", "Reason", "Scores"]
