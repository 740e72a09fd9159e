"""Every activation of Keras that is a function of one value, and operations of Keras that are:
values and slopes as Keras on JAX has them, at kinks too."""

from __future__ import annotations

from functools import partial

import jax
import keras
import numpy as np
import pytest
from keras import activations, layers, ops

from convmill.kernels import ir
from convmill.kernels.functions import FUNCTIONS, activate, gate_input
from convmill.plan.functions import read_activation
from convmill.plan.graph.activations import Activation
from tests.engine.keras_layers import follows_keras
from tests.engine.nets import WIDTHS
from tests.engine.test_math import native

NAMES = (
    *("elu", "relu", "relu6", "leaky_relu", "selu", "celu", "softplus", "softsign", "silu"),
    *("gelu", "sigmoid", "tanh", "exponential", "hard_sigmoid", "hard_silu", "hard_tanh"),
    *("hard_shrink", "soft_shrink", "tanh_shrink", "squareplus", "sparse_plus", "sparse_sigmoid"),
    *("log_sigmoid", "mish", "linear"),
)
OF_OPS = ("square", "absolute", "negative", "expm1", "exp")
ABOVE_ZERO = ("log", "log1p", "sqrt", "rsqrt", "reciprocal")
CASES = {
    **{name: (read_activation(getattr(activations, name)), getattr(activations, name))
       for name in NAMES},
    **{name: (read_activation(getattr(ops, name)), getattr(ops, name))
       for name in (*OF_OPS, *ABOVE_ZERO)},
    "relu of all": (
        read_activation(layers.ReLU(2.0, 0.25, 0.5)),
        partial(activations.relu, max_value=2.0, negative_slope=0.25, threshold=0.5),
    ),
    "relu above a threshold": (
        Activation("relu", constants=(-1.0,)), partial(activations.relu, threshold=-1.0),
    ),
    "relu from below up to two": (
        Activation("relu", ceiling=2.0, constants=(-1.0,)),
        partial(activations.relu, max_value=2.0, threshold=-1.0),
    ),
    "gelu_tanh": (Activation("gelu_tanh"), partial(activations.gelu, approximate=True)),
    "celu of two": (Activation("celu", slope=2.0), partial(activations.celu, alpha=2.0)),
    "threshold": (
        Activation("threshold", constants=(0.5, -3.0)),
        partial(activations.threshold, threshold=0.5, default_value=-3.0),
    ),
}  # fmt: skip
KINKS = np.array([-6, -3, -2, -1, -0.5, 0, 0.5, 1, 2, 3, 6], np.float32)
SIZES = np.concatenate([np.linspace(-12, 12, 997), np.geomspace(1e-6, 80, 200)])
POINTS = np.concatenate([KINKS, SIZES, -SIZES[-200:]]).astype(np.float32)


def test_all_functions_are_looked_at():
    assert {activation.name for activation, _ in CASES.values()} >= set(FUNCTIONS)


@pytest.mark.parametrize("name", CASES)
def test_value_and_slope(name):
    """Against Keras in double precision, where a function of JAX has no kink of its own there."""
    activation, function = CASES[name]
    x = np.abs(POINTS[POINTS != 0]) if name in ABOVE_ZERO else POINTS
    with jax.enable_x64():
        wide = jax.numpy.asarray(x.astype(np.float64))
        theirs, pull = jax.vjp(function, wide)
        (slope,) = pull(jax.numpy.ones_like(theirs))
        theirs, slope = np.asarray(theirs), np.asarray(slope)
    lanes = WIDTHS["16 lanes"].lanes
    ours = native(lambda e, v: activate(e, activation, v), x, lanes)
    np.testing.assert_allclose(ours, theirs, rtol=3e-6, atol=1e-6)

    def derive(e, v):
        return gate_input(e, activation, v, e.constant(2.0))

    np.testing.assert_allclose(native(derive, x, lanes) / 2, slope, rtol=5e-6, atol=1e-6)


FAR = np.geomspace(1e2, 3e38, 75)


@pytest.mark.parametrize("name", sorted(set(CASES) - {"relu of all"}))
def test_far_from_zero(name):
    """Nothing overflows on the way to a value, or to a slope, that float32 holds."""
    activation, function = CASES[name]
    x = np.concatenate([FAR] if name in ABOVE_ZERO else [-FAR, FAR]).astype(np.float32)
    with jax.enable_x64(), np.errstate(over="ignore"):
        theirs, pull = jax.vjp(function, jax.numpy.asarray(x.astype(np.float64)))
        (slope,) = pull(jax.numpy.ones_like(theirs))
        theirs, slope = np.asarray(theirs, np.float32), np.asarray(slope, np.float32)
    ours = native(lambda e, v: activate(e, activation, v), x, 16)
    np.testing.assert_allclose(ours, theirs, rtol=3e-6, atol=1e-6)
    ours = native(lambda e, v: gate_input(e, activation, v, e.constant(1.0)), x, 16)
    np.testing.assert_allclose(ours, slope, rtol=5e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["silu", "softplus", "mish", "hard_silu", "celu", "squareplus"])
def test_inside_layers(name):
    """In a convolution, behind pooling, in a dense layer, and as a layer of its own."""
    model = keras.Sequential(
        [
            keras.Input((6, 5, 2)),
            layers.Conv2D(5, 2, activation=name),
            layers.MaxPooling2D(2),
            layers.Conv2D(4, 2, padding="same"),
            layers.Activation(name),
            layers.Flatten(),
            layers.Dense(6, activation=name),
            layers.Dense(2),
        ]
    )
    follows_keras(model)


@pytest.mark.parametrize("name", ["log", "sqrt", "exponential", "reciprocal", "log1p"])
def test_ends_of_numbers(name):
    """Infinities, zeros and what is no number, as Keras has them."""
    x = np.array([0.0, -1.0, -2.0, np.inf, np.nan, 100.0, 1e30, 88.5, -200.0], np.float32)
    function = ops.exp if name == "exponential" else getattr(ops, name)
    with np.errstate(all="ignore"):
        theirs = np.asarray(function(x))
    ours = native(lambda e, v: activate(e, Activation(name), v), x, 8)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_what_is_no_number_stays_so():
    x = np.full(16, np.nan, np.float32)
    for name in FUNCTIONS:
        constants = {"threshold": (0.5, 1.0), "squareplus": (4.0,), "soft_shrink": (0.5,),
                     "hard_shrink": (0.5,)}.get(name, ())  # fmt: skip
        activation = Activation(name, slope=1.0, constants=constants)
        if name == "threshold":  # not above it, as Keras says
            continue

        def value(e, v, activation=activation) -> ir.Value:
            return activate(e, activation, v)

        assert np.isnan(native(value, x, 16)).all(), name
