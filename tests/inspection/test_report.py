"""``convmill.inspect``: what it finds, and that it changes nothing."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from keras.layers import Add, Conv2D, Dense, Flatten, Input, InputLayer, Lambda, MaxPooling2D

import convmill
from tests.design.graphs import taps
from tests.inspection.nets import chain, notebook, unpooled


def branching():
    """Two branches of different fields that are added."""
    image = Input((16, 16, 3), name="image")
    wide = Conv2D(4, 5, padding="same", name="wide")(image)
    narrow = Conv2D(4, 1, name="narrow")(image)
    joined = Add(name="joined")([wide, narrow])
    return keras.Model(image, Dense(2)(Flatten()(joined)), name="branching")


def forward(model, row):
    """Multiply-adds of one layer, and one operation for each value that it compares, activates or
    adds to another."""
    layer, values = model.get_layer(row.name), math.prod(row.step.shape)
    if isinstance(layer, Add | Flatten | InputLayer):
        return 0, values if isinstance(layer, Add) else 0
    if isinstance(layer, MaxPooling2D):
        return 0, taps(model, row.step, row.step.read[0])
    activated = getattr(layer, "activation", keras.activations.linear)
    once = 0 if activated is keras.activations.linear else values
    return taps(model, row.step, row.step.read[0]), once


@pytest.mark.parametrize("build", [notebook, unpooled, branching])
def test_totals_are_those_of_keras(build):
    model = build()
    found = convmill.inspect(model)
    assert found.total.parameters == model.count_params()
    assert found.rows[-1].step.shape == model.output_shape[1:]
    work = [forward(model, found.row(layer.name)) for layer in model.layers]
    sums = found.total.forward, found.total.forward_operations
    assert sums == tuple(map(sum, zip(*work, strict=True)))
    assert found.name == model.name


@pytest.mark.parametrize(
    ("name", "multiply_adds"),
    [
        pytest.param("EfficientNetB0", 385_814_752, marks=pytest.mark.long),
        ("MobileNetV2", 300_774_272),
    ],
)
def test_multiply_adds_are_those_of_the_literature(name, multiply_adds):
    """Tan and Le (2019) give 0.39 G, Sandler et al. (2018) 300 M."""
    found = convmill.inspect(getattr(keras.applications, name)(weights=None))
    totals = found.to_dict()["totals"]
    assert totals["forward_multiply_adds"] == found.total.forward == multiply_adds
    assert totals["forward_other_operations"] == found.total.forward_operations > 0
    shown = [layer for layer in found.to_dict()["layers"] if layer["forward_multiply_adds"]]
    assert {layer["kind"] for layer in shown} == {"convolution", "dense"}


def test_other_operations_are_told_apart():
    found = convmill.inspect(chain(Conv2D(2, 3, activation="relu"), MaxPooling2D(2), Flatten()))
    text = " ".join(str(found).split())
    compared = activated = 26 * 26 * 2
    assert f"Multiply-adds of an image: {26 * 26 * 2 * 9:,} forward" in text
    assert f"Other operations of an image: {compared + activated:,} forward (comparisons," in text
    assert "| other forward |" in found.markdown()
    assert "The count in training is an estimate from the design; explain also counts" in text


def test_without_convolutions_explain_counts_the_same():
    found = convmill.inspect(chain(Flatten(), Dense(3)))
    assert "estimate from the design" not in str(found)


def test_rows_of_the_notebook_net():
    found = convmill.inspect(notebook())
    seen = [row.fields[next(iter(found.inputs))].rows.size for row in found.rows]
    assert seen == [1, 3, 4, 8, 10, 18, 18, 26, 26]
    assert [row.cost.parameters for row in found.rows if row.cost.parameters] == [
        320,
        18_496,
        36_928,
        36_928,
        650,
    ]
    assert found.last_features is found.rows[5]
    assert list(found.inputs.values()) == [(28, 28, 1)]


def test_paths_are_told_where_branches_meet():
    found = convmill.inspect(branching())
    paths = {path.source: path.fields["image"].rows.size for path in found.row("joined").paths}
    assert paths == {"wide": 5, "narrow": 1}
    assert found.row("joined").fields["image"].rows.size == 5
    assert found.row("wide").paths == ()


def test_the_model_is_not_changed():
    model = notebook()
    before, config = [each.copy() for each in model.get_weights()], model.get_config()
    convmill.inspect(model, input_shape=(32, 32, 1))
    assert model.get_config() == config
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_another_size_of_image():
    found = convmill.inspect(unpooled(), input_shape=(40, 30, 1))
    assert found.rows[-1].step.shape == (34, 24, 64)


def test_a_design_that_ends():
    model = keras.Sequential([Conv2D(2, 5, name="first"), Conv2D(2, 5, name="second")])
    found = convmill.inspect(model, input_shape=(8, 8, 1))
    assert found.dead_end is not None
    assert found.dead_end.layer == "second"
    assert found.findings[0].rule == "dead end"


def test_findings_reckon_with_the_images():
    wide = convmill.inspect(unpooled(), images=2000).findings[-1]
    assert "7,930 for each of 2,000 training images." in wide.what


def test_layers_that_are_not_known():
    own = Lambda(lambda x: keras.ops.cumsum(x, 1), name="own")
    found = convmill.inspect(chain(Conv2D(2, 3), own, Flatten()))
    assert not found.row("own").step.counted
    assert "Not known, and so not counted: own" in str(found)


def test_a_row_that_is_not_there():
    with pytest.raises(KeyError, match="nowhere"):
        convmill.inspect(branching()).row("nowhere")


def test_a_name_that_is_nearly_right():
    with pytest.raises(KeyError, match=r"no layer 'joint'.*joined"):
        convmill.inspect(branching()).row("joint")


@pytest.mark.parametrize(
    ("shape", "images"), [((28, 28, 1), 60_000), ((784,), 60_000), ((32, 32, 3), None)]
)
def test_how_many_images_there_are_is_known_of_mnist(shape, images):
    found = convmill.inspect(chain(Flatten(), Dense(7000), shape=shape))
    assert found.images == images
    rules = [finding.rule for finding in found.findings]
    assert ("parameters beyond the data" in rules) is (images is not None)
    assert convmill.inspect(chain(Flatten(), Dense(2), shape=shape), images=9).images == 9


@pytest.mark.parametrize("argument", ["images", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True, "many", 10**400])
def test_numbers_that_are_none(argument, value):
    with pytest.raises(ValueError, match=f"{argument}.*Received: {argument}={value!r}"):
        convmill.inspect(branching(), **{argument: value})


def test_a_model_that_is_none():
    with pytest.raises(TypeError, match="Received: str"):
        convmill.inspect("model.keras")


def test_the_function_stays_the_function():
    import convmill.inspection.report

    assert convmill.inspect is convmill.inspection.report.inspect
    assert "inspect" in dir(convmill)


def test_no_layer_at_all():
    image = Input((4, 4, 1))
    found = convmill.inspect(keras.Model(image, image))
    assert found.total.parameters == 0
    assert found.findings == ()
    assert "Findings: none" in str(found)


def test_parameters_in_no_layer_are_told():
    class Held(keras.Model):
        def __init__(self):
            image = Input((8, 8, 1))
            super().__init__(image, Conv2D(2, 3)(image))
            self.scale = self.add_weight(shape=(5,), name="scale")

    found = convmill.inspect(Held())
    assert found.total.parameters == 25
    assert "Parameters: 25, 5 of them in no layer" in str(found)


@pytest.mark.parametrize(("pool", "told"), [(2, True), (1, False)])
def test_what_pooling_spares_is_told(pool, told):
    stack = Conv2D(8, 3), Conv2D(8, 3, activation="relu"), MaxPooling2D(pool)
    text = str(convmill.inspect(chain(*stack)))
    assert ("if the zeros behind max pooling were computed" in " ".join(text.split())) is told
