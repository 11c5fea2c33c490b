"""Formats: how payloads become readings. `json` is our own; foreign ones come beside it."""
