"""What a Program takes, whatever lies where in memory, and what it refuses, without a crash."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from convmill.plan.recipe import Optimizer
from convmill.runtime.program import Batches, Program
from tests.engine.nets import (
    conv,
    data,
    dense,
    dropout,
    flatten,
    graph_of,
    parameters,
    program_of,
    recipe_of,
)

PLAN = graph_of((5, 4, 2), conv(3), dropout(0.1), flatten, dense(3, "softmax"))
RECIPE = recipe_of("categorical_crossentropy", Optimizer("adam"))
SPARSE = recipe_of("sparse_categorical_crossentropy")
COUNT = 10


def program(recipe=RECIPE, **options):
    """A Program of the small net."""
    made = Program(PLAN, recipe, threads=options.pop("threads", 2), **options)
    made.set_parameters(parameters(np.random.default_rng(0), PLAN))
    return made


def sample(recipe=RECIPE):
    """Ten images in batches of four."""
    return data(np.random.default_rng(1), PLAN, recipe.loss, COUNT, 4).batches


def train(made, batches, **options):
    """Three steps."""
    return made.train(batches, options.pop("rates", np.full(3, 0.01)), **options)


# What it takes -----------------------------------------------------------------------------------


def memory_map(x, tmp_path):
    """The images as a file."""
    np.save(tmp_path / "images.npy", x)
    return np.load(tmp_path / "images.npy", mmap_mode="r")


def read_only(x, _):
    """Images that may not be written."""
    copy = x.copy()
    copy.setflags(write=False)
    return copy


def unaligned(x, _):
    """Images that begin one byte behind an even address."""
    space = np.zeros(x.nbytes + 1, np.uint8)
    copy = space[1:].view(x.dtype) if x.dtype == np.uint8 else np.ndarray(
        x.shape, x.dtype, space, offset=1
    )  # fmt: skip
    copy = copy.reshape(x.shape)
    copy[...] = x
    return copy


LAYOUTS = {
    "every second image": lambda x, _: np.repeat(x, 2, axis=0)[::2],
    "backwards": lambda x, _: x[::-1].copy()[::-1],
    "every third backwards": lambda x, _: np.repeat(x[::-1], 3, axis=0)[::-3],
    "columns of a table": lambda x, _: _in_table(x),
    "read only": read_only,
    "memory map": memory_map,
    "unaligned": unaligned,
}


def _in_table(x):
    """Images as part of longer rows of memory."""
    table = np.zeros((len(x), x[0].size + 7), x.dtype)
    table[:, 3:-4] = x.reshape(len(x), -1)
    return np.lib.stride_tricks.as_strided(
        table[:, 3:], x.shape, (table.strides[0], *x.strides[1:])
    )


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_may_lie_anywhere(layout, dtype, tmp_path):
    batches = sample()
    plain = (batches.x * 100 + 100).astype(dtype)
    x = LAYOUTS[layout](plain, tmp_path)
    assert layout == "unaligned" or not x.flags.owndata or not x.flags.writeable
    np.testing.assert_array_equal(x, plain)
    found = []
    for images in (plain, x):
        made = program()
        record = train(made, dataclasses.replace(batches, x=images))
        found.append([record.loss, *made.get_parameters(), made.predict(images)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(x, plain)


def test_labels_weights_and_order_may_have_any_strides():
    """What is small is copied where it has gaps."""
    batches = sample()
    weight = np.linspace(0.5, 1, COUNT).astype(np.float32)
    gaps = Batches(
        batches.x,
        np.repeat(batches.order, 2)[::2],
        4,
        np.asfortranarray(batches.y),
        weight[::-1].copy()[::-1],
    )
    plain = dataclasses.replace(batches, sample_weight=weight)
    np.testing.assert_array_equal(train(program(), gaps).loss, train(program(), plain).loss)


def test_one_image_many_times():
    """A first axis without any stride."""
    batches = sample()
    many = np.broadcast_to(batches.x[:1], (100, *batches.x.shape[1:]))
    made = program()
    outputs = made.predict(many)
    np.testing.assert_array_equal(outputs, np.broadcast_to(made.predict(batches.x[:1]), (100, 3)))


def test_images_may_be_left_out_and_read_twice():
    batches = sample()
    order = np.array([3, 3, 0, 9, 3], np.int64)
    made = program()
    record = made.evaluate(dataclasses.replace(batches, order=order))
    whole = made.evaluate(dataclasses.replace(batches, order=np.arange(COUNT)))
    np.testing.assert_array_equal(record.loss, whole.loss[order])
    assert record.steps == 2


@pytest.mark.parametrize("batch_size", [1, 7, COUNT, 1000, 2**62])
def test_any_batch_size(batch_size):
    """Without dropout, and at a rate of zero, training measures what evaluating does."""
    graph = graph_of((5, 4, 2), conv(3), flatten, dense(3, "softmax"))
    made = program_of(graph, RECIPE, parameters(np.random.default_rng(0), graph))
    batches = dataclasses.replace(sample(), batch_size=batch_size)
    steps = -(-COUNT // batch_size)
    record, whole = train(made, batches, rates=np.zeros(steps)), made.evaluate(sample())
    assert record.steps == steps
    np.testing.assert_allclose(record.loss, whole.loss, rtol=1e-5)
    np.testing.assert_array_equal(record.correct, whole.correct)


def test_predictions_of_no_images():
    assert program().predict(np.zeros((0, 5, 4, 2), np.float32)).shape == (0, 3)


def test_a_net_without_recipe_predicts():
    x = sample().x
    np.testing.assert_array_equal(program(None).predict(x), program().predict(x))


# What it refuses ---------------------------------------------------------------------------------


def with_gaps(shape, dtype):
    """An array of that shape whose images have gaps."""
    return np.zeros((*shape[:-1], 2 * shape[-1]), dtype)[..., ::2]


IMAGES = (COUNT, 5, 4, 2)
BATCHES = {
    "x without batch": {"x": np.zeros(IMAGES[1:], np.float32)},
    "x too small": {"x": np.zeros((COUNT, 5, 4, 1), np.float32)},
    "x too large": {"x": np.zeros((COUNT, 6, 4, 2), np.float32)},
    "x transposed": {"x": np.zeros((COUNT, 4, 5, 2), np.float32)},
    "x flat": {"x": np.zeros((COUNT, 40), np.float32)},
    "x of halves": {"x": np.zeros(IMAGES, np.float16)},
    "x of int32": {"x": np.zeros(IMAGES, np.int32)},
    "x of int8": {"x": np.zeros(IMAGES, np.int8)},
    "x of bool": {"x": np.zeros(IMAGES, bool)},
    "x complex": {"x": np.zeros(IMAGES, np.complex64)},
    "x of objects": {"x": np.zeros(IMAGES, object)},
    "x of strings": {"x": np.zeros(IMAGES, "U4")},
    "x big-endian": {"x": np.zeros(IMAGES, ">f4")},
    "x with gaps": {"x": with_gaps(IMAGES, np.float32)},
    "x in Fortran's order": {"x": np.asfortranarray(np.zeros(IMAGES, np.float32))},
    "x backwards inside": {"x": np.zeros(IMAGES, np.float32)[:, ::-1]},
    "x fewer than the order": {"x": np.zeros((3, *IMAGES[1:]), np.float32)},
    "x empty": {"x": np.zeros((0, *IMAGES[1:]), np.float32)},
    "order empty": {"order": np.zeros(0, np.int64)},
    "order below": {"order": np.array([0, -1])},
    "order beyond": {"order": np.array([0, COUNT])},
    "order far beyond": {"order": np.array([2**62])},
    "order of int32": {"order": np.zeros(4, np.int32)},
    "order of floats": {"order": np.zeros(4)},
    "order in two axes": {"order": np.zeros((2, 2), np.int64)},
    "order big-endian": {"order": np.zeros(4, ">i8")},
    "batch_size 0": {"batch_size": 0},
    "batch_size -1": {"batch_size": -1},
    "y missing a row": {"y": np.zeros((COUNT - 1, 3), np.float32)},
    "y of other classes": {"y": np.zeros((COUNT, 2), np.float32)},
    "y sparse": {"y": np.zeros(COUNT, np.int32)},
    "y of float64": {"y": np.zeros((COUNT, 3))},
    "y big-endian": {"y": np.zeros((COUNT, 3), ">f4")},
    "weights missing one": {"sample_weight": np.ones(COUNT - 1, np.float32)},
    "weights of float64": {"sample_weight": np.ones(COUNT)},
    "weights in two axes": {"sample_weight": np.ones((COUNT, 1), np.float32)},
}


@pytest.fixture(scope="module")
def shared():
    """One Program for all refusals: none may leave a trace in it."""
    return program()


@pytest.mark.parametrize("case", BATCHES)
def test_refuses_batches(case, shared):
    batches = dataclasses.replace(sample(), **BATCHES[case])
    steps = -(-len(batches.order) // max(1, batches.batch_size))
    before = [one.tobytes() for one in shared.get_parameters()]
    with pytest.raises(ValueError, match="must"):
        shared.train(batches, np.zeros(steps))
    with pytest.raises(ValueError, match="must"):
        shared.evaluate(batches)
    assert [one.tobytes() for one in shared.get_parameters()] == before


@pytest.mark.parametrize("case", [name for name in BATCHES if name.startswith("x ")])
def test_refuses_images_to_predict(case, shared):
    x = BATCHES[case]["x"]
    if case in ("x empty", "x fewer than the order"):
        assert shared.predict(x).shape == (len(x), 3)
        return
    with pytest.raises(ValueError, match="`x` must"):
        shared.predict(x)


@pytest.mark.parametrize(
    "y",
    [
        np.zeros((COUNT, 3), np.float32),
        np.zeros(COUNT, np.int64),
        np.zeros(COUNT, np.float32),
        np.zeros((COUNT, 1), np.int32),
        np.zeros(COUNT - 1, np.int32),
    ],
    ids=lambda y: f"{y.dtype} {y.shape}",
)
def test_refuses_sparse_labels(y):
    with pytest.raises(ValueError, match="`y` must"):
        train(program(SPARSE), dataclasses.replace(sample(), y=y))


@pytest.mark.parametrize("label", [-1, 3, 2**31 - 1, -(2**31)])
def test_a_label_out_of_range_reads_nothing_outside(label):
    """Labels are checked before a Program sees them; here, they are no index into anything."""
    batches = dataclasses.replace(sample(SPARSE), y=np.full(COUNT, label, np.int32))
    record = train(program(SPARSE), batches)
    assert np.isfinite(record.loss).all()


OUTPUTS = {
    "too few": np.zeros((COUNT - 1, 3), np.float32),
    "too many": np.zeros((COUNT + 1, 3), np.float32),
    "other classes": np.zeros((COUNT, 2), np.float32),
    "float64": np.zeros((COUNT, 3)),
    "with gaps": np.zeros((COUNT, 6), np.float32)[:, ::2],
    "transposed": np.zeros((3, COUNT), np.float32).T,
    "read only": np.broadcast_to(np.float32(0), (COUNT, 3)),
    "big-endian": np.zeros((COUNT, 3), ">f4"),
}


def test_refuses_outputs_that_are_read_only(shared):
    outputs = np.zeros((COUNT, 3), np.float32)
    outputs.setflags(write=False)
    for run in (shared.evaluate, lambda batches, outputs: train(shared, batches, outputs=outputs)):
        with pytest.raises(ValueError, match="`outputs` must"):
            run(sample(), outputs=outputs)
    assert not outputs.any()


@pytest.mark.parametrize("case", OUTPUTS)
def test_refuses_outputs(case, shared):
    for run in (shared.evaluate, lambda batches, outputs: train(shared, batches, outputs=outputs)):
        with pytest.raises(ValueError, match="`outputs` must"):
            run(sample(), outputs=OUTPUTS[case])


@pytest.mark.parametrize(
    "rates",
    [np.zeros(2), np.zeros(4), np.zeros(0), np.zeros((3, 1)), np.zeros((3, 2))],
    ids=np.shape,
)
def test_refuses_rates(rates, shared):
    with pytest.raises(ValueError, match="`rates` must"):
        shared.train(sample(), rates)


@pytest.mark.parametrize("seeds", [[], [1, 2]], ids=len)
def test_refuses_seeds(seeds, shared):
    with pytest.raises(ValueError, match="`seeds` must"):
        train(shared, sample(), seeds=np.array(seeds, np.uint64))


@pytest.mark.parametrize("threads", [0, -1, 257, 10_000, True, False, 2.5, 2.0, "2", [2]])
def test_refuses_threads(threads):
    with pytest.raises(ValueError, match="threads must be a whole number from 1 to 256"):
        Program(PLAN, RECIPE, threads=threads)


def test_training_needs_labels_and_a_recipe(shared):
    with pytest.raises(ValueError, match="labels"):
        train(shared, dataclasses.replace(sample(), y=None))
    with pytest.raises(ValueError, match="recipe"):
        train(program(None), sample())
    with pytest.raises(ValueError, match="recipe"):
        train(program(None), dataclasses.replace(sample(), y=None))


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values[:-1],
        lambda values: [*values, values[-1]],
        lambda values: [*values[:-1], values[-1][:-1]],
        lambda values: [values[0].T, *values[1:]],
        lambda values: [*values[:-1], values[-1][None]],
        lambda values: [*values[:-1], np.float32(0)],
        lambda values: [],
    ],
    ids=["fewer", "more", "short", "transposed", "one more axis", "a number", "none"],
)
def test_refuses_parameters_all_or_none(change):
    made = program()
    before = made.get_parameters()
    fresh = [np.full_like(value, 7) for value in before]
    with pytest.raises(ValueError, match=r"must|shape"):
        made.set_parameters(change(fresh))
    for one, other in zip(made.get_parameters(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_refuses_slots_all_or_none():
    made = program()
    train(made, sample())
    before = made.get_slots()
    good = [np.zeros_like(one) for one in before["momentum"]]
    for bad in (
        {"momentum": good},
        {"momentum": good, "velocity": good[:-1]},
        {"momentum": good, "velocity": [*good[:-1], good[-1][:-1]]},
        {},
    ):
        with pytest.raises(ValueError, match=r"must|shape"):
            made.set_slots(bad)
        for name, slots in made.get_slots().items():
            for one, other in zip(slots, before[name], strict=True):
                np.testing.assert_array_equal(one, other)


def test_what_is_handed_out_is_a_copy():
    made = program()
    train(made, sample())
    for arrays in (made.get_parameters, made.get_gradients, lambda: made.get_slots()["momentum"]):
        first = arrays()
        for array in first:
            array[...] = np.nan
        assert all(np.isfinite(array).all() for array in arrays())
