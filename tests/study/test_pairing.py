"""Arms of a seed begin alike, see the same images in the same order, and differ in nothing else."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from convmill.study import images
from convmill.study.arms import build
from convmill.study.plan import make_plan
from convmill.study.settings import Data
from convmill.study.spec import read_spec
from convmill.study.training import Job, train
from convmill.study.weights import draw_weights
from tests.study.tables import small


def net(*filters, dense=6):
    layers = [keras.layers.Conv2D(count, 3) for count in filters]
    return keras.Sequential(
        [keras.Input((12, 12, 1)), *layers, keras.layers.Flatten(), keras.layers.Dense(dense)]
    )


def test_weights_of_equal_shape_are_equal_bit_for_bit():
    one, other = net(4, 4, 4), net(4, 4)
    draw_weights(one, 3)
    draw_weights(other, 3)
    for here, there in zip(one.layers[:2], other.layers[:2], strict=True):
        assert (here.get_weights()[0] == there.get_weights()[0]).all()
    second, third = one.layers[1].get_weights()[0], one.layers[2].get_weights()[0]
    assert second.shape == third.shape
    assert (second != third).any()  # the second of a shape is not the first again
    draw_weights(other, 4)
    assert (one.layers[0].get_weights()[0] != other.layers[0].get_weights()[0]).any()


def test_weights_are_distributed_as_their_initializer_says():
    model = keras.Sequential(
        [keras.Input((100,)), keras.layers.Dense(100, kernel_initializer="he_normal")]
    )
    draw_weights(model, 1)
    kernel, bias = model.layers[0].get_weights()
    assert kernel.std() == pytest.approx(np.sqrt(2 / 100), rel=0.05)
    assert (bias == 0).all()


def test_a_smaller_subset_is_the_beginning_of_a_larger_one(tmp_path):
    name = small(tmp_path)["data"]["name"]
    few, many = (images.draw(Data(name, train=count), 5) for count in (10, 40))
    assert (few.x_train == many.x_train[:10]).all()
    other = images.draw(Data(name, train=10), 6)
    assert (other.x_train != few.x_train).any()


def test_images_on_a_canvas_lie_where_they_are_said_to():
    image = np.arange(1, 5, dtype=np.uint8).reshape(1, 2, 2)
    laid = images.laid(np.repeat(image, 2, axis=0), 5, np.array([0, 3]), np.array([1, 2]))
    assert (laid[0, 0:2, 1:3] == image[0]).all()
    assert (laid[1, 3:5, 2:4] == image[0]).all()
    assert laid.sum() == 2 * image.sum()


SCRIPT = """
import keras
from keras import layers

def plain(input_shape, classes):
    return keras.Sequential([
        keras.Input(input_shape), layers.Flatten(), layers.Dense(6, activation="relu"),
        layers.Dense(classes, activation="softmax"),
    ])

def restless(input_shape, classes):
    layers.Dense(50).build((None, 50))  # draws numbers that the other does not
    return keras.Sequential([
        keras.Input(input_shape), layers.Flatten(), layers.Dropout(0.0),
        layers.Dense(6, activation="relu"), layers.Dense(classes, activation="softmax"),
    ])
"""


def test_arms_begin_alike_and_see_the_same_images_in_the_same_order(tmp_path):
    (tmp_path / "nets.py").write_text(SCRIPT)
    arms = {name: {"model": f"nets.py:{name}"} for name in ("plain", "restless")}
    table = small(tmp_path, arms=arms)
    spec = read_spec(table, "mine", folder=tmp_path)
    one, other = (train(Job(arm, 1.0, 5, ("loss",), "digest")) for arm in spec.arms)
    assert one.curves == other.curves  # to the bit: nothing but the arm may differ
    assert one.curves["loss"][0] != one.curves["loss"][1]


def test_a_run_is_the_same_whenever_it_is_made(tmp_path):
    spec = read_spec(small(tmp_path), "mine")
    job = Job(spec.arms[1], 1.0, 1, ("accuracy", "loss", "train_accuracy"), "digest")
    first = train(job)
    keras.utils.set_random_seed(77)
    again = train(job)
    assert first.values == again.values
    assert first.curves == again.curves
    assert set(first.curves) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert first.values["accuracy"] == pytest.approx(first.curves["val_accuracy"][-1])
    assert np.mean(list(first.per_class.values())) == pytest.approx(first.values["accuracy"])


def test_a_file_is_a_design_unless_its_weights_are_kept(tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(2, activation="softmax"))
    model.layers[1].set_weights([np.full((64, 2), 0.5), np.array([0.25, 0.75])])
    model.save(tmp_path / "old.keras")
    arms = {name: {"model": "old.keras", "weights": name} for name in ("drawn", "kept")}
    spec = read_spec(small(tmp_path, arms=arms), "mine", folder=tmp_path)
    drawn, kept = (build(arm, (8, 8, 1), 2).get_weights() for arm in spec.arms)
    assert (kept[0] == 0.5).all()
    assert (drawn[0] != 0.5).any()
    assert drawn[1].tolist() == [0, 0]
    planned = make_plan(spec)
    assert len(set(planned.arms[0].digests + planned.arms[1].digests)) == 4
    assert make_plan(spec) == planned


def test_a_model_that_does_not_fit_the_data_is_said_before_anything_is_trained(tmp_path):
    model = keras.Sequential([keras.Input((5, 5, 1)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(2, activation="softmax"))
    model.save(tmp_path / "other.keras")
    arms = {"a": {"model": "other.keras"}, "b": {"model": "dense"}}
    planned = make_plan(read_spec(small(tmp_path, arms=arms), "mine", folder=tmp_path))
    assert "reads images of 5x5x1. Received: the data, 8x8x1" in planned.arms[0].failure
    assert {job.arm.name for job in planned.jobs} == {"b"}
