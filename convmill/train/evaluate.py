"""``evaluate`` and ``predict``: native passes without training, with Keras' callbacks and logs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from convmill.train import arguments as checks
from convmill.train import fallback
from convmill.train.attach import methods, steps
from convmill.train.attach.compiled import flatten_logs
from convmill.train.bound import Bound
from convmill.train.feed import ArrayFeed, Part, Uncovered, held
from convmill.train.frozen import FrozenBase
from convmill.train.hooks import hears_batches
from convmill.train.prepare import Feeds, Preparation
from convmill.train.progress import Progress, progress_for
from convmill.train.repeat import keep_prediction
from convmill.train.scores import Scores
from convmill.train.session import session

if TYPE_CHECKING:
    from convmill.runtime.program import Measured


@dataclass(frozen=True)
class Measuring:
    """One pass over data that is measured and not trained on."""

    model: Any
    bound: Bound
    feed: Feeds
    scores: Scores
    callbacks: Any
    progress: Progress
    base: FrozenBase | None = None


def prepare_evaluate(model: Any, arguments: dict[str, Any]) -> Callable[[], Any]:
    """Checks a call of ``evaluate``, and returns what runs it; raises as ``prepare_fit`` does."""
    ready = Preparation(model, arguments)
    given = arguments.get
    feed = ready.feed(
        given("x"),
        given("y"),
        given("sample_weight"),
        batch_size=given("batch_size"),
        steps=given("steps"),
    )
    verbose = given("verbose", "auto")
    checks.verbosity(verbose)
    checks.callbacks(given("callbacks"))
    ready.build_training(feed)
    bound = ready.compile("inference")

    def run() -> Any:
        with held(feed):
            logs = _evaluate(model, bound, feed, given("callbacks"), verbose)
        return logs if given("return_dict", False) else flatten_logs(model, logs)

    return run


def _evaluate(
    model: Any, bound: Bound, feed: Feeds, callbacks: Any, verbose: Any
) -> dict[str, Any]:
    feed.reset()
    listed, shows = callback_list(model, callbacks, feed.steps, verbose)
    scores = Scores(bound)
    with progress_for(verbose if shows else 0, 1, "Evaluate") as progress:
        progress.begin(0, feed.images, feed.steps)
        logs = measure(Measuring(model, bound, feed, scores, listed, progress))
        progress.worked(scores.totals.images)
        progress.end(logs)
    return logs


def callback_list(model: Any, callbacks: Any, steps: int | None, verbose: Any) -> tuple[Any, bool]:
    """Keras' list of callbacks, and whether progress is ours to show."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks, False
    listed = keras.callbacks.CallbackList(
        callbacks, add_progbar=False, verbose=verbose, epochs=1, steps=steps, model=model
    )
    displays = (isinstance(one, keras.callbacks.ProgbarLogger) for one in listed.callbacks)
    return listed, not any(displays)


def measure(call: Measuring) -> dict[str, Any]:
    """Runs through the feed once; the logs."""
    model, callbacks, scores = call.model, call.callbacks, call.scores
    model.stop_evaluating = False
    callbacks.on_test_begin()
    scores.catch_up()
    scores.reset()
    hooked = hears_batches(callbacks.callbacks, "test")
    heard = hooked or model.stop_evaluating
    bound = call.bound if call.base is None else call.base.begin(call.progress, heard)
    bound.pull_weights()
    penalty = bound.penalty()
    for execution in call.feed.epoch(whole=not heard):
        if hooked:
            callbacks.on_test_batch_begin(execution.first)
        there = False
        for part in execution.parts:
            there = True
            measure_part(bound, scores, part, penalty, call.progress)
        if hooked and there:
            callbacks.on_test_batch_end(execution.last, scores.logs())
        if heard and model.stop_evaluating:  # else another call's callback said so
            break
    if scores.totals.images == 0:
        raise ValueError("x gave no batch to evaluate. Received: an empty stream of batches")
    logs = scores.logs()
    callbacks.on_test_end(logs)
    return logs


def measure_part(
    bound: Bound, scores: Scores, part: Part | Uncovered, penalty: float, progress: Progress
) -> None:
    """One part's losses and, where a metric must see them, predictions."""
    if isinstance(part, Uncovered):
        keras_step("test_on_batch", bound, part, scores)
        bound.pull_weights()  # on JAX the step has deleted the arrays that were pulled before
        return
    if bound.resize(part.samples.sizes):
        bound.pull_weights()
    scores.build(part.samples)
    wanted = scores.need_outputs or bound.losses
    outputs = bound.room(len(part.order)) if wanted else None

    def watch(measured: Measured) -> None:
        if progress.wants_update() and measured.losses.shape[1] and not bound.losses:
            progress.update(*scores.preview(part, measured))

    measured = bound.evaluate(part, outputs, watch)
    for output, loss in bound.losses.items():
        assert outputs is not None
        measured.losses[output] = loss.of_part(part, outputs[output])
    scores.add(part, measured, outputs, penalty)


def keras_step(method: str, bound: Bound, batch: Uncovered, scores: Scores) -> None:
    """A step of Keras' own on a batch that the Program cannot read. NotCovered where strict."""
    fallback.fall_back(session(bound.model), batch.gap, bound.model)
    scores.give_to_keras()
    steps.keras_step(bound.model, method, batch.x, batch.y, batch.weight)
    scores.take_from_keras()


# predict ----------------------------------------------------------------------------------------


def prepare_predict(model: Any, arguments: dict[str, Any]) -> Callable[[], Any]:
    """Checks a call of ``predict``, and returns what runs it; raises as ``prepare_fit`` does."""
    ready = Preparation(model, arguments, training=False)
    given = arguments.get
    feed = ready.feed(given("x"), batch_size=given("batch_size"), steps=given("steps"))
    verbose = given("verbose", "auto")
    checks.verbosity(verbose)
    checks.callbacks(given("callbacks"))
    bound = ready.compile("inference")

    def run() -> Any:
        with held(feed):
            predicted = _predict(model, bound, feed, given("callbacks"), verbose)
        if isinstance(feed, ArrayFeed):
            keep_prediction(bound, given("x"), feed.arrays.given.x)
        return predicted

    return run


def _predict(model: Any, bound: Bound, feed: Feeds, callbacks: Any, verbose: Any) -> Any:
    """All predictions, float32, in the model's own structure."""
    listed, shows = callback_list(model, callbacks, feed.steps, verbose)
    hooked = hears_batches(listed.callbacks, "predict")
    model.stop_predicting = False
    pack = bound.reading.outputs.pack
    outputs: list[Sequence[np.ndarray]] = []  # of each part
    with progress_for(verbose if shows else 0, 1, "Predict") as progress:
        progress.begin(0, feed.images, feed.steps)
        listed.on_predict_begin()
        bound.pull_weights()
        heard = hooked or model.stop_predicting
        for execution in feed.epoch(whole=not heard):
            if hooked:
                listed.on_predict_batch_begin(execution.first)
            predicted = [_predict_part(bound, part) for part in execution.parts]
            outputs += predicted
            if hooked and predicted:
                listed.on_predict_batch_end(execution.last, {"outputs": pack(_together(predicted))})
            if heard and model.stop_predicting:  # else another call's callback said so
                break
        if not outputs:
            raise ValueError("x gave no batch to predict. Received: an empty stream of batches")
        progress.worked(sum(len(one[0]) for one in outputs))
        progress.end({})
    listed.on_predict_end()
    return pack(_together(outputs))


def _together(parts: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """The outputs of all parts, joined."""
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


def _predict_part(bound: Bound, part: Part | Uncovered) -> Sequence[np.ndarray]:
    if isinstance(part, Uncovered):
        fallback.fall_back(session(bound.model), part.gap, bound.model)
        predicted = methods.KERAS["predict_on_batch"](bound.model, part.x)
        bound.pull_weights()
        return [np.asarray(one) for one in bound.reading.outputs.flat(predicted)]
    if bound.resize(part.samples.sizes):
        bound.pull_weights()
    # Nothing is shuffled here: a part's images lie side by side.
    side_by_side = slice(part.order[0], part.order[-1] + 1)
    return bound.predict(tuple(x[side_by_side] for x in part.samples.x))
