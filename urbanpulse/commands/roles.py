"""This module is the verbs that run the platform: all of it, or one role as a process; and the audit of a role."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from urbanpulse.commands.common import AsJson, Config, run_role, show
from urbanpulse.logs import configure_logs
from urbanpulse.settings import load_settings

__all__ = ["broker", "gateway", "process", "serve", "state_hash", "up"]


def up(
    *,
    config: Config = None,
    demo: Annotated[bool, typer.Option("--demo", help="With a simulated city of 200 sensors.")] = False,
) -> None:
    """Run everything on this machine; Ctrl-C stops it."""
    from urbanpulse.up import run_up

    settings = load_settings(config)
    configure_logs("up", "warning")
    asyncio.run(run_up(settings, config=config, demo=demo))


def broker(config: Config = None) -> None:
    """Run the embedded MQTT broker."""
    from urbanpulse.roles.broker import run_broker

    run_role("broker", config, run_broker)


def gateway(config: Config = None) -> None:
    """Take readings off MQTT, make them durable, acknowledge."""
    from urbanpulse.roles.gateway import run_gateway

    run_role("gateway", config, run_gateway)


def process(config: Config = None) -> None:
    """Judge readings, store them, raise and send alerts."""
    from urbanpulse.roles.processor import run_processor

    run_role("processor", config, run_processor)


def serve(config: Config = None) -> None:
    """Serve the API and the console."""
    from urbanpulse.roles.api import run_api

    run_role("api", config, run_api)


def state_hash(config: Config = None, *, as_json: AsJson = False) -> None:
    """Process the whole log afresh, in memory, and compare with the processor's last snapshot."""
    from urbanpulse.audit import compare_state

    found = compare_state(load_settings(config))
    show(found, as_json=as_json)
    if not found["equal"]:
        raise typer.Exit(1)
