"""This module is the live frame: what changed since the last one, in columns, with a number.

Frames travel from the processor over MQTT to the api, and from there to browsers and programs as the same JSON. A
frame that does not follow the last one (other `epoch`, or `n` not one more) means: fetch the snapshot.
"""

from __future__ import annotations

import msgspec

from core.errors import MalformedPayload

__all__ = ["LiveFrame"]


class LiveFrame(msgspec.Struct, frozen=True, kw_only=True):
    """Changed values in columns of equal length, at most one row per series (the newest by measured time).

    `sent` and `measured` are milliseconds UTC (JSON numbers lose nanoseconds). `severity` is the detector's score of
    that reading, 0 where all is well. `alerts` names alerts that changed: fetch them. `online`/`offline` name devices.

    `live_age_seconds` is in the frames that the api sends: how long it has not heard the processor. A quiet city keeps
    it small, a dead processor does not.
    """

    epoch: str
    n: int
    sent: int
    series: list[int] = []
    measured: list[int] = []
    value: list[float] = []
    quality: list[int] = []
    severity: list[float] = []
    alerts: list[str] = []
    online: list[str] = []
    offline: list[str] = []
    live_age_seconds: float | msgspec.UnsetType = msgspec.UNSET

    def to_bytes(self) -> bytes:
        """Return the frame as JSON."""
        return _encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> LiveFrame:
        """Read what `to_bytes` wrote.

        Raises:
            MalformedPayload: not a frame, or columns of unequal length.
        """
        try:
            frame = _decode(data)
        except msgspec.MsgspecError as error:
            raise MalformedPayload("bad_frame", f"not a live frame: {error}") from error
        columns = (frame.series, frame.measured, frame.value, frame.quality, frame.severity)
        if len({len(c) for c in columns}) != 1:
            raise MalformedPayload("bad_frame", f"frame {frame.n}: columns of unequal length")
        return frame


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(LiveFrame).decode
