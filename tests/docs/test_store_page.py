"""Tests that what docs/store.md tells people to run gives the same readings as the store itself."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.series import EmbeddedSeriesReader, EmbeddedSeriesWriter, SeriesSettings
from core.batch import ReadingBatch
from core.city import Device
from urbanpulse.installation import prepare
from urbanpulse.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "store.md"
HOUR = 3_600_000_000_000
START = 20_000 * 24 * HOUR


def run(data: Path) -> dict[str, Any]:
    """Run the page's Python, block after block, as one person would."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 3
    space: dict[str, Any] = {"DATA": str(data)}
    for block in blocks:
        exec(block, space)  # noqa: S102 - our own page
    return space


@pytest.mark.parametrize("sealed", [True, False], ids=["all sealed but the last", "one part, the rest in the journal"])
def test_the_page_reads_what_the_store_reads(tmp_path: Path, sealed: bool) -> None:
    data = tmp_path / "data"
    settings = Settings(data_dir=data)
    with closing(prepare(settings).open_catalog()) as catalog:
        catalog.registry.add_device(Device("air-1", "air", "north"), "hash")
        series = [one.id for one in catalog.registry.allocate([("air-1", "pm25"), ("air-1", "no2")])]
    limits = SeriesSettings(seal_rows=1, merge_seconds=0, grace_seconds=1e9)
    with closing(EmbeddedSeriesWriter(data / "series", limits)) as writer:
        for position, day in enumerate([0, 1, 1, 2, 1], start=1):  # a day is rewritten, and once more in the journal
            at = START + day * 24 * HOUR + np.arange(50) * HOUR // 4
            at += position == 2  # one part in nanoseconds among those in milliseconds
            batch = ReadingBatch.of(np.repeat(series, 50), np.tile(at, 2), np.arange(100.0) + 1000 * position)
            writer.write("log", position, batch)
            if position < 5 and (sealed or position == 1):
                writer.maintain(START + day * 24 * HOUR)
                writer.maintain(START + (day + 2) * 24 * HOUR)
    assert len(list((data / "series").rglob("raw-*"))) == (8 if sealed else 2), "replaced ones included"

    space = run(data)

    with closing(EmbeddedSeriesReader(data / "series", limits)) as reader:
        expected = {one: reader.readings(one, 0, 1 << 62, 1000) for one in series}
    assert space["rows"] == [
        (one, len(batch), pytest.approx(batch.value.mean())) for one, batch in sorted(expected.items())
    ]
    for one, batch in expected.items():
        query = "SELECT measured, value FROM readings WHERE series = ? ORDER BY measured"
        got = space["db"].execute(query, [one]).fetchnumpy()
        np.testing.assert_array_equal(got["measured"].view(np.int64), batch.measured)
        np.testing.assert_array_equal(got["value"], batch.value)
    assert space["names"] == {series[0]: ("air-1", "pm25", "north"), series[1]: ("air-1", "no2", "north")}
    space["db"].close()
