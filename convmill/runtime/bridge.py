"""The way out of native code to a loss that is computed outside, and back."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

from convmill.plan.graph.nodes import Graph
from convmill.plan.recipe import Recipe
from convmill.runtime.memory import Context

# (step, output, predictions of the batch) -> the batch's loss, and its gradient by the predictions.
Bridge = Callable[[int, int, np.ndarray], tuple[float, np.ndarray]]
CALLED = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


class Crossing:
    """One run's calls of ``bridge``, by whichever thread is there first.

    The batch's loss goes to the place of its first image in ``losses`` (outputs, positions). What
    the bridge raises ends the run in front of the step's update; ``check`` raises it again.
    """

    def __init__(
        self,
        context: Context,
        graph: Graph,
        recipe: Recipe,
        bridge: Bridge | None,
        batch_size: int,
        losses: np.ndarray,
    ) -> None:
        self.error: BaseException | None = None
        if not recipe.bridged:
            return
        if bridge is None:
            raise ValueError("`bridge` is missing: a loss of the recipe is computed outside")
        self._context, self._bridge, self._batch_size = context, bridge, batch_size
        count = min(batch_size, losses.shape[1])
        shapes = [(count, *graph.node(name).shape) for name in graph.outputs]
        for name in ("handed_over", "returned"):
            context.set_table(name, [(np.empty(shape, np.float32),) for shape in shapes])
        self._called = CALLED(self._call)  # kept as long as its address is there
        address = ctypes.cast(self._called, ctypes.c_void_p).value
        assert address is not None
        context["bridge"] = address

    def _call(self, step: int, output: int, images: int) -> None:
        """What native code calls: nothing may be raised here."""
        arrays = self._context.arrays
        try:
            predictions = arrays[f"handed_over/{output}"][:images]
            loss, gradient = self._bridge(step, output, predictions)
            arrays[f"returned/{output}"][:images] = gradient
            arrays["losses"][output, step * self._batch_size] = loss
        except BaseException as error:
            self.error = error
            self._context["failed"] = 1
            self._context["stop"] = 1

    def check(self) -> None:
        """Raises what the bridge has raised."""
        if self.error is not None:
            raise self.error
