"""One run: an arm trained with a seed, on one thread, and measured."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from convmill.circumstances import machine, versions
from convmill.study.arm_spec import DRAWN, ArmSpec
from convmill.study.result import Axes, Rows, Run

MOST_TESTS = 20  # looks at the test images in one training
THREADS = 1  # of the engine: the cores are for runs side by side


@dataclass(frozen=True)
class Job:
    """One run that is to be made: the arm with the ``factor`` of its widths (1 as written), the
    seed, what is measured, and the digest that all of what determines its result goes into."""

    arm: ArmSpec
    factor: float
    seed: int
    measures: tuple[str, ...]
    digest: str


def train(job: Job) -> Run:
    """Trains and measures.

    Raises:
        StudyError: the arm cannot be built, or its data cannot be had.
        Exception: whatever Keras raises.
    """
    import keras

    from convmill.study import arms, images, weights
    from convmill.study.matching import scaled

    arm, data = job.arm, images.draw(job.arm.data, job.seed)
    classes = images.dataset(arm.data.name).class_names
    keras.utils.set_random_seed(job.seed)
    model = arms.build(arm, images.image_shape(arm.data), len(classes))
    if job.factor != 1:
        model = scaled(model, job.factor)
    if arm.weights == DRAWN:
        weights.draw_weights(model, job.seed)
    arms.compile_arm(model, arm.training, len(data.x_train))
    return _fit(job, model, data, classes)


def _fit(job: Job, model: Any, data: Any, classes: tuple[str, ...]) -> Run:
    import keras

    import convmill
    from convmill.study.arms import epochs_of
    from convmill.study.measures.trained import first_kernel
    from convmill.user_arrays import images_for, labels_for

    name, training = job.arm.data.name, job.arm.training
    if training.engine == "convmill":
        convmill.accelerate(model, threads=THREADS)
    x, x_test = (images_for(model, one, name) for one in (data.x_train, data.x_test))
    y, y_test = (labels_for(model, one, len(classes)) for one in (data.y_train, data.y_test))
    kernel = first_kernel(model).copy()
    clock, epochs = _clock(), epochs_of(training, len(x))
    keras.utils.set_random_seed(job.seed)  # the order of images, whatever building has drawn
    began = time.perf_counter()
    history = model.fit(
        x,
        y,
        batch_size=training.batch_size,
        epochs=epochs,
        validation_data=(x_test, y_test),
        validation_freq=(tested := tested_epochs(epochs)),
        verbose=0,
        callbacks=[clock],
    ).history
    seconds = time.perf_counter() - began
    return _measured(
        job,
        seconds,
        model=model,
        x_train=x,
        labels_train=data.y_train,
        y_train=y,
        x_test=x_test,
        labels_test=data.y_test,
        y_test=y_test,
        class_names=classes,
        curves=_curves(history, epochs, tested),
        epoch_seconds=tuple(clock.epochs),
        stored_test=data.stored_test,
        canvas=job.arm.data.canvas,
        first_kernel=kernel,
        options=job.arm.options,
    )


def _curves(
    history: Mapping[str, Sequence[float]], epochs: int, tested: Sequence[int]
) -> dict[str, tuple[float, ...]]:
    """The figures of the epochs that were ``tested``, counted from 1; which these are where they
    are not all."""
    curves = {
        key: tuple(float(values[epoch - 1]) for epoch in tested)
        if len(values) == epochs
        else tuple(map(float, values))
        for key, values in history.items()
    }
    if len(tested) < epochs:
        curves["epoch"] = tuple(map(float, tested))
    return curves


def _measured(job: Job, seconds: float, **known: Any) -> Run:
    from convmill.study.measures import MEASURES
    from convmill.study.measures.trained import Trained

    trained = Trained(**known)
    values: dict[str, float] = {}
    maps: dict[str, Rows] = {}
    axes: dict[str, Axes] = {}
    for name in job.measures:
        found = MEASURES[name].function(trained)
        values[name] = found.value
        if found.map is not None:
            maps[name] = found.map
        if found.axes is not None:
            axes[name] = found.axes
    return Run(
        arm=job.arm.name,
        seed=job.seed,
        values=values,
        curves=trained.curves,
        per_class=_per_class(trained),
        maps=maps,
        axes=axes,
        seconds=seconds,
        versions=versions(),
        machine=machine(),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def tested_epochs(epochs: int) -> list[int]:
    """After which epochs, counted from 1, the test images are looked at: all of a few, of many some
    that lie evenly, the last among them."""
    count = min(epochs, MOST_TESTS)
    return [round(epochs * (number + 1) / count) for number in range(count)]


def _per_class(trained: Any) -> Mapping[str, float]:
    """The share of each class' test images that are right; classes without one are left out."""
    labels = trained.labels_test
    return {
        name: float(trained.right[labels == number].mean())
        for number, name in enumerate(trained.class_names)
        if (labels == number).any()
    }


def _clock() -> Any:
    """A Keras callback that knows how long the training of each epoch took, testing left out."""
    import keras

    class Clock(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.epochs: list[float] = []
            self.began: float | None = None

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.began = time.perf_counter()

        def on_test_begin(self, logs: Any = None) -> None:
            self._stop()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self._stop()

        def _stop(self) -> None:
            if self.began is not None:
                self.epochs.append(time.perf_counter() - self.began)
                self.began = None

    return Clock()
