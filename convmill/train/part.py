"""The steps of one part, and the scores that follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convmill.train.bound import Bound
from convmill.train.evaluate import keras_step
from convmill.train.feed import Part, Uncovered
from convmill.train.keeping import NOTHING, Keeping
from convmill.train.pieces import Outputs
from convmill.train.progress import Progress
from convmill.train.scores import Scores

if TYPE_CHECKING:
    from convmill.runtime.program import Measured


def train_part(
    bound: Bound,
    part: Part | Uncovered,
    scores: Scores,
    progress: Progress,
    keeping: Keeping = NOTHING,
) -> None:
    """The steps of one part; the scores follow."""
    if isinstance(part, Uncovered):
        if keeping.guard.has_found:
            return
        bound.push()
        with keeping.guard.uncovered(part, bound, scores):
            keras_step("train_on_batch", bound, part, scores)
        scores.trained += 1
        keeping.add(1, bound)
        return
    while part.steps and not keeping.guard.has_found:
        measured = _train(bound, keeping.room(part), scores, progress, keeping)
        keeping.guard.check(part, measured, bound)
        part = part.behind(measured.steps)
        keeping.add(measured.steps, bound)


def _train(
    bound: Bound, part: Part, scores: Scores, progress: Progress, keeping: Keeping
) -> Measured:
    """As much of a part as is trained before somebody wants the state."""
    outputs = make_ready(bound, part, scores)

    def watch(measured: Measured) -> None:
        keeping.guard.look(measured)
        if progress.wants_update():
            progress.update(*scores.preview(part, measured))

    measured = bound.train(part, outputs, watch, until=keeping.is_wanted)
    add(part, measured, outputs, scores)
    return measured


def make_ready(bound: Bound, part: Part, scores: Scores) -> Outputs | None:
    """Makes model and metrics ready for a part; room for its predictions, if metrics want them."""
    bound.resize(part.samples.sizes)
    scores.build(part.samples)
    return bound.room(len(part.order)) if scores.need_outputs else None


def add(part: Part, measured: Measured, outputs: Outputs | None, scores: Scores) -> None:
    """Counts what is done, which may be less than the part."""
    scores.add(part.until(measured.steps), measured, outputs)
    scores.trained += measured.steps
