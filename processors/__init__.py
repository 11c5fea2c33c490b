"""Processors: judge every reading, deterministically, and turn findings into few, explained alerts."""
