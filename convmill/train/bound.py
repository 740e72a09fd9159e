"""A Keras model and the Program that runs it: the state goes over before a run, and comes back."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from convmill.plan.graph.nodes import Graph
from convmill.plan.graph.shapes import Sizes
from convmill.plan.halves import Half
from convmill.runtime import reserve
from convmill.runtime.batches import room
from convmill.runtime.factors import momenta_product
from convmill.train import late, signals
from convmill.train.compilation import slots as optimizer_state
from convmill.train.compilation.rates import learning_rates
from convmill.train.feed import Part
from convmill.train.keras_steps import Moved
from convmill.train.loaded import Snapshot, known, snapshots
from convmill.train.pieces import Outputs, Pieces
from convmill.train.reading import ModelReading, half_of, read_model
from convmill.train.samples import Samples
from convmill.train.seeds import read_seeds
from convmill.train.session import session
from convmill.train.turns import Keys, Turn, in_child, within

if TYPE_CHECKING:
    from convmill.runtime.batches import Batches
    from convmill.runtime.bridge import Bridge
    from convmill.runtime.program import Measured, Program, Stop, Watch
    from convmill.runtime.repeat import Prediction, TrainingStep

# The number of a first step, and learning rates from there on.
Rates = tuple[int, np.ndarray]

# Images that a pass without training goes through at once: nothing of it is kept if it is stopped.
_AT_ONCE = 16_384

# Those whose Programs have made steps that Keras' variables do not have, in a call that goes on.
_ahead: list[Bound] = []
# Those of calls that have ended, which write back when somebody asks for one of the variables: they
# wait for it (``late.py``), and keep the Bound.
_late: weakref.WeakSet[Bound] = weakref.WeakSet()


class Bound:
    """One model, or one half of it, bound to one Program, for one call.

    Training leaves the Program ahead of Keras' variables; ``push`` writes back all that its steps
    have changed (weights, slots, iterations, dropout seeds), and until that is done they count as
    not written. Whoever else wants a variable of them has them pushed first. ``let_wait`` ends a
    call without: then it is Keras' variables that have it pushed. Reading the model may raise
    NotCovered.
    """

    def __init__(self, model: Any, training: bool = True, sizes: Sizes | None = None) -> None:
        self.model = model
        self.training = training
        self.sizes = sizes  # for which the model is read, where it takes several
        self.reread()

    def reread(self) -> None:
        """Reads the model anew, if layers may have been frozen, or the optimizer changed."""
        self.push()
        self._take(read_model(self.model, self.training, self.sizes), "whole")

    def resize(self, sizes: Sizes | None) -> bool:
        """Reads the model for images of other sizes, if it is to work on such; whether it is."""
        if sizes == self.sizes:
            return False
        self.push()
        self.sizes = sizes
        self.reread()
        return True

    def half(self, half: Half) -> Bound:
        """One half of the model, which has a frozen base, as it was read last."""
        other = copy(self)
        other._take(self._found, half)
        return other

    def _take(self, found: ModelReading, half: Half) -> None:
        self.reading, self.optimizer = half_of(found.reading, half), found.optimizer
        self.recipe = None if half == "base" else found.recipe  # nothing of a base is trained
        self.losses = found.losses  # that Keras computes, by output
        self._found = found
        self._moved: Moved = []
        current = session(self.model)
        current.sizes = self.sizes
        self.loaded = current.loaded(self.graph, self.recipe, half, self.sizes)
        shared = (*self.reading.variables, *self.reading.dropouts, self.optimizer, current)
        self.keys = frozenset(id(one) for one in shared if one is not None)
        self._weights: Sequence[Snapshot] | None = None

    @property
    def graph(self) -> Graph:
        """The model's graph."""
        return self.reading.graph

    @property
    def bridged(self) -> bool:
        """Whether Keras' optimizer moves the weights, by gradients that are computed natively."""
        return self.recipe is not None and self.recipe.optimizer.bridged

    @property
    def repeats(self) -> dict[Any, Any]:
        """What was prepared for calls that find the model as it was read for this one."""
        return self._found.repeats

    @property
    def is_current(self) -> bool:
        """Whether its Program is the one by which the model runs now."""
        return session(self.model).holds(self.loaded, self.sizes)

    @property
    def program(self) -> Program:
        """The model's Program."""
        return self.loaded.program

    # State --------------------------------------------------------------------------------------

    def _turn(self) -> Turn:
        """A turn for all of ours, and of those who are ahead of some of it, also meanwhile."""
        return Turn(self._all_keys)

    def _all_keys(self) -> Keys:
        ahead = self._others_ahead()
        return self.keys.union(*(other.keys for other in ahead)) if ahead else self.keys

    def _others_ahead(self) -> list[Bound]:
        """Those who are ahead of some of ours, and ourselves if we are."""
        if not _ahead and not _late:
            return []
        if not _ahead and len(_late) == 1 and self in _late:  # looking further takes as long again
            return [self]
        return [other for other in {*_ahead, *_late} if other.keys & self.keys]

    @property
    def is_ahead(self) -> bool:
        """Whether the Program has made steps that Keras' variables do not have."""
        return self in _ahead or self in _late

    def pull_weights(self) -> None:
        """Takes the weights that ``evaluate`` and ``predict`` go by, from Keras' variables."""
        with self._turn():
            self._push_all()
            self._weights = snapshots(self.reading.variables)

    @property
    def weights(self) -> Sequence[Snapshot]:
        """The weights of ``pull_weights``."""
        assert self._weights is not None, "pull_weights comes first"
        return self._weights

    def _load_weights(self) -> None:
        """The weights into the Program, for a pass without training."""
        self._push_all()
        self.loaded.take_weights(self.weights)

    def _load(self) -> None:
        """Weights, slots, iterations and dropout seeds, unless the Program is ahead of them."""
        assert self.recipe is not None
        self._push_all(but=self)
        if self.is_ahead:
            return
        if not self.optimizer.built:  # in Keras' order, by which files hold its state
            self.optimizer.build(self.model.trainable_variables)
        # What is written back later is what the model trains now.
        self._slots = optimizer_state.slot_variables(self.optimizer, self.reading, self.recipe)
        self._require_room()
        self._counts = bool(self.model.trainable_variables)  # else Keras counts no step
        self.loaded.take_weights(snapshots(self.reading.variables))
        self.loaded.take_slots({name: snapshots(each) for name, each in self._slots.items()})
        self._first = self.program.iterations = optimizer_state.read_iterations(self.optimizer)
        self._first_product = optimizer_state.read_product(self.optimizer)
        self._seeds = read_seeds(self.reading.dropouts, self.graph.draws, self._first)

    def _require_room(self) -> None:
        """Before any step: that all of them can be written back later, by copies of the Program's
        arrays and Keras' own of these. MemoryError where a limited process may not have that."""
        if reserve.limit() is None:
            return
        written = [*self.reading.variables, *(one for each in self._slots.values() for one in each)]
        size = sum(math.prod(one.shape) for one in written) * np.dtype(np.float32).itemsize
        purpose = "writing weights and the optimizer's state back to Keras"
        reserve.require(2 * size + reserve.KERAS, purpose)

    def push(self) -> None:
        """Writes back what the Program's steps have changed, if it is ahead."""
        if self.is_ahead:
            with self._turn():
                self._write_back()

    def finish(self) -> None:
        """The end of ``fit``: all is written back, and moving averages replace the weights."""
        with self._turn():
            self._push_all()
            optimizer_state.take_averages(self.optimizer, self.model.trainable_weights)

    def _push_all(self, but: Bound | None = None) -> None:
        """Has everybody write back who is ahead of a variable of ours."""
        for other in self._others_ahead():
            if other is not but:
                other._write_back()

    def _write_back(self) -> None:
        if not self.is_ahead:
            return
        try:
            self._write()
        except Exception:  # what cannot be written now never can be, unless somebody asks again
            if self in _ahead:
                _ahead.remove(self)
            raise
        # Last: what is interrupted before is written anew, from the beginning.
        waited = self in _late
        _late.discard(self)
        if self in _ahead:
            _ahead.remove(self)
        if waited:
            late.end_waiting(self._changing())

    def _changing(self) -> list[Any]:
        """The variables that are written back."""
        written = self.program.network.written
        weights = [one for number, one in enumerate(self.reading.variables) if number in written]
        if self._counts:
            weights += [one for each in self._slots.values() for one in each]
            weights.append(optimizer_state.iterations_variable(self.optimizer))
        return weights + self._seeds.variables

    def _values(self) -> list[Any]:
        """What these are to hold, in the same order; nobody changes it any more."""
        written = self.program.network.written
        parameters = self.program.get_parameters()
        values: list[Any] = [one for number, one in enumerate(parameters) if number in written]
        if self._counts:
            slots = self.program.get_slots()
            values += [one for slot in self._slots for one in slots[slot]]
            values.append(np.array(self.program.iterations))
        return values + self._seeds.after(self.program.iterations - self._first)

    def ahead_values(self) -> dict[int, Any]:
        """By the ``id`` of each variable that the Program's steps have changed, and that does not
        have it yet, what it is to hold: copying that takes a part of the time of writing back."""
        with self._turn():
            self._push_all(but=self)
            if self.is_ahead and (self.bridged or self._first_product is not None):
                self._write_back()  # there is more than ``_changing`` tells
            if not self.is_ahead:
                return {}
            pairs = zip(self._changing(), self._values(), strict=True)
            return {id(variable): value for variable, value in pairs}

    @property
    def seed_variables(self) -> list[Any]:
        """The states of all generators that the model's calls draw from."""
        return read_seeds(self.reading.dropouts, self.graph.draws, 0).variables

    def push_within(self) -> None:
        """Writes back for somebody who asks for a variable in the middle of this thread's turn."""
        with within(self.keys):
            self._write_back()

    def _write(self) -> None:
        assert self.recipe is not None
        values = self.program.get_parameters()
        written = self.program.network.written
        pairs = zip(self.reading.variables, values, strict=True)
        for number, (variable, value) in enumerate(pairs):
            if number in written:
                late.assign(variable, value)
        for variable, moved in self._moved:
            variable.assign(moved)
        if not self.bridged:
            self._write_optimizer()
        self._seeds.write(self.program.iterations - self._first)
        if not self.bridged:  # else the Program's weights are those before the step
            self.loaded.is_written_back(
                [known(variable) for variable in self.reading.variables],
                {name: [known(one) for one in each] for name, each in self._slots.items()},
            )

    def _write_optimizer(self) -> None:
        assert self.recipe is not None
        if not self._counts:
            return
        optimizer_state.write_slots(self._slots, self.program.get_slots())
        optimizer_state.write_iterations(self.optimizer, self.program.iterations)
        product = self._product()
        if product is not None:
            optimizer_state.write_product(self.optimizer, product)

    # Steps --------------------------------------------------------------------------------------

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
        if self not in _ahead:
            _ahead.append(self)
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
            if self not in _ahead:
                _ahead.append(self)
            self.loaded.is_trained()
            seeds = self._seeds.of_calls()
            measured = program.train_again(step, batches_of(part), last, iterations, seeds)
            if self not in _late:
                _late.add(self)
                late.let_wait(self._changing(), partial(bring, self))
            _ahead.remove(self)
        return measured

    def can_wait(self) -> bool:
        """Whether Keras' variables can wait for what steps change, so that nobody sees that."""
        if self.bridged or self.losses or self._first_product is not None:
            return False  # Keras keeps Nadam's product in float32, from call to call
        return late.can_wait(self._changing())

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
        _ahead.append(self)
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

    def _product(self) -> float | None:
        """Nadam's product of momenta, by the Program's steps."""
        assert self.recipe is not None
        if self._first_product is None:
            return None
        last = self.program.iterations
        return momenta_product(self.recipe.optimizer, self._first_product, self._first, last)


def settle(model: Any) -> None:
    """Writes back what any call's steps have changed of this model."""
    for bound in _ahead.copy():
        if bound.model is model:
            bound.push()


def _forget(lost: Keys) -> None:
    """In the child of a fork: what another thread was at is half trained."""
    _ahead[:] = [bound for bound in _ahead if not bound.keys & lost]
    for bound in [bound for bound in _late if bound.keys & lost]:
        _late.discard(bound)
        late.end_waiting(bound._changing())


in_child(_forget)


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
