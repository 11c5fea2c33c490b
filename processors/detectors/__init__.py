"""Detectors: score readings against what their series did before."""
