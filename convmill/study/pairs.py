"""Runs of two arms, paired by their seeds."""

from __future__ import annotations

from collections.abc import Iterable

from convmill.study.result import Comparison, Run
from convmill.study.statistics import compare


def paired(measure: str, names: tuple[str, str], runs: Iterable[Run]) -> Comparison | None:
    """Two arms compared over the seeds that both have; None where there are none."""
    values: dict[str, dict[int, float]] = {name: {} for name in names}
    for run in runs:
        if run.arm in values:
            values[run.arm][run.seed] = run.values[measure]
    first, second = (values[name] for name in names)
    seeds = [seed for seed in first if seed in second]
    if not seeds:
        return None
    return compare(
        measure, names, [first[seed] for seed in seeds], [second[seed] for seed in seeds]
    )
