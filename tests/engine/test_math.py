"""Elementary functions against float64, over all that float32 can hold."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable

import numpy as np
import pytest

from convmill.kernels import ir
from convmill.kernels import math as kernels
from convmill.kernels.context import denormals_as_zero
from convmill.kernels.lang import POINTER, Emitter
from convmill.plan.graph.activations import Activation
from convmill.runtime import machine_code
from tests.engine.nets import WIDTHS, activate, graph_of, named, program_of
from tests.twin import elementwise

COUNT = 4099  # no multiple of a vector
SMALLEST = float(np.finfo(np.float32).tiny)
LARGEST = float(np.finfo(np.float32).max)


def native(function, x, lanes):
    """``function`` of ``convmill.kernels.math`` on an array, in native code."""
    module, machine = ir.Module(), WIDTHS[f"{lanes} lanes"]
    e = Emitter(module, "run", [POINTER, POINTER], lanes, exported=True)
    source, target = e.arguments
    with denormals_as_zero(e, machine):  # as all that a Program runs
        e.vectors(
            len(x),
            lambda at, count: e.store(function(e, e.load(source, at, count)), target, at, count),
        )
    e.finish()
    engine = machine_code.linked(machine_code.object_code([module.text()], machine))
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(
        engine.get_function_address("run")
    )
    result = np.full(len(x), np.nan, np.float32)
    run(x.ctypes.data, result.ctypes.data)
    return result


def around_zero(largest):
    """Numbers of both signs, of all sizes up to ``largest``, and zero."""
    sizes = np.geomspace(1e-30, largest, COUNT // 2)
    return np.concatenate([-sizes[::-1], [0.0], sizes]).astype(np.float32)


erf = np.vectorize(math.erf, otypes=[np.float64])
FUNCTIONS: dict[str, tuple[np.ndarray, Callable, float, float]] = {
    # name: (inputs, exact values, greatest relative error, greatest absolute error)
    "exp": (np.linspace(-87.3, 88.3, COUNT), np.exp, 3e-7, 0.0),
    "log": (np.geomspace(SMALLEST, LARGEST, COUNT), np.log, 2e-7, 0.0),
    "tanh": (around_zero(100.0), np.tanh, 5e-7, 0.0),
    "sigmoid": (np.linspace(-87, 100, COUNT), lambda x: 1 / (1 + np.exp(-x)), 5e-7, 0.0),
    "erf": (around_zero(100.0), erf, 3e-7, 0.0),
    "exponential_minus_one": (-np.geomspace(1e-30, 80, COUNT), np.expm1, 1e-6, 0.0),
    "normal_share": (np.linspace(-20, 20, COUNT), lambda x: (1 + erf(x / 2**0.5)) / 2, 0.0, 2e-7),
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name, width):
    inputs, exact, relative, absolute = FUNCTIONS[name]
    x = np.asarray(inputs, np.float32)
    ours = native(getattr(kernels, name), x, WIDTHS[width].lanes)
    np.testing.assert_allclose(ours, exact(x.astype(np.float64)), rtol=relative, atol=absolute)


def test_log_near_one():
    """Where the logarithm is small, its relative error stays small."""
    x = (1 + around_zero(0.3)).astype(np.float32)
    exact = np.log(x.astype(np.float64))
    np.testing.assert_allclose(native(kernels.log, x, 8), exact, rtol=2e-7)


@pytest.mark.parametrize("width", WIDTHS)
def test_exp_beyond_its_range(width):
    """Zero below what is no denormal number, finite above."""
    x = np.array([-88, -104, -1e4, -LARGEST, -np.inf, 89, 1e4, LARGEST, np.inf], np.float32)
    ours = native(kernels.exp, x, WIDTHS[width].lanes)
    np.testing.assert_array_equal(ours[:5], 0)
    assert (ours[5:] > 2e38).all()
    assert np.isfinite(ours).all()


EXTREMES = np.array(
    [0.0, -0.0, SMALLEST, -SMALLEST, 1e-20, 5.0, -5.0, 89.0, -89.0, 1e4, -1e4, 1e18, -1e18],
    np.float32,
)
ACTIVATIONS = ["relu", "relu6", "leaky_relu", "sigmoid", "tanh", "elu", "gelu", "gelu_tanh",
               Activation("elu", slope=0.5), Activation("relu", slope=0.1)]  # fmt: skip


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_activation(activation):
    """Over a wide range, and at extremes, where nothing may overflow that should not."""
    x = np.concatenate([np.linspace(-12, 12, 1000), EXTREMES]).astype(np.float32)
    program = program_of(graph_of(x.shape, activate(activation)), None, [])
    with np.errstate(over="ignore"):
        exact = elementwise.activation(named(activation), x.astype(np.float64))
    ours = program.predict(x[None])[0]
    np.testing.assert_allclose(ours, exact, rtol=2e-6, atol=1e-6)


def test_softmax_of_extremes():
    """Shares of rows that hold very large and very different numbers."""
    rows = np.array(
        [[1e30, -1e30, 0], [80, 80, 80], [-1e4, -1e4, -1e4 + 3], [0, -200, 200], [-1e38, 0, -5]],
        np.float32,
    )
    program = program_of(graph_of((3,), activate("softmax")), None, [])
    exact = elementwise.activation(Activation("softmax"), rows.astype(np.float64))
    np.testing.assert_allclose(program.predict(rows), exact, rtol=1e-6, atol=2e-38)
