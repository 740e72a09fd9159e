"""Dropout: how many values fall, which, and that gradients take the same way."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.engine.fences import fenced
from tests.engine.nets import (
    Data,
    assert_near,
    conv,
    data,
    dense,
    dropout,
    flatten,
    graph_of,
    parameters,
    poisoned,
    pool,
    program_of,
    recipe_of,
)
from tests.twin import net as twin

SHAPE = (9, 10, 5)  # 450 values of an image, no multiple of a vector
RECIPE = recipe_of("mean_squared_error")
COUNT = 64


def kept(rate, seed=1, *, shape=SHAPE, count=COUNT, steps=1, iterations=0, x=None):
    """What dropout writes for images of ones: (steps * count, *shape)."""
    graph = graph_of(shape, dropout(rate))
    images = np.ones((count, *shape), np.float32) if x is None else x
    sample = Data(
        images, np.zeros((count, *shape), np.float32), None, np.tile(np.arange(count), steps), count
    )
    outputs = poisoned(steps * count, graph)
    program = program_of(graph, RECIPE, [])
    seeds = np.array([seed], np.uint64)
    program.train(
        sample.batches, np.zeros(steps), iterations=iterations, seeds=seeds, outputs=outputs
    )
    return outputs


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9, 0.999])
def test_share_and_scale(rate):
    """The share of zeros is within 5 standard deviations of the rate; the rest is scaled up."""
    outputs = kept(rate)
    fallen = np.count_nonzero(outputs == 0)
    spread = np.sqrt(outputs.size * rate * (1 - rate))
    assert abs(fallen - outputs.size * rate) < 5 * spread
    np.testing.assert_allclose(outputs[outputs != 0], 1 / (1 - rate), rtol=1e-6)


def test_every_value_of_an_image_can_fall():
    """No place is always kept, and none always dropped: each falls in 35 to 65 % of 512 images."""
    shares = np.mean(kept(0.5, count=512) == 0, axis=0)
    assert shares.min() > 0.35
    assert shares.max() < 0.65


def test_neighbours_fall_independently():
    """Correlation of a value with the next one, and with the same one of the next image."""
    zero = (kept(0.5, count=512) == 0).reshape(512, -1) - 0.5
    for one, other in ((zero[:, 1:], zero[:, :-1]), (zero[1:], zero[:-1])):
        correlation = 4 * np.mean(one * other)
        assert abs(correlation) < 5 / np.sqrt(one.size)


@pytest.mark.parametrize(("rate", "value"), [(0.0, 1.0), (1.0, 0.0)])
def test_all_or_nothing(rate, value):
    np.testing.assert_array_equal(kept(rate), np.full((COUNT, *SHAPE), value))


def test_masks_depend_on_seed_step_and_image():
    first = kept(0.5)
    np.testing.assert_array_equal(first, kept(0.5))
    others = {
        "seed": kept(0.5, seed=2),
        "high half of the seed": kept(0.5, seed=1 + 2**40),
        "step": kept(0.5, iterations=1),
        "image": first[::-1],
    }
    for what, masks in others.items():
        same = np.mean(masks == first)
        assert 0.45 < same < 0.55, what
    assert len({mask.tobytes() for mask in first}) == COUNT


def test_steps_of_one_call_count_on_from_iterations():
    together = kept(0.5, steps=3, iterations=7)
    for step in range(3):
        part = together[step * COUNT : (step + 1) * COUNT]
        np.testing.assert_array_equal(part, kept(0.5, iterations=7 + step))


def test_masks_do_not_depend_on_what_is_dropped():
    """A place in the batch and a step choose the mask; the image and its size do not matter."""
    x = np.random.default_rng(0).standard_normal((COUNT, *SHAPE)).astype(np.float32)
    np.testing.assert_allclose(kept(0.5, x=x), kept(0.5) * x, rtol=1e-6)
    flat = kept(0.5, shape=(450,))
    np.testing.assert_array_equal(flat.reshape(COUNT, *SHAPE), kept(0.5))


def test_layers_have_masks_of_their_own():
    """Two layers with two seeds agree in half of their values; with one seed, in all."""
    graph = graph_of(SHAPE, dropout(0.5), dropout(0.5))
    sample = Data(
        np.ones((COUNT, *SHAPE), np.float32), np.zeros((COUNT, *SHAPE), np.float32), None,
        np.arange(COUNT), COUNT,
    )  # fmt: skip
    for seeds, share in (((1, 2), 0.25), ((1, 1), 0.5)):
        outputs = poisoned(COUNT, graph)
        program_of(graph, RECIPE, []).train(
            sample.batches, np.zeros(1), seeds=np.array(seeds, np.uint64), outputs=outputs
        )
        assert np.mean(outputs != 0) == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("seed", [0, 2**63, 2**64 - 1])
def test_any_seed_will_do(seed):
    assert np.mean(kept(0.5, seed=seed) == 0) == pytest.approx(0.5, abs=0.02)


def test_gradients_go_through_the_same_masks():
    """The twin gets the masks that a net of ones shows, and must come to the same gradients."""
    rates, seeds = (0.3, 0.5, 0.6), (4, 5, 6)
    graph = graph_of(
        (6, 7, 2),
        dropout(rates[0]),
        conv(5),
        dropout(rates[1]),
        conv(4, (2, 2), activation="tanh"),
        pool("max", (2, 2)),
        flatten,
        dropout(rates[2]),
        dense(3, "softmax"),
    )
    recipe = recipe_of("categorical_crossentropy")
    rng = np.random.default_rng(1)
    values = parameters(rng, graph)
    sample = data(rng, graph, recipe.loss, 10, 10)
    order = sample.order
    shapes = [node.shape for node in graph.nodes if node.name.startswith("dropout")]
    masks = [
        (kept(rate, seed, shape=shape, count=10, iterations=2) != 0).astype(np.float64)
        for rate, seed, shape in zip(rates, seeds, shapes, strict=True)
    ]
    outputs = poisoned(10, graph)
    program = program_of(graph, recipe, values)
    with fenced():
        record = program.train(
            sample.batches,
            np.zeros(1),
            iterations=2,
            seeds=np.array(seeds, np.uint64),
            outputs=outputs,
        )
    x, y = sample.x[order], sample.y[order]
    exact = twin.forward(graph, values, x, masks)[graph.nodes[-1].name]
    assert_near(outputs, exact, "predictions of the training pass")
    each, gradients = twin.gradients(graph, recipe, values, x, y, None, masks)
    assert_near(record.loss, each, "losses")
    for index, ours in enumerate(program.get_gradients()):
        assert_near(ours, gradients[index], f"gradient of parameter {index}")


def test_inference_drops_nothing():
    graph = graph_of((4, 4, 2), dropout(0.5), conv(3), dropout(1.0), flatten)
    rng = np.random.default_rng(1)
    values = parameters(rng, graph)
    sample = data(rng, graph, RECIPE.loss, 6, 6)
    program = program_of(graph, RECIPE, values)
    exact = twin.forward(graph, values, sample.x)[graph.nodes[-1].name]
    assert_near(program.predict(sample.x), exact, "predictions")
    each, _ = twin.gradients(graph, RECIPE, values, sample.x, sample.y)
    whole = dataclasses.replace(sample, order=np.arange(6))
    assert_near(program.evaluate(whole.batches).loss, each, "losses")
