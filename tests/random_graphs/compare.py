"""Trains a net compiled and by plain Keras, and says where they part."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import jax
import keras
import numpy as np

import convmill
from tests.precision import precision
from tests.random_graphs.net import Net, build, start

# float32 keeps 6e-8 of a number; a few steps of a net of thirty layers, with sums of some hundred
# terms each, part two right programs by some 1e-6 of the largest number of an array.
CLOSE = 2e-5
# Where a net amplifies rounding itself (normalization by a tiny variance), plain Keras is just as
# far from float64. Then ours may be this many times as far from float64 as plain Keras is.
TIMES_KERAS = 10.0
SMALLEST = 0.1  # the scale of arrays whose numbers are all smaller
HUGE = 1e4  # a loss that says that training has blown up
THREADS = (1, 2, 3, 7)

Found = dict[str, np.ndarray]  # losses, weights and predictions by name


@dataclass(frozen=True)
class Outcome:
    """``parted``: what disagrees, by name, in words; ``skipped``: why nothing was compared;
    ``doubtful``: whether float64 had to decide."""

    parted: tuple[str, ...] = ()
    skipped: str = ""
    doubtful: bool = False


def compare(net: Net, seed: int = 0, target: str = "") -> Outcome:
    """Trains the net of these weights and data by plain Keras, and compiled for ``target`` (or as
    the environment says) on 1, 2, 3 and 7 threads, which must find the same bits.

    Raises what Keras raises for graphs that make no sense, and NotCovered.
    """
    expected = by_keras(net, seed, quick=True)
    if not _is_finite(expected):
        expected = by_keras(net, seed)
    if not _is_finite(expected):
        return Outcome(skipped="not finite")
    if np.abs(expected["losses"]).max() > HUGE:
        return Outcome(skipped="blown up")
    found = compiled(net, seed, target)
    far = apart(found[0], expected)
    if far:
        expected, exact = by_keras(net, seed), by_keras(net, seed, "float64")
        far = further(found[0], expected, exact)
        return Outcome((*_other_bits(found), *far), doubtful=True)
    return Outcome(_other_bits(found))


def by_keras(net: Net, seed: int, dtype: str = "float32", *, quick: bool = False) -> Found:
    """What plain Keras finds; quick is compiled quickly. That goes wrong at times: without XLA's
    passes the greatest of some numbers may equal none of them, and its gradient be no number."""
    with _compiled(quick=quick), precision(dtype):
        model = build(net)
        return _trained(model, net, seed, dtype)


def compiled(net: Net, seed: int, target: str) -> list[Found]:
    """What we find, on one thread and on more of them."""
    found = []
    with mock.patch.dict(os.environ, {"CONVMILL_TARGET": target} if target else {}):
        for threads in THREADS:
            model = convmill.accelerate(build(net), strict=True, threads=threads)
            found.append(_trained(model, net, seed, "float32"))
    return found


@contextmanager
def _compiled(*, quick: bool) -> Iterator[None]:
    """Keras on JAX computes by code that is compiled quickly or that is quick."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", quick)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


def _trained(model: keras.Model, net: Net, seed: int, dtype: str) -> Found:
    """Losses of all steps, weights behind them, and predictions by name."""
    model.set_weights([value.astype(dtype) for value in start(model, seed)])
    losses, x = [], []
    for x, y, weights in data(model, net, seed, dtype):
        losses.append(np.ravel(model.train_on_batch(x, y, weights)))
    found = {"losses": np.asarray(losses)}
    for index, variable in enumerate(model.weights):
        found[f"weight {index}, {variable.name}"] = variable.numpy()
    outputs = model.predict_on_batch(x)
    for index, output in enumerate(outputs if isinstance(outputs, list) else [outputs]):
        found[f"prediction {index}"] = np.asarray(output)
    return found


def data(
    model: Any, net: Net, seed: int, dtype: str
) -> Iterator[tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray] | None]]:
    """Batches: an array for each input, and labels and weights for each output."""
    rng = np.random.default_rng((net.seed, seed))
    for count in net.batches:
        x = [rng.standard_normal((count, *shape)).astype("float32") for shape in net.inputs]
        shapes = [(count, *output.shape[1:]) for output in model.outputs]
        y = [_labels(rng, *pair) for pair in zip(shapes, net.losses, strict=True)]
        weights = [_weights(rng, one) for one in shapes] if net.weighted else None
        yield [one.astype(dtype) for one in x], y, weights


def _weights(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Of images (n,), or of places (n, ...) where there are such: Keras wants it so."""
    return rng.uniform(0, 2, shape[:-1] if len(shape) > 2 else shape[:1]).astype("float32")


def _labels(rng: np.random.Generator, shape: tuple[int, ...], loss: str) -> np.ndarray:
    classes = rng.integers(0, shape[-1], shape[:-1])
    if loss == "sparse_categorical_crossentropy":
        return classes.astype("int32")
    if loss == "categorical_crossentropy":
        return np.eye(shape[-1], dtype="float32")[classes]
    if loss == "squared_hinge":
        return rng.choice((-1.0, 1.0), shape).astype("float32")
    if loss == "binary_crossentropy":
        return rng.integers(0, 2, shape).astype("float32")
    return rng.standard_normal(shape).astype("float32")


# Comparing ---------------------------------------------------------------------------------------


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, in parts of the largest number; infinite for other shapes."""
    if found.shape != expected.shape or not np.isfinite(found).all():
        return np.inf
    if not expected.size:
        return 0.0
    scale = max(float(np.abs(expected).max()), SMALLEST)
    return float(np.abs(found.astype("float64") - expected).max()) / scale


def apart(found: Found, expected: Found) -> list[str]:
    """What is not close, in words."""
    return [
        f"{name}: {distance(found[name], expected[name]):.2g} apart"
        for name in found
        if distance(found[name], expected[name]) > CLOSE
    ]


def further(found: Found, expected: Found, exact: Found) -> list[str]:
    """What is further from float64 than rounding explains, in words."""
    far = []
    for name, right in exact.items():
        ours, theirs = (distance(one[name], right) for one in (found, expected))
        if ours > CLOSE + TIMES_KERAS * theirs:
            far.append(f"{name}: {ours:.2g} from float64, Keras {theirs:.2g}")
    return far


def _is_finite(found: Found) -> bool:
    return all(np.isfinite(one).all() for one in found.values())


def _other_bits(found: Sequence[Found]) -> tuple[str, ...]:
    """Where more threads find other bits than one."""
    first, *others = found
    return tuple(
        f"other bits on {threads} threads: {name}"
        for threads, other in zip(THREADS[1:], others, strict=True)
        for name, one in first.items()
        if not np.array_equal(one, other[name])
    )
