"""Backends: the systems that urbanpulse stands on, each behind a port of core."""
