"""A Keras model's state: it goes over to the Program that runs it before a run, and comes back."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from convmill.plan.graph.nodes import Graph
from convmill.plan.graph.shapes import Sizes
from convmill.plan.halves import Half
from convmill.runtime import reserve
from convmill.runtime.factors import momenta_product
from convmill.train import late
from convmill.train.compilation import slots as optimizer_state
from convmill.train.keras_steps import Moved
from convmill.train.loaded import Snapshot, known, snapshots
from convmill.train.reading import ModelReading, half_of, read_model
from convmill.train.seeds import read_seeds
from convmill.train.session import session
from convmill.train.turns import Keys, Turn, in_child, within

if TYPE_CHECKING:
    from convmill.runtime.program import Program

# Those whose Programs have made steps that Keras' variables do not have, in a call that goes on.
_ahead: list[State] = []
# Those of calls that have ended, by their ids, which write back when somebody asks for one of the
# variables: they wait for it (``late.py``), and keep the State.
_late: weakref.WeakValueDictionary[int, State] = weakref.WeakValueDictionary()


class State:
    """That of one model, or of one half of it, in Keras' variables and in one Program, for a call.

    Training leaves the Program ahead of Keras' variables; ``push`` writes back all that its steps
    have changed (weights, slots, iterations, dropout seeds), and until that is done they count as
    not written. Whoever else wants a variable of them has them pushed first. A call may also end
    without: then it is Keras' variables that have it pushed. Reading the model may raise
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

    def half(self, half: Half) -> Self:
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

    # Who has the newest -------------------------------------------------------------------------

    def _turn(self) -> Turn:
        """A turn for all of ours, and of those who are ahead of some of it, also meanwhile."""
        return Turn(self._all_keys)

    def _all_keys(self) -> Keys:
        ahead = self._others_ahead()
        return self.keys.union(*(other.keys for other in ahead)) if ahead else self.keys

    def _others_ahead(self) -> list[State]:
        """Those who are ahead of some of ours, and ourselves if we are."""
        if not _ahead and not _late:
            return []
        if not _ahead and len(_late) == 1 and self._is_late:  # looking further takes as long again
            return [self]
        return [other for other in {*_ahead, *_all_late()} if other.keys & self.keys]

    @property
    def _is_late(self) -> bool:
        return id(self) in _late

    @property
    def is_ahead(self) -> bool:
        """Whether the Program has made steps that Keras' variables do not have."""
        return self in _ahead or self._is_late

    def _go_ahead(self) -> None:
        """From here on the Program may have made steps that Keras' variables do not have."""
        if self not in _ahead:
            _ahead.append(self)

    def _let_wait(self, bring: Callable[[], None]) -> None:
        """Has Keras' variables wait for these steps; ``bring`` has them written back."""
        if not self._is_late:
            _late[id(self)] = self
            late.let_wait(self._changing(), bring)
        _ahead.remove(self)

    def can_wait(self) -> bool:
        """Whether Keras' variables can wait for what steps change, so that nobody sees that."""
        if self.bridged or self.losses or self._first_product is not None:
            return False  # Keras keeps Nadam's product in float32, from call to call
        return late.can_wait(self._changing())

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

    def _push_all(self, but: State | None = None) -> None:
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
        waited = _late.pop(id(self), None) is not None
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

    def _product(self) -> float | None:
        """Nadam's product of momenta, by the Program's steps."""
        assert self.recipe is not None
        if self._first_product is None:
            return None
        last = self.program.iterations
        return momenta_product(self.recipe.optimizer, self._first_product, self._first, last)


def _all_late() -> list[State]:
    """In one step: other threads' calls end meanwhile."""
    return [state for one in _late.valuerefs() if (state := one()) is not None]


def settle(model: Any) -> None:
    """Writes back what any call's steps have changed of this model."""
    for state in _ahead.copy():
        if state.model is model:
            state.push()


def _forget(lost: Keys) -> None:
    """In the child of a fork: what another thread was at is half trained."""
    _ahead[:] = [state for state in _ahead if not state.keys & lost]
    for state in _all_late():
        if state.keys & lost:
            _late.pop(id(state), None)
            late.end_waiting(state._changing())


in_child(_forget)
