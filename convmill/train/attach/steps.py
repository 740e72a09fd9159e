"""Keras' own runs and steps."""

from __future__ import annotations

from typing import Any

from keras.src import backend

from convmill.train.attach.methods import KERAS
from convmill.train.attach.variables import held


def run_keras(name: str, model: Any, *args: Any, **kwargs: Any) -> Any:
    """Keras' own method ``name``. Where it raises, the model still has its values: Keras on JAX
    takes them away while it runs, and gives them back only once a step has been made. What it
    keeps of an earlier run is not put back: the model may have been trained, or set, since."""
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *model.metrics_variables]
    variables += [] if optimizer is None else optimizer.variables
    before = [held(variable) for variable in variables]
    earlier = getattr(model, "_jax_state", None)
    try:
        return KERAS[name](model, *args, **kwargs)
    except BaseException:
        if backend.backend() == "jax":
            if earlier is not None and model._jax_state is earlier:
                model._jax_state = None
            model.jax_state_sync()
            for variable, value in zip(variables, before, strict=True):
                if held(variable) is None:
                    variable._value = value
        raise


def keras_step(model: Any, method: str, *batch: Any) -> None:
    """One step of Keras' own, with what the metrics have counted so far kept.

    ``method`` is ``train_on_batch`` or ``test_on_batch``, which begin with ``reset_metrics``;
    ``batch`` is x, y and sample_weight.
    """
    attributes = vars(model)
    attributes["reset_metrics"] = lambda: None  # past Keras' __setattr__, which would track it
    try:
        x, y, sample_weight = batch
        KERAS[method](model, x, y, sample_weight=sample_weight)
    finally:
        del attributes["reset_metrics"]


def initial_epoch(model: Any, given: int) -> int:
    """The epoch to begin with: a callback's (``BackupAndRestore``), else the one given."""
    return int(model._initial_epoch or given)
