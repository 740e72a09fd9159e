"""The last feature maps of a design, what its units see, and what becomes of it behind them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import Input, Model, Sequential, layers, ops

import convmill
from convmill.inspection.compare import compare
from tests.design.graphs import perturb
from tests.inspection.nets import chain, notebook


def features(found):
    """The layers of the last feature maps, with their coefficients."""
    return [(each["layer"], each["coefficients"]) for each in found.to_dict()["last_feature_maps"]]


def small_fields(found):
    return [finding for finding in found.findings if finding.rule == "small field"]


def judged(*head):
    """A net of 5x5 fields with this head."""
    first = layers.Conv2D(4, 3, activation="relu")
    return convmill.inspect(chain(first, layers.Conv2D(6, 3, activation="relu", name="map"), *head))


def over_places(operation):
    """A net whose places ``operation`` brings together."""
    image = Input((28, 28, 1))
    seen = layers.Conv2D(6, 3, name="map")(layers.Conv2D(4, 3, activation="relu")(image))
    return convmill.inspect(Model(image, layers.Dense(10)(layers.Flatten()(operation(seen)))))


MEANS = {
    "plain": lambda: judged(layers.GlobalAveragePooling2D(), layers.Dense(10)),
    "keepdims": lambda: judged(
        layers.GlobalAveragePooling2D(keepdims=True), layers.Flatten(), layers.Dense(10)
    ),
    "1x1 convolution": lambda: judged(
        layers.GlobalAveragePooling2D(keepdims=True),
        layers.Dropout(0.1),
        layers.Conv2D(10, 1),
        layers.Reshape((10,)),
        layers.Softmax(),
    ),
    "reshaped": lambda: judged(
        layers.GlobalAveragePooling2D(),
        layers.Reshape((1, 1, 6)),
        layers.Conv2D(10, 1, padding="same", activation="softmax"),
        layers.Flatten(),
    ),
    "a window as large as the map": lambda: judged(
        layers.AveragePooling2D(24), layers.Flatten(), layers.Dense(10)
    ),
    "adaptive pooling to one place": lambda: judged(
        layers.AdaptiveAveragePooling2D(1), layers.Flatten(), layers.Dense(10)
    ),
    "with dropout before": lambda: judged(
        layers.Dropout(0.1), layers.GlobalAveragePooling2D(), layers.Dense(10)
    ),
    "an operation": lambda: over_places(lambda x: ops.mean(x, axis=(1, 2))),
    "an operation that keeps axes": lambda: over_places(
        lambda x: ops.mean(x, axis=[-3, -2], keepdims=True)
    ),
}


@pytest.mark.parametrize("spelled", MEANS)
def test_the_last_map_lies_before_global_pooling_however_that_is_spelled(spelled):
    found = MEANS[spelled]()
    assert features(found) == [("map", 24 * 24 * 6)]
    assert found.last_features is found.row("map")
    (finding,) = small_fields(found)
    assert finding.what.startswith("5x5 of 28x28 pixels are all that a unit of map")
    assert "global pooling leaves only the mean of each channel" in finding.why
    assert "dense layer" not in finding.why
    assert "Last feature map: map, 24x24x6 = 3,456 coefficients; a unit sees 5x5" in str(found)


@pytest.mark.parametrize(
    "pooling", [layers.GlobalMaxPooling2D(), layers.GlobalMaxPooling2D(keepdims=True),
                layers.MaxPooling2D(24)]
)  # fmt: skip
def test_global_max_pooling_leaves_maxima(pooling):
    found = judged(pooling, layers.Flatten(), layers.Dense(10))
    assert features(found) == [("map", 24 * 24 * 6)]
    assert "leaves only the maximum of each channel" in small_fields(found)[0].why


@pytest.mark.parametrize(
    "head",
    [
        [layers.Flatten(), layers.Dense(10)],
        [layers.Flatten(), layers.Dropout(0.5), layers.Dense(5), layers.Dense(10)],
        [layers.Conv2D(10, 24), layers.Flatten()],  # a dense layer by another name
    ],
)
def test_a_dense_layer_can_put_the_pieces_together(head):
    found = judged(*head)
    assert features(found) == [("map", 24 * 24 * 6)]
    (finding,) = small_fields(found)
    assert "A dense layer behind it can still put the pieces together" in finding.why


def test_mean_and_maximum_together():
    image = Input((28, 28, 1))
    seen = layers.Conv2D(6, 3, name="map")(image)
    both = [layers.GlobalAveragePooling2D()(seen), layers.GlobalMaxPooling2D()(seen)]
    found = convmill.inspect(Model(image, layers.Dense(2)(layers.Concatenate()(both))))
    assert "leaves only the mean and the maximum of each channel" in small_fields(found)[0].why


def test_a_classifying_convolution_before_the_pooling_is_the_last_map():
    """SqueezeNet's head."""
    found = judged(
        layers.Conv2D(10, 1, activation="relu", name="classes"),
        layers.GlobalAveragePooling2D(),
        layers.Softmax(),
    )
    assert features(found) == [("classes", 24 * 24 * 10)]


def test_mobilenet():
    found = convmill.inspect(keras.applications.MobileNet(weights=None))
    ((layer, coefficients),) = features(found)
    assert (layer, coefficients) == ("conv_pw_13", 7 * 7 * 1024)
    (field,) = found.last_features.fields.values()
    assert field.rows.size == 315  # Araujo, Norris and Sim (Distill, 2019)


@pytest.mark.parametrize("shared", [True, False])
def test_every_tower_is_told(shared):
    one, other = Input((28, 28, 1), name="one"), Input((28, 28, 1), name="other")
    first = Sequential([layers.Conv2D(4, 3, name="map"), layers.Flatten()], name="tower")
    second = first
    if not shared:
        second = Sequential([layers.Conv2D(4, 5, name="wide"), layers.Flatten()], name="second")
    codes = layers.Concatenate()([first(one), second(other)])
    found = convmill.inspect(Model([one, other], layers.Dense(1)(codes)))
    name, side = ("tower/map (2)", 26) if shared else ("second/wide", 24)
    assert features(found) == [("tower/map", 26 * 26 * 4), (name, side * side * 4)]
    assert [finding.layer for finding in small_fields(found)] == ["tower/map", name]
    fields = [list(each["fields"]) for each in found.to_dict()["last_feature_maps"]]
    assert fields == [["one"], ["other"]]
    assert str(found).count("Last feature map: ") == 2
    both = " ".join(str(compare(found, convmill.inspect(notebook()))).split())
    assert all(f"A: Last feature map: {layer}, " in both for layer in ("tower/map", name))
    ratios = compare(convmill.inspect(notebook()), found).ratios
    assert ratios["last_map_coefficients"] == (26 * 26 + side * side) * 4 / 576


def test_a_decoder_ends_in_its_own_map():
    found = convmill.inspect(
        chain(
            layers.Conv2D(4, 3),
            layers.Flatten(),
            layers.Dense(49),
            layers.Reshape((7, 7, 1)),
            layers.Conv2DTranspose(1, 4, strides=4, name="picture"),
        )
    )
    assert features(found) == [("picture", 28 * 28)]
    assert small_fields(found) == []


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_maps_as_large_as_the_image_are_no_exception(padding, activation):
    """The lesson's ``padded`` beside its ``unpooled``."""
    stack = [
        layers.Conv2D(filters, 3, padding=padding, activation=activation, name=f"conv_{index}")
        for index, filters in enumerate((32, 64, 64))
    ]
    found = convmill.inspect(chain(*stack))
    assert [finding.rule for finding in found.findings] == ["small field", "wide flatten"]
    side = 28 if padding == "same" else 22
    assert found.findings[0].number == 49 / 784
    assert found.findings[1].number == side * side * 64


def test_an_activation_layer_says_so_as_well():
    same = layers.Conv2D(64, 3, padding="same"), layers.BatchNormalization()
    found = convmill.inspect(chain(*same, layers.ReLU(), layers.Dropout(0.1)))
    assert {"small field", "wide flatten"} <= {finding.rule for finding in found.findings}


@pytest.mark.parametrize(
    "last",
    [
        layers.Conv2D(1, 3, padding="same", activation="relu"),
        layers.Conv2D(21, 3, padding="same"),
        layers.Conv2D(21, 3, padding="same", activation="softmax"),
    ],
)
def test_nets_that_give_images_are_left_alone(last):
    found = convmill.inspect(chain(layers.Conv2D(16, 3, padding="same"), last))
    assert not {"small field", "wide flatten"} & {finding.rule for finding in found.findings}


# Squeeze and excitation --------------------------------------------------------------------------


def by_reshape(seen):
    gate = layers.Reshape((1, 1, 4))(layers.GlobalAveragePooling2D()(seen))
    return layers.Multiply()([seen, layers.Conv2D(4, 1, activation="sigmoid")(gate)])


def by_dense(seen):
    gate = layers.Dense(4, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(seen))
    return seen * gate


def by_maximum(seen):
    return layers.multiply([ops.sigmoid(layers.GlobalMaxPooling2D(keepdims=True)(seen)), seen])


def not_gated(seen):
    return seen


def net(gate):
    image = Input((20, 18, 1), name="image")
    seen = gate(layers.Conv2D(4, 3, padding="same", activation="relu")(image))
    seen = layers.Conv2D(4, 3, strides=2, name="behind")(seen)
    last = layers.Conv2D(4, 3, name="last")(gate(seen))
    return Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(last)))


def local(found, layer="last"):
    (plain,) = [each for each in found.to_dict()["layers"] if each["name"] == layer]
    return plain["local_fields"]["image"]


@pytest.mark.parametrize("gate", [by_reshape, by_dense, by_maximum])
def test_the_local_field_leaves_gates_out(gate):
    found, plain = convmill.inspect(net(gate)), convmill.inspect(net(not_gated))
    for layer in ("behind", "last"):
        assert local(found, layer) == local(plain, layer)
        assert found.row(layer).local_fields["image"].rows.spans == (
            plain.row(layer).fields["image"].rows.spans
        )
        assert found.row(layer).fields["image"].share == 1
    assert local(found)["size_pixels"] == [9, 9]
    assert local(plain) == plain.to_dict()["last_feature_maps"][0]["fields"]["image"]


@pytest.mark.parametrize("gate", [by_reshape, by_dense])
def test_both_fields_are_told(gate):
    found = convmill.inspect(net(gate))
    share = f"{100 * 9 * 9 / (20 * 18):.3g} %"
    assert f"a unit sees 20x18 pixels (100 %); locally 9x9 pixels ({share})" in " ".join(
        str(found).split()
    )
    assert "| sees locally |" in found.markdown()
    (finding,) = small_fields(found)
    assert finding.what.startswith("9x9 of 20x18 pixels are the local field of a unit of last")
    assert "sees locally" not in convmill.inspect(net(not_gated)).markdown()
    ratios = compare(convmill.inspect(net(not_gated)), found).ratios
    assert ratios["last_map_share_of_input"] == pytest.approx(20 * 18 / (9 * 9))
    assert ratios["last_map_local_share_of_input"] == 1
    assert "the same without gates from global pooling" in str(compare(found, found))


def test_a_gated_unit_depends_on_the_whole_image():
    """What the whole field says, by changing pixels; constant gates leave the local one."""
    image = Input((20, 18, 1), name="image")
    seen = layers.Conv2D(4, 3, padding="same")(image)
    assert perturb(Model(image, by_reshape(seen))).all()
    shown = perturb(Model(image, seen))
    rows, columns = np.nonzero(shown[:, :, 9, 9])
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (3, 3)


def test_statistics_over_all_places_keep_places():
    found = convmill.inspect(
        chain(layers.Conv2D(4, 3), layers.GroupNormalization(2), layers.Conv2D(4, 3, name="last"))
    )
    (whole,), (near,) = (
        each.values() for each in (found.row("last").fields, found.row("last").local_fields)
    )
    assert (whole.share, near.rows.size) == (1, 5)


@pytest.mark.long
def test_efficientnet():
    """Kernels, strides and layers of Tan and Le (2019), table 1, and Araujo et al.'s recurrence."""
    stages = [
        (3, 2, 1),
        (3, 1, 1),
        (3, 2, 2),
        (5, 2, 2),
        (3, 2, 3),
        (5, 1, 3),
        (5, 2, 4),
        (3, 1, 1),
    ]
    size, jump = 1, 1
    for kernel, stride, repeats in stages:
        for index in range(repeats):
            size += (kernel - 1) * jump
            jump *= stride if index == 0 else 1
    found = convmill.inspect(keras.applications.EfficientNetB0(weights=None))
    ((_, coefficients),) = features(found)
    assert coefficients == 7 * 7 * 1280
    (near,) = found.last_features.local_fields.values()
    assert (near.rows.size, near.rows.jump) == (size, jump)
    (whole,) = found.last_features.fields.values()
    assert whole.share == 1


@pytest.mark.parametrize(
    ("shape", "written"), [((8, 6, 1), (3, 4)), ((7, 9, 1), (4, 5)), ((10, 11, 1), (4, 1))]
)
def test_adaptive_pooling_sees_what_changes_it(shape, written):
    image = Input(shape, name="image")
    model = Model(image, layers.AdaptiveAveragePooling2D(written)(image))
    field = convmill.inspect(model).rows[-1].fields["image"]
    reached = perturb(model)
    for axis, seen in (
        (field.rows, reached.any(axis=(1, 3))),
        (field.columns, reached.any(axis=(0, 2))),
    ):
        pixels = [np.flatnonzero(seen[:, place]) for place in range(seen.shape[1])]
        assert list(axis.spans) == [(found[0], found[-1]) for found in pixels]
