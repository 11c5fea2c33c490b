"""Urbanpulse: the roof that wires the rooms into processes. The only place that sees them all."""
