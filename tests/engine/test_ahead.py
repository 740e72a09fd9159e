"""Cache lines that are asked for before they are written, as often as it was said; in which order
images go through the phases of a normalized batch, and how many together."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from convmill.kernels import ahead, depthwise_forward, ir, winograd_tiles
from convmill.kernels.lang import I8, I64, POINTER
from convmill.lower.launches import Phase
from convmill.plan.read import read
from convmill.runtime import jit
from convmill.runtime.program import Program
from tests.engine.nets import WIDTHS, data, program_of, recipe_of

IMAGES = 6
NETS = {
    "pooled": (layers.Conv2D(19, 3, activation="relu"), layers.MaxPooling2D()),
    "parts": (layers.Conv2D(128, 3, padding="same"), layers.Conv2D(130, 3, padding="same")),
    "vectors": (layers.Conv2D(16, 3), layers.Conv2D(80, 3, padding="same"), layers.Conv2D(48, 3)),
    "depthwise": (
        layers.Conv2D(35, 2),
        layers.DepthwiseConv2D(3, depth_multiplier=2),
        layers.DepthwiseConv2D((3, 2), strides=2),
    ),
}


def counted(counter: np.ndarray, told: list[int]) -> Any:
    """``ahead.claimed``, whose calls add to ``counter`` in native code; ``told`` is how many there
    are to be for each image."""

    def claimed(k, slot, image, turns):
        ask = ahead.claimed(k, slot, image, turns)
        if ask is ahead.nothing:
            return ask
        told.append(turns)

        def ask_and_count() -> None:
            ask()
            place = ir.Constant(I64, counter.ctypes.data)
            at = k.builder.gep(ir.Constant(POINTER, None), place, I8, inside=False)
            k.store_scalar(k.index(k.add(k.load_scalar(at, 0, I64), 1)), at, 0, I64)

        return ask_and_count

    return claimed


@pytest.fixture
def anew():
    """No code is in memory before and after."""
    jit.forget()
    yield
    jit.forget()


def program_for(net: Any, width: str, normalized: bool = True) -> Program:
    """Of ``net`` behind a convolution; behind each convolution, with its pooling, its batch may be
    normalized: a later phase reads what it leaves."""
    x = inputs = keras.Input((31, 42, 3))
    for one in (layers.Conv2D(32, 3), *net):
        if normalized and not isinstance(one, layers.MaxPooling2D):
            x = layers.BatchNormalization()(x)
        x = type(one).from_config(one.get_config())(x)
    x = layers.BatchNormalization()(x) if normalized else x
    reading = read(keras.Model(inputs, layers.Dense(4)(layers.Flatten()(x))))
    recipe, values = recipe_of("mean_squared_error"), [one.numpy() for one in reading.variables]
    return program_of(reading.graph, recipe, values, machine=WIDTHS[width], threads=1)


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize("width", ["8 lanes", "16 lanes"])
@pytest.mark.parametrize("name", NETS)
def test_each_part_of_what_is_kept_is_asked_for(name, width, monkeypatch):
    counter, told = np.zeros(1, np.int64), list[int]()
    for module in (winograd_tiles, depthwise_forward):
        monkeypatch.setattr(module, "claimed", counted(counter, told))
    program = program_for(NETS[name], width)
    loss = recipe_of("mean_squared_error").loss
    sample = data(np.random.default_rng(3), program.graph, loss, IMAGES, IMAGES)
    program.train(sample.batches, np.full(sample.steps, 0.01))
    assert counter[0] == IMAGES * sum(told) > 0


def test_every_second_phase_begins_with_the_last_images():
    several = program_for(NETS["depthwise"], "16 lanes").code("training")
    assert "take_groups_of_2.backwards" in several.source
    plain = program_for(NETS["depthwise"], "16 lanes", normalized=False).code("training")
    assert "take_" in plain.source
    assert ".backwards" not in plain.source


def test_a_group_has_as_many_images_as_a_launch_computes_together():
    """Winograd's weights that are larger than the second cache, and rows of dense products."""
    many = layers.Conv2D(256, 3, padding="same")
    net = (layers.MaxPooling2D(4), layers.Conv2D(256, 1), many, layers.Conv2D(8, 1))
    code = program_for(net, "16 lanes").code("training")
    phases: list[Phase] = [phase for phase in code.step.part if phase.over_images]
    assert {phase.together for phase in phases} > {0}
    for phase in phases:
        if phase.together > 2 and not phase.sliced:
            assert f"take_groups_of_{phase.together}" in code.source
