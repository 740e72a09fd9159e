"""Outputs inside the net: equal to Keras' own, without a change to the user's model."""

from __future__ import annotations

import sys

import keras
import numpy as np
import pytest
from keras import layers

from convmill import view
from convmill.train.doors import accelerate
from convmill.view.activations import activations
from convmill.view.images import many_images, one_image
from tests.view.nets import SHAPE, branches, chain, convnet, random_images

CLOSE = 1e-5


def test_each_layer_of_a_chain_as_keras_computes_it():
    model, images = convnet(), random_images()
    expected = images
    for layer in model.layers:
        expected = np.asarray(layer(expected))
        np.testing.assert_allclose(activations(model, images, layer.name), expected, atol=CLOSE)


def test_a_chain_runs_compiled(monkeypatch):
    module = sys.modules["convmill.view.activations"]  # the package's attribute is the function
    monkeypatch.setattr(module, "restore", None)  # what runs where the compiler refuses
    assert activations(convnet(), random_images(), "look").shape == (5, 3, 3, 3)


def test_branches_as_keras_computes_them_and_without_a_word(capsys):
    model, named = branches()
    images = random_images()
    expected = keras.Model(model.inputs[0], named)(images)
    for name, values in expected.items():
        np.testing.assert_allclose(activations(model, images, name), values, atol=CLOSE)
    assert capsys.readouterr() == ("", "")


def test_layers_of_models_inside_the_model():
    inner = keras.Sequential(
        [
            keras.Input((9, 8, 3)),
            layers.Conv2D(2, 3, activation="relu", name="first"),
            layers.Conv2D(4, 2, name="second"),
        ],
        name="inner",
    )
    middle = keras.Sequential([keras.Input((9, 8, 3)), inner, layers.ReLU(name="end")], name="mid")
    model = chain(layers.Conv2D(3, 1, name="before"), middle, layers.Flatten(name="flat"))
    images = random_images()
    expected = model.get_layer("before")(images)
    for name in ("first", "second"):
        expected = inner.get_layer(name)(expected)
        found = activations(model, images, f"mid/inner/{name}")
        np.testing.assert_allclose(found, expected, atol=CLOSE)
    expected = np.maximum(expected, 0)
    np.testing.assert_allclose(activations(model, images, "mid/end"), expected, atol=CLOSE)
    flat = expected.reshape(len(images), -1)
    np.testing.assert_allclose(activations(model, images, "flat"), flat, atol=CLOSE)


@pytest.mark.parametrize("accelerated", [False, True])
def test_the_model_is_left_as_it_is(accelerated):
    model, images = convnet(), random_images()
    model.compile("adam", "mse")
    if accelerated:
        accelerate(model)
    before = [weight.numpy() for weight in model.weights]
    state = dict(vars(model))
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    activations(model, images, "look")
    assert vars(model) == state
    assert ("predict" in vars(model)) == accelerated
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


def test_the_name_of_no_layer_names_the_nearest():
    with pytest.raises(ValueError, match=r"Received: layer='lock'.* Nearest: look") as raised:
        activations(convnet(), random_images(), "lock")
    for name in ("see", "pool", "look", "flat", "say"):
        assert name in str(raised.value)


def test_each_call_of_a_layer_that_is_used_twice():
    shared = layers.Conv2D(2, 3, padding="same", name="shared")
    image = keras.Input(SHAPE)
    once = shared(image)
    model = keras.Model(image, layers.Dense(1)(shared(once)))
    images = random_images()
    for name, wanted in (("shared", shared(images)), ("shared (2)", shared(shared(images)))):
        np.testing.assert_allclose(activations(model, images, name), wanted, atol=1e-5)


def test_a_layer_of_an_inner_model_that_is_used_twice_has_no_one_output():
    image = keras.Input(SHAPE)
    inner = keras.Sequential([layers.Conv2D(2, 3, padding="same", name="c")], name="inner")
    model = keras.Model(image, inner(inner(image)))
    with pytest.raises(ValueError, match="'inner/c' lies in a model that is used more than once"):
        activations(model, random_images(), "inner/c")


def test_an_inner_model_of_two_inputs():
    image = keras.Input(SHAPE)
    ends = [layers.ReLU(name="a")(image), layers.Activation("tanh", name="b")(image)]
    model = keras.Model(image, two_inputs()(ends))
    with pytest.raises(ValueError, match="read one output"):
        activations(model, random_images(), "inner/sum")


class Written(keras.Model):
    """A model whose call is Python."""

    def call(self, inputs):
        return inputs


def two_inputs() -> keras.Model:
    """A model that sums two images."""
    images = [keras.Input(SHAPE), keras.Input(SHAPE)]
    return keras.Model(images, layers.Add(name="sum")(images), name="inner")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: keras.Sequential([layers.Conv2D(2, 3)]), "is not built"),
        (Written, "defines call in Python"),
        (two_inputs, "with 2 inputs"),
    ],
)
def test_models_that_cannot_be_looked_into(make, said):
    with pytest.raises(ValueError, match=said):
        activations(make(), random_images(), "conv2d")


@pytest.mark.parametrize("picture", [view.responses, view.patches])
def test_pictures_of_an_image_want_models_of_one(picture):
    with pytest.raises(ValueError, match=r"read one image.* with 2 inputs"):
        picture(two_inputs(), random_images(1))


def test_other_pictures_that_need_one_image():
    with pytest.raises(ValueError, match=r"read one image.* with 2 inputs"):
        view.activation_maximization(two_inputs(), "sum")
    with pytest.raises(ValueError, match=r"read one image.* with 2 inputs"):
        view.receptive_field(two_inputs(), "sum")


def test_what_is_no_model():
    with pytest.raises(TypeError, match="Received: int"):
        activations(3, random_images(), "conv2d")


# Images -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "reads"),
    [
        ((6, 5), (6, 5, 1)),
        ((6, 5, 1), (6, 5, 1)),
        ((1, 6, 5, 1), (6, 5, 1)),
        ((1, 6, 5), (6, 5, 1)),
        ((6, 5, 3), (6, 5, 3)),
        ((1, 5, 3), (1, 5, 3)),
        ((6, 5), (6, 5)),
        ((6, 5), (None, None, 1)),
        ((7, 9, 3), (None, None, 3)),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float64", "bool"])
def test_one_image_in_any_form(given, reads, dtype):
    model = chain(layers.ReLU(), shape=reads)
    values = np.arange(np.prod(given)).reshape(given).astype(dtype)
    batch = one_image(model, values)
    assert len(batch) == 1
    assert batch.ndim == len(reads) + 1
    assert batch.dtype == "float32"
    np.testing.assert_array_equal(batch.ravel(), values.ravel().astype("float32"))


@pytest.mark.parametrize("shape", [(5, 6), (6, 5, 3), (2, 6, 5, 1), (30,), (0, 6, 5), ()])
def test_images_of_another_shape(shape):
    model = chain(layers.ReLU(), shape=(6, 5, 1))
    with pytest.raises(ValueError, match=r"image must be of shape \(6, 5, 1\)\. Received: \("):
        one_image(model, np.zeros(shape))


@pytest.mark.parametrize(
    "given",
    [
        np.full((6, 5), np.nan),
        np.full((6, 5), np.inf),
        np.zeros((6, 5), complex),
        np.full((6, 5), "a"),
        None,
        [[1, 2], [3]],
    ],
)
def test_what_are_no_real_numbers(given):
    model = chain(layers.ReLU(), shape=(6, 5, 1))
    with pytest.raises(ValueError, match=r"image must .*Received: "):
        one_image(model, given)


def test_it_is_said_which_number_is_not_finite():
    images = np.zeros((3, 6, 5))
    images[2, 4, 1] = np.inf
    with pytest.raises(ValueError, match=r"images must hold finite .*images\[2, 4, 1\] = inf"):
        many_images(chain(layers.ReLU(), shape=(6, 5, 1)), images)


@pytest.mark.parametrize("kind", ["bfloat16", ">f4", ">u2"])
def test_numbers_in_other_forms(kind):
    values = np.arange(30).reshape(1, 6, 5)
    given = np.asarray(keras.ops.cast(values, kind)) if kind == "bfloat16" else values.astype(kind)
    found = many_images(chain(layers.ReLU(), shape=(6, 5, 1)), given)
    assert found.dtype == "float32"
    np.testing.assert_array_equal(found[..., 0], values)


def test_many_images_grey_or_with_channels():
    model = chain(layers.ReLU(), shape=(6, 5, 1))
    assert many_images(model, np.zeros((7, 6, 5))).shape == (7, 6, 5, 1)
    assert many_images(model, np.zeros((7, 6, 5, 1))).shape == (7, 6, 5, 1)
    with pytest.raises(ValueError, match=r"images must be of shape \(n, 6, 5, 1\)"):
        many_images(model, np.zeros((6, 5)))
    with pytest.raises(ValueError, match="images must be of shape"):
        many_images(model, np.zeros((0, 6, 5)))


def test_outputs_that_are_not_finite():
    model = convnet()
    model.get_layer("see").bias.assign([0, np.nan, 0, 0])
    with pytest.raises(ValueError, match=r"may have diverged.* NaN or infinity for 3 of 3 images"):
        activations(model, random_images(3), "see")


def test_helper_models_do_not_count_among_the_users():
    model = convnet()
    first = number_of_the_next_model()
    activations(model, random_images(2), "look")
    assert number_of_the_next_model() == first + 1


def number_of_the_next_model() -> int:
    image = keras.Input((2,))
    return int(keras.Model(image, layers.ReLU()(image)).name.rpartition("_")[2])
