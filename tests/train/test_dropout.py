"""Masks follow the layers' seeds: the same seed the same bits, other uses other masks."""

import keras
import numpy as np
import pytest
from keras import layers

from convmill import models
from tests.train.nets import SHAPE, assert_same_state, compiled, convnet, images, seeded_fit

pytestmark = pytest.mark.usefixtures("strict")

X, Y = images()


def dropping():
    return compiled(convnet(models.Sequential, dropout=0.5))


def uses(model):
    """How often the dropout layer's seed generator was used."""
    return int(model.layers[3].seed_generator.state.numpy()[1])


def test_the_same_seed_gives_the_same_bits():
    one, two = dropping(), dropping()
    first = seeded_fit(one, X, Y, epochs=2)
    assert seeded_fit(two, X, Y, epochs=2).history == first.history
    assert_same_state(one, two, tolerance=0)


def test_another_seed_gives_other_masks():
    one, two = dropping(), dropping()
    two.layers[3].seed_generator.state.assign([5, 0])
    seeded_fit(one, X, Y)
    seeded_fit(two, X, Y)
    assert not np.array_equal(one.get_weights()[0], two.get_weights()[0])


def test_each_step_counts_as_one_use():
    model = dropping()
    seeded_fit(model, X, Y, epochs=2)
    assert uses(model) == 6
    model.train_on_batch(X, Y)
    assert uses(model) == 7
    model.evaluate(X, Y, verbose=0)
    model.predict(X, verbose=0)
    assert uses(model) == 7


def test_one_epoch_after_another_or_both_at_once():
    once, twice = dropping(), dropping()
    seeded_fit(once, X, Y, epochs=2, shuffle=False)
    for _ in range(2):
        seeded_fit(twice, X, Y, shuffle=False)
    assert_same_state(once, twice, tolerance=0)


def test_a_second_fit_from_the_same_weights_sees_other_masks():
    model = dropping()
    start = model.get_weights()
    learned = []
    for _ in range(2):
        model.set_weights(start)
        compiled(model)  # new slots and iterations; the dropout layer's seed goes on
        seeded_fit(model, X, Y, shuffle=False)
        learned.append(model.get_weights()[0])
    assert not np.array_equal(*learned)


# A layer that is called twice ------------------------------------------------------------------


def twice(kind=models.Model):
    """What one dropout layer leaves of an image the first time, less that of the second time; and a
    dense layer on both."""
    keras.utils.set_random_seed(3)
    image = keras.Input(SHAPE)
    drop = layers.Dropout(0.5, seed=4, name="drop")
    left = [drop(image), drop(image)]
    apart = layers.Subtract(name="apart")(left)
    said = layers.Dense(3, name="say")(layers.Flatten()(layers.Add()(left)))
    return compiled(kind(image, [apart, said]), loss=["mse", "mse"], metrics=None)


def drawn(model):
    """The state of the layer's generator: its seed, and how often it was used."""
    return model.get_layer("drop").seed_generator.state.numpy().tolist()


def test_a_layer_that_is_called_twice_draws_two_masks():
    model, plain = twice(), twice(keras.Model)
    ones, y = np.ones_like(X), [np.zeros_like(X), Y]
    loss = seeded_fit(model, ones, y).history["apart_loss"][0]
    assert 1.8 < loss < 2.2  # of 0 and 2: the mean of the squares of -2, 0, 0 and 2
    seeded_fit(plain, ones, y)
    assert drawn(model) == drawn(plain) == [4, 6]


def test_such_a_layer_goes_on_where_it_was():
    once, again = twice(), twice()
    y = [np.zeros_like(X), Y]
    seeded_fit(once, X, y, epochs=2, shuffle=False)
    for _ in range(2):
        seeded_fit(again, X, y, shuffle=False)
    assert_same_state(once, again, tolerance=0)
