"""Multiply-adds, parameters, bytes and borders, counted by hand."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from keras import layers

import convmill
from convmill.design.costs import Cost, costs, total
from convmill.design.sparsity import Sparsity, sparsity
from convmill.design.steps import Design, design_of
from convmill.lower.passes import lower_stages
from tests.plan.nets import IMAGE, MACHINE, notebook, sequential


def each(model: Any) -> list[Cost]:
    """Costs of all steps but the input."""
    return list(costs(design_of(model), MACHINE).values())[1:]


def thinned(design: Design) -> dict[str, Sparsity]:
    """What pooling leaves of each step."""
    return sparsity(design, lower_stages(design.graph, MACHINE))


def test_every_place_reads_the_kernel_and_the_first_layer_has_no_input_gradient() -> None:
    pool, convolution, flat, dense = each(
        sequential(
            layers.MaxPooling2D(2),
            layers.Conv2D(3, (2, 1), use_bias=False),
            layers.Flatten(),
            layers.Dense(5),
            shape=(6, 8, 2),
        )
    )
    assert pool.forward_operations == pool.training_operations == 3 * 4 * 2 * 4
    assert (pool.forward, pool.training, pool.parameters) == (0, 0, 0)
    assert pool.output_bytes == 4 * (3 * 4 * 2)
    assert convolution.forward == (2 * 4 * 3) * (2 * 1 * 2)
    assert convolution.training == 2 * convolution.forward
    assert convolution.parameters == 2 * 1 * 2 * 3
    assert (flat.output_bytes, flat.kept_bytes) == (4 * (2 * 4 * 3), 0)
    assert dense.forward == 24 * 5
    assert dense.training == 3 * dense.forward
    assert dense.parameters == 24 * 5 + 5


def test_the_dense_roofline_of_the_notebook() -> None:
    design = design_of(notebook())
    found = costs(design, MACHINE)
    whole = total(design, found)
    assert whole.training == 8_188_032
    assert whole.parameters == whole.trainable == 93_322


def test_frozen_layers_cost_no_weight_gradient() -> None:
    frozen, trained = layers.Conv2D(2, 3), layers.Conv2D(2, 3)
    frozen.trainable = False
    first, second = each(sequential(frozen, trained))
    assert first.training == first.forward
    assert first.trainable == 0
    assert second.training == 2 * second.forward
    behind = each(sequential(layers.Conv2D(2, 3), frozen))[1]
    assert behind.training == 2 * behind.forward


def test_max_pooling_leaves_one_gradient_a_window() -> None:
    first, pool, second, other = each(
        sequential(
            layers.Conv2D(4, 1),
            layers.MaxPooling2D(2),
            layers.Conv2D(4, 2, activation="relu"),
            layers.MaxPooling2D((3, 2)),
            shape=(8, 12, 3),
        )
    )
    # nothing is dropped, and a first layer of 3 taps computes the gradient of its weights anywhere
    assert first.sparse_training == 2 * first.forward
    # of 3x5 places two columns of windows, 1x2 of 3x2, are read, and 2 of 15 have a gradient
    work, activated = (3 * 5 * 4) * (2 * 2 * 4), 3 * 5 * 4
    assert (second.forward, second.training) == (work, 3 * work)
    assert second.sparse_training == round(work * (12 / 15 + 2 * 2 / 15))
    assert (second.forward_operations, second.training_operations) == (activated, 2 * activated)
    assert second.sparse_training_operations == round(activated * (12 / 15 + 2 / 15))
    assert (first.kept_bytes, second.kept_bytes) == (0, 0)
    assert pool.kept_bytes == 4 * 6 * 4 * 5
    assert other.dropped == (0, 1)


def test_pooling_that_is_not_alone_or_overlaps_leaves_all_gradients() -> None:
    for pooling in (
        layers.AveragePooling2D(2),
        layers.MaxPooling2D(3, strides=2),
        layers.MaxPooling2D(2, padding="same"),
    ):
        design = design_of(sequential(layers.Conv2D(2, 3, name="c"), pooling, shape=(7, 7, 1)))
        assert "c" not in thinned(design)
    image = keras.Input(IMAGE)
    map_ = layers.Conv2D(2, 3, name="c")(image)
    pooled = layers.Flatten()(layers.MaxPooling2D()(map_))
    design = design_of(keras.Model(image, [pooled, layers.Flatten()(map_)]))
    assert "c" not in thinned(design)
    design = design_of(keras.Model(image, [pooled, map_]))
    assert "c" not in thinned(design)


def test_pooling_behind_activation_and_dropout_counts() -> None:
    model = sequential(
        layers.Conv2D(2, 3, name="c"),
        layers.ReLU(),
        layers.Dropout(0.5),
        layers.MaxPooling2D(name="p"),
    )
    design = design_of(model)
    # 6x7 places, 3x3 windows: dropout computes all of them, and its gradients are zeros but for 9
    assert thinned(design) == {"c": Sparsity(computed=1.0, live=9 / 42)}


@pytest.mark.parametrize(
    "stack",
    [
        [layers.Conv2D(4, 3), layers.MaxPooling2D(2)],
        [layers.Conv2D(4, 3), layers.ReLU(), layers.MaxPooling2D((3, 2))],
        [layers.Conv2D(4, 3), layers.Activation("linear"), layers.ReLU(), layers.MaxPooling2D(3)],
        [layers.Conv2D(4, 3), layers.Activation("gelu"), layers.AveragePooling2D(2)],
        [layers.Conv2D(4, 3, use_bias=False), layers.MaxPooling2D(2, strides=1)],
        [layers.Conv2D(4, 3, strides=2), layers.MaxPooling2D(3, strides=1)],
        [layers.Conv2D(4, 3, trainable=False), layers.MaxPooling2D(2)],
        [layers.Conv2D(4, 3), layers.Conv2D(4, 3, trainable=False), layers.MaxPooling2D(2)],
    ],
    ids=lambda stack: "-".join(type(layer).__name__ for layer in stack),
)
@pytest.mark.parametrize("channels", [1, 16])
def test_what_is_really_computed_is_what_the_compiler_computes(
    stack: list[Any], channels: int
) -> None:
    """Of a first layer, narrow where it reads one channel, and of one behind it."""
    for first in ([], [layers.Conv2D(channels, 1)]):
        copies = [layer.from_config(layer.get_config()) for layer in stack]
        head = [layers.Flatten(), layers.Dense(3)]
        model = sequential(*first, *copies, *head, shape=(13, 14, channels))
        model.compile("sgd", "mse")
        explained, found = convmill.explain(model), costs(design_of(model), MACHINE)
        assert explained.compiled
        for stage in explained.stages:
            if stage.dense:
                assert found[stage.name].sparse_training == stage.done, stage.name


def test_only_what_the_compiler_fuses_spares_places_and_memory() -> None:
    for stack in (
        [layers.MaxPooling2D(2, strides=4)],
        [layers.MaxPooling2D((5, 2))],
        [layers.Activation("gelu"), layers.MaxPooling2D(2)],
        [layers.Dropout(0.5), layers.MaxPooling2D(2)],
    ):
        model = sequential(layers.Conv2D(2, 3, name="c"), *stack, shape=(14, 14, 1))
        design = design_of(model)
        thin, cost = thinned(design)["c"], costs(design, MACHINE)["c"]
        assert (thin.computed, thin.is_fused) == (1.0, False)
        assert thin.live < 1
        assert cost.kept_bytes == 4 * 12 * 12 * 2
    for activation, kept in (("relu", 1), ("gelu", 2)):
        (cost,) = each(sequential(layers.Conv2D(2, 3, activation=activation), shape=(8, 8, 1)))
        assert cost.kept_bytes == kept * 4 * 6 * 6 * 2


def test_an_activation_layer_is_fused_like_the_convolutions_own() -> None:
    own, layer = (
        design_of(sequential(*stack, layers.MaxPooling2D(2), shape=(8, 8, 16)))
        for stack in (
            [layers.Conv2D(2, 3, activation="relu")],
            [layers.Conv2D(2, 3), layers.ReLU()],
        )
    )
    one, other = total(own, costs(own, MACHINE)), total(layer, costs(layer, MACHINE))
    assert (one.forward, one.sparse_training) == (other.forward, other.sparse_training)
    assert one.kept_bytes == other.kept_bytes


def test_borders() -> None:
    for layer, border, dropped in (
        (layers.Conv2D(1, 3), (2, 2), (0, 0)),
        (layers.Conv2D(1, 3, padding="same"), (0, 0), (0, 0)),
        (layers.Conv2D(1, (3, 1), dilation_rate=2), (4, 0), (0, 0)),
        (layers.MaxPooling2D(2), (0, 1), (0, 1)),
        (layers.MaxPooling2D(3), (1, 0), (2, 0)),
        (layers.Conv2D(1, 3, strides=2), (1, 1), (1, 0)),
        (layers.GlobalMaxPooling2D(), (0, 0), (0, 0)),
        (layers.Cropping2D(((2, 1), (3, 2))), (0, 0), (0, 0)),
    ):
        (cost,) = each(sequential(layer))
        assert (cost.border, cost.dropped) == (border, dropped), layer


def test_what_no_gradient_reaches_is_not_kept() -> None:
    frozen, last = layers.Conv2D(2, 3), layers.Conv2D(2, 3)
    frozen.trainable = last.trainable = False
    first, second, flat, dense = each(sequential(frozen, last, layers.Flatten(), layers.Dense(2)))
    assert (first.kept_bytes, flat.kept_bytes) == (0, 0)
    assert second.kept_bytes == second.output_bytes  # the dense layer's weights want it
    assert dense.kept_bytes == dense.output_bytes
