"""Keras models become Graphs of the same shapes and sizes, or are refused by name."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from keras import layers, regularizers

from convmill.plan.facts import node_multiply_adds
from convmill.plan.graph.activations import LINEAR, Activation
from convmill.plan.graph.moves import Flatten
from convmill.plan.graph.operations import Activate, Convolution, Dense, Pooling, Rescale
from convmill.plan.graph.parameters import Regularizer
from convmill.plan.graph.random import Dropout
from convmill.plan.graph.shapes import Shape
from convmill.plan.read import describe, read
from convmill.plan.refusals import NotCovered
from tests.plan.chains import Chain, chains
from tests.plan.nets import IMAGE, notebook, sequential

pytestmark = pytest.mark.filterwarnings("ignore:.*softmax over axis")  # of one channel: Keras warns


def operation(layer: Any, shape: tuple[int, ...] = IMAGE) -> tuple[Any, Shape]:
    """What one layer is read as, and the shape that it writes."""
    node = read(sequential(layer, shape=shape)).graph.nodes[-1]
    return node.operation, node.shape


# Against Keras -----------------------------------------------------------------------------------


@settings(max_examples=20)
@given(chains())
def test_shapes_and_parameters_are_those_of_keras(chain: Chain) -> None:
    model = chain.build()
    reading = read(model)
    for node, layer in zip(reading.graph.nodes[1:], model.layers, strict=True):
        assert node.name == layer.name
        assert node.shape == tuple(layer.output.shape[1:])
    assert reading.graph.output_shape == model.output_shape[1:]
    assert [variable.path for variable in reading.variables] == [w.path for w in model.weights]
    for parameter, weight in zip(reading.graph.parameters, model.weights, strict=True):
        assert parameter.shape == tuple(weight.shape)
    sizes = [math.prod(parameter.shape) for parameter in reading.graph.parameters]
    assert sum(sizes) == model.count_params()


@settings(max_examples=8)
@given(chains())
def test_functional_models_are_read_as_sequential_ones(chain: Chain) -> None:
    model = chain.build()
    outputs = model.inputs[0]
    for layer in model.layers:
        outputs = layer(outputs)
    functional = keras.Model(model.inputs[0], outputs)
    assert read(functional).graph == read(model).graph


def test_the_notebook() -> None:
    graph = read(notebook()).graph
    forward = [node_multiply_adds(graph, node) for node in graph.nodes]
    first = next(filter(None, forward))
    # forward, input gradient (not for the first layer) and weight gradient: the dense roofline
    assert 3 * sum(forward) - first == 8_188_032
    assert [node.shape for node in graph.nodes[:5]] == [
        (28, 28, 1),
        (26, 26, 32),
        (13, 13, 32),
        (11, 11, 64),
        (5, 5, 64),
    ]


# Layer by layer ----------------------------------------------------------------------------------


def test_convolution_in_full() -> None:
    layer = layers.Conv2D(
        4,
        (3, 2),
        strides=(2, 3),
        padding="same",
        activation="elu",
        kernel_regularizer=regularizers.L1L2(0.5, 0.25),
        bias_regularizer=regularizers.L1(0.125),
    )
    reading = read(sequential(layer))
    graph = reading.graph
    assert graph.nodes[1].operation == Convolution(
        filters=4,
        kernel_size=(3, 2),
        strides=(2, 3),
        padding=(0, 1, 0, 0),  # 8 rows: 4 windows reach 9; 9 columns: 3 windows reach 8
        activation=Activation("elu", slope=1.0),
        kernel=0,
        bias=1,
    )
    assert graph.nodes[1].shape == (4, 3, 4)
    assert graph.nodes[1].inputs == (graph.nodes[0].name,)
    kernel, bias = graph.parameters
    assert kernel.shape == (3, 2, 2, 4)
    assert kernel.regularizer == Regularizer(0.5, 0.25)
    assert bias.regularizer == Regularizer(0.125, 0.0)
    assert reading.variables[0] is layer.kernel
    assert reading.variables[1] is layer.bias


@pytest.mark.parametrize(
    ("size", "window", "stride", "expected"),
    [(5, 3, 1, (1, 1)), (5, 2, 1, (0, 1)), (6, 3, 2, (0, 1)), (5, 4, 3, (1, 1)), (5, 1, 3, (0, 0))],
)
def test_same_padding_is_asymmetric_and_depends_on_the_stride(
    size: int, window: int, stride: int, expected: tuple[int, int]
) -> None:
    pooling, _ = operation(
        layers.MaxPooling2D(window, strides=stride, padding="same"), (size, size, 1)
    )
    assert pooling.padding == expected * 2


def test_pooling() -> None:
    assert operation(layers.MaxPooling2D((2, 3))) == (
        Pooling("max", (2, 3), (2, 3), (0, 0, 0, 0)),
        (4, 3, 2),
    )
    assert operation(layers.AveragePooling2D(3, strides=1)) == (
        Pooling("average", (3, 3), (1, 1), (0, 0, 0, 0)),
        (6, 7, 2),
    )
    whole = ((8, 9), (8, 9), (0, 0, 0, 0))
    assert operation(layers.GlobalMaxPooling2D()) == (
        Pooling("max", *whole, "share", over_image=True),
        (2,),
    )
    assert operation(layers.GlobalAveragePooling2D(keepdims=True)) == (
        Pooling("average", *whole, over_image=True),
        (1, 1, 2),
    )


def test_dense_flatten_and_rescaling() -> None:
    flat = describe(sequential(layers.Flatten())).nodes[-1]  # computes nothing: not compiled
    assert (flat.operation, flat.shape) == (Flatten(), (144,))
    assert operation(layers.Rescaling(1 / 255, offset=-1)) == (Rescale(1 / 255, -1.0), IMAGE)
    graph = read(sequential(layers.Dense(3, use_bias=False), shape=(5,))).graph
    assert graph.nodes[1].operation == Dense(3, LINEAR, kernel=0, bias=None)
    assert [parameter.shape for parameter in graph.parameters] == [(5, 3)]


def test_dropouts_are_numbered_and_a_rate_of_zero_does_nothing() -> None:
    stack = [layers.Dropout(0.25), layers.Dropout(0.0), layers.Dropout(1.0)]
    reading = read(sequential(*stack))
    assert [node.operation for node in reading.graph.nodes[1:]] == [
        Dropout(0.25, 0),
        Activate(LINEAR),
        Dropout(1.0, 1),
    ]
    assert reading.dropouts == (stack[0], stack[2])
    assert reading.graph.dropouts == 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, LINEAR),
        ("linear", LINEAR),
        ("relu", Activation("relu")),
        ("relu6", Activation("relu", ceiling=6.0)),
        ("leaky_relu", Activation("leaky_relu", slope=0.2)),
        ("sigmoid", Activation("sigmoid")),
        ("tanh", Activation("tanh")),
        ("softmax", Activation("softmax")),
        ("elu", Activation("elu", slope=1.0)),
        ("gelu", Activation("gelu")),
        (keras.activations.tanh, Activation("tanh")),
        (layers.LeakyReLU(0.5), Activation("leaky_relu", slope=0.5)),
    ],
)
def test_activations(name: Any, expected: Activation) -> None:
    assert operation(layers.Conv2D(1, 1, activation=name))[0].activation == expected
    if name is not None:
        assert operation(layers.Activation(name))[0] == Activate(expected)


@pytest.mark.parametrize(
    "spelled",
    [
        layers.ReLU(6),
        layers.ReLU(max_value=6.0),
        layers.Activation("relu6"),
        layers.Activation(keras.activations.relu6),
        layers.Activation(keras.ops.relu6),
        layers.Activation(layers.ReLU(6)),
        layers.Activation(layers.Activation("relu6")),
        keras.ops.relu6,
    ],
)
def test_an_activation_is_the_same_however_it_is_spelled(spelled: Any) -> None:
    image = keras.Input(IMAGE)
    node = describe(keras.Model(image, spelled(image))).nodes[-1]
    assert node.operation == Activate(Activation("relu", ceiling=6.0))
    if isinstance(spelled, keras.Layer):
        layer = layers.Conv2D(1, 1, activation=spelled)
        assert operation(layer)[0].activation == Activation("relu", ceiling=6.0)


def test_a_function_of_a_name_that_keras_has_is_not_keras_own() -> None:
    def relu(x: Any) -> Any:
        return -x

    assert operation(layers.Activation(relu)) == (Activate(Activation("negative")), IMAGE)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.ReLU(), Activation("relu")),
        (layers.ReLU(2, 0.5), Activation("relu", slope=0.5, ceiling=2.0)),
        (layers.LeakyReLU(), Activation("leaky_relu", slope=0.3)),
        (layers.ELU(0.5), Activation("elu", slope=0.5)),
        (layers.Softmax(), Activation("softmax")),
        (layers.Softmax(axis=[-1]), Activation("softmax")),
        (layers.Softmax(axis=3), Activation("softmax")),
        (layers.Identity(), Activation()),
    ],
)
def test_activation_layers(layer: Any, expected: Activation) -> None:
    assert operation(layer) == (Activate(expected), IMAGE)


# Models ------------------------------------------------------------------------------------------


def test_models_inside_models_are_flattened() -> None:
    inner = keras.Sequential([layers.Conv2D(3, 2, name="one"), layers.ReLU(name="two")], name="in")
    image = keras.Input(IMAGE, name="image")
    pooled = keras.Model(image, layers.MaxPooling2D(name="three")(inner(image)), name="both")
    model = sequential(pooled, layers.Conv2D(1, 1, name="one"))
    graph = read(model).graph
    assert [node.name for node in graph.nodes[1:]] == [
        "both/in/one",
        "both/in/two",
        "both/three",
        "one",
    ]
    assert [parameter.shape for parameter in graph.parameters[::2]] == [(2, 2, 2, 3), (1, 1, 3, 1)]


def test_models_built_late_and_subclasses_without_a_call_are_read() -> None:
    class Net(keras.Sequential):
        pass

    model = Net([layers.Flatten(), layers.Dense(2)])
    with pytest.raises(NotCovered, match="is not built") as refusal:
        read(model)
    assert "keras.Input" in refusal.value.remedy
    model.build((None, *IMAGE))
    assert read(model).graph.output_shape == (2,)

    class Functional(keras.Model):
        def __init__(self, units: int) -> None:
            image = keras.Input(IMAGE)
            super().__init__(image, layers.Dense(units)(layers.Flatten()(image)))

    assert read(Functional(3)).graph.output_shape == (3,)


def test_only_layers_of_this_model_are_followed() -> None:
    """The same layers serve several models; each is read for itself."""
    image = keras.Input(IMAGE)
    features = layers.Conv2D(3, 2)(image)
    keras.Model(image, layers.Flatten()(features))
    shorter = keras.Model(image, features)
    assert [node.shape for node in read(shorter).graph.nodes] == [IMAGE, (7, 8, 3)]


def test_inner_models_may_be_called_by_name_or_with_a_list() -> None:
    inner = keras.Sequential([keras.Input(IMAGE, name="in"), layers.Conv2D(3, 2)])
    for call in (lambda x: inner(inputs=x), lambda x: inner([x]), lambda x: inner(x, mask=None)):
        image = keras.Input(IMAGE)
        assert read(keras.Model(image, call(image))).graph.output_shape == (7, 8, 3)
    image = keras.Input(IMAGE)
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(image, training=False)))
    assert read(model).graph.output_shape == (3,)


def test_layers_that_cannot_be_saved_are_read() -> None:
    class Nameless(keras.initializers.Initializer):
        def __call__(self, shape: Any, dtype: Any = None) -> Any:
            return keras.ops.zeros(shape, dtype)

        def get_config(self) -> dict[str, Any]:
            raise OSError("no source")

    image = keras.Input(IMAGE)
    model = keras.Model(image, layers.Conv2D(3, 2, kernel_initializer=Nameless())(image))
    assert read(model).graph.output_shape == (7, 8, 3)


def test_what_training_a_call_asked_for_does_not_matter() -> None:
    image = keras.Input(IMAGE)
    model = keras.Model(image, layers.Dropout(0.5)(image, training=True))
    assert read(model).graph.nodes[1].operation == Dropout(0.5, 0)


def test_a_subclass_that_computes_the_same_is_read() -> None:
    class Three(layers.Conv2D):
        """A 3x3 convolution."""

        def __init__(self, filters: int) -> None:
            super().__init__(filters, 3)

    assert operation(Three(4))[1] == (6, 7, 4)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2D(2, (np.int64(2), np.int32(3)), strides=(np.int64(2), 1)),
        layers.UpSampling2D((np.int64(2), np.int64(1))),
        layers.Cropping2D(((np.int64(1), 2), (0, np.int64(1)))),
        layers.LeakyReLU(np.float32(0.25)),
    ],
)
def test_numbers_of_numpy_are_those_of_python(layer: Any) -> None:
    """Kernels take any other number for one that is computed."""
    assert "np." not in repr(operation(layer)[0])


def test_frozen_layers_have_no_penalty() -> None:
    frozen = layers.Conv2D(1, 1, kernel_regularizer="l2", trainable=False)
    free = layers.Conv2D(1, 1, kernel_regularizer="l2")
    model = sequential(frozen, free)
    parameters = read(model).graph.parameters
    assert [parameter.trainable for parameter in parameters] == [False, False, True, True]
    assert parameters[0].regularizer is None
    assert parameters[2].regularizer == Regularizer(0.0, 0.01)
    assert len(model.losses) == 1
    model.trainable = False
    assert not any(parameter.trainable for parameter in read(model).graph.parameters)


def test_a_weight_is_what_the_layer_reads_whatever_it_is_called() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    (layer,) = model.layers
    other = keras.Variable(np.ones(2), name="other")
    layer._trainable_variables[1] = vars(layer)["bias"] = other
    found = read(model)
    dense = found.graph.nodes[-1].operation
    assert isinstance(dense, Dense)
    assert dense.bias is not None
    assert found.variables[dense.bias] is other
