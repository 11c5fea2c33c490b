"""Simulators: a digital city with known faults, the platform's independent check."""
