"""Before anything is trained: one arm that cannot be built is told, and the others go on."""

from __future__ import annotations

import pytest

from convmill.study.errors import StudyError
from convmill.study.plan import make_plan
from convmill.study.spec import read_spec
from tests.study.tables import small

SCRIPT = """
import keras

def net(input_shape, classes, *metrics):
    model = keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(),
                              keras.layers.Dense(classes, activation="softmax")])
    model.compile("sgd", "mse", metrics=list(metrics) or None)
    return model

def two_inputs(input_shape, classes):
    inputs = keras.Input(input_shape), keras.Input(input_shape)
    x = keras.layers.Flatten()(keras.layers.Concatenate()(inputs))
    return keras.Model(inputs, keras.layers.Dense(classes)(x))

def two_outputs(input_shape, classes):
    x = keras.Input(input_shape)
    flat = keras.layers.Flatten()(x)
    return keras.Model(x, [keras.layers.Dense(classes)(flat), keras.layers.Dense(3)(flat)])

def subclass(input_shape, classes):
    class Own(keras.Model):
        def __init__(self, size):
            super().__init__()
            self.dense = keras.layers.Dense(size)

        def call(self, x):
            return self.dense(keras.ops.reshape(x, (len(x), -1)))

    return Own(classes)

def no_config(input_shape, classes):
    class Descent(keras.optimizers.SGD):
        def get_config(self):
            raise RuntimeError("no config")

    model = net(input_shape, classes)
    model.compile(Descent(), "mse", metrics=["accuracy"])
    return model

def no_layer_config(input_shape, classes):
    class Twist(keras.layers.Layer):
        def __init__(self, share):
            super().__init__()

        def get_config(self):
            raise ZeroDivisionError("no config")

    return keras.Sequential([keras.Input(input_shape), Twist(1), keras.layers.Flatten(),
                             keras.layers.Dense(classes)])

def fails_when_built(input_shape, classes):
    class Twist(keras.layers.Layer):
        def build(self, shape):
            raise KeyError("no shape")

    return keras.Sequential([Twist(), keras.layers.Dense(classes)])

def named(input_shape, classes):
    return net(input_shape, classes, "accuracy")

def flat(input_shape, classes):
    return keras.Sequential([keras.Input((64,)), keras.layers.Dense(classes)])

def table(input_shape, classes):
    return net(input_shape, classes, keras.metrics.CategoricalAccuracy(name="accuracy"))

def other(input_shape, classes):
    return net(input_shape, classes, "mae", keras.metrics.CategoricalAccuracy())

def none(input_shape, classes):
    return net(input_shape, classes)
"""


@pytest.fixture
def failures(tmp_path):
    """What fails of arms of these functions: a table from their names."""
    script = tmp_path / "nets_that_fail.py"
    script.write_text(SCRIPT)

    def failures_of(*names, **more):
        arms = {name: {"model": f"{script}:{name}"} for name in names}
        arms["dense"] = {"model": "dense"}
        planned = make_plan(read_spec(small(tmp_path, arms=arms, **more), "mine")).arms
        return {arm.name: arm.failure for arm in planned}

    return failures_of


@pytest.mark.parametrize("name", ["two_inputs", "two_outputs", "subclass", "no_config",
                                  "no_layer_config", "fails_when_built"])  # fmt: skip
def test_an_arm_that_fails_in_whatever_way_is_told_by_its_name(failures, name):
    found = failures(name)
    assert found["dense"] == ""
    assert found[name].startswith(f"arm '{name}': ")


def test_data_that_are_not_there_are_the_failure_of_their_arm(tmp_path):
    arms = {"a": {"model": "dense"}, "b": {"model": "dense", "data": {"name": "no/where"}}}
    planned = make_plan(read_spec(small(tmp_path, arms=arms), "mine")).arms
    assert planned[0].failure == ""
    assert "no data at this path" in planned[1].failure
    with pytest.raises(StudyError, match="no data at this path"):
        make_plan(read_spec(small(tmp_path, data={"name": "no/where"}), "mine"))


@pytest.mark.parametrize("measure", ["extent", "radius"])
def test_measures_of_the_first_weights_need_these_to_lie_over_the_image(failures, measure):
    found = failures("named", "flat", measures=[measure])
    assert [name for name in found if not found[name]] == ["named", "dense"]
    assert "need a first layer that is dense or a convolution" in found["flat"]


@pytest.mark.parametrize("measure", ["best_accuracy", "dip"])
def test_measures_of_epochs_need_a_model_that_tells_its_accuracy(failures, measure):
    found = failures("named", "table", "other", "none", measures=["loss", measure])
    assert [name for name in found if not found[name]] == ["named", "table", "dense"]
    for name in ("other", "none"):
        assert "best_accuracy and dip need a model that is compiled with metrics" in found[name]


@pytest.mark.parametrize(
    ("measure", "options", "words"),
    [
        ("position_accuracy", {}, "position_accuracy needs data with a canvas"),
        ("window_accuracy", {}, "window_accuracy needs a net with global average pooling"),
        ("probe_accuracy", {}, "the net has 0 convolutions. Received: convolution = 2"),
        ("probe_accuracy", {"poling": "max"}, "no key 'poling'. Did you mean 'pooling'?"),
        ("probe_accuracy", 3, "probe_accuracy must be a table"),
    ],
)
def test_what_a_measure_needs_is_said_before_training(tmp_path, measure, options, words):
    arms = {"dense": {"model": "dense", "options": {"probe_accuracy": options}}}
    spec = read_spec(small(tmp_path, arms=arms, measures=[measure]), "mine")
    with pytest.raises(StudyError, match="arm 'dense': ") as raised:
        make_plan(spec)
    assert words in str(raised.value)
