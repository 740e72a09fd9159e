"""``train_on_batch``, ``test_on_batch`` and ``predict_on_batch``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from convmill.train.arrays import Given
from convmill.train.attach.building import build_on, training_built
from convmill.train.attach.compiled import flatten_logs
from convmill.train.evaluate import measure_part
from convmill.train.feed import Part
from convmill.train.part import train_part
from convmill.train.prepare import Preparation
from convmill.train.progress import Progress
from convmill.train.repeat import keep_prediction, keep_step
from convmill.train.scores import Scores


def prepare_train_on_batch(model: Any, arguments: dict[str, Any]) -> Callable[[], Any]:
    """Checks one step of training, and returns what runs it; raises as ``prepare_fit`` does."""
    ready, given = _take(model, arguments)
    part = _part(ready, given, arguments.get("class_weight"))
    bound = ready.compile("training")

    def run() -> Any:
        scores = Scores(bound)
        scores.reset()
        train_part(bound, part, scores, Progress())
        bound.push()
        logs = _logs(model, scores, arguments)
        keep_step(ready, scores, part, arguments)
        return logs

    return run


def prepare_test_on_batch(model: Any, arguments: dict[str, Any]) -> Callable[[], Any]:
    """Checks one evaluation, and returns what runs it; raises as ``prepare_fit`` does."""
    ready, given = _take(model, arguments)
    part = _part(ready, given, None)
    bound = ready.compile("inference")

    def run() -> Any:
        scores = Scores(bound)
        scores.reset()
        bound.pull_weights()
        measure_part(bound, scores, part, bound.penalty(), Progress())
        return _logs(model, scores, arguments)

    return run


def prepare_predict_on_batch(model: Any, arguments: dict[str, Any]) -> Callable[[], Any]:
    """Checks one prediction, and returns what runs it; raises as ``prepare_fit`` does."""
    ready, given = _take(model, arguments, training=False)
    samples = ready.samples(given)
    bound = ready.compile("inference")

    def run() -> Any:
        bound.pull_weights()
        outputs = bound.predict(samples.x)
        keep_prediction(bound, arguments["x"], samples.x)
        return bound.reading.outputs.pack(outputs)

    return run


def _take(
    model: Any, arguments: dict[str, Any], training: bool = True
) -> tuple[Preparation, Given]:
    """The batch as arrays, and the model bound: its layers are built on that batch if need be."""
    ready = Preparation(model, arguments, training)
    given = ready.take(arguments["x"], arguments.get("y"), arguments.get("sample_weight"))
    ready.build_layers(ready.interface.inputs.pack(given.x))
    return ready, given


def _part(ready: Preparation, given: Given, class_weight: Any) -> Part:
    samples = ready.samples(given, class_weight)
    if not training_built(ready.model):
        build_on(ready.model, ready.interface, samples.seen)
    return Part(samples, np.arange(len(samples), dtype=np.int64), len(samples))


def _logs(model: Any, scores: Scores, arguments: dict[str, Any]) -> Any:
    logs = scores.logs()
    return logs if arguments.get("return_dict", False) else flatten_logs(model, logs)
