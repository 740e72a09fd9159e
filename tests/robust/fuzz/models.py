"""Random graphs with settings that make little sense, of layers and of ``compile``.

A small graph is drawn, and one setting in it is another one. What plain Keras refuses, we must
refuse as well, in words; what it trains, we must train to the same numbers, or refuse in words.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

import convmill
from convmill.runtime import jit
from tests.random_graphs import compare
from tests.random_graphs.draw import draw
from tests.random_graphs.net import Net, build, source, start
from tests.robust.fuzz.outcomes import RIGHT, Case, Fault, Result, refused

MOST = 5  # layers, those of heads aside
HALF = 3e-2  # how far layers that compute in half precision may part
NAN, INFINITY = float("nan"), float("inf")

ODD: dict[str, tuple[Any, ...]] = {
    "filters": (0, -1, 1.5, "3", None, True, np.int64(3), 10**12),
    "units": (0, -1, 1.5, "3", None, True, np.int64(3)),
    "kernel_size": (0, -1, 100, 2, (1, 2, 3), (2,), "3", None, 1.5, (0, 1)),
    "pool_size": (0, -1, 100, 2, (1, 2, 3), (2,), "3", None),
    "strides": (0, -1, 5, (1, 2, 3), "2", None, 1.5, 100),
    "dilation_rate": (0, -1, 2, 100, (1, 2, 3), None),
    "padding": ("full", "SAME", "causal", None, 1, "reflect"),
    "groups": (0, 3, -1, 1.5, None, 100),
    "depth_multiplier": (0, -1, 1.5, None),
    "activation": ("nope", None, 3, keras.ops.sin, lambda x: x * 2, keras.layers.ReLU(), "relu"),
    "use_bias": (None, 0, "yes"),
    "rate": (1.0, 1.5, -0.1, NAN, None, "0.5"),
    "stddev": (-1.0, NAN, 1.0),
    "axis": (5, -5, 0, [], [1, 1], "1", None),
    "epsilon": (0.0, -1.0, NAN, 1e30, "1"),
    "momentum": (0.0, 1.0, 2.0, -1.0, NAN),
    "target_shape": ((-1,), (-1, -1), (0,), (3, 3, 3, 3), None),
    "size": (0, -1, 1.5, None),
    "scale": (0.0, NAN, INFINITY, None),
    "negative_slope": (-1.0, NAN, None),
    "max_value": (-1.0, 0.0, None),
    "dims": ((1, 1), (0, 1), (2,), (1, 2, 3, 4)),
    "n": (0, -1, 1.5),
    "output_size": (0, -1, 100),
    "data_format": ("channels_first", "nope"),
    "dtype": ("float16", "bfloat16", "float64", "int32", "mixed_float16", "mixed_bfloat16", "nope"),
    "name": ("a b", "", "llvm", "a/b", "define @x()", "ü"),
    "trainable": (False, None),
    "kernel_initializer": ("nope", "zeros", "ones", None),
    "kernel_regularizer": ("nope", "l1", 0.1),
    "kernel_constraint": ("nope", "non_neg", "unit_norm"),
    "autocast": (False,),
}
COMPILED: dict[str, tuple[Any, ...]] = {
    "loss": (None, [], "nope", "mse", ["mse"] * 5, {"nope": "mse"}, lambda y, p: keras.ops.sum(p)),
    "loss_weights": ([1.0] * 5, NAN, -1.0, [NAN], {"nope": 1.0}, "1", 0.0, [0.0]),
    "metrics": (["nope"], "mae", ["mae"], [["mae"]] * 5, {"nope": "mae"}, [None], ["accuracy"]),
    "weighted_metrics": (["mae"], ["accuracy"], ["nope"]),
    "steps_per_execution": (0, -1, 1.5, 2),
    "jit_compile": ("auto", True, False, "nope"),
    "run_eagerly": (True, False),
    "auto_scale_loss": (False,),
}
OPTIMIZERS: dict[str, tuple[Any, ...]] = {
    "learning_rate": (0.0, -1.0, NAN, INFINITY, 1e30, "1", None, 1),
    "clipnorm": (0.0, -1.0, NAN, 1e-30),
    "global_clipnorm": (0.0, -1.0, NAN),
    "clipvalue": (0.0, -1.0, NAN),
    "weight_decay": (0.0, -1.0, NAN, 1e30),
    "ema_momentum": (0.0, 1.0, 2.0, NAN),
    "use_ema": (True,),
    "gradient_accumulation_steps": (0, 1, 2, 1.5),
    "loss_scale_factor": (0.0, 2.0, -1.0, NAN),
    "epsilon": (0.0, -1.0, NAN),
    "beta_1": (0.0, 1.0, 2.0, NAN),
    "rho": (0.0, 1.0, 2.0, NAN),
    "momentum": (0.0, 1.0, 2.0, NAN, -0.5),
}


@dataclass(frozen=True)
class Odd:
    """A net with a setting of its own in ``compile`` or in its optimizer."""

    net: Net
    told: str
    compiled: dict[str, Any]
    optimizer: dict[str, Any]


def begin(folder: Path) -> Case:
    """The cases."""

    def case(number: int) -> Result:
        try:
            return one(odd(number))
        finally:
            jit.forget()

    return case


def odd(number: int) -> Odd:
    """The net of a number with another setting somewhere."""
    rng = np.random.default_rng(number)
    net = replace(draw(number, most=MOST, steps=2), batches=(3, 3))
    where = str(rng.choice(("layer", "layer", "compile", "optimizer")))
    if where == "layer":
        at = int(rng.integers(len(net.nodes)))
        node = net.nodes[at]
        own = [name for name in node.arguments if name in ODD]
        every = ("dtype", "name", "trainable", *own, *own, *own)
        name = str(rng.choice(every))
        value = ODD[name][rng.integers(len(ODD[name]))]
        nodes = list(net.nodes)
        nodes[at] = replace(node, arguments={**node.arguments, name: value})
        told = f"{node.layer}({name}={value!r})"
        return Odd(replace(net, nodes=tuple(nodes)), told, {}, {})
    table = COMPILED if where == "compile" else OPTIMIZERS
    name = str(rng.choice(list(table)))
    value = table[name][rng.integers(len(table[name]))]
    changed = {name: value}
    told = f"{where}({name}={value!r})"
    return Odd(net, told, *((changed, {}) if where == "compile" else ({}, changed)))


def one(given: Odd) -> Result:
    """Plain Keras beside us."""
    what = given.told.partition("(")[0]
    what = what if what in ("compile", "optimizer") else "layer"
    expected, theirs = _tried(given, compiled=False)
    found, error = _tried(given, compiled=True)
    told = f"{given.told}\n{source(given.net)}"
    if error is not None:
        if theirs is not None and _alike(error, theirs):
            return Result(what, "as Keras")
        return refused(error, what, told)
    if theirs is not None:
        raise Fault(what, f"taken, where Keras says {type(theirs).__name__}: {theirs}\n{told}")
    if _is_rounding(given):
        found, expected = ({"losses": one["losses"][:1]} for one in (found, expected))
    far = compare.apart(found, expected)
    if far and "float16" in given.told:  # rounded to three digits, in another order
        far = [one for one in far if compare.distance(*_pair(one, found, expected)) > HALF]
    if far and _both_finite(found, expected):
        far = compare.further(found, expected, _exact(given))
    elif far:
        far = [one for one in far if not _same_kind(found, expected)]
    if far:
        raise Fault(what, f"{far}\n{told}")
    return Result(what, RIGHT)


def _is_rounding(given: Odd) -> bool:
    """Whether steps are gradients over their own size alone: where these are zero but for what was
    rounded, they are 0 / 0 or a whole step, and neither is right. The loss before the first one is
    still known."""
    return given.optimizer.get("epsilon") == 0.0


def _tried(given: Odd, compiled: bool) -> tuple[Any, BaseException | None]:
    """What is found, or why it cannot be."""
    keras.utils.set_random_seed(1)
    try:
        return _trained(given, compiled), None
    except Exception as error:
        return None, error


def _trained(given: Odd, compiled: bool, dtype: str = "float32") -> dict[str, np.ndarray]:
    model = build(given.net)
    net, options = given.net, {**given.net.options, **given.optimizer}
    optimizer = keras.optimizers.get({"class_name": net.optimizer, "config": options})
    weights = list(net.loss_weights) if len(net.outputs) > 1 else None
    asked = {"loss": list(net.losses), "loss_weights": weights, **given.compiled}
    model.compile(optimizer, **asked)
    model.set_weights([value.astype(dtype) for value in start(model, 0)])
    if compiled:
        model = convmill.accelerate(model)
    losses, x = [], []
    for x, y, weight in compare.data(model, net, 0, dtype):
        losses.append(np.ravel(model.train_on_batch(x, y, weight)))
    found = {"losses": np.asarray(losses)}
    found |= {f"weight {n}": np.asarray(one) for n, one in enumerate(model.get_weights())}
    for number, output in enumerate(keras.tree.flatten(model.predict_on_batch(x))):
        found[f"prediction {number}"] = np.asarray(output)
    return found


def _exact(given: Odd) -> dict[str, np.ndarray]:
    with compare.precision("float64"):
        return _trained(given, compiled=False, dtype="float64")


def _alike(one: BaseException, other: BaseException) -> bool:
    """Whether both say the same; names of tensors aside."""
    return type(one) is type(other) and str(one)[:60] == str(other)[:60]


def _pair(said: str, *found: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The arrays of which something is said."""
    name = said.partition(":")[0]
    return [one[name].astype("float32") for one in found]


def _both_finite(*found: dict[str, np.ndarray]) -> bool:
    return all(np.isfinite(value).all() for one in found for value in one.values())


def _same_kind(found: Any, expected: Any) -> bool:
    """Whether the same numbers are none: how far from another infinite ones are says nothing."""
    return all(
        found[name].shape == value.shape
        and np.array_equal(np.isfinite(found[name]), np.isfinite(value))
        for name, value in expected.items()
    )
