"""What a run reads and what it measures, as arrays; and the checks that keep native code inside
them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convmill.lower.fields import IMAGE_TYPES
from convmill.plan.graph import Graph
from convmill.plan.recipe import Recipe


@dataclass(frozen=True)
class Batches:
    """Images and labels as arrays, and the order in which they are read.

    ``x`` is (n, height, width, channels) uint8, float32 or float64, each image without gaps;
    ``order`` int64 (m,) picks images; step s reads order[s * batch_size : (s + 1) * batch_size].
    ``y`` is float32 (n, *output shape), or int32 (n, *places) for the sparse loss, places being the
    output's shape without its last axis; ``sample_weight`` is float32 (n,) or (n, *places).
    """

    x: np.ndarray
    order: np.ndarray
    batch_size: int
    y: np.ndarray | None = None
    sample_weight: np.ndarray | None = None


@dataclass(frozen=True)
class Measured:
    """What was measured, one entry per position of ``order`` that was read.

    ``loss`` float32 is the sum of each image's losses, one a place, times their weights;
    ``correct`` float32 is the share of its places that are right; ``penalty`` float64, one per
    step, is the regularizers' loss before that step.
    """

    loss: np.ndarray
    correct: np.ndarray
    penalty: np.ndarray
    steps: int


def check(batches: Batches, graph: Graph, recipe: Recipe | None) -> None:
    """Raise ValueError where any array has another shape or dtype than a run reads."""
    order, count = batches.order, len(batches.x)
    check_images(batches.x, graph)
    if order.dtype != np.int64 or order.ndim != 1 or not len(order):
        raise ValueError("`order` must be int64 indices, at least one")
    if order.min() < 0 or order.max() >= count:
        raise ValueError(f"`order` must index {count} images")
    if batches.batch_size < 1:
        raise ValueError(f"`batch_size` must be positive. Received: {batches.batch_size}")
    if batches.y is not None:
        check_labels(batches.y, count, graph, recipe)
    weight = batches.sample_weight
    if weight is not None:
        check_weights(weight, count, graph)


def check_images(x: np.ndarray, graph: Graph) -> None:
    """Raise ValueError for images that native code cannot read in place."""
    shape = graph.input_shape
    if x.shape[1:] != shape or x.dtype.name not in IMAGE_TYPES or not x.dtype.isnative:
        raise ValueError(
            f"`x` must be (n, {', '.join(map(str, shape))}) of {', '.join(IMAGE_TYPES)}. "
            f"Received: shape {x.shape}, {x.dtype}"
        )
    if len(x) and not x[0].flags.c_contiguous:
        raise ValueError("`x` must hold each image without gaps")


def check_labels(y: np.ndarray, count: int, graph: Graph, recipe: Recipe | None) -> None:
    """Raise ValueError for labels of another shape or dtype than the loss reads."""
    if recipe is None:
        raise ValueError("a Program without a recipe takes no labels")
    sparse = recipe.loss.sparse
    shape = (count, *graph.output_shape[: -1 if sparse else None])
    dtype = np.dtype(np.int32 if sparse else np.float32)
    if y.shape != shape or y.dtype != dtype:
        raise ValueError(f"`y` must be {dtype} {shape}. Received: {y.dtype} {y.shape}")


def check_weights(weight: np.ndarray, count: int, graph: Graph) -> None:
    """Raise ValueError unless there is one weight for each image, or for each place."""
    each = (count, *graph.output_shape[:-1])
    if weight.shape not in ((count,), each) or weight.dtype != np.float32:
        others = "" if each == (count,) else f" or {each}"
        raise ValueError(
            f"`sample_weight` must be float32 ({count},){others}. "
            f"Received: {weight.dtype} {weight.shape}"
        )


def check_outputs(outputs: np.ndarray, count: int, graph: Graph) -> None:
    """Raise ValueError where predictions would not fit into ``outputs``."""
    wanted = (count, *graph.output_shape)
    fits = outputs.flags.c_contiguous and outputs.flags.writeable and outputs.dtype == np.float32
    if not fits or outputs.shape != wanted:
        raise ValueError(
            f"`outputs` must be writable float32 {wanted} without gaps. "
            f"Received: {outputs.dtype} {outputs.shape}"
        )


def seeds_of(seeds: np.ndarray | None, graph: Graph) -> np.ndarray:
    """Uint64, one for each dropout layer, zeros unless given (and one more, so that there is an
    address). Raises ValueError for another number of them."""
    count = graph.dropouts
    given = np.zeros(count, np.uint64) if seeds is None else seeds
    if len(given) != count:
        raise ValueError(f"`seeds` must hold {count} seeds. Received: {len(given)}")
    return np.array([*given, 0], np.uint64)
