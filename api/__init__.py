"""Api: serves people and programs; never blocks the ingest."""
