"""The maps of a study's page: a figure over position, such as accuracy where a digit stands."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from convmill.page.document import Block
from convmill.page.drawings import figure
from convmill.page.study_labels import axis_label, told
from convmill.study.result import Measure, Run, StudyResult
from convmill.study.words import shown
from convmill.view.positions import Map, Place, positions


def maps(result: StudyResult, measure: Measure) -> Iterator[Block]:
    """A map for each arm that has one, the mean over its seeds: arms of the same axes together."""
    name = measure.map_label or measure.label
    groups: dict[tuple[Place, Place], list[Map]] = {}
    for arm in result.arms:
        runs = [run for run in result.runs if run.arm == arm.name and measure.name in run.maps]
        if runs:
            numbers = np.array([run.maps[measure.name] for run in runs], np.float64)
            mean = Map(arm.label, _rows(measure.scale * numbers.mean(axis=0)))
            if numbers[0].size > 1:  # one place is no map
                groups.setdefault(_axes(runs[0], measure, mean), []).append(mean)
    for (rows, columns), found in groups.items():
        which = f": {found[0].label}" if len(found) == 1 and len(groups) > 1 else ""
        maps_of = f"{'Map' if len(found) == 1 else 'Maps'} of {name}"
        yield figure(
            partial(
                positions,
                found,
                rows,
                columns,
                title=f"{maps_of}{which}",
                label=measure.map_label or axis_label(measure),
                caption="Means over seeds.",
            ),
            told(maps_of, [_range(each, measure) for each in found]),
        )


def _rows(numbers: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, numbers.tolist()))


def _axes(run: Run, measure: Measure, one: Map) -> tuple[Place, Place]:
    """As the run says; else rows and columns are counted."""
    if measure.name in run.axes:
        rows, columns = (Place(axis.label, axis.values) for axis in run.axes[measure.name])
        return rows, columns
    counts = len(one.numbers), len(one.numbers[0])
    rows, columns = (
        Place(name, tuple(map(float, range(count))))
        for name, count in zip(("row", "column"), counts, strict=True)
    )
    return rows, columns


def _range(one: Map, measure: Measure) -> str:
    numbers = np.array(one.numbers)
    if measure.map_label:
        least, greatest = (f"{end:.3g}" for end in (numbers.min(), numbers.max()))
    else:
        ends = (float(end) / measure.scale for end in (numbers.min(), numbers.max()))
        least, greatest = (shown(measure, end) for end in ends)
    return f"{one.label}: from {least} to {greatest}"
