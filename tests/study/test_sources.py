"""What determines a run beside its study: code of the user's, and data that are written again."""

from __future__ import annotations

import os

import numpy as np
import pytest

from convmill.study import images
from convmill.study.plan import make_plan
from convmill.study.spec import read_spec
from tests.study.tables import small, write_data

SCRIPT = """
import keras
import {name}

def net(classes, input_shape, *layers):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(), *layers,
                             keras.layers.Dense(classes, activation="softmax")])

def plain(input_shape, classes):
    return net(classes, input_shape)

def layer(input_shape, classes):
    return net(classes, input_shape, {name}.Twist())

def held(input_shape, classes):
    return net(classes, input_shape, keras.layers.Activation({name}.act))

def loss(input_shape, classes):
    model = net(classes, input_shape)
    model.compile("sgd", {name}.loss, metrics=["accuracy"])
    return model

def metric(input_shape, classes):
    model = net(classes, input_shape)
    model.compile("sgd", "mse", metrics=["accuracy", {name}.loss])
    return model

def optimizer(input_shape, classes):
    model = net(classes, input_shape)
    model.compile({name}.Descent(), "mse", metrics=["accuracy"])
    return model
"""
HELPER = """
import keras
from {name}_constants import SHARE

class Twist(keras.layers.Layer):
    def call(self, x):
        return x * SHARE

class Descent(keras.optimizers.SGD):
    pass

def act(x):
    return x * SHARE

def loss(y, found):
    return keras.ops.mean((y - found) ** 2, axis=-1)

def never():
    from ..nowhere import nothing
"""


@pytest.mark.parametrize("changed", ["helper", "constants"])
def test_code_beside_a_script_counts_for_the_arms_that_use_it(tmp_path, changed):
    name = f"beside_{changed}"
    (tmp_path / "nets.py").write_text(SCRIPT.format(name=name))
    helper, constants = tmp_path / f"{name}.py", tmp_path / f"{name}_constants.py"
    helper.write_text(HELPER.format(name=name))
    constants.write_text("SHARE = 0.5\n")
    own = ("layer", "held", "loss", "metric", "optimizer")
    arms = {arm: {"model": f"{tmp_path}/nets.py:{arm}"} for arm in ("plain", *own)}
    spec = read_spec(small(tmp_path, seeds=1, arms=arms), "mine")

    def digests():
        planned = make_plan(spec).arms
        assert [arm.failure for arm in planned] == [""] * len(planned)
        return {arm.name: arm.digests for arm in planned}

    first = digests()
    assert digests() == first
    file = helper if changed == "helper" else constants
    file.write_text(file.read_text() + "\nMORE = 1\n")
    second = digests()
    assert [arm for arm in second if second[arm] == first[arm]] == ["plain"]


def test_a_helper_that_changes_is_read_again_in_the_same_session(tmp_path):
    from convmill.user_models import build_model

    (tmp_path / "script_of_widths.py").write_text(
        "import keras, widths_beside as widths\n\ndef net():\n"
        "    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(widths.WIDTH)])\n"
    )
    for width in (5, 11):
        (tmp_path / "widths_beside.py").write_text(f"WIDTH = {width}\n")
        model = build_model(f"{tmp_path}/script_of_widths.py:net", {})
        assert model.output_shape == (None, width)


def test_data_that_are_written_again_are_read_again(tmp_path):
    path = write_data(tmp_path)
    first, print_of_first = images.dataset(str(path)), images.fingerprint(str(path))
    assert images.dataset(str(path)) is first
    with np.load(path) as found:
        arrays = dict(found)
    np.savez(path, **{**arrays, "x_train": 255 - arrays["x_train"]})
    os.utime(path, ns=(1, 1))
    assert (images.dataset(str(path)).x_train == 255 - arrays["x_train"]).all()
    assert images.fingerprint(str(path)) != print_of_first
