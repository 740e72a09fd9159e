"""Cache lines that are asked for before they are written: as often as it was said."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from convmill.kernels import ahead, depthwise_forward, ir, winograd_tiles
from convmill.kernels.lang import I8, I64, POINTER
from convmill.plan.read import read
from tests.engine.nets import WIDTHS, data, program_of, recipe_of

IMAGES = 6
NETS = {
    "pooled": (layers.Conv2D(19, 3), layers.Conv2D(34, 3, padding="same"), layers.MaxPooling2D()),
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
        if k.build.memory.places[slot.name].home == "image":
            told.append(turns)
        ask = ahead.claimed(k, slot, image, turns)

        def ask_and_count() -> None:
            ask()
            place = ir.Constant(I64, counter.ctypes.data)
            at = k.builder.gep(ir.Constant(POINTER, None), place, I8, inside=False)
            k.store_scalar(k.index(k.add(k.load_scalar(at, 0, I64), 1)), at, 0, I64)

        return ask_and_count

    return claimed


@pytest.mark.parametrize("width", ["8 lanes", "16 lanes"])
@pytest.mark.parametrize("name", NETS)
def test_each_part_of_what_is_kept_is_asked_for(name, width, monkeypatch):
    """Behind each layer its batch is normalized: a later phase reads what it leaves."""
    x = inputs = keras.Input((15, 14, 3))
    for one in NETS[name]:
        x = layers.BatchNormalization()(type(one).from_config(one.get_config())(x))
    reading = read(keras.Model(inputs, layers.Dense(4)(layers.Flatten()(x))))
    counter, told = np.zeros(1, np.int64), list[int]()
    for module in (winograd_tiles, depthwise_forward):
        monkeypatch.setattr(module, "claimed", counted(counter, told))
    recipe, values = recipe_of("mean_squared_error"), [one.numpy() for one in reading.variables]
    program = program_of(reading.graph, recipe, values, machine=WIDTHS[width], threads=1)
    sample = data(np.random.default_rng(3), reading.graph, recipe.loss, IMAGES, IMAGES)
    program.train(sample.batches, np.full(sample.steps, 0.01))
    assert counter[0] == IMAGES * sum(told) > 0
