"""This module is the memory of the novelty bank: what is kept per series, as a struct of arrays, and as bytes.

One row per series (gathering whole rows beats separate columns once the state outgrows the cache: evidence 5).
Rows are appended, never moved, so equal histories give equal bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from core.errors import MalformedPayload

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "AGE",
    "BACK",
    "COUNTS",
    "D_LAST",
    "FLOATS",
    "HI",
    "HIGH",
    "KIND",
    "LO",
    "LONG",
    "LOW",
    "MARKS",
    "MID",
    "M_FAST",
    "M_SLOW",
    "OFF",
    "PEAK",
    "QUIET",
    "RHO",
    "RUN",
    "RUN_RECORD",
    "R_FAST",
    "STEP",
    "S_FAST",
    "S_SLOW",
    "TOP",
    "TOP_MID",
    "W_FAST",
    "W_SLOW",
    "N",
    "State",
]

_VERSION = 3

# columns of `floats`
# per-reading statistics, re-warmed on a new rhythm
M_FAST, R_FAST, S_FAST, W_FAST, W_SLOW, D_LAST, RUN, RHO, RUN_RECORD = range(9)
M_SLOW, S_SLOW = 9, 10
HI, LO = 11, 12  # RANGE
PEAK, STEP = 13, 14
HIGH, LOW, MID = slice(15, 18), slice(18, 21), slice(21, 24)  # records of SEASON, SUSTAIN, JUMP
TOP, TOP_MID = slice(24, 27), slice(27, 30)  # one-sided records of SHIFT, NOISE, SPIKE
FLOATS = 30

# columns of `counts`: readings learned, readings in this rhythm
N, AGE = range(2)
COUNTS = 2

# columns of `marks`: readings since the last alert, intervals off rhythm, older readings in a row, kind
QUIET, OFF, BACK, KIND = range(4)
MARKS = 4
LONG = 30_000  # marks count no further

_COLUMNS: tuple[tuple[str, str], ...] = (
    ("floats", "<f4"),
    ("counts", "<i4"),
    ("marks", "<i2"),
    ("last_ns", "<i8"),
    ("last_value", "<f8"),
    ("profile", "<f4"),
    ("weight", "<u2"),
)


class State:
    """Arrays of `capacity` rows.

    Attributes:
        floats: float32[capacity, FLOATS].
        counts: int32[capacity, COUNTS].
        marks: int16[capacity, MARKS].
        last_ns: int64[capacity], measured time of the newest reading.
        last_value: float64[capacity], its value: float64, so that a slow counter is not mistaken for a flat line.
        profile: float32[capacity, bins], 24 hours of the day, then 168 hours of the week if kept.
        weight: uint16[capacity, bins], how much each profile value has seen, in 1/256 readings.
    """

    def __init__(self, bins: int, capacity: int = 0) -> None:
        self.bins = bins
        self.floats = np.zeros((capacity, FLOATS), np.float32)
        self.counts = np.zeros((capacity, COUNTS), np.int32)
        self.marks = np.zeros((capacity, MARKS), np.int16)
        self.last_ns = np.zeros(capacity, np.int64)
        self.last_value = np.zeros(capacity, np.float64)
        self.profile = np.zeros((capacity, bins), np.float32)
        self.weight = np.zeros((capacity, bins), np.uint16)

    @property
    def capacity(self) -> int:
        """Return how many rows there is room for."""
        return len(self.last_ns)

    @property
    def bytes_per_series(self) -> int:
        """Return the size of one row."""
        return sum(array.itemsize * int(np.prod(array.shape[1:])) for array in self._arrays())

    def _arrays(self) -> list[NDArray[Any]]:
        return [getattr(self, name) for name, _ in _COLUMNS]

    def reserve(self, rows: int) -> None:
        """Make room for *rows* rows, growing by half at least."""
        if rows <= self.capacity:
            return
        size = max(rows, self.capacity + self.capacity // 2, 256)
        for name, _ in _COLUMNS:
            old = getattr(self, name)
            grown = np.zeros((size, *old.shape[1:]), old.dtype)
            grown[: len(old)] = old
            setattr(self, name, grown)

    def to_columns(self, rows: int) -> dict[str, Any]:
        """Return the first *rows* rows, msgpack-ready."""
        columns: dict[str, Any] = {"version": _VERSION, "rows": rows, "bins": self.bins}
        for name, dtype in _COLUMNS:
            columns[name] = np.ascontiguousarray(getattr(self, name)[:rows], dtype).tobytes()
        return columns

    @classmethod
    def from_columns(cls, columns: dict[str, Any]) -> State:
        """Read what `to_columns` wrote.

        Raises:
            MalformedPayload: another version, or a column that is missing or of the wrong length.
        """
        try:
            if columns["version"] != _VERSION:
                raise MalformedPayload(
                    "bad_state", f"novelty state version {columns['version']!r}: {_VERSION} expected"
                )
            state = cls(columns["bins"])
            rows = columns["rows"]
            for name, dtype in _COLUMNS:
                shape = (rows, *getattr(state, name).shape[1:])
                setattr(state, name, np.frombuffer(columns[name], dtype).reshape(shape).copy())
        except (KeyError, TypeError, ValueError) as error:
            raise MalformedPayload("bad_state", f"not a novelty state: {error!r}") from error
        if not (np.isfinite(state.floats).all() and np.isfinite(state.profile).all()):
            raise MalformedPayload("bad_state", "not a novelty state: a value is not finite")
        if (state.counts < 0).any() or (state.marks < 0).any():
            raise MalformedPayload("bad_state", "not a novelty state: a count is negative")
        return state


def encode(columns: dict[str, Any]) -> bytes:
    """Return *columns* as msgpack, keys in the order given."""
    return msgspec.msgpack.encode(columns)


def decode(data: bytes, what: str) -> dict[str, Any]:
    """Read what `encode` wrote.

    Raises:
        MalformedPayload: cut short, or not such a map; the text names *what*.
    """
    try:
        return msgspec.msgpack.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedPayload("bad_state", f"not a {what}: {error}") from error
