"""This module measures: NAB, the city with faults, the plain city; one plain dict of figures comes out.

Ours is what the pipeline's own parts say, with the settings that everybody gets. The others have their threshold set on
the scored data itself, to the same rate of false alarms, which flatters them; ours has it from the design seeds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.scoreboard import nab, rivals
from bench.scoreboard.faults import gaps, judge, neighbours, ours, threshold_for
from bench.scoreboard.fleet import KINDS, Fleet, fleet
from bench.scoreboard.load import operator_load
from bench.scoreboard.scenarios import SCENARIOS, play
from processors.detectors.novelty import NoveltyBank
from processors.detectors.settings import NoveltySettings
from urbanpulse.detecting import judge_series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.scoreboard.faults import Result

    Say = Callable[[str], None]
    Matrix = NDArray[np.float32]

__all__ = ["OURS", "Size", "faults_board", "load_board", "nab_board", "plateau_board", "scenarios_board"]

OURS = "urbanpulse"
_QUIET = 0.008  # false alarms per sensor and day on design seeds: so that cities not seen stay below 0.01
_THRESHOLDS = 40
_CURVE = (1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 8.0)
_MOVED = 0.3


@dataclass(frozen=True, slots=True)
class Size:
    """How large the city with faults is, how many of its series River sees (it takes 50 µs a reading), and the load."""

    devices: int = 200
    days: int = 60
    from_day: int = 30
    river_series: int = 60
    city: int = 2000
    weeks: int = 4
    week_days: int = 7
    scenario_devices: int = 400
    warm_days: int = 14
    scenarios: tuple[str, ...] = SCENARIOS


def nab_board(root: Path, say: Say, *, river: bool = True) -> dict[str, Any]:
    """Return by detector the scores on the NAB files in *root*, at the best threshold and ours at severity 1 too."""
    files = nab.load(root)
    found: dict[str, Any] = {}
    say(f"NAB: {OURS}")
    severity = [v.severity for v in judge_series([(f.measured, f.value) for f in files], [""] * len(files))]
    found[OURS] = {name: best.score for name, best in nab.sweep(files, severity).items()}
    found[OURS]["threshold"] = nab.sweep(files, severity)["standard"].threshold
    fixed = nab.score_at(files, severity)
    found[f"{OURS}, severity 1"] = {name: facts.score for name, facts in fixed.items()}
    found[f"{OURS}, severity 1"] |= {"threshold": 1.0, "found": fixed["standard"].found}
    found[f"{OURS}, severity 1"] |= {"windows": fixed["standard"].windows, "false": fixed["standard"].false}
    for name, score in _rivals(river=river):
        say(f"NAB: {name}")
        columns = [score(file.measured, file.value[:, None]) for file in files]
        found[name] = _best_rested(files, columns)
    return {
        "files": len(files),
        "readings": sum(len(f.value) for f in files),
        "windows": sum(len(f.windows) for f in files),
        "scores": found,
    }


def _best_rested(files: Sequence[nab.NabFile], columns: Sequence[Matrix]) -> dict[str, float]:
    """Return the best scores of a detector that rests after an alert, over thresholds among its own scores."""
    highest = np.sort(np.concatenate([column[column > 0] for column in columns]))[::-1]
    picks = np.unique(np.geomspace(10, max(len(highest) // 10, 11), _THRESHOLDS).astype(int)) - 1
    best = dict.fromkeys(nab.PROFILES, 0.0)
    for threshold in np.unique(highest[picks[picks < len(highest)]]).tolist():
        alerts = [rivals.rested(column, threshold)[:, 0].astype(np.float32) for column in columns]
        for name, facts in nab.score_at(files, alerts).items():
            best[name] = max(best[name], facts.score)
    return best


def plateau_board(root: Path, say: Say) -> dict[str, Any]:
    """Return the standard score with each number of the settings of the bank moved by 30 %, down and up."""
    files = nab.load(root)
    moved = {}
    for name, down, up in _moved_settings():
        say(f"NAB: {name} moved")
        moved[name] = [_bank_score(files, settings) for settings in (down, up)]
    return {"default": _bank_score(files, NoveltySettings()), "moved": moved}


def _moved_settings() -> Iterator[tuple[str, NoveltySettings, NoveltySettings]]:
    """Yield each number that shapes scores with the settings in which it is less and more by 30 %."""
    default = NoveltySettings().model_dump()
    for name, value in default.items():
        if isinstance(value, dict):
            for inner, number in value.items():
                if isinstance(number, (int, float)) and not isinstance(number, bool):
                    low, high = ({**default, name: {**value, inner: moved}} for moved in _both(number))
                    yield f"{name}.{inner}", NoveltySettings.model_validate(low), NoveltySettings.model_validate(high)
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and name != "max_series":
            low, high = ({**default, name: moved} for moved in _both(value))
            yield name, NoveltySettings.model_validate(low), NoveltySettings.model_validate(high)


def _both(number: float) -> tuple[float, float]:
    down, up = number * (1 - _MOVED), number * (1 + _MOVED)
    return (
        (max(round(down), 1), round(up)) if isinstance(number, int) else (max(down, 1.0) if number == 1 else down, up)
    )


def _bank_score(files: Sequence[nab.NabFile], settings: NoveltySettings) -> float:
    bank = NoveltyBank(settings)
    severity = [np.zeros(len(file.value), np.float32) for file in files]
    longest = max(len(file.value) for file in files)
    for begin in range(0, longest, 64):
        some = [k for k, file in enumerate(files) if begin < len(file.value)]
        parts = [slice(begin, begin + 64) for _ in some]
        ids = np.concatenate(
            [np.full(len(files[k].value[part]), k, np.int32) for k, part in zip(some, parts, strict=True)]
        )
        scores = bank.update(
            ids,
            np.concatenate([files[k].measured[part] for k, part in zip(some, parts, strict=True)]),
            np.concatenate([files[k].value[part] for k, part in zip(some, parts, strict=True)]),
        )
        for k, part in zip(some, parts, strict=True):
            severity[k][part] = scores.severity[ids == k]
    return nab.sweep(files, severity)["standard"].score


def faults_board(
    design: Sequence[int], final: Sequence[int], size: Size, say: Say, *, river: bool = True
) -> dict[str, Any]:
    """Return recall by kind of fault for the *design* seeds and, with their threshold, for the *final* ones."""
    board: dict[str, Any] = {"threshold": None, "groups": {}}
    for group, seeds in (("design", design), ("final", final)):
        if seeds:
            say(f"faults: {group} seeds {', '.join(map(str, seeds))}")
            measured = _Measured.of(seeds, size, say)
            if board["threshold"] is None:
                board["threshold"] = threshold_for(measured.fleets, measured.severity, _QUIET, _alerts, least=1.0)
            board["groups"][group] = _group(measured, board["threshold"], size, say, river=river)
            board["groups"][group]["seeds"] = list(seeds)
    return board


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """Some cities, with the two severities of each, float32[2, N, S]: its own past's, its neighbours'; and silences."""

    fleets: list[Fleet]
    severity: list[Matrix]
    silent: list[NDArray[np.bool_]]

    @classmethod
    def of(cls, seeds: Sequence[int], size: Size, say: Say) -> _Measured:
        fleets = [fleet(seed, devices=size.devices, days=size.days, from_day=size.from_day) for seed in seeds]
        say(f"faults: {OURS} on {sum(each.value.size for each in fleets):,} readings")
        severity = [np.stack([ours(each)[0], neighbours(each)]) for each in fleets]
        return cls(fleets, severity, [gaps(each) for each in fleets])

    def at(self, severity: float) -> Result:
        return self.result([_alerts(each, severity) for each in self.severity])

    def alone(self, severity: float) -> Result:
        return self.result([each[0] >= severity for each in self.severity])

    def result(self, alerts: Sequence[NDArray[np.bool_]]) -> Result:
        return judge(self.fleets, [alert | silent for alert, silent in zip(alerts, self.silent, strict=True)])


def _alerts(severity: Matrix, threshold: float) -> NDArray[np.bool_]:
    """Return where there is an alert: the bank rests by itself, neighbours stay strange for as long as they are."""
    alerts: NDArray[np.bool_] = (severity[0] >= threshold) | rivals.rested(severity[1], threshold)
    return alerts


def _group(measured: _Measured, threshold: float, size: Size, say: Say, *, river: bool) -> dict[str, Any]:
    at_one, quiet = measured.at(1), measured.at(threshold)
    levels = ("severity 1", f"severity {threshold:.2f}")
    rows = {f"{OURS}, {level}": _row(result) for level, result in zip(levels, (at_one, quiet), strict=True)}
    for level, severity in zip(levels, (1, threshold), strict=True):
        rows[f"without neighbours, {level}"] = _row(measured.alone(severity))
    for name, score in _rivals(river=river):
        say(f"faults: {name}")
        some = measured
        if name == _TREES:  # slow: some series of each city
            some = _Measured(*zip(*(_part(*each, size.river_series) for each in zip(
                measured.fleets, measured.severity, measured.silent, strict=True
            )), strict=True))  # type: ignore[arg-type]  # fmt: skip
        scores = [score(each.measured, each.value) for each in some.fleets]
        for of, rate in zip(levels, (at_one.false, quiet.false), strict=True):
            at = threshold_for(some.fleets, scores, rate, rivals.rested)
            rows[f"{name}, as many false as {of}"] = _row(some.result([rivals.rested(each, at) for each in scores]))
    return {
        "sensors": sum(len(each.series) for each in measured.fleets),
        "faults": {kind: at_one.kinds[kind][1] for kind in KINDS},
        "rows": rows,
        "curve": [[level, _row(measured.at(level))] for level in _CURVE],
    }


def _part(
    each: Fleet, severity: Matrix, silent: NDArray[np.bool_], count: int
) -> tuple[Fleet, Matrix, NDArray[np.bool_]]:
    """Return *count* columns of a fleet, spread over all of them."""
    columns = np.unique(np.linspace(0, len(each.series) - 1, min(count, len(each.series))).astype(int))
    place = {column: k for k, column in enumerate(columns.tolist())}
    faults = tuple(
        type(fault)(place[fault.column], fault.first, fault.end, fault.kind)
        for fault in each.faults
        if fault.column in place
    )
    series = tuple(each.series[k] for k in columns.tolist())
    part = Fleet(
        each.seed, each.step, each.from_day, each.devices, series, each.measured, each.value[:, columns], faults
    )
    return part, severity[:, :, columns], silent[:, columns]


def _row(result: Result) -> dict[str, Any]:
    return {
        "false": result.false,
        "recall": {kind: result.recall(kind) for kind in KINDS},
        "delay_hours": {kind: result.kinds[kind][2] for kind in KINDS},
    }


def load_board(seeds: Sequence[int], size: Size, say: Say) -> dict[str, Any]:
    """Return by seed what a plain city asks of its operator."""
    found = {}
    for seed in seeds:
        say(f"load: a plain city of seed {seed}")
        load = operator_load(seed, devices=size.city, weeks=size.weeks, days=size.week_days, say=say)
        found[str(seed)] = asdict(load)
    return found


def scenarios_board(seeds: Sequence[int], size: Size, say: Say) -> dict[str, Any]:
    """Return by seed and scenario what the alerts of the whole pipeline found, and what they were taken for."""
    return {
        str(seed): play(seed, say, names=size.scenarios, devices=size.scenario_devices, warm_days=size.warm_days)
        for seed in seeds
    }


_TREES = "HalfSpaceTrees (River)"


def _rivals(*, river: bool) -> Iterator[tuple[str, Callable[[NDArray[np.int64], NDArray[np.float64]], Matrix]]]:
    yield "hour-of-week z-score", rivals.hour_of_week
    yield "EWMA z-score", lambda _, value: rivals.ewma(value)
    if river:
        yield _TREES, lambda _, value: rivals.half_space_trees(value)
