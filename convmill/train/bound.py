"""A Keras model and the Program that runs it: its steps, and what it measures and predicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import keras
import numpy as np

from convmill.runtime.batches import room
from convmill.train import signals
from convmill.train.compilation import slots as optimizer_state
from convmill.train.compilation.rates import learning_rates
from convmill.train.feed import Part
from convmill.train.loaded import snapshots
from convmill.train.pieces import Outputs, Pieces
from convmill.train.samples import Samples
from convmill.train.seeds import read_seeds
from convmill.train.state import State
from convmill.train.turns import Turn

if TYPE_CHECKING:
    from convmill.runtime.batches import Batches
    from convmill.runtime.bridge import Bridge
    from convmill.runtime.program import Measured, Stop, Watch
    from convmill.runtime.repeat import Prediction, TrainingStep

# The number of a first step, and learning rates from there on.
Rates = tuple[int, np.ndarray]

# Images that a pass without training goes through at once: nothing of it is kept if it is stopped.
_AT_ONCE = 16_384


class Bound(State):
    """One model, or one half of it, bound to one Program, for one call."""

    def rates(self, part: Part) -> Rates:
        """Learning rates of a part's steps, as they are now; one that makes no sense raises."""
        first = self.program.iterations
        if not self.is_ahead:
            first = optimizer_state.read_iterations(self.optimizer)
        return first, learning_rates(self.optimizer, part.steps, first)

    def train(
        self,
        part: Part,
        outputs: Outputs | None,
        watch: Watch,
        *,
        rates: Rates | None = None,
        before: Callable[[], None] | None = None,
        until: Stop | None = None,
    ) -> Measured:
        """Trains on a part; a learning rate that makes no sense raises before the first step.

        A signal, and another thread that wants the model, are let in between two steps; ``before``
        is called before each turn. ``rates`` are those of ``rates()``, else they are read when it
        comes to them. Once ``until`` says true, training stops behind the step that it is in.
        """
        enough = _never if until is None else until
        pieces = Pieces(part, outputs, watch, at_once=1 if self.bridged else None)
        for output, loss in self.losses.items():
            loss.prepare(part, self.graph.node(self.graph.outputs[output]).shape)
        while pieces.remain:
            if before is not None:
                before()
            with self._turn() as turn:
                self._load()
                if self.bridged:
                    pieces.add(self._train_bridged(pieces))
                    pieces.show()
                else:
                    pieces.add(self._train(pieces, partial(_is_let_in, turn, enough), rates))
            if enough():
                break
        return pieces.measured()

    def _train(self, pieces: Pieces, stop: Stop, known: Rates | None) -> Measured:
        iterations = self.program.iterations
        part = pieces.rest
        rates = None if known is None else known[1][iterations - known[0] :][: part.steps]
        if rates is None or len(rates) != part.steps:  # or others have made steps meanwhile
            rates = learning_rates(self.optimizer, part.steps, iterations)
        self._go_ahead()
        self.loaded.is_trained()
        return self.program.train(
            batches_of(part),
            rates,
            iterations=iterations,
            product=self._product(),
            seeds=self._seeds.of_calls(),
            outputs=pieces.outputs,
            bridge=self._bridge(part),
            watch=pieces.watch,
            stop=stop,
        )

    def train_again(
        self,
        step: TrainingStep,
        part: Part,
        rate: Callable[[], float],
        bring: Callable[[Bound], None],
    ) -> Measured:
        """Trains on one batch like the one that ``step`` was made for, as ``train`` does, and has
        Keras' variables wait for what it changes; ``bring`` has that written back."""
        with self._turn():
            self._load()
            program, iterations = self.program, self.program.iterations
            last = rate()
            self._go_ahead()
            self.loaded.is_trained()
            seeds = self._seeds.of_calls()
            measured = program.train_again(step, batches_of(part), last, iterations, seeds)
            self._let_wait(partial(bring, self))
        return measured

    def _bridge(self, part: Part) -> Bridge | None:
        """What computes the losses of a part's batches outside."""
        losses, size = self.losses, part.batch_size
        if not losses:
            return None

        def compute(step: int, output: int, predictions: np.ndarray) -> tuple[float, np.ndarray]:
            order = part.order[step * size : (step + 1) * size]
            return losses[output].of_batch(part.samples, order, predictions)

        return compute

    def _train_bridged(self, pieces: Pieces) -> Measured:
        """One step: the Program computes the gradients, and Keras' optimizer moves the weights."""
        part = pieces.rest
        self.loaded.is_trained()
        measured = self.program.train(
            batches_of(part),
            np.zeros(1),
            iterations=self._first,
            seeds=self._seeds.of_calls(),
            outputs=pieces.outputs,
            bridge=self._bridge(part),
        )
        steps = self._found.keras_steps
        gradients, penalty = steps.regularize(self.program.get_gradients())
        self._moved = steps.step(gradients)
        self._go_ahead()
        self._write_back()
        return replace(measured, penalty=measured.penalty + penalty)

    def evaluate(self, part: Part, outputs: Outputs | None, watch: Watch) -> Measured:
        """Measures losses and predictions of a part, at the weights of ``pull_weights``."""
        pieces = Pieces(part, outputs, watch, at_once=max(1, _AT_ONCE // part.batch_size))
        stop: Stop = signals.waiting
        while pieces.remain:
            with self._turn():
                self._load_weights()
                always = self.graph.draws_always
                seeds = None
                if any(always):
                    seeds = read_seeds(self.reading.dropouts, self.graph.draws, 0)
                measured = self.program.evaluate(
                    batches_of(pieces.rest),
                    seeds=None if seeds is None else seeds.of_calls(),
                    outputs=pieces.outputs,
                    watch=pieces.watch,
                    stop=stop,
                )
                # A piece that was stopped begins again, and is not stopped a second time: signals
                # that come faster than pieces end must not keep it from ending.
                whole = measured.steps == pieces.rest.steps
                stop = signals.waiting if whole else _never
                if whole:
                    pieces.add(measured)
                    if seeds is not None:
                        seeds.write(measured.steps, always)
        return pieces.measured()

    def predict(self, x: tuple[np.ndarray, ...]) -> Outputs:
        """All outputs for images, at the weights of ``pull_weights``."""
        outputs = self.room(len(x[0]))
        self.predict_into(outputs, x, lambda measured: None)
        return outputs

    def predict_into(self, outputs: Outputs, x: tuple[np.ndarray, ...], watch: Watch) -> None:
        """All outputs for images into ``outputs``, at the weights of ``pull_weights``."""
        samples = Samples(x)
        if len(samples):
            part = Part(samples, np.arange(len(samples), dtype=np.int64), _AT_ONCE)
            self.evaluate(part, outputs, watch)

    def repeat(self, prediction: Prediction, x: tuple[np.ndarray, ...]) -> Outputs:
        """All outputs for images, as many as ``prediction`` is for, at the weights of now."""
        with self._turn():
            self._push_all()
            self.loaded.take_weights(snapshots(self.reading.variables))
            return prediction(x)

    def room(self, count: int) -> Outputs:
        """Room for the predictions of so many images."""
        return room(count, self.graph)

    def penalty(self) -> float:
        """The regularizers' loss at the weights of ``pull_weights``."""
        total = 0.0
        for parameter, variable, value in zip(
            self.graph.parameters, self.reading.variables, self.weights, strict=True
        ):
            if not parameter.trainable or variable.regularizer is None:
                continue
            if parameter.regularizer is None:
                tensor = keras.ops.convert_to_tensor(value)
                total += float(keras.ops.convert_to_numpy(variable.regularizer(tensor)))
            else:
                exact = np.asarray(value, np.float64)
                total += parameter.regularizer.l1 * float(np.abs(exact).sum())
                total += parameter.regularizer.l2 * float(np.square(exact).sum())
        return total


def _is_let_in(turn: Turn, enough: Stop) -> bool:
    """Whether somebody is to be let in between two steps."""
    return turn.is_wanted() or signals.waiting() or enough()


def _never() -> bool:
    return False


def batches_of(part: Part) -> Batches:
    """A part's arrays, as a Program reads them."""
    from convmill.runtime.batches import Batches

    samples = part.samples
    return Batches(samples.x, part.order, part.batch_size, samples.y, samples.weight)
