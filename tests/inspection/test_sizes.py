"""Rules on fields and numbers of weights."""

from __future__ import annotations

import keras
import pytest
from keras import Input, Model
from keras.layers import (
    Add,
    Concatenate,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Lambda,
    MaxPooling2D,
    ReLU,
    Reshape,
    Subtract,
    UpSampling2D,
)

from convmill.inspection.findings.sizes import (
    parameters_beyond_the_data,
    small_field,
    wide_flatten,
)
from tests.inspection.nets import chain, notebook, said, unpooled


def test_small_field_of_the_unpooled_net():
    (finding,) = said(small_field, unpooled())
    assert finding.layer == "last"
    assert finding.number == pytest.approx(49 / 784)
    assert finding.what.startswith("7x7 of 28x28 pixels")


@pytest.mark.parametrize(
    ("kernel", "fires"),
    [((13, 28), True), ((28, 13), True), ((14, 28), False), ((14, 14), False)],
)
def test_small_field_is_under_half_of_a_side(kernel, fires):
    assert bool(said(small_field, chain(Conv2D(4, kernel)))) is fires


def test_small_field_not_of_the_notebook_net():
    assert said(small_field, notebook()) == ()


def test_small_field_of_what_is_pooled_globally():
    model = chain(Conv2D(4, 3, name="seen"), GlobalAveragePooling2D(keepdims=True), Dropout(0.1))
    assert [each.layer for each in said(small_field, model)] == ["seen"]


def test_small_field_says_nothing_of_what_it_does_not_know():
    assert said(small_field, chain(Lambda(lambda x: keras.ops.cumsum(x, 1)), Conv2D(4, 3))) == ()


@pytest.mark.parametrize(
    ("end", "fires"),
    [
        ([Flatten(), Dense(2)], True),
        ([GlobalAveragePooling2D(), Dense(2)], True),
        ([ReLU()], True),  # uncompiled: the head is still to come
        ([UpSampling2D(2)], False),
        ([Conv2DTranspose(1, 2, strides=2)], False),
        ([Reshape((26 * 26, 4)), Flatten(), Dense(2)], False),  # not known to be behind
    ],
)
def test_small_field_of_nets_that_judge_images(end, fires):
    assert bool(said(small_field, chain(Conv2D(4, 3), *end))) is fires


@pytest.mark.parametrize("loss", [None, "mse"])
def test_small_field_not_of_nets_that_give_images(loss):
    same = [Conv2D(4, 3, padding="same"), Conv2D(1, 3, padding="same")]
    assert said(small_field, chain(*same, loss=loss)) == ()
    assert said(small_field, chain(Conv2D(4, 3), Conv2D(1, 3), loss="mse")) == ()


def test_small_field_of_each_input():
    left, right = Input((28, 28, 1), name="left"), Input((7, 7, 1), name="right")
    both = Concatenate()([Conv2D(2, 24)(left), Conv2D(2, 3)(right)])
    (finding,) = said(small_field, Model([left, right], both))
    assert finding.what.startswith("3x3 of 7x7 pixels")
    assert finding.what.endswith("sees of right.")


def test_wide_flatten_imagines_a_dense_layer():
    (finding,) = said(wide_flatten, unpooled())
    assert finding.number == 30_976
    assert finding.what == (
        "30,976 coefficients in last: a Dense layer of 512 on them would have 15.86 M parameters, "
        "99.6 % of the model, 264 for each of 60,000 training images (MNIST's number)."
    )


def test_wide_flatten_takes_the_dense_layer_that_is_there():
    model = chain(Conv2D(64, 3), Flatten(), Dropout(0.5), Dense(7, name="head"))
    (finding,) = said(wide_flatten, model, images=1000)
    weights = (26 * 26 * 64 + 1) * 7
    share = 100 * weights / (weights + 640)
    assert finding.layer == model.layers[1].name
    assert finding.number == 43_264
    assert f"head on them has {weights:,} parameters, {share:.3g} % of the model" in finding.what
    assert f"{weights / 1000:.0f} for each of 1,000 training images." in finding.what


def siamese():
    one, other = Input((28, 28, 1)), Input((28, 28, 1))
    convolution, flat, dense = Conv2D(64, 3), Flatten(name="flat"), Dense(8, name="dense")
    codes = [dense(flat(convolution(image))) for image in (one, other)]
    return Model([one, other], Dense(1)(Subtract()(codes)))


def test_wide_flatten_of_shared_layers_is_told_once():
    (finding,) = said(wide_flatten, siamese())
    assert finding.layer == "flat"
    assert f"dense on them has {(26 * 26 * 64 + 1) * 8:,} parameters" in finding.what


def test_wide_flatten_takes_the_parameters_of_a_shared_dense_layer():
    one, other = Input((28, 28, 1)), Input((28, 28, 1))
    dense = Dense(8)
    codes = [dense(Flatten()(Conv2D(64, 3)(image))) for image in (one, other)]
    found = said(wide_flatten, Model([one, other], Add()(codes)))
    assert len(found) == 2
    assert all(f"has {(26 * 26 * 64 + 1) * 8:,} parameters" in each.what for each in found)


@pytest.mark.parametrize(
    ("end", "fires"),
    [
        (Conv2D(64, 3), True),
        (Conv2D(64, 3, padding="same"), False),
        (Conv2DTranspose(64, 5), False),
    ],
)
def test_wide_flatten_of_an_open_end(end, fires):
    assert bool(said(wide_flatten, chain(end))) is fires
    assert said(wide_flatten, chain(Conv2D(4, 9), Conv2DTranspose(64, 5))) == ()


@pytest.mark.parametrize(("filters", "fires"), [(100, False), (101, True)])
def test_wide_flatten_is_above_10_000(filters, fires):
    model = chain(Conv2D(filters, 1), Flatten(), Dense(1), shape=(10, 10, 1))
    assert bool(said(wide_flatten, model)) is fires


@pytest.mark.parametrize("loss", [None, "mse"])
def test_wide_flatten_not_of_a_model_that_gives_images(loss):
    last = Conv2D(1, 3, activation=None if loss else "sigmoid", padding="same")
    model = chain(Conv2D(8, 3, padding="same"), UpSampling2D(4), last, loss=loss)
    assert said(wide_flatten, model) == ()


def test_wide_flatten_not_of_what_is_pooled():
    assert said(wide_flatten, chain(Conv2D(64, 3), GlobalAveragePooling2D(), Dense(10))) == ()


def test_parameters_beyond_the_data():
    model = chain(Flatten(), Dense(1000, name="large"), Dense(10))
    (finding,) = said(parameters_beyond_the_data, model, images=10_000)
    assert finding.layer == "large"
    assert finding.number == pytest.approx((785_000 + 10_010) / 10_000)
    assert finding.what.startswith("80 trainable parameters for each of 10,000 training images:")


@pytest.mark.parametrize(("images", "fires"), [(19, True), (20, False)])
def test_parameters_beyond_the_data_are_over_50_an_image(images, fires):
    model = chain(Flatten(), Dense(10, use_bias=False), shape=(10, 10, 1))
    assert bool(said(parameters_beyond_the_data, model, images=images)) is fires


def test_nothing_of_images_whose_number_is_not_known():
    model = chain(Conv2D(64, 3), Flatten(), Dense(500))
    assert said(parameters_beyond_the_data, model) != ()
    assert said(parameters_beyond_the_data, model, images=None) == ()
    (finding,) = said(wide_flatten, model, images=None)
    assert finding.what.endswith(" % of the model.")


def test_frozen_parameters_learn_nothing():
    model = chain(Flatten(), Dense(1000), Dense(10))
    model.layers[1].trainable = False
    assert said(parameters_beyond_the_data, model, images=1000) == ()


def test_small_field_behind_pooling():
    assert said(small_field, chain(Conv2D(2, 3), MaxPooling2D(4), Conv2D(2, 4))) == ()
