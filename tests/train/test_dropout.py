"""Masks follow the layers' seeds: the same seed the same bits, other uses other masks."""

import numpy as np
import pytest

from convmill import models
from tests.train.nets import assert_same_state, compiled, convnet, images, seeded_fit

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
