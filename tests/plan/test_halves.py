"""Where a graph is cut behind its frozen base, and what each half has."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from keras import layers

from convmill.plan.covered import check_covered
from convmill.plan.halves import Halves, halves
from convmill.plan.read import read


def cut(image: keras.KerasTensor, output: keras.KerasTensor) -> Halves | None:
    return halves(read(keras.Model(image, output)).graph)


def found(image: keras.KerasTensor, output: keras.KerasTensor) -> Halves:
    both = cut(image, output)
    assert both is not None
    for half in (both.base, both.head):
        check_covered(half)
    return both


def conv(filters: int, size: int, **options: Any) -> keras.Layer:
    """Drawing weights would take seconds."""
    return layers.Conv2D(filters, size, kernel_initializer="zeros", **options)


def dense(units: int, **options: Any) -> keras.Layer:
    return layers.Dense(units, kernel_initializer="zeros", **options)


def frozen(layer: keras.Layer) -> keras.Layer:
    layer.trainable = False
    return layer


@pytest.fixture
def image() -> keras.KerasTensor:
    return keras.Input((8, 8, 3), name="image")


def test_behind_a_pooling_over_the_image(image: keras.KerasTensor) -> None:
    x = frozen(conv(4, 3, activation="relu", name="see"))(image)
    x = frozen(layers.BatchNormalization(name="norm"))(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.5, name="drop")(x)
    both = found(image, dense(2, name="say")(x))
    assert both.base.inputs == ("image",)
    assert both.base.outputs == both.head.inputs == ("pool",)
    assert [node.name for node in both.head.nodes] == ["pool", "drop", "say"]
    assert (both.layers, both.image_bytes) == (3, 4 * 4)
    assert both.base_parameters == (0, 1, 2, 3, 4, 5)
    assert both.head_parameters == (6, 7)
    say = both.head.node("say")
    assert (say.operation.kernel, say.operation.bias, say.parameters) == (0, 1, (0, 1))


def test_chance_and_statistics_that_move_are_the_heads(image: keras.KerasTensor) -> None:
    """A frozen dropout layer drops, and a batch normalization is frozen with its layer alone."""
    see = frozen(conv(4, 3, name="see"))
    for layer in (
        frozen(layers.Dropout(0.5)),
        frozen(layers.GaussianNoise(0.5)),
        layers.BatchNormalization(center=False, scale=False),
        conv(2, 1, name="own"),
    ):
        behind = frozen(conv(5, 3))(layer(see(image)))
        both = found(image, dense(2)(layers.Flatten()(behind)))
        assert both.base.outputs == ("see",)
    behind = conv(5, 3)(layers.ActivityRegularization(1e-3)(see(image)))
    assert found(image, behind).head.penalties == ("mean",)
    random = frozen(layers.RandomFlip())(image)
    assert cut(image, dense(2)(layers.Flatten()(see(random)))) is None


def test_few_values_are_handed_on(image: keras.KerasTensor) -> None:
    """What only spreads values out is the head's, and what is read twice is handed on once."""
    x = frozen(conv(4, 3, name="see"))(image)
    wide = layers.UpSampling2D(name="wide")(layers.ReLU(name="relu")(x))
    sums = [conv(2, 1)(wide), layers.UpSampling2D()(conv(2, 1)(x))]
    both = found(image, layers.Add()(sums))
    assert both.base.outputs == ("see",)
    assert both.image_bytes == 6 * 6 * 4 * 4


def test_an_input_that_the_head_reads_stays_one(image: keras.KerasTensor) -> None:
    scaled = layers.Rescaling(0.5, name="scaled")(image)
    x = frozen(conv(4, 3, padding="same", name="see"))(scaled)
    both = found(image, conv(2, 1)(layers.Concatenate()([scaled, x])))
    assert both.base.inputs == ("image",)
    assert both.head.inputs == ("image", "see")
    assert "scaled" in {node.name for node in both.head.nodes}


def test_a_layer_on_both_sides(image: keras.KerasTensor) -> None:
    """A frozen layer that also reads what is trained is in both halves, with its weights."""
    see = frozen(conv(3, 3, padding="same", name="see"))
    own = conv(3, 1, name="own")
    both = found(image, layers.Add()([see(image), see(own(image))]))
    assert len(both.base_parameters) == 2
    assert set(both.base_parameters) < set(both.head_parameters) == {0, 1, 2, 3}
    assert all(node.repeats is None for node in both.head.nodes)


def test_where_there_is_nothing_to_cut(image: keras.KerasTensor) -> None:
    trained = dense(2)(layers.Flatten()(conv(4, 3)(image)))
    nothing = dense(2)(layers.Flatten()(layers.MaxPooling2D()(image)))
    whole = frozen(dense(2))(layers.Flatten()(frozen(conv(4, 3))(image)))
    window = layers.RandomCrop(4, 4)(frozen(conv(4, 3))(image))  # none outside training
    sizes = dense(2)(layers.GlobalMaxPooling2D()(window))
    assert [cut(image, output) for output in (trained, nothing, whole, sizes)] == [None] * 4


def test_what_is_handed_out_is_the_heads(image: keras.KerasTensor) -> None:
    x = frozen(conv(4, 3, name="see"))(image)
    y = frozen(conv(4, 3, name="more"))(x)
    graph = read(keras.Model(image, [y, conv(2, 1, name="say")(y)])).graph
    both = halves(graph)
    assert both is not None
    assert both.base.outputs == ("see",)
    assert both.head.outputs == ("more", "say")
