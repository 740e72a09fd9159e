"""What a run reads and what it measures, as arrays; and the checks that keep native code inside
them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from convmill.lower.fields import IMAGE_TYPES
from convmill.plan.graph.nodes import Graph
from convmill.plan.graph.shapes import Shape
from convmill.plan.recipe import Recipe

Several = np.ndarray | Sequence[np.ndarray | None]


@dataclass(frozen=True)
class Batches:
    """Images and labels as arrays, and the order in which they are read.

    ``x`` is (n, height, width, channels) uint8, float32 or float64, each image without gaps;
    ``order`` int64 (m,) picks images; step s reads order[s * batch_size : (s + 1) * batch_size].
    ``y`` is float32 (n, *output shape), or int32 (n, *places) for the sparse loss, places being the
    output's shape without its last axis; ``sample_weight`` is float32 (n,) or (n, *places). A net
    with several inputs has a sequence as ``x``, one with several outputs a sequence as ``y``, None
    for those that have no loss, and one as ``sample_weight`` or one array for all.
    """

    x: Several
    order: np.ndarray
    batch_size: int
    y: Several | None = None
    sample_weight: Several | None = None

    @property
    def inputs(self) -> tuple[np.ndarray, ...]:
        """The arrays of all inputs."""
        return tuple(one for one in in_order(self.x) if one is not None)

    @property
    def labels(self) -> tuple[np.ndarray | None, ...]:
        """The labels of all outputs."""
        return in_order(self.y)

    def weights(self, outputs: int) -> tuple[np.ndarray | None, ...]:
        """The sample weights of so many outputs."""
        if self.sample_weight is None or isinstance(self.sample_weight, np.ndarray):
            return (self.sample_weight,) * outputs
        return tuple(self.sample_weight)


def in_order(arrays: Several | None) -> tuple[np.ndarray | None, ...]:
    """One array, or those of a sequence."""
    return (arrays,) if arrays is None or isinstance(arrays, np.ndarray) else tuple(arrays)


def zeros_like(batch: Batches) -> Batches:
    """Zeros of the shapes and dtypes of all of a batch's arrays, in their order."""

    def zeros(arrays: Several | None) -> list[np.ndarray | None] | None:
        if arrays is None:
            return None
        return [None if one is None else np.zeros(one.shape, one.dtype) for one in in_order(arrays)]

    x, y, weight = zeros(batch.inputs), zeros(batch.y), zeros(batch.sample_weight)
    assert x is not None
    order = np.arange(len(batch.order), dtype=np.int64)
    return Batches(x, order, len(order), y, weight)


@dataclass(frozen=True)
class Measured:
    """What was measured, for each output one entry per position of ``order`` that was read.

    ``losses`` float32 (outputs, m) is the sum of each image's losses, one a place, times their
    weights; ``rights`` float32 is the share of its places that are right; ``penalty`` float64, one
    per step, is the loss of regularizers before that step: of weights, where the run trains, and of
    what layers compute.
    """

    losses: np.ndarray
    rights: np.ndarray
    penalty: np.ndarray
    steps: int

    @property
    def loss(self) -> np.ndarray:
        """The losses at the first output."""
        first: np.ndarray = self.losses[0]
        return first

    @property
    def correct(self) -> np.ndarray:
        """What counts as right at the first output."""
        first: np.ndarray = self.rights[0]
        return first


def check(batches: Batches, graph: Graph, recipe: Recipe | None) -> None:
    """Raise ValueError where any array has another shape or dtype than a run reads."""
    order, inputs = batches.order, batches.inputs
    check_images(inputs, graph)
    count = len(inputs[0])
    if order.dtype != np.int64 or order.ndim != 1 or not len(order):
        raise ValueError("`order` must be int64 indices, at least one")
    if order.min() < 0 or order.max() >= count:
        raise ValueError(f"`order` must index {count} images")
    if batches.batch_size < 1:
        raise ValueError(f"`batch_size` must be positive. Received: {batches.batch_size}")
    if batches.y is not None:
        check_labels(batches.labels, count, graph, recipe)
    for name, weight in zip(graph.outputs, batches.weights(len(graph.outputs)), strict=True):
        if weight is not None:
            check_weights(weight, count, graph.node(name).shape)


def check_images(inputs: Sequence[np.ndarray], graph: Graph) -> None:
    """Raise ValueError for images that native code cannot read in place."""
    if len(inputs) != len(graph.inputs):
        raise ValueError(f"`x` must hold {len(graph.inputs)} arrays. Received: {len(inputs)}")
    for name, x in zip(graph.inputs, inputs, strict=True):
        shape = graph.node(name).shape
        if x.shape[1:] != shape or x.dtype.name not in IMAGE_TYPES or not x.dtype.isnative:
            raise ValueError(
                f"`x` must be (n, {', '.join(map(str, shape))}) of {', '.join(IMAGE_TYPES)}. "
                f"Received: shape {x.shape}, {x.dtype}"
            )
        if len(x) != len(inputs[0]):
            raise ValueError(f"`x` must hold as many images each. Received: {len(x)}")
        if len(x) and not x[0].flags.c_contiguous:
            raise ValueError("`x` must hold each image without gaps")


def check_labels(
    labels: Sequence[np.ndarray | None], count: int, graph: Graph, recipe: Recipe | None
) -> None:
    """Raise ValueError for labels of another shape or dtype than the losses read."""
    if recipe is None:
        raise ValueError("a Program without a recipe takes no labels")
    if len(labels) != len(recipe.goals):
        raise ValueError(f"`y` must hold {len(recipe.goals)} arrays. Received: {len(labels)}")
    for name, goal, y in zip(graph.outputs, recipe.goals, labels, strict=True):
        if goal is None or goal.loss.bridged:
            continue
        sparse = goal.loss.sparse
        shape = (count, *graph.node(name).shape[: -1 if sparse else None])
        dtype = np.dtype(np.int32 if sparse else np.float32)
        if y is None or y.shape != shape or y.dtype != dtype:
            found = "None" if y is None else f"{y.dtype} {y.shape}"
            raise ValueError(f"`y` must be {dtype} {shape}. Received: {found}")


def check_weights(weight: np.ndarray, count: int, output_shape: Shape) -> None:
    """Raise ValueError unless there is one weight for each image, or for each place."""
    each = (count, *output_shape[:-1])
    if weight.shape not in ((count,), each) or weight.dtype != np.float32:
        others = "" if each == (count,) else f" or {each}"
        raise ValueError(
            f"`sample_weight` must be float32 ({count},){others}. "
            f"Received: {weight.dtype} {weight.shape}"
        )


def check_outputs(outputs: Sequence[np.ndarray | None], count: int, graph: Graph) -> None:
    """Raise ValueError where predictions would not fit into ``outputs``."""
    if len(outputs) != len(graph.outputs):
        raise ValueError(
            f"`outputs` must hold {len(graph.outputs)} arrays. Received: {len(outputs)}"
        )
    for name, one in zip(graph.outputs, outputs, strict=True):
        wanted = (count, *graph.node(name).shape)
        if one is None:
            raise ValueError("`outputs` must hold arrays. Received: None")
        fits = one.flags.c_contiguous and one.flags.writeable and one.dtype == np.float32
        if not fits or one.shape != wanted:
            raise ValueError(
                f"`outputs` must be writable float32 {wanted} without gaps. "
                f"Received: {one.dtype} {one.shape}"
            )


def room(count: int, graph: Graph) -> list[np.ndarray]:
    """Room for the predictions of so many images, for each output."""
    return [np.empty((count, *graph.node(name).shape), np.float32) for name in graph.outputs]


def penalties_of(activities: np.ndarray, batch_size: int, graph: Graph) -> np.ndarray:
    """Float64, one for each batch: the sum of all rows, of each the mean or the sum over the
    batch's images."""
    count = activities.shape[1]
    if not graph.penalties:
        return np.zeros(-(-count // batch_size))
    starts = np.arange(0, count, batch_size)
    sizes = np.minimum(batch_size, count - starts)
    total = np.zeros(len(starts))
    for over in ("mean", "sum") if count else ():
        rows = activities[[one == over for one in graph.penalties]]
        found = np.add.reduceat(rows.sum(axis=0, dtype=np.float64), starts)
        total += found / sizes if over == "mean" else found
    return total


def seeds_of(seeds: np.ndarray | None, graph: Graph) -> np.ndarray:
    """Uint64, one for each dropout layer, zeros unless given (and one more, so that there is an
    address). Raises ValueError for another number of them."""
    count = graph.dropouts
    given = np.zeros(count, np.uint64) if seeds is None else seeds
    if len(given) != count:
        raise ValueError(f"`seeds` must hold {count} seeds. Received: {len(given)}")
    return np.array([*given, 0], np.uint64)
