"""Captures round-trip, whatever the bytes and topics are; garbage raises the documented errors only."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import MalformedPayload, SettingsError
from simulators.capture import Capture, read_capture, write_capture

topics = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="+#\0"), min_size=1, max_size=40)
captures = st.builds(
    Capture,
    st.integers(0, (1 << 63) - 1),
    topics,
    st.binary(max_size=200) | st.text(max_size=100).filter(lambda text: text.isprintable()).map(str.encode),
    st.sampled_from([0, 1, 2]),
    st.booleans(),
)


@settings(max_examples=40)
@given(st.lists(captures, max_size=20), st.sampled_from(["a.jsonl", "a.jsonl.gz"]))
def test_what_is_written_is_read_to_the_byte(said: list[Capture], name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name

        write_capture(path, said, started=0)

        assert list(read_capture(path)) == said


@settings(max_examples=40)
@given(st.lists(captures, max_size=5), st.binary(max_size=60), st.integers(0, 400))
def test_garbage_raises_the_documented_errors(said: list[Capture], garbage: bytes, place: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        write_capture(path, said, started=0)
        whole = path.read_bytes()
        path.write_bytes(whole[:place] + garbage + whole[place:])

        refused = ""
        try:
            read = list(read_capture(path, on_cut=lambda _: None))
        except (MalformedPayload, SettingsError) as error:
            read, refused = [], str(error)

        assert all(isinstance(capture, Capture) for capture in read)
        assert str(path) in refused or not refused
