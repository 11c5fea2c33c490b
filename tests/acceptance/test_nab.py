"""The detector on real, labelled series with the one default parameter set: no worse than it was when built."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from processors.detectors.novelty import NoveltyBank

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TESTS = Path(__file__).resolve().parents[1]
_DATA = _TESTS.parents[1] / "shared" / "data" / "nab"

pytestmark = pytest.mark.skipif(not _DATA.is_dir(), reason="no ../shared/data/nab beside the repository")


def _scorer() -> Any:
    """Return tests/nab.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("nab", _TESTS / "nab.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["nab"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def judged() -> tuple[Any, list[Any], list[NDArray[np.float32]]]:
    """Return the scorer, the files, and the severities of one bank that heard all of them at once."""
    nab = _scorer()
    files = nab.load(_DATA)
    bank = NoveltyBank()
    severity = [np.zeros(len(f.value), np.float32) for f in files]
    for begin in range(0, max(len(f.value) for f in files), 500):
        rows = [np.arange(begin, min(begin + 500, len(f.value))) for f in files]
        scores = bank.update(
            np.repeat(np.arange(len(files), dtype=np.int32), [len(r) for r in rows]),
            np.concatenate([f.measured[r] for f, r in zip(files, rows, strict=True)]),
            np.concatenate([f.value[r] for f, r in zip(files, rows, strict=True)]),
        )
        at = 0
        for column, r in zip(severity, rows, strict=True):
            column[r] = scores.severity[at : at + len(r)]
            at += len(r)
    return nab, files, severity


def test_nothing_detected_scores_zero_and_every_window_at_its_start_scores_a_hundred() -> None:
    nab = _scorer()
    files = nab.load(_DATA)
    perfect = [np.zeros(len(f.value), np.float32) for f in files]
    for file, column in zip(files, perfect, strict=True):
        column[[max(first, file.probation) for first, _ in file.windows]] = 1

    assert nab.score(files, [np.zeros(len(f.value), np.float32) for f in files])[0] == 0
    assert nab.score(files, perfect)[0] == pytest.approx(100, abs=0.5)


def test_the_default_settings_reach_the_score_that_they_were_built_with(
    judged: tuple[Any, list[Any], list[NDArray[np.float32]]],
) -> None:
    nab, files, severity = judged

    score, threshold = nab.score(files, severity)

    print(f"NAB, {len(files)} files, standard profile: {score:.2f} at severity {threshold:.3f}")  # noqa: T201 - a figure
    assert score >= 74.5


def test_alert_level_without_a_search_for_the_threshold_finds_most_windows(
    judged: tuple[Any, list[Any], list[NDArray[np.float32]]],
) -> None:
    _, files, severity = judged

    hit = sum(bool((c[a : b + 1] >= 1).any()) for f, c in zip(files, severity, strict=True) for a, b in f.windows)
    outside = 0
    for file, column in zip(files, severity, strict=True):
        alerts = column >= 1
        for a, b in file.windows:
            alerts[a : b + 1] = False
        outside += int(alerts[file.probation :].sum())

    print(f"NAB at severity 1: {hit} of {sum(len(f.windows) for f in files)} windows, {outside} false")  # noqa: T201
    assert hit >= 52
    assert outside <= 90


def test_taxi_demand_is_unusual_in_its_labelled_windows(
    judged: tuple[Any, list[Any], list[NDArray[np.float32]]],
) -> None:
    _, files, severity = judged
    (k,) = (k for k, f in enumerate(files) if f.name.endswith("nyc_taxi.csv"))

    peaks = [float(severity[k][a : b + 1].max()) for a, b in files[k].windows]

    print("nyc_taxi peaks (marathon, Thanksgiving, Christmas, New Year, storm):", peaks)  # noqa: T201 - a figure
    assert sum(peak >= 1 for peak in peaks) >= 3
    assert all(peak > 0.5 for peak in peaks)
