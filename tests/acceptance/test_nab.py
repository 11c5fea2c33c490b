"""The detector on real, labelled series with the one default parameter set: no worse than it was when built."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bench.scoreboard.nab import NabFile, load, score_at, sweep
from processors.detectors.novelty import NoveltyBank

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Judged = tuple[list[NabFile], list[NDArray[np.float32]]]

_SHARED = Path(__file__).resolve().parents[3] / "shared"
_DATA = _SHARED / "data" / "nab"
_OTHER = _SHARED / "prototypes" / "nab_scorer.py"

pytestmark = pytest.mark.skipif(not _DATA.is_dir(), reason="no ../shared/data/nab beside the repository")


@pytest.fixture(scope="module")
def judged() -> Judged:
    """Return the files, and the severities of one bank that heard all of them at once."""
    files = load(_DATA)
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
    return files, severity


def test_nothing_detected_scores_zero_and_every_window_at_its_start_scores_a_hundred() -> None:
    files = load(_DATA)
    nothing = [np.zeros(len(f.value), np.float32) for f in files]
    perfect = [np.zeros(len(f.value), np.float32) for f in files]
    for file, column in zip(files, perfect, strict=True):
        column[[max(first, file.probation) for first, _ in file.windows]] = 1

    assert {0.0} == {best.score for best in sweep(files, nothing).values()}
    assert {0.0} == {fixed.score for fixed in score_at(files, nothing).values()}
    assert all(best.score == pytest.approx(100, abs=0.5) for best in sweep(files, perfect).values())


@pytest.mark.skipif(not _OTHER.is_file(), reason="no ../shared/prototypes/nab_scorer.py beside the repository")
@pytest.mark.parametrize("seed", [1, 2])
def test_all_profiles_agree_with_another_implementation_of_the_method(judged: Judged, seed: int) -> None:
    """Held against it: the bank's severities, and noise with many ties, of all files and of some."""
    pytest.importorskip("pandas", reason="the other scorer reads its files with pandas")
    other = _other_scorer()
    files, severity = judged
    theirs = [_other_file(other, file) for file in files]
    rng = np.random.default_rng(seed)
    noise = [rng.integers(0, 50, len(file.value)) / 50 for file in files]
    pick = sorted(rng.permutation(len(files))[:9].tolist())
    names = dict(zip(sweep(files, noise), other.PROFILES, strict=True))

    for columns in (severity, noise):
        for some in (range(len(files)), pick):
            mine, of_mine = [files[k] for k in some], [columns[k] for k in some]
            best, fixed = sweep(mine, of_mine), score_at(mine, of_mine, 0.9)
            their_best, their_fixed = other.sweep(theirs, columns, some), other.score_at(theirs, columns, 0.9, some)
            for name, known_as in names.items():
                assert best[name].score == pytest.approx(their_best[known_as][0], abs=1e-9)
                if np.isfinite(best[name].threshold):
                    assert best[name].threshold == their_best[known_as][1]
                facts = fixed[name]
                assert facts.score == pytest.approx(their_fixed[known_as][0], abs=1e-9)
                assert (facts.found, facts.windows, facts.false) == their_fixed[known_as][1:]


def test_a_column_of_another_length_than_its_file_is_refused() -> None:
    files = load(_DATA)[:1]

    with pytest.raises(ValueError, match="3 severities for"):
        sweep(files, [np.zeros(3)])


def test_the_default_settings_reach_the_score_that_they_were_built_with(judged: Judged) -> None:
    files, severity = judged

    best = sweep(files, severity)["standard"]

    print(f"NAB, {len(files)} files, standard: {best.score:.2f} at severity {best.threshold:.3f}")  # noqa: T201 - a figure
    assert best.score >= 77


def test_alert_level_without_a_search_for_the_threshold_finds_most_windows(judged: Judged) -> None:
    files, severity = judged

    fixed = score_at(files, severity)["standard"]

    print(f"NAB at severity 1: {fixed}")  # noqa: T201 - a figure
    assert fixed.score >= sweep(files, severity)["standard"].score - 2
    assert fixed.found >= 54
    assert fixed.false <= 92


def test_taxi_demand_is_unusual_in_its_labelled_windows(judged: Judged) -> None:
    files, severity = judged
    (k,) = (k for k, f in enumerate(files) if f.name.endswith("nyc_taxi.csv"))

    peaks = [float(severity[k][a : b + 1].max()) for a, b in files[k].windows]

    print("nyc_taxi peaks (marathon, Thanksgiving, Christmas, New Year, storm):", peaks)  # noqa: T201 - a figure
    assert sum(peak >= 1 for peak in peaks) >= 3
    assert all(peak > 0.5 for peak in peaks)


def _other_scorer() -> Any:
    spec = importlib.util.spec_from_file_location("nab_scorer", _OTHER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["nab_scorer"] = module
    spec.loader.exec_module(module)
    return module


def _other_file(other: Any, file: NabFile) -> Any:
    stamps = file.measured.tolist()
    return other.NabFile(file.name, stamps, file.value, [(stamps[a], stamps[b]) for a, b in file.windows])
