"""This module encodes columns as InfluxDB line protocol.

One line costs no Python operation of its own: orjson formats whole columns, prefixes are picked by index, and one
join makes the body (evidence: 1.9 M points/s beside 43 k for `influxdb_client.Point`). Floats are always written so
that the server takes them for floats; the caller leaves out what is not finite, which line protocol cannot say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["encode"]


def _texts(column: NDArray[Any]) -> list[bytes]:
    return orjson.dumps(np.ascontiguousarray(column), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")


def encode(
    prefixes: NDArray[np.object_],
    time: NDArray[np.int64],
    first: NDArray[np.float64],
    rest: Mapping[str, NDArray[Any]] | None = None,
    quality: NDArray[np.uint16] | None = None,
    zeros: NDArray[np.bool_] | None = None,
) -> bytes:
    r"""Return one line per row, without a newline at the end; b"" for no rows.

    Args:
        prefixes: object[N], for each row a newline, measurement, tags and the name of the first field
            (`Names.prefixes`).
        time: int64[N], ns.
        first: float64[N], finite.
        rest: further fields by name; float64 (finite) or int64, which is written with its `i`.
        quality: uint16[N], written as integer field `q` where it is not 0 ...
        zeros: bool[N], ... and where it is 0 but this says so, to overwrite what may be there.

    >>> encode(np.array([b"\nreading,device=a value="], object), np.array([5]), np.array([2.0]))
    b'reading,device=a value=2.0 5'
    """
    n = len(time)
    if n == 0:
        return b""
    tails: list[bytes] = [b" "] * n
    if quality is not None:
        marked = np.flatnonzero(quality if zeros is None else (quality != 0) | zeros)
        for row, mask in zip(marked.tolist(), quality[marked].tolist(), strict=True):
            tails[row] = b",q=%di " % mask
    columns: list[list[bytes]] = [prefixes.tolist(), _texts(first)]
    end = b""
    for name, column in (rest or {}).items():
        columns += [[b"%s,%s=" % (end, name.encode())] * n, _texts(column)]
        end = b"i" if column.dtype.kind in "iu" else b""
    if end:
        columns.append([end] * n)
    columns += [tails, _texts(time)]
    pieces = [b""] * (len(columns) * n)
    for i, texts in enumerate(columns):
        pieces[i :: len(columns)] = texts
    return b"".join(pieces)[1:]
