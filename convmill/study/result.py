"""What a study found, as plain data: for tables, pages, JSON and CSV. Nothing here needs Keras."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from convmill.study.plain import from_plain

Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Measure:
    """What is measured of a trained net. Numbers are shown as ``value * scale`` with ``unit``;
    differences of what is shown in % are points. ``higher_is_better`` is None where neither is.
    ``map_label`` names the numbers of its maps, in the measure's scale; "" where they are the
    measure itself, by place. A ``share`` lies from 0 to 1, and so no difference is beyond 1."""

    name: str
    label: str
    unit: str = ""
    scale: float = 1.0
    decimals: int = 2
    higher_is_better: bool | None = None
    map_label: str = ""
    share: bool = False


@dataclass(frozen=True)
class Axis:
    """One axis of a map: what its numbers are, and the number of each row or column."""

    label: str
    values: tuple[float, ...]


Axes = tuple[Axis, Axis]  # of rows, of columns


@dataclass(frozen=True)
class Run:
    """One training: an arm with a seed.

    ``values`` are by measure, not scaled; ``curves`` by Keras' names, one number an epoch;
    ``per_class`` is the share of each class' test images that are right; ``maps`` are rows of
    numbers by measure, such as accuracy over position, ``axes`` theirs. ``seconds`` are those of
    ``fit``, on one thread; ``finished`` is an ISO date in UTC.
    """

    arm: str
    seed: int
    values: Mapping[str, float]
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    per_class: Mapping[str, float] = field(default_factory=dict)
    maps: Mapping[str, Rows] = field(default_factory=dict)
    axes: Mapping[str, Axes] = field(default_factory=dict)
    seconds: float = math.nan
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: str = ""
    finished: str = ""


@dataclass(frozen=True)
class Summary:
    """One measure of one arm over its seeds: the mean with its 95 % t interval ``low`` to ``high``,
    the standard ``deviation`` of one run (all three NaN of a single one), and the extremes."""

    measure: str
    n: int
    mean: float
    low: float
    high: float
    deviation: float
    least: float
    greatest: float


@dataclass(frozen=True)
class Arm:
    """One arm of a study. ``base`` and ``at`` say of which arm it is the variant, and where on the
    factor that varies (``at`` is None where none does). ``multiply_adds`` are those of one image
    forward, ``parameters`` those of the net, each None where not known. ``match`` says how widths
    were scaled, ``failure`` why runs failed."""

    name: str
    label: str
    base: str
    at: float | None
    parameters: int | None
    multiply_adds: int | None
    match: str = ""
    summaries: tuple[Summary, ...] = ()
    failure: str = ""

    def summary(self, measure: str) -> Summary | None:
        """The summary of one measure; None where no run is finished."""
        return next((one for one in self.summaries if one.measure == measure), None)


@dataclass(frozen=True)
class Comparison:
    """``first`` minus ``second`` in one measure, over ``n`` pairs of equal seed.

    ``low`` to ``high`` is the 95 % t interval of the mean difference, ``effect_size`` the mean over
    the standard deviation of differences (Cohen's d_z), ``p`` that of the paired t-test and
    ``corrected_p`` the same after Holm's correction over all comparisons of the measure.
    ``detectable`` is the smallest true difference that n pairs would have shown with 80 %
    probability. What one pair cannot tell is NaN.
    """

    measure: str
    first: str
    second: str
    n: int
    difference: float
    low: float
    high: float
    effect_size: float
    p: float
    corrected_p: float
    detectable: float
    sentence: str = ""


@dataclass(frozen=True)
class Vary:
    """The one factor along which arms are repeated, and how an axis of it should stand."""

    key: str
    label: str
    values: tuple[float, ...]
    logarithmic: bool = False


@dataclass(frozen=True)
class StudyResult:
    """All of it. ``measures[0]`` is the one that the ``answer`` is about. There are no
    ``comparisons`` while runs are missing (not ``complete``): early peeking is no result.
    ``configuration`` is the resolved study as TOML; ``notes`` tell what else a reader should know.
    ``marks`` are values of the first measure to be marked in pictures, by what they are; ``axes``
    those of the maps, by measure.
    """

    name: str
    title: str
    question: str
    answer: str
    complete: bool
    quick: bool
    planned: int
    measures: tuple[Measure, ...]
    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...]
    runs: tuple[Run, ...]
    vary: Vary | None
    command: str
    configuration: str
    versions: Mapping[str, str]
    machine: str
    notes: tuple[str, ...] = ()
    marks: Mapping[str, float] = field(default_factory=dict)
    axes: Mapping[str, Axes] = field(default_factory=dict)

    def arm(self, name: str) -> Arm:
        """The arm of that name; KeyError where there is none."""
        found = {one.name: one for one in self.arms}
        return found[name]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON once what is not finite is made null."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> StudyResult:
        """What ``to_dict`` gave, JSON's null for what was not finite.

        Raises:
            ValueError: it is no such thing.
        """
        found: StudyResult = from_plain(cls, plain)
        return found

    def records(self) -> list[dict[str, Any]]:
        """One flat record for each run: its arm, what varies, its seed, and what was measured."""
        return [self._record(run) for run in self.runs]

    def _record(self, run: Run) -> dict[str, Any]:
        arm = self.arm(run.arm)
        varied = {} if self.vary is None else {self.vary.key: arm.at}
        return {
            "study": self.name,
            "arm": arm.base,
            **varied,
            "seed": run.seed,
            **run.values,
            "parameters": arm.parameters,
            "multiply_adds": arm.multiply_adds,
            "fit_seconds": run.seconds,
            "machine": run.machine,
            "convmill": run.versions.get("convmill", ""),
            "finished": run.finished,
        }
