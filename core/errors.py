"""This module names every failure by whose move it is: the input's, the other side's, or the settings'.

`MalformedPayload` is never retried: the input is bad and stays bad. `Unavailable` is retried with backoff: the
other side is away and nothing is lost meanwhile. `SettingsError` stops the process: a person must change a value.
`Conflict` and `NotFound` are answers to a person or program that asked for something that cannot be.
"""

from __future__ import annotations

__all__ = ["Conflict", "MalformedPayload", "NotFound", "SettingsError", "Unavailable", "UrbanpulseError"]


class UrbanpulseError(Exception):
    """The root of all errors that urbanpulse raises on purpose."""


class MalformedPayload(UrbanpulseError):  # noqa: N818 - named after the thing, as the style guide does
    """The input is bad: never retry. `reason` is a code of `core.admission.Reason`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Unavailable(UrbanpulseError):  # noqa: N818
    """The other side is away: keep what you hold and retry. `part` names who is away."""

    def __init__(self, part: str, detail: str) -> None:
        super().__init__(f"{part}: {detail}")
        self.part = part
        self.detail = detail


class SettingsError(UrbanpulseError):
    """The settings are wrong: stop and tell a person. `setting` is the dotted name of the culprit."""

    def __init__(self, setting: str, detail: str) -> None:
        super().__init__(f"{setting}: {detail}")
        self.setting = setting
        self.detail = detail


class Conflict(UrbanpulseError):  # noqa: N818
    """Someone else was first: the caller acted on a state that is no longer current."""


class NotFound(UrbanpulseError):  # noqa: N818
    """The named thing does not exist."""
