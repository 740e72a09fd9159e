"""What a preset is, and how one makes a Keras model that is ready for ``fit``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras.optimizers import schedules

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Preset:
    """A net and how it is trained.

    ``build`` makes the net for images (height, width, channels) and a number of classes.
    ``optimizer`` makes the optimizer for a training of so many steps.
    """

    build: Callable[[Shape, int], keras.Model]
    optimizer: Callable[[int], keras.Optimizer]
    label_smoothing: float
    batch_size: int
    epochs: int

    def compile(
        self,
        model: keras.Model,
        images: int,
        *,
        batch_size: int | None = None,
        epochs: int | None = None,
    ) -> None:
        """Compiles ``model`` for a training on so many images, whose labels are one row each.

        Another batch size or number of epochs stretches the schedule over the steps that these
        make.
        """
        steps = (epochs or self.epochs) * math.ceil(images / (batch_size or self.batch_size))
        model.compile(
            optimizer=self.optimizer(steps),
            loss=keras.losses.CategoricalCrossentropy(label_smoothing=self.label_smoothing),
            metrics=["accuracy"],
        )


def nadam(peak: float, steps: int) -> keras.Optimizer:
    """Nadam, which forgets gradients of long ago fast, with one cycle of learning rates."""
    return keras.optimizers.Nadam(one_cycle(peak, steps), beta_2=0.97)


def one_cycle(
    peak: float, steps: int, *, warm_up: float = 0.2, first: float = 0.1, last: float = 0.01
) -> schedules.LearningRateSchedule:
    """A learning rate that rises to ``peak`` and falls along a cosine until ``steps`` are over.

    ``warm_up`` is the share of steps in which it rises, ``first`` and ``last`` are the rates of the
    first and of the last step as shares of ``peak``.
    """
    rising = round(warm_up * steps)
    return schedules.CosineDecay(
        first * peak,
        max(steps - rising, 1),
        alpha=last,
        warmup_target=peak,
        warmup_steps=rising,
    )
