"""Urbanpulse: the roof that wires the rooms into processes. The only place that sees them all."""

__all__ = ["__version__"]

__version__ = "0.1.0"
