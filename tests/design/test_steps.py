"""Designs: shapes and parameters are Keras' own, for random graphs and for known architectures."""

from __future__ import annotations

import math
import random
from random import Random
from typing import Any

import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from convmill.design.steps import Step, design_of
from convmill.plan.reads import Flat, Same, Unknown, Whole, Windows
from tests.design.graphs import graph, taps
from tests.plan.nets import IMAGE, notebook, sequential


def last(model: Any) -> Step:
    return design_of(model).steps[-1]


@settings(max_examples=25)
@given(st.randoms(use_true_random=False))
def test_shapes_parameters_and_arithmetic_are_those_of_keras(chance: Random) -> None:
    model = graph(chance)
    design = design_of(model)
    assert design.parameters == model.count_params()
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    assert sum(step.trainable for step in design.steps) == trainable
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            continue
        step = design.step(layer.name)
        assert step.shape == tuple(layer.output.shape[1:])
        assert step.parameters == layer.count_params()
        if step.kind in ("convolution", "dense"):
            assert step.multiply_adds == taps(model, step, design.step(step.inputs[0]).shape)
        elif isinstance(step.reads, Windows) and step.pool:
            assert step.operations == taps(model, step, design.step(step.inputs[0]).shape)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        # multiply-adds that the papers give: He et al. (2016), Howard et al. (2017),
        # Sandler et al. (2018)
        pytest.param("ResNet50", 3.8e3, marks=pytest.mark.long),
        ("MobileNet", 569),
        pytest.param("MobileNetV2", 300, marks=pytest.mark.long),
    ],
)
def test_known_architectures(name: str, millions: float) -> None:
    model = getattr(keras.applications, name)(weights=None)
    design = design_of(model)
    assert design.parameters == model.count_params()
    assert sum(step.multiply_adds for step in design.steps) == pytest.approx(
        millions * 1e6, rel=0.03
    )
    assert all(step.counted for step in design.steps)


def test_the_notebook() -> None:
    design = design_of(notebook())
    parameters = [step.parameters for step in design.steps if step.parameters]
    assert parameters == [320, 18_496, 36_928, 36_928, 650]
    assert [step.shape for step in design.steps if step.is_map][-1] == (3, 3, 64)


def test_groups_divide_the_arithmetic() -> None:
    assert last(sequential(layers.Conv2D(4, 3, groups=2))).multiply_adds == (6 * 7 * 4) * 9 * 1


def test_pooling_and_activations_are_counted() -> None:
    model = sequential(
        layers.Conv2D(4, 3, activation="relu", name="c"),
        layers.MaxPooling2D((2, 3), name="p"),
        layers.ReLU(name="r"),
        layers.GlobalAveragePooling2D(name="g"),
    )
    design = design_of(model)
    assert design.step("c").operations == 6 * 7 * 4
    assert design.step("p").operations == (3 * 2 * 4) * 6
    assert design.step("r").operations == 3 * 2 * 4
    assert design.step("g").operations == 3 * 2 * 4
    assert sum(step.multiply_adds for step in design.steps) == (6 * 7 * 4) * (3 * 3 * 2)


def test_activations_have_their_names() -> None:
    assert last(sequential(layers.Conv2D(1, 3, activation="gelu"))).activation == "gelu"
    assert last(sequential(layers.Activation("tanh"))).activation == "tanh"
    assert last(sequential(layers.LeakyReLU())).activation == "leaky_relu"
    assert last(sequential(layers.Dense(2, activation=layers.ELU()))).activation == "elu"
    assert last(sequential(layers.MaxPooling2D())).activation == "linear"


def test_shared_layers_and_models_are_counted_once() -> None:
    image = keras.Input(IMAGE)
    inner = keras.Sequential([layers.Conv2D(2, 3, padding="same", name="c")], name="inner")
    model = keras.Model(image, inner(inner(image)))
    design = design_of(model)
    assert [step.name for step in design.steps[1:]] == ["inner/c", "inner/c (2)"]
    assert [step.parameters for step in design.steps[1:]] == [38, 0]
    assert design.steps[2].shared_with == "inner/c"
    assert design.steps[2].multiply_adds == design.steps[1].multiply_adds > 0


def test_sums_written_with_operators_are_merges() -> None:
    image = keras.Input(IMAGE)
    step = last(keras.Model(image, layers.ReLU()(image) + image))
    assert (step.kind, step.reads, step.operations) == ("merge", Same(), math.prod(IMAGE))


class Half(layers.Conv2D):
    """A convolution whose places are then added up, which no operation says."""

    def call(self, inputs):
        return keras.ops.cumsum(super().call(inputs), axis=1)


@pytest.mark.parametrize(
    ("operation", "layer"),
    [
        (lambda x: keras.ops.mean(x, axis=(1, 2)), layers.GlobalAveragePooling2D()),
        (lambda x: keras.ops.max(x, axis=[-2, -3]), layers.GlobalMaxPooling2D()),
        (lambda x: keras.ops.reshape(x, (-1, 144)), layers.Reshape((144,))),
        (lambda x: keras.ops.concatenate([x, x], -1), lambda x: layers.Concatenate()([x, x])),
        (lambda x: keras.ops.concatenate([x, x], 1), lambda x: layers.Concatenate(1)([x, x])),
        (keras.ops.softmax, layers.Softmax()),
        (lambda x: keras.ops.softmax(x, axis=None), None),
        (lambda x: keras.ops.max(x, axis=3), None),
        (lambda x: keras.ops.max(x, axis=1), None),
        (keras.ops.leaky_relu, layers.LeakyReLU()),
        (keras.ops.hard_sigmoid, layers.Activation("hard_sigmoid")),
        (keras.ops.log_softmax, layers.Activation("log_softmax")),
    ],
)
def test_operations_are_known_as_the_layers_are(operation: Any, layer: Any) -> None:
    image = keras.Input(IMAGE)
    found = design_of(keras.Model(image, operation(image))).steps[-1]
    if layer is None:
        assert isinstance(found.reads, Unknown)
        return
    expected = design_of(keras.Model(image, layer(image))).steps[-1]
    for figure in ("kind", "shape", "reads", "operations", "counted", "pool", "activation"):
        assert getattr(found, figure) == getattr(expected, figure), figure


def test_a_softmax_of_a_vector_reads_all_of_it() -> None:
    for last in (layers.Softmax(), layers.Activation("softmax"), keras.ops.softmax):
        image = keras.Input(IMAGE)
        design = design_of(keras.Model(image, last(layers.Flatten()(image))))
        assert isinstance(design.steps[-1].reads, Whole)


def test_layers_that_nobody_knows_are_described_as_far_as_keras_does() -> None:
    design = design_of(sequential(Half(3, 2)))
    step = design.steps[-1]
    assert (step.kind, step.reads, step.counted) == ("other", Unknown(), False)
    assert (step.shape, design.parameters) == ((7, 8, 3), 3 * (2 * 2 * 2) + 3)


def test_dense_on_images_is_a_1x1_convolution() -> None:
    step = last(sequential(layers.Dense(5)))
    assert (step.reads, step.multiply_adds) == (Same(), 8 * 9 * 2 * 5)
    flat = last(sequential(layers.Flatten(), layers.Dense(5)))
    assert flat.reads == Whole()


def test_another_size_is_looked_at_without_touching_the_model() -> None:
    model = keras.Sequential([layers.Conv2D(3, 3), layers.Flatten(), layers.Dense(2)])
    with pytest.raises(ValueError, match=r"not built.*input_shape"):
        design_of(model)
    assert design_of(model, (8, 8, 1)).steps[1].shape == (6, 6, 3)
    assert not model.built
    assert not model.layers[0].built
    assert design_of(model, (16, 8, 1)).steps[1].shape == (14, 6, 3)


def test_functional_models_for_any_size_want_one() -> None:
    image = keras.Input((None, None, 3))
    model = keras.Model(image, layers.Conv2D(3, 3)(image))
    with pytest.raises(ValueError, match=r"any size.*input_shape"):
        design_of(model)
    assert design_of(model, (8, 9, 3)).steps[-1].shape == (6, 7, 3)


@pytest.mark.parametrize("functional", [False, True])
def test_a_dead_end_is_named(functional: bool) -> None:
    stack = layers.Conv2D(3, 3), layers.MaxPooling2D(), layers.Conv2D(3, 5, name="last")
    model = keras.Sequential(stack)
    if functional:
        tensor = image = keras.Input((None, None, 1))
        for layer in stack:
            tensor = layer(tensor)
        model = keras.Model(image, tensor)
    design = design_of(model, (8, 8, 1))
    assert design.dead_end is not None
    assert design.dead_end.layer == "last"
    assert "window of 5x5 is larger than the 3x3 map" in design.dead_end.reason
    assert [step.layer for step in design.steps] == ["InputLayer", "Conv2D", "MaxPooling2D"]
    assert design_of(model, (16, 16, 1)).dead_end is None


def test_a_dead_end_of_a_branch() -> None:
    image = keras.Input((28, 28, 1))
    other = layers.Flatten()(layers.Conv2D(2, 3, name="other")(image))
    model = keras.Model(image, [other, layers.Conv2D(2, 9, name="large")(image)])
    design = design_of(model, (6, 6, 1))
    assert design.dead_end is not None
    assert design.dead_end.layer == "large"
    assert [step.shape for step in design.steps] == [(6, 6, 1)]


def test_functional_models_of_any_kind_are_copied() -> None:
    class Own(keras.losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return y_pred

    image = keras.Input((9, 9, 1), name="image")
    made = layers.Lambda(lambda x: 2 * x)(layers.Conv2D(2, 3)(image))
    for inputs in (image, [image], {"image": image}):
        model = keras.Model(inputs, made)
        model.compile("sgd", Own(), metrics=[lambda y_true, y_pred: y_pred])
        assert design_of(model, (7, 7, 1)).steps[-1].shape == (5, 5, 2)
        assert model.input_shape != (None, 7, 7, 1)


def test_a_reshape_that_mixes_images_is_not_known() -> None:
    image = keras.Input((28, 28, 1))
    model = keras.Model(image, keras.ops.reshape(layers.Conv2D(2, 3)(image), (-1, 1352)))
    assert isinstance(design_of(model).steps[-1].reads, Flat)
    assert isinstance(design_of(model, (6, 6, 1)).steps[-1].reads, Unknown)


@pytest.mark.parametrize("shape", [(), (0, 8, 1), (8.0, 8, 1), (8, None, 1)])
def test_input_shapes_that_are_none(shape: Any) -> None:
    with pytest.raises(ValueError, match=r"input_shape must be the sizes of one image.*Received"):
        design_of(notebook(), shape)


class Written(keras.Model):
    """A model whose graph is Python."""

    def call(self, inputs):
        return inputs


def test_what_is_no_graph_is_refused() -> None:
    with pytest.raises(TypeError, match=r"model must be a Keras model. Received: str"):
        design_of("model.keras")
    with pytest.raises(ValueError, match="has no layers"):
        design_of(keras.Sequential([keras.Input(IMAGE)]))
    with pytest.raises(ValueError, match="defines call in Python"):
        design_of(Written())


# Graphs that are stored in other ways ------------------------------------------------------------


def test_a_model_for_any_size_inside_one_that_says_its_size() -> None:
    body_image = keras.Input((None, None, 3))
    body = keras.Model(body_image, layers.Conv2D(4, 3, name="c")(body_image), name="body")
    image = keras.Input((8, 9, 3))
    model = keras.Model(image, layers.GlobalMaxPooling2D()(body(image)))
    design = design_of(model)
    assert design.step("body/c").shape == (6, 7, 4)
    assert design.step("body/c").multiply_adds == (6 * 7 * 4) * (3 * 3 * 3)


def test_each_output_of_a_layer_has_its_own_shape() -> None:
    image = keras.Input((9, 8, 3))
    top, bottom = keras.ops.split(image, [2], axis=1)
    design = design_of(keras.Model(image, [top, layers.Conv2D(4, 3, name="c")(bottom)]))
    assert design.step("c").read == ((7, 8, 3),)
    assert design.step("c").shape == (5, 6, 4)


def test_inner_models_take_their_inputs_by_name_or_in_order() -> None:
    a, b = keras.Input((8, 8, 1), name="a"), keras.Input((8, 8, 1), name="b")
    on_a, on_b = layers.Conv2D(2, 3, name="on_a")(a), layers.Conv2D(2, 3, name="on_b")(b)
    inner = keras.Model([b, a], [on_b, on_a], name="inner")
    x, y = keras.Input((8, 8, 1), name="x"), keras.Input((8, 8, 1), name="y")
    by_name = design_of(keras.Model([x, y], inner({"a": x, "b": y})))
    assert by_name.step("inner/on_a").inputs == ("x",)
    in_order = design_of(keras.Model([x, y], inner([x, y])))
    assert in_order.step("inner/on_a").inputs == ("y",)


@pytest.mark.filterwarnings("ignore:.*does not support masking")
def test_masks_are_no_inputs_of_an_inner_model() -> None:
    words, mask = keras.Input((5, 4)), keras.Input((5,), dtype="bool")
    inner = keras.Model(words, layers.LSTM(3)(words))
    outer = keras.Input((5, 4))
    design = design_of(keras.Model([outer, mask], inner(outer, mask=mask)))
    assert design.steps[-1].shape == (3,)


def test_weights_shared_through_a_wrapper_are_counted_once() -> None:
    dense, image = layers.Dense(7), keras.Input((3, 4))
    model = keras.Model(image, [layers.TimeDistributed(dense)(image), dense(image)])
    assert design_of(model).parameters == model.count_params() == 35


def test_weights_that_a_model_holds_itself() -> None:
    class Scaled(keras.Model):
        def __init__(self, name: str, inner: Any = None) -> None:
            image = keras.Input((6, 6, 1))
            written = layers.Conv2D(1, 3, padding="same")(image if inner is None else inner(image))
            super().__init__(image, written, name=name)
            self.scale = self.add_weight(shape=(5,), name="scale")
            self.seen = self.add_weight(shape=(2,), name="seen", trainable=False)

    model = Scaled("outer", inner=Scaled("inner"))
    design = design_of(model)
    assert (design.held, design.held_trainable) == (2 * 7, 2 * 5)
    assert design.parameters == model.count_params()
    alone = design_of(Scaled("alone"), (5, 5, 1))
    assert (alone.held, alone.held_trainable) == (7, 5)


def test_copying_leaves_random_numbers_and_names_alone() -> None:
    keras.utils.set_random_seed(3)
    model = keras.Sequential([layers.Conv2D(3, 3), layers.Lambda(lambda x: 2 * x, name="twice")])
    state = random.getstate()
    design = design_of(model, (8, 8, 1))
    assert random.getstate() == state
    assert design.dead_end is None
    assert [step.name for step in design.steps[1:]] == [model.layers[0].name, "twice"]


class Closed(layers.Layer):
    """A layer that keeps to itself what it was made from."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def call(self, inputs):
        return self.function(inputs)


def test_a_layer_that_cannot_be_copied_is_no_dead_end() -> None:
    with pytest.raises(ValueError, match=r"\(Closed\) cannot be copied.*get_config"):
        design_of(keras.Sequential([Closed(abs)]), (8, 8, 1))


def test_empty_images_are_refused() -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        design_of(sequential(layers.Dense(2), shape=(0,)))
