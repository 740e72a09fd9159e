"""Dtypes: mixed precision is computed in float32, and said once; inputs of whole numbers."""

import keras
import numpy as np
import pytest
from keras import layers

import convmill
from convmill.plan.refusals import NotCovered
from tests.train.nets import SHAPE, assert_same_history, assert_same_state, images, seeded_fit


def net(policy):
    """The same weights for all policies."""
    keras.utils.set_random_seed(3)
    stack = [
        layers.Conv2D(3, 3, activation="relu", dtype=policy),
        layers.BatchNormalization(dtype=policy),
        layers.Flatten(dtype=policy),
        layers.Dense(3, activation="softmax"),
    ]
    model = keras.Sequential([keras.Input(SHAPE), *stack], name="net")
    model.compile("sgd", "categorical_crossentropy", jit_compile=False)
    return model


def test_halves_are_computed_in_float32_and_that_is_said_once(capsys):
    ours, theirs = convmill.accelerate(net("mixed_bfloat16"), strict=True), net("float32")
    x, y = images(32)
    for _ in range(2):
        assert_same_history(*(seeded_fit(model, x, y) for model in (ours, theirs)), 5e-5)
    assert_same_state(ours, theirs, 5e-5)
    said = "layers of dtype mixed_bfloat16 are computed in float32"
    assert capsys.readouterr().err == f"convmill: net: {said}.\n"
    assert f"Note: {said}." in str(convmill.explain(ours))
    np.testing.assert_allclose(*(m.predict(x, verbose=0) for m in (ours, theirs)), atol=5e-5)


def of_bytes(first):
    keras.utils.set_random_seed(3)
    image = keras.Input(SHAPE, dtype="uint8")
    maps = layers.Conv2D(3, 3, activation="relu")(first(image))
    model = keras.Model(image, layers.Dense(3, activation="softmax")(layers.Flatten()(maps)))
    model.compile("sgd", "categorical_crossentropy", jit_compile=False)
    return model


@pytest.mark.parametrize(
    "first",
    [
        layers.Rescaling(1 / 255),
        lambda x: x / 255,
        lambda x: keras.ops.cast(x, "float32") * 0.01 - 1,
    ],
)
def test_inputs_of_whole_numbers_follow_keras(first):
    ours, theirs = convmill.accelerate(of_bytes(first), strict=True), of_bytes(first)
    x, y = images(32)
    x = (255 * x).astype("uint8")
    for given in (x, x.astype("int64")):
        assert_same_history(*(seeded_fit(model, given, y) for model in (ours, theirs)), 5e-5)
    with pytest.raises(NotCovered, match="x of dtype float32 for an input of dtype uint8"):
        ours.predict(x.astype("float32"), verbose=0)


def test_what_computes_with_whole_numbers_is_refused():
    def first(image):
        return layers.Rescaling(1 / 255)(layers.ZeroPadding2D(1)(image))

    model = convmill.accelerate(of_bytes(first), strict=True)
    with pytest.raises(NotCovered, match=r"\(ZeroPadding2D\) reads dtype='uint8'"):
        model.predict(np.zeros((2, *SHAPE), "uint8"), verbose=0)
