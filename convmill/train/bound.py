"""A Keras model and the Program that runs it: the state goes over before a run, and comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from convmill.plan.graph import Graph
from convmill.plan.read import Reading, read
from convmill.plan.recipe import Recipe
from convmill.train import recipe as recipes
from convmill.train.feed import Part
from convmill.train.session import session

if TYPE_CHECKING:
    from convmill.runtime.program import Record, Watch

# Odd constants of SplitMix64 (Steele, Lea and Flood 2014), which turns close seeds into far ones.
_GOLDEN, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_BITS_64 = (1 << 64) - 1


class Bound:
    """One model bound to one Program.

    ``pull`` takes the state from Keras' variables, ``push`` writes it back; between the two the
    Program's state is the true one. Reading the model may raise NotCovered.
    """

    def __init__(self, model: Any, training: bool = True) -> None:
        self.model = model
        self.training = training
        self.ahead = False  # whether the Program has steps that Keras' variables do not
        self.reread()

    def reread(self) -> None:
        """Reads the model anew: layers may have been frozen, or the optimizer changed."""
        self.reading: Reading = read(self.model)
        self.recipe: Recipe | None = None
        if self.training:
            self.reading = recipes.mark_decay(self.model.optimizer, self.reading)
            self.recipe = recipes.read_recipe(self.model, self.reading)
        self.program = session(self.model).program(self.graph, self.recipe)

    @property
    def graph(self) -> Graph:
        """The model's graph."""
        return self.reading.graph

    # State --------------------------------------------------------------------------------------

    def pull_weights(self) -> None:
        """Takes the weights from Keras' variables."""
        current = session(self.model)
        if current.running is not None and current.running is not self:
            current.running.push()  # a generator that predicts in the middle of an epoch
        values = [np.asarray(variable.numpy()) for variable in self.reading.variables]
        self.program.set_parameters(values)

    def pull(self) -> None:
        """Takes weights, slots, iterations and dropout seeds."""
        assert self.recipe is not None
        optimizer = self.model.optimizer
        self.pull_weights()
        self.program.set_slots(recipes.read_slots(optimizer, self.reading, self.recipe))
        self.iterations = recipes.read_iterations(optimizer)
        self.seed_states = [
            np.asarray(layer.seed_generator.state.numpy()) for layer in self.reading.dropouts
        ]

    def push(self) -> None:
        """Writes weights and slots back, if the Program is ahead of Keras' variables."""
        if not self.ahead:
            return
        assert self.recipe is not None
        values = self.program.get_parameters()
        for parameter, variable, value in zip(
            self.graph.parameters, self.reading.variables, values, strict=True
        ):
            if parameter.trainable:
                variable.assign(value)
        slots = self.program.get_slots()
        recipes.write_slots(self.model.optimizer, self.reading, self.recipe, slots)
        self.ahead = False
        session(self.model).running = None

    # Steps --------------------------------------------------------------------------------------

    def train(self, part: Part, outputs: np.ndarray | None, watch: Watch) -> Record:
        """Trains on a part; a learning rate that makes no sense raises before the first step."""
        rates = recipes.rates(self.model.optimizer, part.steps)
        self.ahead = True
        session(self.model).running = self
        self.program.iterations = self.iterations
        try:
            return self.program.train(
                _batches(part),
                rates,
                iterations=self.iterations,
                seeds=self._seeds(),
                outputs=outputs,
                watch=watch,
            )
        finally:
            self._count(self.program.iterations - self.iterations)

    def evaluate(self, part: Part, outputs: np.ndarray | None, watch: Watch) -> Record:
        """Measures losses and predictions of a part."""
        return self.program.evaluate(_batches(part), outputs=outputs, watch=watch)

    def penalty(self) -> float:
        """The regularizers' loss at the present weights."""
        total = 0.0
        for parameter, value in zip(
            self.graph.parameters, self.program.get_parameters(), strict=True
        ):
            if parameter.trainable and parameter.regularizer is not None:
                exact = value.astype(np.float64)
                total += parameter.regularizer.l1 * float(np.abs(exact).sum())
                total += parameter.regularizer.l2 * float(np.square(exact).sum())
        return total

    def _count(self, steps: int) -> None:
        """Moves the optimizer's iterations and the dropout layers' seeds on by ``steps``."""
        self.iterations += steps
        recipes.write_iterations(self.model.optimizer, self.iterations)
        for layer, state in zip(self.reading.dropouts, self.seed_states, strict=True):
            state = state.copy()
            state[1] += np.asarray(steps, state.dtype)
            layer.seed_generator.state.assign(state)
        self.seed_states = [
            np.asarray(layer.seed_generator.state.numpy()) for layer in self.reading.dropouts
        ]

    def _seeds(self) -> np.ndarray:
        """One uint64 for each dropout layer, from its seed and from how often it was used.

        A Program mixes the number of the step into each mask. So the seed holds only by how much
        the layer's uses exceed the optimizer's steps: masks do not depend on how many calls an
        epoch is cut into, and differ in a second fit with a new optimizer.
        """
        seeds = []
        for seed, uses in self.seed_states:
            ahead = (int(uses) - self.iterations) & 0xFFFFFFFF
            seeds.append(_mix(((int(seed) & 0xFFFFFFFF) << 32) | ahead))
        return np.array(seeds, np.uint64)


def _batches(part: Part) -> Any:
    from convmill.runtime.program import Batches

    samples = part.samples
    return Batches(samples.x, part.order, part.batch_size, samples.y, samples.weight)


def _mix(value: int) -> int:
    """SplitMix64's output function: a bijection of 64 bits in which each bit moves half."""
    value = (value + _GOLDEN) & _BITS_64
    value = ((value ^ (value >> 30)) * _MIX_1) & _BITS_64
    value = ((value ^ (value >> 27)) * _MIX_2) & _BITS_64
    return value ^ (value >> 31)
