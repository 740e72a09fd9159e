"""Models that leave the sizes of images open: compiled for those of the data, as Keras trains."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import convmill
from convmill.plan.refusals import NotCovered
from tests.train.nets import assert_same_history, assert_same_state, compiled, seeded_fit

# Of generators, which are not shuffled, and end.
pytestmark = pytest.mark.filterwarnings("ignore:.*shuffle=True|.*ran out:UserWarning")
LOSS = "sparse_categorical_crossentropy"


def classifier():
    """Its base is frozen; a part of it is followed."""
    image = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, padding="same", trainable=False)(image)
    x = layers.Lambda(lambda x: x * keras.ops.sigmoid(x))(layers.MaxPooling2D()(x))
    return keras.Model(image, layers.Dense(3, "softmax")(layers.GlobalAveragePooling2D()(x)))


def segmenter():
    """A class at every place."""
    image = keras.Input((None, None, 3))
    x = layers.UpSampling2D()(layers.MaxPooling2D()(layers.Conv2D(4, 3, padding="same")(image)))
    return keras.Model(image, layers.Conv2D(3, 1, activation="softmax")(x))


class Called(keras.Model):
    """A call of its own; it is built for the first images."""

    def __init__(self):
        super().__init__()
        self.convolution, self.pooling = layers.Conv2D(4, 3), layers.GlobalMaxPooling2D()
        self.dense = layers.Dense(3, "softmax")

    def call(self, x):
        return self.dense(self.pooling(self.convolution(x)))


MODELS = {"classifier": classifier, "segmenter": segmenter, "called": Called}


def both(make):
    """A compiled model, and a plain one with the same weights."""
    found = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        found.append(compiled(make(), "sgd", LOSS))
    return convmill.accelerate(found[0], strict=True), found[1]


def data(height, width, make, count=8):
    rng = np.random.default_rng(height)
    x = rng.random((count, height, width, 3), "float32")
    return x, rng.integers(0, 3, (count, height, width) if make is segmenter else count)


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_each_size_is_compiled(make):
    models = both(make)
    large, small = data(6, 6, make), data(4, 6, make)
    assert_same_history(
        *(seeded_fit(each, *large, epochs=2, validation_data=small) for each in models)
    )
    for x, y in (large, small):
        found, expected = (each.train_on_batch(x, y) for each in models)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        for _ in range(2):
            found = models[0].predict_on_batch(x)
        expected = models[1].predict_on_batch(x)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert_same_state(*models)


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_batches_of_a_stream_may_have_any_size(make):
    def batches():
        for height, width in ((6, 6), (4, 6), (6, 6)):
            yield data(height, width, make, 4)

    models = both(make)
    assert_same_history(*(seeded_fit(each, batches(), batch_size=None) for each in models))
    found, expected = (each.evaluate(batches(), verbose=0) for each in models)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert_same_state(*models)


def test_a_stream_for_a_model_that_has_seen_nothing():
    ours, theirs = both(classifier)

    def images():
        for height in (4, 6):
            yield (data(height, height, classifier, 4)[0],)

    found, expected = (each.predict(images(), verbose=0) for each in (ours, theirs))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_what_does_not_fit_is_told():
    model = both(classifier)[0]
    with pytest.raises(NotCovered, match=r"\(None, None, 3\)"):
        _raise(convmill.explain(model))
    with pytest.raises(ValueError, match=r"\(n, any, any, 3\).*\(n, 8, 3\)"):
        model.predict(np.zeros((2, 8, 3), "float32"), verbose=0)
    with pytest.raises(ValueError, match=r"\(n, 8, 8, 3\).*\(2, 8, 8, 2\)"):
        model.predict(np.zeros((2, 8, 8, 2), "float32"), verbose=0)
    model.predict(np.zeros((2, 6, 4, 3), "float32"), verbose=0)
    assert convmill.explain(model).stages[0].output_shape == (3, 2, 4)


def _raise(explanation):
    explanation.ir("")
