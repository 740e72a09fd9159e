"""Images cut out: at random in training, where Keras leaves them whole otherwise, or the middle."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from convmill.plan.read import read
from convmill.plan.refusals import NotCovered
from convmill.runtime.program import Program
from tests.engine.fences import fenced
from tests.engine.nets import GUARD, WIDTHS, Data, assert_intact, data, poisoned, program_of
from tests.engine.nets import recipe_of as recipe

SIZE, GOAL = (9, 7), (6, 5)
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from((1, 3, 17)))


def cutting(shape, goal, *, last=None):
    """A crop at random, and the middle outside training."""
    random, middle = layers.RandomCrop(*goal), last or layers.CenterCrop(*goal)
    return keras.Sequential([keras.Input(shape), random, middle, layers.Flatten()])


def trained(model, images, *, batch=None, seed=5, iterations=0, threads=2, width="16 lanes"):
    """What a model of one layer that draws makes of images in training."""
    graph, count = read(model).graph, len(images)
    options = {"guard": GUARD, "machine": WIDTHS[width], "threads": threads}
    program = program_of(graph, recipe("mean_squared_error"), [], **options)
    outputs = poisoned(count, graph)
    labels = np.zeros((count, math.prod(graph.output_shape)), np.float32)
    sample = Data(images, labels, None, np.arange(count), batch or count)
    steps = -(-count // sample.batch_size)
    with fenced():
        program.train(sample.batches, np.zeros(steps), iterations=iterations, outputs=outputs,
                      seeds=np.array([seed] * graph.dropouts, np.uint64))  # fmt: skip
    assert_intact(program)
    return outputs.reshape(count, *model.layers[0].output.shape[1:])


def places(count, size=SIZE):
    """Images whose values tell their row and column."""
    rows, columns = np.meshgrid(*map(np.arange, size), indexing="ij")
    image = np.stack([rows, columns, rows + columns], -1)
    return np.broadcast_to(image, (count, *image.shape)).astype(np.float32)


def test_windows_are_whole_and_lie_anywhere():
    """Each step has a place of its own, each place as often as others."""
    images = np.ascontiguousarray(places(600))
    found = trained(cutting(images.shape[1:], GOAL), images, batch=1)
    corners = found[:, 0, 0, :2].astype(int)
    for window, (top, left) in zip(found, corners, strict=True):
        expected = images[0, top : top + GOAL[0], left : left + GOAL[1]]
        np.testing.assert_array_equal(window, expected)
    counts = np.zeros((SIZE[0] - GOAL[0] + 1, SIZE[1] - GOAL[1] + 1))
    np.add.at(counts, tuple(corners.T), 1)
    mean = len(images) / counts.size
    assert np.abs(counts - mean).max() < 5 * math.sqrt(mean)


def test_one_place_for_a_batch_whatever_the_threads():
    images = np.random.default_rng(0).random((40, *SIZE, 17)).astype(np.float32)
    model = cutting(images.shape[1:], (3, 2))
    first = trained(model, images)
    corners = [
        (top, left)
        for top in range(SIZE[0] - 2)
        for left in range(SIZE[1] - 1)
        if np.array_equal(first, images[:, top : top + 3, left : left + 2])
    ]
    assert len(corners) == 1
    for threads, width in ((1, "16 lanes"), (3, "4 lanes")):
        again = trained(model, images, threads=threads, width=width)
        np.testing.assert_array_equal(first, again)
    others = [trained(model, images, seed=6), trained(model, images, iterations=1)]
    assert not any(np.array_equal(first, other) for other in others)


@settings(max_examples=8)
@given(shape=SHAPES, goal=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_the_middle(shape, goal):
    """Of larger images as they are, of others resized: as Keras does."""
    model = keras.Sequential([keras.Input(shape), layers.CenterCrop(*goal), layers.Rescaling(1.0)])
    x = np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32)
    program = Program(read(model).graph, None, threads=1, machine=WIDTHS["16 lanes"])
    np.testing.assert_allclose(program.predict(x), np.asarray(model(x)), rtol=1e-5, atol=2e-6)


@settings(max_examples=8)
@given(shape=SHAPES, goal=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_images_that_are_not_larger(shape, goal):
    """In training Keras cuts them at a place that is known, and resizes them."""
    if shape[0] > goal[0] and shape[1] > goal[1]:
        goal = (shape[0] + goal[0], goal[1])
    x = np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32)
    model = cutting(shape, goal)
    theirs = np.asarray(model.layers[0](x, training=True))
    np.testing.assert_allclose(trained(model, x), theirs, rtol=1e-5, atol=2e-6)
    assert read(model).graph.dropouts == 0


def branched(crop):
    """A net that goes on behind a crop and beside it, with padding on all sides of it."""
    image = keras.Input((6, 5, 2))
    seen = layers.Conv2D(3, 3, padding="same", activation="tanh")(image)
    cut = layers.Conv2D(4, 3, padding="same", activation="relu")(crop(seen))
    whole = layers.Conv2D(4, 3, padding="same", activation="relu")(seen)
    ends = [layers.GlobalAveragePooling2D()(one) for one in (cut, whole)]
    return keras.Model(image, layers.Dense(3)(layers.Add()(ends)))


def test_gradients_are_those_of_the_window_that_was_cut():
    random = read(branched(layers.RandomCrop(5, 4))).graph
    rng = np.random.default_rng(3)
    values = [rng.standard_normal(one.shape).astype(np.float32) / 3 for one in random.parameters]
    sample = data(rng, random, recipe("mean_squared_error").loss, 5, 5)

    def gradients(graph):
        program = program_of(graph, recipe("mean_squared_error"), values, guard=GUARD)
        outputs, seeds = poisoned(5, graph), np.array([7] * graph.dropouts, np.uint64)
        program.train(sample.batches, np.zeros(1), outputs=outputs, seeds=seeds)
        assert_intact(program)
        return outputs, program.get_gradients()

    cut = trained(cutting((6, 5, 3), (5, 4)), np.ascontiguousarray(places(1, (6, 5))), seed=7)
    top, left = cut[0, 0, 0, :2].astype(int)  # the same seed, and so the same place
    crop = layers.Cropping2D(((top, 1 - top), (left, 1 - left)))
    (outputs, found), (known, expected) = map(gradients, (random, read(branched(crop)).graph))
    np.testing.assert_allclose(outputs, known, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_what_works_at_one_size_alone_is_refused_with_what_would_help():
    ends = {
        "expected axis -1 of input shape to have value 60": [layers.Flatten(), layers.Dense(2)],
        r"writes \(9, 7, 4\)": [layers.Conv2D(4, 1)],
    }
    for says, last in ends.items():
        model = keras.Sequential([keras.Input((*SIZE, 2)), layers.RandomCrop(*GOAL), *last])
        with pytest.raises(NotCovered, match=rf"RandomCrop.*{says}.*CenterCrop\(6, 5\)"):
            read(model)


def test_outside_training_images_are_whole():
    model = keras.Sequential([keras.Input((*SIZE, 2)), layers.RandomCrop(*GOAL),
                              layers.Conv2D(4, 3), layers.BatchNormalization(),
                              layers.GlobalMaxPooling2D()])  # fmt: skip
    x = np.random.default_rng(0).standard_normal((3, *SIZE, 2)).astype(np.float32)
    reading = read(model)
    values = [variable.numpy() for variable in reading.variables]
    program = program_of(reading.graph, None, values)
    theirs = np.asarray(model(x, training=False))
    np.testing.assert_allclose(program.predict(x), theirs, rtol=1e-5, atol=1e-5)
