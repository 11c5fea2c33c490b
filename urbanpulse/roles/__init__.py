"""Roles: one module a process; each opens its backends, hands them to one room as ports, and closes them.

Every `run_*` lasts until SIGINT or SIGTERM. Nothing is decided here. A role imports only what it needs: memory and
start-up are paid per process.
"""
