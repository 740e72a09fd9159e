"""``convmill.callbacks.StopOnNaN``: the step, and the layer, in which a training is finite no more.

Losses are recorded by native code anyway, so looking at them slows no step. Where one is not
finite, the steps of the epoch are made again from its beginning, which gives the same bits, up to
the one where it began; there Keras computes what each layer gives.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from convmill.kinds import check_one_of
from convmill.printing import say
from convmill.train.attach.variables import weights_by_layer
from convmill.train.bound import Bound
from convmill.train.feed import Part, Uncovered
from convmill.train.loaded import copied

if TYPE_CHECKING:
    from convmill.runtime.program import Measured
    from convmill.train.scores import Scores

ACTIONS = ("stop", "raise", "restore")
# Batches of a stream that are kept, to be trained on again; then a later state is the good one.
_KEPT_BYTES = 128_000_000


@dataclass(frozen=True)
class Finding:
    """``step`` of ``epoch``, counted from 1, is where it began; ``layer`` is its name, or None
    where it cannot be told; ``what`` of that is not finite."""

    epoch: int
    step: int
    layer: str | None
    what: str

    def __str__(self) -> str:
        where = "" if self.layer is None else f" of layer {self.layer!r}"
        return f"step {self.step} of epoch {self.epoch}: {self.what}{where}"


class StopOnNaN(keras.callbacks.Callback):
    """Ends a training whose loss is no longer finite, and says where that began.

    Args:
        action: "stop" ends the training, with the weights as they are; "restore" ends it with
            weights, optimizer and random states of before the step where it began; "raise" raises
            FloatingPointError, with the weights as they are. Where Keras trains the model, only
            the epoch is known, and nothing is restored.

    Attributes:
        found: the Finding, None before there is one.

    Raises:
        ValueError: there is no such action.
    """

    def __init__(self, action: str = "stop") -> None:
        super().__init__()
        check_one_of("action", action, ACTIONS)
        self.action = action
        self.found: Finding | None = None
        self.guarded = False  # by the Guard of a fit that goes on, which looks at each step

    def on_train_begin(self, logs: Any = None) -> None:
        """Forgets what an earlier training has found."""
        self.found = None
        if self.action == "restore" and not self.guarded:
            warnings.warn(
                "StopOnNaN restores what convmill trains, and Keras trains this model: the weights "
                "will stay as they are when the loss is no longer finite. See convmill.explain. "
                "Received: action='restore'",
                RuntimeWarning,
                stacklevel=2,
            )

    def state_dict(self) -> dict[str, Any]:
        """What was found, for Checkpoint."""
        return {"found": None if self.found is None else astuple(self.found)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts back what ``state_dict`` gave."""
        self.found = None if state["found"] is None else Finding(*state["found"])

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Where Keras trains the model, the epoch is all that is known."""
        if not self.guarded and not np.isfinite((logs or {}).get("loss", 0.0)):
            self.model.stop_training = True
            if self.action == "raise":
                raise FloatingPointError(f"The loss of epoch {epoch + 1} is not finite.")


@dataclass
class _Stretch:
    """What was trained since a state that was ``good``, behind ``before`` steps of an epoch."""

    epoch: int
    before: int
    good: list[np.ndarray]
    parts: list[Part | Uncovered] = field(default_factory=list)
    copied: int = 0  # bytes of parts that nobody else holds

    @property
    def steps(self) -> int:
        """How many steps have been made since."""
        return sum(map(_steps, self.parts))

    def add(self, part: Part) -> None:
        """Notes a part that was trained."""
        self.parts.append(part)
        self.copied += sum(one.nbytes for one in part.samples.x) if part.copied else 0


class Guard:
    """Looks at the losses of one ``fit``; at nothing, where nobody asks for it."""

    def __init__(self, model: Any, callback: StopOnNaN | None) -> None:
        self._model, self._callback = model, callback
        # The last two with steps, since what a step breaks is seen at the next one.
        self._stretches: list[_Stretch] = []
        self._alarmed = False

    def take(self) -> None:
        """From here on it is this one that looks."""
        if self._callback is not None:
            self._callback.guarded = True

    def leave(self) -> None:
        """The fit has ended, in whichever way."""
        if self._callback is not None:
            self._callback.guarded = False

    @property
    def is_alarmed(self) -> bool:
        """Whether training is to stop behind the step that it is in; asked by any thread."""
        return self._alarmed

    @property
    def has_found(self) -> bool:
        """Whether the training is finite no more: there is nothing left to do."""
        return self._callback is not None and self._callback.found is not None

    def begin(self, bound: Bound, epoch: int, step: int = 0) -> None:
        """``step`` steps of an epoch are done, and nothing is wrong so far."""
        if self._callback is not None:
            bound.push()
            now = _Stretch(epoch, step, list(map(copied, _variables(self._model, bound))))
            self._stretches = [*[one for one in self._stretches if one.parts][-1:], now]

    def look(self, measured: Measured) -> None:
        """Some twenty times a second, at what is done of a part."""
        if self._callback is not None and _first_bad(measured, 1) is not None:
            self._alarmed = True

    def check(self, part: Part, measured: Measured, bound: Bound) -> None:
        """Looks at what is done of a part. FloatingPointError where that is asked for."""
        if self._callback is None:
            return
        now = self._stretches[-1]
        image = _first_bad(measured, part.batch_size)
        good = now.steps
        now.add(part.until(measured.steps))
        if image is not None:
            self._find(now, good + image // part.batch_size, bound)
        elif now.copied > _KEPT_BYTES:
            self.begin(bound, now.epoch, now.before + now.steps)

    @contextmanager
    def uncovered(self, batch: Uncovered, bound: Bound, scores: Scores) -> Iterator[None]:
        """Within, Keras makes a step: a stretch of its own, as it cannot be made once more."""
        if self._callback is None:
            yield
            return
        before = self._stretches[-1]
        self.begin(bound, before.epoch, before.before + before.steps)
        yield
        now = self._stretches[-1]
        now.parts.append(batch)
        if np.isfinite(scores.logs().get("loss", 0.0)):
            self.begin(bound, now.epoch, now.before + 1)
        else:
            self._find(now, 0, bound)

    def _find(self, stretch: _Stretch, steps: int, bound: Bound) -> None:
        """The loss behind so many steps of a stretch is not finite."""
        assert self._callback is not None
        variables = _variables(self._model, bound)
        bound.push()
        after = list(map(copied, variables))
        batch = self._replay(stretch, steps, bound)
        layer = _weights_of(self._model)
        what = "the weights"
        if layer is None:
            layer = _output_of(self._model, bound, batch)
            what = "the loss" if layer is None else "the output"
        elif steps or len(self._stretches) > 1:  # the step before has made them so
            if not steps:
                stretch = self._stretches[0]
                steps = stretch.steps
            steps -= 1
            self._replay(stretch, steps, bound)
        if self._callback.action != "restore":
            _assign(variables, after)
        found = Finding(stretch.epoch + 1, stretch.before + steps + 1, layer, what)
        self._callback.found, self._stretches = found, []
        self._model.stop_training = True
        told = f"The training is finite no more from {found}."
        if self._callback.action == "raise":
            raise FloatingPointError(told)
        say(f"convmill: {told}", sys.stderr)

    def _replay(self, stretch: _Stretch, steps: int, bound: Bound) -> Part | Uncovered:
        """Makes so many steps of a stretch once more; the batch that comes next."""
        bound.push()
        _assign(_variables(self._model, bound), stretch.good)
        for part in stretch.parts:
            done = min(steps, _steps(part))
            if not done:
                bound.push()
                return part.behind(0).until(1) if isinstance(part, Part) else part
            assert isinstance(part, Part)  # Keras' steps have stretches of their own
            bound.train(part.until(done), None, lambda measured: None)
            steps -= done
            if not steps and done < part.steps:
                bound.push()
                return part.behind(done).until(1)
        raise AssertionError("there is a step behind those that are good")


def _steps(part: Part | Uncovered) -> int:
    return part.steps if isinstance(part, Part) else 1


def _images(batch: Part | Uncovered, pack: Callable[[Any], Any]) -> Any:
    """What the model gets of a batch."""
    if isinstance(batch, Uncovered):
        return batch.x
    return pack(tuple(one[batch.order] for one in batch.samples.x))


def _variables(model: Any, bound: Bound) -> list[Any]:
    if not bound.optimizer.built:
        bound.optimizer.build(model.trainable_variables)
    every = [*model.variables, *bound.seed_variables, *bound.optimizer.variables]
    return list({id(one): one for one in every}.values())


def _assign(variables: list[Any], values: list[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _first_bad(measured: Measured, batch_size: int) -> int | None:
    """The number of the first image whose loss is not finite, or whose step's penalty is not."""
    bad = ~np.isfinite(measured.losses).all(axis=0)
    penalties = np.flatnonzero(~np.isfinite(measured.penalty[: measured.steps])) * batch_size
    first = [*np.flatnonzero(bad)[:1], *penalties[:1]]
    return int(min(first)) if first else None


def _weights_of(model: Any) -> str | None:
    """The last layer with weights that are not finite: gradients go from there to those before."""
    found = None
    for name, weights in weights_by_layer(model):
        if any(not np.isfinite(np.asarray(one.numpy(), np.float64)).all() for one in weights):
            found = name
    return found


def _output_of(model: Any, bound: Bound, batch: Part | Uncovered) -> str | None:
    """The first layer whose output of a batch is not finite; None where that cannot be told."""
    try:
        outputs = [layer.output for layer in model.layers]
        pack = bound.reading.inputs.pack
        x = _images(batch, pack)
        found = keras.Model(pack(tuple(model.inputs)), outputs)(x, training=False)
    except (AttributeError, TypeError, ValueError):  # a model of its own class has no symbols
        return None
    for layer, values in zip(model.layers, found, strict=True):
        for one in keras.tree.flatten(values):
            if not np.isfinite(np.asarray(keras.ops.convert_to_numpy(one), np.float64)).all():
                return str(layer.name)
    return None
