"""Alerting: rules, and the life of the alerts that they open."""
