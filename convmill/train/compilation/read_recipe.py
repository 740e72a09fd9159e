"""Reads what ``compile`` said into a Recipe.

What the Recipe cannot express raises ``NotCovered``; a number that makes no sense (a rate that is
NaN, a negative clipnorm) raises ``ValueError`` with what was received.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import replace
from typing import Any

import numpy as np

from convmill.plan.graph.operations import AddedLoss, Penalize
from convmill.plan.graph.shapes import Shape, Sizes
from convmill.plan.read import Reading, read
from convmill.plan.recipe import Goal, Recipe
from convmill.plan.refusals import NotCovered
from convmill.plan.untold import outside_training
from convmill.plan.written import own_call
from convmill.train.attach.compiled import Asked, asked_losses, asked_metrics
from convmill.train.compilation.accuracy import accuracy_kind
from convmill.train.compilation.loss import LOSS_REMEDY, read_loss
from convmill.train.compilation.numbers import check_number
from convmill.train.compilation.optimizer import mark_decay, read_optimizer


def read_training(model: Any, sizes: Sizes | None = None) -> tuple[Reading, Recipe]:
    """What a compiled Keras model is and how it is trained, as far as ``fit`` is compiled.

    Raises:
        NotCovered: the model, its loss or its optimizer is not.
        ValueError: something in them makes no sense.
    """
    reading = read(model, sizes)
    if own_call(model) is not None and "training" not in inspect.signature(model.call).parameters:
        reading = outside_training(reading, model)
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
    goals: list[Goal | None] = [None] * len(reading.outputs)
    for asked in asked_losses(model, reading.outputs):
        if goals[asked.output] is not None:
            raise NotCovered("several losses of one output", "give each output one loss")
        goals[asked.output] = _goal(asked, reading)
    nodes = reading.graph.nodes
    if not any(goals) and not any(isinstance(node.operation, AddedLoss) for node in nodes):
        raise NotCovered("the model was compiled without a loss", LOSS_REMEDY)
    penalized = any(isinstance(node.operation, Penalize) for node in nodes)
    if penalized and None in goals:  # its gradient may come from there alone
        raise NotCovered(
            "activity_regularizer beside an output without a loss", "give each output a loss"
        )
    for asked in asked_metrics(model, reading.outputs):
        goal = goals[asked.output]
        if goal is not None and goal.accuracy is None:
            kind = accuracy_kind(asked.given, goal.loss, _shape(reading, asked.output))
            goals[asked.output] = replace(goal, accuracy=kind)
    return Recipe(tuple(goals), read_optimizer(model.optimizer, reading))


def _goal(asked: Asked, reading: Reading) -> Goal:
    loss = read_loss(asked.given, _shape(reading, asked.output))
    if asked.weight is None:
        return Goal(loss)
    if not isinstance(asked.weight, (int, float, np.number)):
        raise NotCovered(f"loss_weights={asked.weight!r}", "use numbers as loss_weights")
    return Goal(loss, weight=check_number("loss_weights", asked.weight, -math.inf))


def _shape(reading: Reading, output: int) -> Shape:
    graph = reading.graph
    return graph.node(graph.outputs[output]).shape
