"""The log backends: an append-only sequence of entries with one cursor per consumer."""
