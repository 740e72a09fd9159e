"""A run's context filled: the caller's arrays, the weights, and memory for what is measured."""

from __future__ import annotations

import numpy as np

from convmill.lower.fields import IMAGE_TYPES
from convmill.lower.network import Network
from convmill.plan.graph.nodes import Graph
from convmill.runtime.batches import Batches, Several, check_outputs, in_order
from convmill.runtime.memory import Context, aligned
from convmill.runtime.weights import Weights


def of_batches(
    batches: Batches, outputs: Several | None, graph: Graph, weights: Weights, threads: int
) -> Context:
    """A context with all that training and inference share: images, labels, sample weights, and
    ``outputs`` for predictions, which are checked. Raises ValueError where they do not fit."""
    inputs, count = batches.inputs, len(batches.order)
    context = Context(threads)
    context["order"] = np.ascontiguousarray(batches.order)
    context.set_table("images", [(x, IMAGE_TYPES.index(x.dtype.name)) for x in inputs])
    context["positions"] = count
    context["parameters"] = weights.parameters
    context["packs"] = weights.packs
    context["statistics"] = weights.statistics
    if batches.y is not None:
        labels = (None if y is None else np.ascontiguousarray(y) for y in batches.labels)
        context.set_table("labels", [(y,) for y in labels])
        context["has_labels"] = 1
    ones = np.ones(len(inputs[0]), np.float32)
    given = batches.weights(len(graph.outputs))
    each = (ones if w is None else np.ascontiguousarray(w) for w in given)
    context.set_table("sample_weights", [(one,) for one in each])
    if outputs is not None:
        check_outputs(in_order(outputs), count, graph)
        context.set_table("outputs", [(one,) for one in in_order(outputs)])
        context["has_outputs"] = 1
    return context


def hold_updates(
    context: Context, network: Network, weights: Weights, steps: int
) -> np.ndarray:
    """Hands memory over that updates write beside the weights; the penalties of regularizers,
    float32 (steps, regularized parameters)."""
    context["slots"], context["gradients"] = weights.slots, weights.gradients
    regularized = sum(matrix.regularizer is not None for matrix in network.matrices)
    penalties = np.zeros((steps, regularized), np.float32)
    context["penalties"] = penalties
    context["norms"] = aligned(len(network.matrices), np.float32)
    return penalties


def hold_measurements(
    context: Context, graph: Graph, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hands memory over for the loss of each position at each output, whether it was right, and for
    the penalties of what layers compute of it."""
    losses, correct = np.zeros((2, len(graph.outputs), count), np.float32)
    activities = np.zeros((len(graph.penalties), count), np.float32)
    context["losses"], context["correct"] = losses, correct
    context["activities"] = activities
    return losses, correct, activities
