"""Whatever bytes come, the MQTT reader raises its one error or nothing; however they are cut, it reads the same."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import MalformedPayload
from core.mqtt import Packet, PublishRun, Reader, Version, publish

versions = st.sampled_from(Version)


def read(
    version: Version, pieces: list[bytes], *, longest: int = 4096
) -> tuple[list[bytes], list[bytes], list[bytes], list[Packet], str]:
    reader, run, packets, error = Reader(version, max_packet_bytes=longest), PublishRun(), [], ""
    try:
        for piece in pieces:
            packets += reader.feed(piece, run)
    except MalformedPayload as found:
        error = f"{found.reason}: {found.detail}"
    assert not error or error.startswith("bad_packet: ")
    return run.topics, run.payloads, run.packet_ids, packets, error


def cut(raw: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({min(c, len(raw)) for c in cuts} | {0, len(raw)})
    return [raw[a:b] for a, b in pairwise(at)]


messages = st.builds(
    publish,
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    st.binary(max_size=300),
    version=st.just(Version.V5),
    qos=st.integers(0, 2),
    packet_id=st.integers(1, 65_535),
    retain=st.booleans(),
    dup=st.booleans(),
)


@given(versions, st.binary(max_size=200))
def test_garbage_raises_the_one_error_or_nothing(version: Version, garbage: bytes) -> None:
    read(version, [garbage])


@given(versions, st.integers(0, 255), st.binary(max_size=100))
def test_a_framed_packet_of_garbage_raises_the_one_error_or_nothing(version: Version, first: int, body: bytes) -> None:
    read(version, [bytes((first, len(body))) + body])


@given(st.lists(messages, max_size=8), st.lists(st.integers(0, 2000), max_size=12), st.sampled_from([20, 100, 4096]))
def test_packets_are_the_same_however_the_stream_is_cut(packets: list[bytes], cuts: list[int], longest: int) -> None:
    raw = b"".join(packets)

    whole = read(Version.V5, [raw], longest=longest)
    pieces = read(Version.V5, cut(raw, cuts), longest=longest)

    assert not whole[4]
    assert whole == pieces
    assert len(packets) == len(whole[0]) + len(whole[3])


@given(versions, st.binary(max_size=120), st.lists(st.integers(0, 120), max_size=6))
def test_even_garbage_is_the_same_however_it_is_cut(version: Version, garbage: bytes, cuts: list[int]) -> None:
    whole = read(version, [garbage])
    pieces = read(version, cut(garbage, cuts))

    assert whole[4] == pieces[4]
    assert whole[:3] == pieces[:3]


@pytest.mark.parametrize("version", list(Version))
def test_the_reader_holds_no_more_than_one_unfinished_packet(version: Version) -> None:
    reader, run = Reader(version, max_packet_bytes=1000), PublishRun()
    raw = publish(b"t", b"x" * 900, version=version)
    for _ in range(100):
        reader.feed(raw[:-1], run)
        reader.feed(raw[-1:], run)

    assert len(run) == 100
    assert len(reader._rest) == 0
