"""Notify: sends notices out of the outbox, to MQTT and signed webhooks."""
