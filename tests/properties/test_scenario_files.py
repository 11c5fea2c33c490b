"""A scenario file that somebody broke is a scenario, or a SettingsError that names the file: nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import simulators.scenarios
from core.errors import SettingsError
from simulators.layout import city
from simulators.scenarios import load_scenario, parse_scenario
from simulators.scenarios.check import check

FILES = sorted(Path(simulators.scenarios.__file__).parent.glob("*.toml"))
TEXTS = [file.read_bytes() for file in FILES]
CITY = city(7, 60)
WORDS = """" [[ ]] [fault] [[fault]] -1 nan 1e400 true "" {} [] 2026-01-01 "99999999d" "0s" \'\'\' = == a.b=1 {a=1}"""
words = st.sampled_from([*(word.encode() for word in WORDS.split()), b"9" * 5000, b"\xff", b"\nsize=[1,nan]\n", b"\n"])


@settings(max_examples=300)
@given(text=st.sampled_from(TEXTS), data=st.data(), word=words | st.binary(max_size=6))
def test_a_broken_file_is_refused_with_file_and_line_or_holds(text: bytes, data: st.DataObject, word: bytes) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    broken = text[:start] + word + text[end:]

    try:
        file = parse_scenario("broken", "broken.toml", broken)
        check(file)
        load_scenario(file, CITY, 7, 1_780_000_000_000_000_000)
        said = "scenario: broken.toml:1: "
    except SettingsError as error:
        said = str(error)

    match = re.match(r"scenario: broken\.toml:(\d+): ", said)
    assert match, said
    assert 1 <= int(match[1]) <= broken.count(b"\n") + 1


@settings(max_examples=200)
@given(content=st.binary(max_size=200))
def test_garbage_is_refused_with_file_and_line(content: bytes) -> None:
    with pytest.raises(SettingsError, match=r"scenario: garbage\.toml:\d+: "):
        parse_scenario("garbage", "garbage.toml", content)
