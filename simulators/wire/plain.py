"""This module speaks the formats that know no session: a message is one payload on one topic, whatever came before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulators.messages import Message
from simulators.wire.damage import JSON, mangled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from core.city import Device
    from simulators.messages import Emission, Report
    from simulators.wire.damage import Ways

__all__ = ["PlainFormat"]


@dataclass(frozen=True, slots=True)
class PlainFormat:
    """A format made of three functions.

    Attributes:
        devices: by id.
        topic: where a device writes.
        payload: what some reports of a device become; None if nothing in them can be said.
        ways: in which its messages are mangled.
        presence: topic of the retained `online` and `offline`, for a format that knows such a thing.
    """

    devices: Mapping[str, Device]
    topic: Callable[[Device], str]
    payload: Callable[[Device, tuple[Report, ...]], bytes | None]
    ways: Ways = JSON
    presence: Callable[[str], str] | None = None

    def births(self, device: str, at: int) -> tuple[Message, ...]:  # noqa: ARG002 - the port's
        """Return the retained `online`, where the format knows presence."""
        return (Message(self.presence(device), b"online", retain=True),) if self.presence else ()

    def encode(self, emission: Emission) -> tuple[Message, ...]:
        """Return the one message of *emission*; none if nothing in it can be said."""
        device = self.devices[emission.device]
        payload = self.payload(device, emission.reports)
        if payload is None:
            return ()
        if emission.damage is not None:
            payload = mangled(self.ways, payload, emission.damage)
        return (Message(self.topic(device), payload, retain=emission.retain),)

    def will(self, device: str, at: int) -> Message | None:  # noqa: ARG002 - the port's
        """Return the retained `offline`, where the format knows presence."""
        return Message(self.presence(device), b"offline", retain=True) if self.presence else None

    def farewell(self, device: str, at: int) -> tuple[Message, ...]:
        """Return what the last will would say: the broker throws that away at an orderly disconnect."""
        will = self.will(device, at)
        return (will,) if will else ()
