"""From an arm to a Keras model that is ready for ``fit``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from convmill.failure import Failure, nearest
from convmill.study.arm_spec import DRAWN, ArmSpec
from convmill.study.designs import DESIGNS
from convmill.study.errors import StudyError
from convmill.study.settings import OPTIMIZER_KEY, Training
from convmill.user_arrays import images_for, labels_for
from convmill.user_models import (
    build_design,
    check_parameters,
    compile_model,
    load_model,
    problem_of,
)

LEARNING_RATE = 0.001  # of Keras' optimizers that have a schedule, where none is said


def build(arm: ArmSpec, shape: tuple[int, ...], classes: int) -> Any:
    """The model of an arm as it is written, for images of ``shape``; not yet matched.

    Raises:
        StudyError: there is no such design, function or file; it cannot be built, or fails.
    """
    import keras

    keras.utils.clear_session()  # so that equal designs name their layers alike
    where = f"arm '{arm.name}'"
    try:
        model = _made(arm, {"input_shape": shape, "classes": classes}, where)
        if not model.built:
            model.build((None, *shape))
    except StudyError:
        raise
    except (Failure, ValueError, TypeError) as error:
        raise StudyError(f"{where}: {error}") from error
    return model


def _made(arm: ArmSpec, given: Mapping[str, Any], where: str) -> Any:
    if arm.model in DESIGNS:
        design = DESIGNS[arm.model]
        check_parameters(design, arm.arguments, arm.model)
        return design(**given, **arm.arguments)
    if not arm.model.endswith(".keras") and ":" not in arm.model:
        raise StudyError(
            f"{where}: there is no design '{arm.model}'.{nearest(arm.model, DESIGNS)} Designs are: "
            f"{', '.join(DESIGNS)}; or give SCRIPT.py:FUNCTION or FILE.keras."
        )
    if problem := problem_of(arm.model):
        raise StudyError(f"{where}: {problem}")
    if (path := Path(arm.model)).suffix == ".keras":
        if arm.arguments:
            raise StudyError(f"{where}: a model in a file takes no arguments.")
        return anew(load_model(path)) if arm.weights == DRAWN else load_model(path)
    return build_design(arm.model, {**given, **arm.arguments}, needed=arm.arguments)


def anew(model: Any, config: Mapping[str, Any] | None = None) -> Any:
    """A model of the configuration of ``model``, or of another one, with weights of its own,
    compiled as ``model`` is."""
    found = type(model).from_config(config or model.get_config())
    if not found.built:
        found.build(model.input_shape)
    if model.compiled:
        found.compile_from_config(model.get_compile_config())
    return found


def check_fits(model: Any, shape: tuple[int, ...], classes: int, where: str) -> None:
    """Raises StudyError where a compiled model does not read images of ``shape``, or tells fewer
    classes apart."""
    try:
        images_for(model, np.zeros((1, *shape), np.uint8), "the data")
        labels_for(model, np.zeros(1, np.int64), classes)
    except Failure as error:
        raise StudyError(f"{where}: {error}") from error


def compile_arm(model: Any, training: Training, images: int) -> None:
    """Compiles a model as the study says, for a training on so many images."""
    import keras

    compile_model(model, None)
    if training.optimizer is None and training.learning_rate is None and training.decay == "none":
        return
    rate = _rate(training, steps_of(training, images))
    try:
        optimizer = _optimizer(model, training, {} if rate is None else {"learning_rate": rate})
    except (ValueError, TypeError) as error:
        raise StudyError(f"training, optimizer: {error}") from error
    compiled = model.get_compile_config()
    model.compile_from_config(compiled | {"optimizer": keras.optimizers.serialize(optimizer)})


def _optimizer(model: Any, training: Training, changed: Mapping[str, Any]) -> Any:
    """The optimizer that the study names, or one like the model's own, with what is ``changed``."""
    import keras

    if training.optimizer is None:
        config = {**model.optimizer.get_config(), **changed}
        config.pop("name", None)
        return type(model.optimizer).from_config(config)
    table = {**training.optimizer, **changed}
    return type(keras.optimizers.get(table.pop(OPTIMIZER_KEY)))(**table)


def _rate(training: Training, steps: int) -> Any:
    from keras.optimizers import schedules

    rate = training.learning_rate
    if training.decay == "cosine":
        return schedules.CosineDecay(rate or LEARNING_RATE, steps)
    if training.decay == "linear":
        return schedules.PolynomialDecay(rate or LEARNING_RATE, steps, 0.0)
    return rate


def epochs_of(training: Training, images: int) -> int:
    """How often to go through so many images."""
    if training.steps is None:
        return training.epochs
    return math.ceil(training.steps / math.ceil(images / training.batch_size))


def steps_of(training: Training, images: int) -> int:
    """How many steps of learning that makes."""
    return epochs_of(training, images) * math.ceil(images / training.batch_size)
