"""What is told of a design is what happens: compiled or not, arithmetic, fusion, gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

import convmill
from benchmarks.nets import NETS
from benchmarks.workers.keras_nets import build
from convmill.design.costs import Cost, costs
from convmill.design.steps import Step, design_of
from convmill.lower.choices import Winograd
from convmill.plan.covered import refusal
from convmill.plan.refusals import NotCovered
from convmill.runtime.host import machine
from convmill.train.bound import Bound
from tests.design.graphs import graph
from tests.plan.chains import Chain, chains
from tests.plan.nets import notebook, sequential

pytestmark = pytest.mark.filterwarnings("ignore:.*softmax over axis")  # of one channel: Keras warns


def check_compiled(model: Any) -> None:
    """``inspect`` says that a model is not compiled where ``fit`` is not, for the same reason."""
    try:
        Bound(model, training=model.compiled)  # what fit and predict begin with
        reason = ""
    except NotCovered as gap:
        reason = gap.reason
    assert convmill.inspect(model).not_compiled == reason


@settings(max_examples=10)
@given(chains())
def test_chains_are_compiled(chain: Chain) -> None:
    model = chain.build()
    check_compiled(model)
    model.compile("adam", "mse")
    check_compiled(model)


@settings(max_examples=15)
@given(st.randoms(use_true_random=False))
def test_graphs_are_compiled_or_not(chance: Random) -> None:
    check_compiled(graph(chance))


@pytest.mark.parametrize("name", NETS)
def test_nets_of_the_benchmark_are_compiled_or_not(name: str) -> None:
    check_compiled(build(NETS[name]))


def own_loss(y_true: Any, y_pred: Any) -> Any:
    return keras.ops.mean(keras.ops.abs(y_true - y_pred))


@pytest.mark.parametrize(
    "options",
    [
        {"loss": own_loss},
        {"loss": "huber"},
        {"loss": "mse", "loss_weights": [2.0]},
    ],
)
def test_what_compile_says_counts(options: dict[str, Any]) -> None:
    model = sequential(layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(2))
    check_compiled(model)
    model.compile(**options)
    check_compiled(model)
    # for images of another size it is a model of the same layers, without a loss
    assert convmill.inspect(model, input_shape=(12, 12, 2)).not_compiled == ""


@pytest.mark.parametrize("loss", [["mse", "mae"], [["mse", "mae"], "mse"]])
def test_of_each_output(loss: Any) -> None:
    """One loss each, or several of one output, which is left to Keras."""
    inputs = [keras.Input((4,)), keras.Input((3,))]
    both = layers.Concatenate()(inputs)
    model = keras.Model(inputs, [layers.Dense(2)(both), layers.Dense(1)(both)])
    model.compile("sgd", loss)
    check_compiled(model)


def check_costs(model: Any) -> None:
    """Arithmetic, fusion and what is trained, as costs tell them, are those of ``explain``."""
    explained, design = convmill.explain(model), design_of(model)
    found = costs(design, machine())
    assert explained.compiled == (refusal(design.graph) is None)
    for stage in explained.stages:
        if stage.name not in found:  # an activation that was split off
            continue
        cost, step = found[stage.name], design.step(stage.name)
        assert stage.dense == (cost.training if model.compiled else cost.forward), stage.name
        if step.is_weighted:
            assert stage.done == done(step, cost, training=model.compiled), stage.name
        assert cost.thinned.is_fused == ("+ max" in stage.operation), stage.name
        together = stage.fused[:-1] if cost.thinned.is_fused else ()
        assert all(found[name].thinned == cost.thinned for name in together), stage.name


    for name in found:
        halves = [row for row in explained.stages if row.name in half_names(name)]
        if halves:
            assert sum(row.dense for row in halves) == found[name].training
            assert sum(row.done for row in halves) == found[name].sparse_training


def half_names(name: str) -> tuple[str, str]:
    """What ``explain`` calls the two stages of a separable convolution."""
    return f"{name}/depthwise", f"{name}/pointwise"


def done(step: Step, cost: Cost, *, training: bool) -> int:
    """The multiply-adds that are really done, of which Winograd's algorithm has fewer."""
    computed = cost.forward * cost.thinned.computed
    backward = cost.sparse_training - computed if training else 0.0
    if cost.choice is not None and isinstance(cost.choice.forward, Winograd):
        one_place = cost.forward / math.prod(step.shape[:2])
        tile = cost.choice.forward
        computed = math.prod(tile.grid) * one_place * tile.filtering.points / 9
    return round(computed + backward)


@settings(max_examples=5)
@given(chains())
def test_costs_of_chains(chain: Chain) -> None:
    model = chain.build()
    model.compile("sgd", "mse")
    check_costs(model)


FORMS: dict[str, tuple[Callable[[], Any], ...]] = {
    "depthwise": (
        lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, activation="gelu"),
        layers.MaxPooling2D,
        lambda: layers.SeparableConv2D(5, 3, activation="relu"),
        layers.MaxPooling2D,
    ),
    "transposed": (
        lambda: layers.Conv2D(6, 3, groups=2, dilation_rate=2, activation="relu"),
        layers.MaxPooling2D,
        lambda: layers.Conv2DTranspose(4, 3, strides=2, activation="relu"),
        lambda: layers.MaxPooling2D(3, 2),
        lambda: layers.Conv2D(8, 3, groups=4),
    ),
    "along one axis": (
        lambda: layers.Reshape((64, 15)),
        lambda: layers.Conv1D(8, 3, activation="relu", padding="causal"),
        lambda: layers.MaxPooling1D(2),
        lambda: layers.SeparableConv1D(5, 3, padding="same"),
        lambda: layers.Conv1DTranspose(3, 2, strides=2),
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_costs_of_all_forms_of_convolutions(name: str) -> None:
    made = [make() for make in FORMS[name]]
    model = sequential(*made, layers.Flatten(), layers.Dense(3), shape=(16, 15, 4))
    model.compile("sgd", "mse")
    check_compiled(model)
    check_costs(model)


@pytest.mark.parametrize("trainable", [True, False])
def test_costs_of_the_notebook(trainable: bool) -> None:
    model = notebook()
    check_costs(model)
    model.layers[2].trainable = trainable
    model.compile("sgd", "categorical_crossentropy")
    check_costs(model)


@pytest.mark.parametrize(
    "behind",
    [layers.MaxPooling2D, lambda: layers.AveragePooling2D(2), layers.ReLU],
    ids=["max", "average", "relu"],
)
def test_costs_where_the_first_layer_is_narrow_or_frozen(behind: Callable[[], Any]) -> None:
    for frozen in (False, True):
        model = sequential(
            layers.Conv2D(16, 3, trainable=not frozen),
            behind(),
            layers.Conv2D(16, 3, activation="gelu"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
            shape=(14, 15, 1),
        )
        model.compile("sgd", "categorical_crossentropy")
        check_costs(model)
