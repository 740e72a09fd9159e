"""From the runs of a study to what they show: summaries, comparisons, the answer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from convmill.study import toml
from convmill.study.answers import answer
from convmill.study.measures import MEASURES
from convmill.study.pairs import paired
from convmill.study.plan import PlannedArm
from convmill.study.result import Arm, Comparison, Run, StudyResult, Vary
from convmill.study.spec import Spec
from convmill.study.statistics import corrected, summarize
from convmill.study.store import Kept
from convmill.study.vary import VarySpec
from convmill.study.words import sentence


def analyze(spec: Spec, planned: Sequence[PlannedArm], kept: Kept, command: str) -> StudyResult:
    """What the runs in ``kept`` that are ``planned`` show. There are no comparisons, and no answer,
    before every run is made or has failed."""
    runs = {arm.name: _runs(arm, kept.runs) for arm in planned}
    missing = sum(_missing(arm, kept) for arm in planned)
    arms = tuple(_arm(arm, runs[arm.name], spec, kept) for arm in planned)
    found = tuple(run for arm in planned for run in runs[arm.name])
    comparisons = () if missing else _comparisons(spec, arms, runs)
    result = StudyResult(
        name=spec.name,
        title=spec.title,
        question=spec.question,
        answer="",
        complete=not missing,
        quick=spec.quick,
        planned=len({one for arm in planned for one in arm.digests}),
        measures=tuple(MEASURES[name].measure for name in spec.measures),
        arms=arms,
        comparisons=comparisons,
        runs=found,
        vary=_vary(spec.vary),
        command=command,
        configuration=toml.dumps(spec.source),
        versions=_versions(found),
        machine="; ".join(dict.fromkeys(run.machine for run in found)),
        notes=(*_notes(arms, found, kept), *_not_finite(spec, arms, runs), *_beyond(spec, arms)),
        marks=spec.marks,
        axes={name: axes for run in reversed(found) for name, axes in run.axes.items()},
    )
    return replace(result, answer=answer(result, spec.answer))


def _runs(arm: PlannedArm, kept: Mapping[str, Run]) -> list[Run]:
    """The finished runs of an arm, in the order of its seeds, by the name that it has now."""
    return [replace(kept[one], arm=arm.name) for one in arm.digests if one in kept]


def _missing(arm: PlannedArm, kept: Kept) -> int:
    return sum(one not in kept.runs and one not in kept.failures for one in arm.digests)


def _arm(arm: PlannedArm, runs: Sequence[Run], spec: Spec, kept: Kept) -> Arm:
    failures = [kept.failures[one] for one in arm.digests if one in kept.failures]
    return Arm(
        name=arm.name,
        label=arm.label,
        base=arm.base,
        at=arm.at,
        parameters=arm.parameters,
        multiply_adds=arm.multiply_adds,
        match=arm.match,
        summaries=tuple(
            summarize(name, [run.values[name] for run in runs]) for name in spec.measures if runs
        ),
        failure=arm.failure or "; ".join(dict.fromkeys(failures)),
    )


def _comparisons(
    spec: Spec, arms: Sequence[Arm], runs: Mapping[str, Sequence[Run]]
) -> tuple[Comparison, ...]:
    """Every pair in every measure, Holm's correction within each measure."""
    labels = {arm.name: arm.label for arm in arms}
    every = [run for some in runs.values() for run in some]
    found: list[Comparison] = []
    for name in spec.measures:
        measure = MEASURES[name].measure
        pairs = [paired(name, pair, every) for pair in spec.compare]
        tested = corrected([one for one in pairs if one is not None])
        found += [replace(one, sentence=sentence(one, measure, labels)) for one in tested]
    return tuple(found)


def _not_finite(
    spec: Spec, arms: Sequence[Arm], runs: Mapping[str, Sequence[Run]]
) -> Iterable[str]:
    """For each arm and measure in which runs are not finite, such as diverged ones, how many."""
    for arm, name in itertools.product(arms, spec.measures):
        values = [run.values[name] for run in runs[arm.name]]
        wild = sum(not math.isfinite(value) for value in values)
        if wild:
            label = MEASURES[name].measure.label
            yield f"{arm.label}: the {label} of {wild} of {len(values)} runs is not finite"


def _beyond(spec: Spec, arms: Sequence[Arm]) -> Iterable[str]:
    """Of which measures intervals go beyond what there can be."""
    for measure in (MEASURES[name].measure for name in spec.measures):
        found = [arm.summary(measure.name) for arm in arms]
        if measure.share and any(one and (one.low < 0 or one.high > 1) for one in found):
            yield (
                f"Intervals of {measure.label} reach below 0 or above 100 %, where it cannot lie: "
                "Student's intervals know no bounds"
            )


def _vary(vary: VarySpec | None) -> Vary | None:
    if vary is None:
        return None
    return Vary(vary.key, vary.label, tuple(map(float, vary.values)), vary.logarithmic)


def _versions(runs: Iterable[Run]) -> dict[str, str]:
    """Of each package the versions that runs were made with."""
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, version in run.versions.items():
            found.setdefault(name, {})[version] = None
    return {name: ", ".join(versions) for name, versions in found.items()}


def _notes(arms: Sequence[Arm], runs: Sequence[Run], kept: Kept) -> tuple[str, ...]:
    notes = [f"{arm.label} failed: {arm.failure}" for arm in arms if arm.failure]
    made = list(dict.fromkeys(run.versions.get("convmill", "?") for run in runs))
    if len(made) > 1:
        notes.append(f"The runs were made with several versions of convmill: {', '.join(made)}")
    return (*notes, *(f"Not read: {words}" for words in kept.unread))
