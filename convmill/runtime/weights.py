"""Weights, gradients and optimizer slots of one net, in the kernels' layout and in Keras'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from convmill.lower.network import Matrix, Network
from convmill.runtime.memory import aligned


class Weights:
    """Flat float32 arrays of all parameters, which ``names`` names to the user; convolution kernels
    with their filters first.

    What native code makes of them once a call (transposed and transformed copies, scales and
    shifts) stays in ``packs`` and ``statistics``, and steps of training keep it up to date.
    ``prepared`` says for which kind of run it is that of the present parameters; who runs native
    code sets it.
    """

    def __init__(self, network: Network, inference: Network, names: Sequence[str]) -> None:
        self.network, self.names = network, names
        size = network.parameter_elements
        self._kinds = network.recipe.optimizer.slots if network.recipe else ()
        self.parameters = aligned(size, np.float32)
        self.gradients = aligned(size, np.float32)
        self.slots = aligned(size * len(self._kinds), np.float32)
        both = (network, inference)
        self.packs = aligned(max(one.pack_elements for one in both), np.float32)
        self.statistics = aligned(max(one.statistic_elements for one in both), np.float32)
        self.prepared: str | None = None

    def set_parameters(self, values: Sequence[np.ndarray | None]) -> None:
        """Take weights in Keras' layout, in the order of the graph's parameters; None stays."""
        arrays = self._checked(self.network.matrices, "values", values)
        self.prepared = None
        self._write(self.parameters, self.network.matrices, arrays)

    def get_parameters(self) -> list[np.ndarray]:
        """Copies of all weights in Keras' layout."""
        return [self._take(self.parameters, matrix) for matrix in self.network.matrices]

    def get_gradients(self) -> list[np.ndarray]:
        """Copies of the gradients of all trainable parameters."""
        return [self._take(self.gradients, matrix) for matrix in self.network.trainable]

    def set_slots(self, values: Mapping[str, Sequence[np.ndarray | None]]) -> None:
        """Take the optimizer's state: for each slot name one array per trainable parameter; None
        stays."""
        states = self._states()
        if set(values) != set(states):
            raise ValueError(f"slots must be {', '.join(states)}. Received: {', '.join(values)}")
        trainable = self.network.trainable
        arrays = {name: self._checked(trainable, name, values[name]) for name in states}
        for name, state in states.items():
            self._write(state, trainable, arrays[name])

    def get_slots(self) -> dict[str, list[np.ndarray]]:
        """Copies of the optimizer's state."""
        return {
            name: [self._take(state, matrix) for matrix in self.network.trainable]
            for name, state in self._states().items()
        }

    def _states(self) -> dict[str, np.ndarray]:
        if not self._kinds:
            return {}
        return dict(zip(self._kinds, self.slots.reshape(len(self._kinds), -1), strict=True))

    def _checked(
        self, matrices: Sequence[Matrix], name: str, values: Sequence[np.ndarray | None]
    ) -> list[np.ndarray | None]:
        """``values`` as float32; ValueError where their number or a shape is wrong."""
        if len(values) != len(matrices):
            raise ValueError(f"`{name}` must hold {len(matrices)} arrays. Received: {len(values)}")
        arrays = [None if value is None else np.asarray(value, np.float32) for value in values]
        for matrix, value in zip(matrices, arrays, strict=True):
            if value is not None and value.shape != matrix.shape:
                raise ValueError(
                    f"{self.names[matrix.index]} has shape {matrix.shape}. "
                    f"Received: shape {value.shape}"
                )
        return arrays

    def _write(
        self, flat: np.ndarray, matrices: Sequence[Matrix], arrays: Sequence[np.ndarray | None]
    ) -> None:
        """Write parameters in Keras' layout into a flat array."""
        for matrix, value in zip(matrices, arrays, strict=True):
            if value is None:
                continue
            ours = value.transpose(matrix.axes)
            flat[matrix.offset : matrix.offset + matrix.size] = ours.reshape(-1)

    def _take(self, flat: np.ndarray, matrix: Matrix) -> np.ndarray:
        """A copy of one parameter in Keras' layout."""
        held = [matrix.shape[axis] for axis in matrix.axes]
        value = flat[matrix.offset : matrix.offset + matrix.size].reshape(held)
        return value.transpose(np.argsort(matrix.axes)).copy()
