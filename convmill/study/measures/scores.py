"""How good a net is on test images, how much better on its own, and how long an epoch takes."""

from __future__ import annotations

import numpy as np

from convmill.study.measures.trained import Measured, Trained


def accuracy(trained: Trained) -> Measured:
    """The share of test images that are told right, after the last epoch."""
    return Measured(float(trained.right.mean()))


def best_accuracy(trained: Trained) -> Measured:
    """The best test accuracy of any epoch, or of the weights in the end where those are others,
    such as averages: which it is was chosen on the test images."""
    return Measured(max(*trained.curves["val_accuracy"], accuracy(trained).value))


def loss(trained: Trained) -> Measured:
    """The loss on the test images."""
    return Measured(float(trained.curves["val_loss"][-1]))


def train_accuracy(trained: Trained) -> Measured:
    """The share of the training images that the trained net tells right."""
    return Measured(float(trained.told_right(trained.x_train, trained.labels_train).mean()))


def gap(trained: Trained) -> Measured:
    """Accuracy on training images minus that on test images: how much was learned by heart."""
    return Measured(train_accuracy(trained).value - accuracy(trained).value)


def epoch_seconds(trained: Trained) -> Measured:
    """The median time of an epoch's training, on one thread."""
    return Measured(float(np.median(trained.epoch_seconds)))


def dip(trained: Trained) -> Measured:
    """How far the test accuracy lies below the best epoch's."""
    return Measured(best_accuracy(trained).value - accuracy(trained).value)
