"""This module is the capture format: MQTT messages as JSON lines, as `urbanpulse record` writes and `--replay` reads.

The first line says what the file is: `{"capture":"mqtt","version":1,"started":"2026-11-22T04:50:00Z","broker":…}`. Each
other line is one message, in the order of arrival:

    {"at":1763786400000000000,"topic":"devices/air-01/readings","payload":"{…}","qos":1,"retain":false}

`at` is ns UTC of the recorder's clock. A payload that is UTF-8 stands as text, any other as `payload_base64`: what is
read is to the byte what was written. A name that ends in `.gz` is compressed.

A recorder may die at any moment, so a file that ends in the middle of a line (or of its compressed stream) is read up
to there, with a warning; anything else that is wrong names file and line. The module never connects to anything.
"""

from __future__ import annotations

import gzip
import zlib
from base64 import b64decode, b64encode
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Literal, Protocol, Self, cast

import msgspec
import structlog

from core.clock import from_ns
from core.errors import MalformedPayload, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

__all__ = ["Capture", "CaptureWriter", "is_capture", "read_capture", "write_capture"]

MAX_LINE_BYTES = 64 * 1024 * 1024
"""Longest line that is read: a quarter of a gigabyte is what MQTT allows, 16 MB what the gateway takes."""

_CHUNK = 1 << 16
_MAX_NS = (1 << 63) - 1

_UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Capture:
    """One recorded message. `at` is when it came, ns UTC."""

    at: int
    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False

    def __post_init__(self) -> None:
        """Check what MQTT demands.

        Raises:
            MalformedPayload: reason `bad_time`, `bad_topic` or `bad_value`.
        """
        if not 0 <= self.at <= _MAX_NS:
            raise MalformedPayload("bad_time", f"at {self.at}: nanoseconds since 1970 expected")
        if not self.topic or any(sign in self.topic for sign in "+#\0") or not _fits(self.topic):
            raise MalformedPayload("bad_topic", f"topic {self.topic[:120]!r}: 1-65535 bytes without '+', '#' expected")
        if self.qos not in {0, 1, 2}:
            raise MalformedPayload("bad_value", f"qos {self.qos}: 0, 1 or 2 expected")


class CaptureWriter:
    """Writes a capture to *path*, which must not be there yet; use as a context manager.

    Raises:
        SettingsError: the file is there, or cannot be written.
    """

    def __init__(self, path: Path, *, started: int, broker: str = "", overwrite: bool = False) -> None:
        """Write the header: *started* is ns UTC, *broker* where the messages come from, without credentials."""
        self.path = path
        self.count = 0
        mode: Literal["wb", "xb"] = "wb" if overwrite else "xb"
        try:
            file = gzip.open(path, mode) if path.suffix == ".gz" else path.open(mode)  # noqa: SIM115 - `close` closes
        except FileExistsError as error:
            raise SettingsError("record", f"{path} is there already: name another file") from error
        except OSError as error:
            raise SettingsError("record", f"{path}: {error.strerror or error}") from error
        self._file = cast("IO[bytes]", file)
        self._write(_Header("mqtt", 1, f"{from_ns(started):%Y-%m-%dT%H:%M:%S.%fZ}", broker))
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, capture: Capture) -> None:
        """Append one message; it is in the file for sure only after `flush`."""
        text: str | None
        try:
            text = capture.payload.decode()
        except UnicodeDecodeError:
            text = None
        self._write(
            _Line(
                capture.at,
                capture.topic,
                msgspec.UNSET if text is None else text,
                b64encode(capture.payload).decode() if text is None else msgspec.UNSET,
                capture.qos,
                capture.retain,
            )
        )
        self.count += 1

    def flush(self) -> None:
        """Hand everything to the operating system: from here on our own death loses none of it.

        Raises:
            SettingsError: the disk is full, or gone.
        """
        with self._writing():
            self._file.flush()

    def close(self) -> None:
        """Flush and close.

        Raises:
            SettingsError: the disk is full, or gone.
        """
        with self._writing():
            self._file.close()

    def _write(self, line: _Header | _Line) -> None:
        with self._writing():
            self._file.write(_encode(line) + b"\n")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SettingsError("record", f"{self.path}: {error.strerror or error}") from error


def write_capture(path: Path, captures: Iterable[Capture], *, started: int, broker: str = "") -> int:
    """Write *captures* to the new file *path*; return how many. *started* is ns UTC.

    Raises:
        SettingsError: the file is there already, or cannot be written.
    """
    with CaptureWriter(path, started=started, broker=broker) as writer:
        for capture in captures:
            writer.write(capture)
        return writer.count


def read_capture(
    path: Path, *, on_cut: Callable[[str], None] | None = None, on_bad: Callable[[MalformedPayload], None] | None = None
) -> Iterator[Capture]:
    """Yield the messages of the capture *path*, in file order; the file is never in memory as a whole.

    *on_cut* gets the warning if the file ends in the middle of a line (default: it is logged). *on_bad* gets the errors
    of single lines, which are then passed over; without it the first one is raised.

    Raises:
        MalformedPayload: no capture, or a bad line; the text begins with file and line.
        SettingsError: the file cannot be read.
    """
    tell_cut = on_cut or _log_cut
    number = 0
    for number, (line, is_whole) in enumerate(read_lines(path), 1):
        try:
            if number == 1:
                _check_header(line)
            elif line.strip():
                yield _parse(line)
        except MalformedPayload as error:
            if not is_whole and number > 1:
                tell_cut(f"{path}:{number}: the file ends in the middle of a line, as when its recorder was killed")
                return
            located = MalformedPayload(error.reason, f"{path}:{number}: {error.detail}")
            if on_bad is None or number == 1:
                raise located from error
            on_bad(located)
    if number == 0:
        raise MalformedPayload("bad_shape", f"{path}: empty; a capture begins with a header")


def is_capture(path: Path) -> bool:
    """Tell whether *path* begins with the header of a capture.

    Raises:
        SettingsError: the file cannot be read.
    """
    for line, _ in read_lines(path):
        try:
            _decode_mark(line)
        except _UNDECODABLE:
            return False
        return True
    return False


def read_lines(path: Path, *, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[tuple[bytes, bool]]:
    r"""Yield each line of *path* (`.gz` is unpacked) without its end, and whether its `\n` was there.

    A compressed stream that is cut off ends as a file that is cut off.

    Raises:
        MalformedPayload: reason `too_large`: a line is longer than *max_line_bytes*.
        SettingsError: the file cannot be read.
    """
    pieces: list[bytes] = []  # of the line that has no end yet
    size, number = 0, 1
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while chunk := _next_chunk(file):
                head, newline, tail = chunk.rpartition(b"\n")
                if newline:
                    pieces.append(head)
                    lines = b"".join(pieces).split(b"\n")
                    for line in lines:
                        yield line, True
                    number += len(lines)
                    pieces, size = [], 0
                pieces.append(tail)
                size += len(tail)
                if size > max_line_bytes:
                    raise MalformedPayload("too_large", f"{path}:{number}: a line longer than {max_line_bytes} bytes")
    except (OSError, zlib.error) as error:
        raise SettingsError("replay", f"{path}: {error}") from error
    if size:
        yield b"".join(pieces), False


class _Header(msgspec.Struct):
    capture: Literal["mqtt"]
    version: int
    started: str = ""
    broker: str = ""


class _Mark(msgspec.Struct):
    capture: str


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    at: int
    topic: str
    payload: str | msgspec.UnsetType = msgspec.UNSET
    payload_base64: str | msgspec.UnsetType = msgspec.UNSET
    qos: int = 1
    retain: bool = False


_encode = msgspec.json.Encoder().encode
_decode_mark = msgspec.json.Decoder(_Mark).decode
_decode_header = msgspec.json.Decoder(_Header).decode
_decode_line = msgspec.json.Decoder(_Line).decode


def _check_header(line: bytes) -> None:
    try:
        header = _decode_header(line)
    except _UNDECODABLE as error:
        raise MalformedPayload(
            "bad_shape", f'no capture: {{"capture":"mqtt","version":1,…}} expected: {error}'
        ) from error
    if header.version != 1:
        raise MalformedPayload("bad_shape", f"a capture of version {header.version}; this program reads version 1")


def _parse(line: bytes) -> Capture:
    try:
        found = _decode_line(line)
    except _UNDECODABLE as error:
        raise MalformedPayload("not_json", f"no message of a capture: {error}") from error
    if found.payload is not msgspec.UNSET and found.payload_base64 is msgspec.UNSET:
        payload = found.payload.encode()
    elif found.payload is msgspec.UNSET and found.payload_base64 is not msgspec.UNSET:
        try:
            payload = b64decode(found.payload_base64, validate=True)
        except ValueError as error:
            raise MalformedPayload("bad_value", f"payload_base64: {error}") from error
    else:
        raise MalformedPayload("bad_shape", "either payload or payload_base64 expected")
    return Capture(found.at, found.topic, payload, found.qos, found.retain)


class _Chunks(Protocol):
    def read1(self, size: int, /) -> bytes: ...


def _next_chunk(file: _Chunks) -> bytes:
    try:
        return file.read1(_CHUNK)
    except EOFError:  # a compressed stream without its end
        return b""


def _fits(topic: str) -> bool:
    try:
        return len(topic.encode()) <= 65_535
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _log_cut(text: str) -> None:
    log.warning("capture is cut off", detail=text)
