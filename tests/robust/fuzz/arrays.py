"""Arrays of all forms, given to the methods of one batch, and to fit, evaluate and predict.

What holds numbers in another form (dtype, byte order, strides, a file) must give what plain Keras
makes of these numbers as float32. What holds none, or such as make no sense, is refused, with
weights as they were, or does what plain Keras does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

import convmill
from tests.robust.fuzz import forms
from tests.robust.fuzz.changes import changed
from tests.robust.fuzz.forms import pick
from tests.robust.fuzz.outcomes import RIGHT, Case, Fault, Result, expect, refused
from tests.robust.fuzz.state import State, same_bits

COUNTS = (1, 4, 7)  # Keras compiles its steps for each of them
DRAWS = 8  # of numbers for each count: what Keras makes of them is computed once
CLOSE = 1e-4
LONG_EACH = 500  # cases of which one goes through a method of whole data sets
BATCH_METHODS = (  # the first one takes a millisecond, a step and its writing back some more
    *("predict_on_batch",) * 7,
    *("test_on_batch",) * 2,
    "train_on_batch",
)
LONG_METHODS = ("fit", "evaluate", "predict", "changed")
Given = dict[tuple[str, int], forms.Form]


@dataclass(frozen=True)
class Subject:
    """A model compiled by us, and its twin, which Keras trains; how to draw data for them; and
    what the twin made of data that are drawn again and again."""

    name: str
    ours: Any
    keras: Any
    weights: list[np.ndarray]
    states: tuple[State, State]
    draw: Callable[[np.random.Generator, int], tuple[list[np.ndarray], list[np.ndarray]]]
    known: dict[Any, list[np.ndarray]] = field(default_factory=dict)

    def reset(self) -> None:
        """Weights and optimizers as they were at first."""
        for state in self.states:
            state.restore()


def begin(folder: Path, most: int | None = None) -> Case:
    """The cases; those of one process share their models, of which there are ``most``."""
    subjects = [_subject(*one) for one in _nets()[:most]]

    def case(number: int) -> Result:
        rng = np.random.default_rng(number)
        subject = pick(rng, subjects)
        method = pick(rng, BATCH_METHODS if number % LONG_EACH else LONG_METHODS)
        return changed(subject, rng) if method == "changed" else one(subject, rng, method, folder)

    return case


def _nets() -> list[tuple[str, Any, Any, Any]]:
    """Name, inputs and outputs of a model, its losses, and its data."""
    layers = keras.layers

    def head(x: Any, units: int, activation: str | None) -> Any:
        x = layers.Conv2D(3, 3, activation="relu", padding="same")(x)
        return layers.Dense(units, activation=activation)(layers.Flatten()(x))

    def numbers(*shapes: tuple[int, ...]) -> Any:
        return lambda rng, n: [rng.integers(0, 4, (n, *one)).astype("float32") for one in shapes]

    def classes(*places: int) -> Any:
        return lambda rng, n: [rng.integers(0, 3, (n, *places)).astype("float32")]

    def onehot(rng: np.random.Generator, n: int) -> list[np.ndarray]:
        return [np.eye(3, dtype="float32")[rng.integers(0, 3, n)]]

    def both(rng: np.random.Generator, n: int) -> list[np.ndarray]:
        return [*classes()(rng, n), *numbers((2,))(rng, n)]

    image, grey = keras.Input((5, 4, 2)), keras.Input((4, 4, 1))
    some, size = keras.Input((3,)), keras.Input((None, None, 1))
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(size))
    merged = layers.Concatenate()([layers.Flatten()(grey), some])
    sparse, mean = "sparse_categorical_crossentropy", "mean_squared_error"
    return [
        ("sparse", (image, head(image, 3, "softmax")), sparse, (numbers((5, 4, 2)), classes())),
        ("one-hot", (grey, head(grey, 3, "softmax")), "categorical_crossentropy",
         (numbers((4, 4, 1)), onehot)),
        ("binary", (grey, head(grey, 1, "sigmoid")), "binary_crossentropy",
         (numbers((4, 4, 1)), lambda rng, n: [rng.integers(0, 2, (n, 1)).astype("float32")])),
        ("numbers", (image, head(image, 2, None)), mean, (numbers((5, 4, 2)), numbers((2,)))),
        ("places", (grey, layers.Conv2D(3, 1, activation="softmax")(grey)), sparse,
         (numbers((4, 4, 1)), classes(4, 4))),
        ("two inputs", ([grey, some], layers.Dense(2)(merged)), mean,
         (numbers((4, 4, 1), (3,)), numbers((2,)))),
        ("two outputs", (grey, [head(grey, 3, "softmax"), head(grey, 2, None)]), [sparse, mean],
         (numbers((4, 4, 1)), both)),
        ("any size", (size, layers.Dense(3, activation="softmax")(pooled)), sparse,
         (numbers((5, 6, 1)), classes())),
    ]  # fmt: skip


def _subject(name: str, ends: Any, loss: Any, data: Any) -> Subject:
    models = []
    for _ in range(2):
        model = keras.models.clone_model(keras.Model(*ends))
        several = isinstance(loss, list)
        metrics = None if several else ["accuracy"] if "entropy" in loss else ["mae"]
        model.compile(keras.optimizers.SGD(0.01, momentum=0.5), loss, metrics=metrics)
        model.optimizer.build(model.trainable_variables)
        models.append(model)
    for model in models:
        model.set_weights(models[0].get_weights())
    states = (State(models[0]), State(models[1]))
    weights = models[0].get_weights()
    draw_x, draw_y = data

    def draw(rng: np.random.Generator, count: int) -> Any:
        return draw_x(rng, count), draw_y(rng, count)

    subject = Subject(name, convmill.accelerate(models[0]), models[1], weights, states, draw)
    for model in models:  # at the first fit Keras draws once more
        x, y = (one[0] if len(one) == 1 else one for one in draw(np.random.default_rng(0), 4))
        model.fit(x, y, batch_size=4, verbose=0)
    subject.reset()
    return subject


def one(subject: Subject, rng: np.random.Generator, method: str, folder: Path) -> Result:
    """One call with arrays in drawn forms."""
    given = _given(subject, rng, method, folder)
    bad = [f"{name[0]} of {form.bad}" for name, form in given.items() if form.bad]
    what = f"{method}: {'bad' if bad else 'good'} arrays"
    told = f"{subject.name}.{method}: {[(*name, form.told) for name, form in given.items()]}"
    options = _options(rng, method)
    try:
        found = _call(subject.ours, method, given, options, lambda form: form.value)
    except Exception as error:
        if not same_bits(subject.ours.get_weights(), subject.weights):
            subject.reset()
            raise Fault(what, f"{told}: refused, and trained: {error}") from error
        result = refused(error, what, told)
        if not bad:
            raise Fault(what, f"{told}: refused: {error}") from error
        return result
    if method in ("fit", "train_on_batch"):
        subject.states[0].restore()
    try:
        expected = _expected(subject, method, given, options, bool(bad))
        _compare(found, expected)
    except Fault as fault:
        raise Fault(what, f"{told}: {fault}") from fault
    return Result(what, RIGHT)


def _given(subject: Subject, rng: np.random.Generator, method: str, folder: Path) -> Given:
    """Arrays by the names of arguments and their places in them, in drawn forms."""
    draws = np.random.default_rng(int(rng.integers(DRAWS)))
    x, y = subject.draw(draws, pick(rng, COUNTS))
    arrays = {("x", number): array for number, array in enumerate(x)}
    if not method.startswith("predict"):
        arrays |= {("y", number): array for number, array in enumerate(y)}
        if rng.random() < 0.3 and len(y) == 1:
            shape = (len(y[0]), *(1,) * (y[0].ndim - 1)) if subject.name == "places" else len(y[0])
            arrays["sample_weight", 0] = draws.integers(0, 3, shape).astype("float32")
    return {name: forms.draw(rng, array, folder) for name, array in arrays.items()}


def _options(rng: np.random.Generator, method: str) -> dict[str, Any]:
    """Arguments beside the arrays."""
    if method.endswith("on_batch"):
        return {}
    options: dict[str, Any] = {"verbose": 0, "batch_size": pick(rng, (1, 4, 32))}
    if method == "fit":
        options |= {"epochs": pick(rng, (1, 2)), "shuffle": bool(rng.random() < 0.5)}
        if rng.random() < 0.3:
            options["callbacks"] = [keras.callbacks.LambdaCallback(on_train_batch_end=_hears)]
    return options


def _call(model: Any, method: str, given: Any, options: dict[str, Any], of: Any) -> Any:
    """What a method returns, as arrays by name, with the weights behind it."""
    arrays: dict[str, Any] = {}
    for (name, _), form in given.items():
        arrays.setdefault(name, []).append(of(form))
    arguments = {name: all_[0] if len(all_) == 1 else all_ for name, all_ in arrays.items()}
    if method == "fit":
        keras.utils.set_random_seed(1)
    found = getattr(model, method)(**arguments, **options)
    found = found.history if method == "fit" else found
    flat = keras.tree.flatten(found)
    return [*map(np.asarray, flat), *model.get_weights()]


def _hears(batch: int, logs: Any) -> None:
    """A callback that wants to hear of each batch."""


def _plain(form: forms.Form) -> Any:
    """What Keras is given: good arrays as plain ones, others as they are."""
    wide = getattr(form.value, "dtype", None) in (np.int64, np.uint64)  # JAX has none so wide
    return _as_numbers(form) if form.numbers is not None or wide else form.value


def _as_numbers(form: forms.Form) -> Any:
    """Whatever it is, as an array of numbers; nothing stays nothing."""
    if form.value is None:
        return None
    return np.asarray(form.value).astype("float32") if form.numbers is None else form.numbers


def _squeezed(form: forms.Form) -> Any:
    """Without a last axis of one, which Keras' losses take away and its metrics may refuse."""
    numbers = _as_numbers(form)
    more = form.bad == "more axes" and numbers.shape[-1:] == (1,)
    return numbers[..., 0] if more else numbers


def _expected(subject: Subject, method: str, given: Given, options: Any, bad: bool) -> Any:
    """What plain Keras finds. Fault where it refuses what we took."""
    if bad or not method.endswith("on_batch"):
        return _by_keras(subject, method, given, options)
    key = (method, *((name, form.numbers.tobytes()) for name, form in given.items()))
    if key not in subject.known:
        subject.known[key] = _by_keras(subject, method, given, options)
    return subject.known[key]


def _by_keras(subject: Subject, method: str, given: Given, options: Any) -> Any:
    try:
        return _call(subject.keras, method, given, options, _plain)
    except Exception as error:
        subject.states[1].restore()  # where Keras on JAX fails, it leaves no weights
        for plain in (_as_numbers, _squeezed):
            with contextlib.suppress(Exception):
                return _call(subject.keras, method, given, options, plain)
        text = f"taken, where Keras says: {type(error).__name__}: {error!s:.300}"
        raise Fault("", text) from error
    finally:
        subject.states[1].restore()


def _compare(found: Any, expected: Any) -> None:
    """Fault where plain Keras finds other numbers."""
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        expect(one.shape == other.shape, f"value {number} of shape {one.shape}, not {other.shape}")
        if np.abs(one - other).max(initial=0) <= CLOSE:
            continue
        # an infinity is as good as Keras' no number
        one = np.where(np.isnan(other) & np.isinf(one), np.nan, one)
        scale = np.abs(other, where=np.isfinite(other), out=np.zeros(other.shape)).max(initial=1)
        near = np.allclose(one, other, CLOSE, CLOSE * scale, equal_nan=True)
        expect(near, f"value {number}: {one.ravel()[:4]}, where Keras has {other.ravel()[:4]}")
