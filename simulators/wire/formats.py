"""This module is the list of formats that the simulated devices speak, and the way to one of them by its name.

How a format is to be used, so that its stream is one that a real device could send:

    will      for each CONNECT, before it; None where the format knows no will
    births    after each CONNACK, sent before anything else
    encode    when the message is about to be handed to MQTT, not when it is put into a store: what is said of a session
              (a Sparkplug sequence number) belongs to the session in which it is sent
    farewell  before an orderly DISCONNECT

A caller without connections (a file, a load generator) calls `encode` alone: a format that needs a birth puts it in
front of the first message by itself.
"""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING

from core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.city import Device
    from simulators.messages import WireFormat

__all__ = ["FORMATS", "wire_format"]

FORMATS: tuple[str, ...] = ("json", "senml", "chirpstack", "ttn", "sparkplug", "ultralight", "line")
"""What `wire_format` knows; each is a module of this package with a function `speak`."""


def wire_format(name: str, devices: Sequence[Device], seed: int) -> WireFormat:
    """Return a new speaker of the format *name* for *devices*; *seed* makes keys, EUIs and radio conditions.

    A device's messages hang on (seed, that device, the calls made for it) and on no other device.

    Raises:
        SettingsError: no such format; the text names the nearest one.
    """
    if name not in FORMATS:
        near = difflib.get_close_matches(name.lower(), FORMATS, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise SettingsError("format", f"{name!r} is unknown: {hint}known are {', '.join(FORMATS)}")
    speaker: WireFormat = importlib.import_module(f"simulators.wire.{name}").speak(devices, seed)
    return speaker
