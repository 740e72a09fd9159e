"""Reads what ``compile`` said into a Recipe.

What the Recipe cannot express raises ``NotCovered``; a number that makes no sense (a rate that is
NaN, a negative clipnorm) raises ``ValueError`` with what was received.
"""

from __future__ import annotations

from typing import Any

from convmill.plan.graph import NotCovered
from convmill.plan.read import Reading, read
from convmill.plan.recipe import Recipe, one_goal
from convmill.train import attach
from convmill.train.compilation.accuracy import accuracy_kind
from convmill.train.compilation.loss import read_loss
from convmill.train.compilation.optimizer import mark_decay, read_optimizer


def read_training(model: Any) -> tuple[Reading, Recipe]:
    """What a compiled Keras model is and how it is trained, as far as ``fit`` is compiled.

    Raises:
        NotCovered: the model, its loss or its optimizer is not.
        ValueError: something in them makes no sense.
    """
    reading = read(model)
    recipe = read_recipe(model, reading)
    return mark_decay(model.optimizer, reading), recipe


def read_recipe(model: Any, reading: Reading) -> Recipe:
    """The Recipe of a compiled Keras model.

    Raises:
        NotCovered: a loss, an optimizer or an argument of theirs that the Recipe cannot express.
        ValueError: an unknown loss, or an argument outside its range.
    """
    if not model.compiled:
        raise NotCovered("the model is not compiled", "call model.compile first")
    shape = reading.graph.output_shape
    loss = read_loss(model, shape)
    optimizer = read_optimizer(model.optimizer, reading)
    kinds = (accuracy_kind(metric, loss, shape) for metric in attach.named_metrics(model))
    accuracy = next((kind for kind in kinds if kind is not None), None)
    return one_goal(loss, optimizer, accuracy)
