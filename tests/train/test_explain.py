"""What explain tells of a compiled model, and of one that is not."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import convmill
from convmill.plain_text import plain_text
from convmill.runtime import stopwatch


def small(*extra: keras.layers.Layer) -> keras.Sequential:
    model = keras.Sequential(
        [
            keras.Input((12, 12, 8)),
            layers.Conv2D(16, 3, activation="relu", name="conv"),
            layers.MaxPooling2D(name="pool"),
            *extra,
            layers.Flatten(),
            layers.Dense(3, activation="softmax", name="dense"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def test_stages_and_their_arithmetic() -> None:
    found = convmill.explain(small())
    assert found.compiled
    conv, dense, _ = found.stages
    assert conv.fused == ("pool",)
    assert conv.output_shape == (5, 5, 16)
    forward = (10 * 10 * 16) * (3 * 3 * 8)
    # the first layer has no input gradient; behind 2x2 max pooling a quarter of gradients is left
    assert (conv.dense, conv.done) == (2 * forward, forward + forward // 4)
    assert dense.dense == 3 * (5 * 5 * 16 * 3)
    assert found.compile_seconds > 0
    assert "conv 3x3 + relu + max 2x2" in str(found)
    told = " ".join(str(found).split())
    assert "of the places that were live in the last batch; before fit, of all that max" in told


def test_a_narrow_terminal_is_told_all_but_tiles() -> None:
    found = convmill.explain(small())
    wide, narrow = (plain_text(found, width).splitlines() for width in (118, 60))
    assert any("tiles in registers" in line for line in wide)
    assert not any("tiles in registers" in line for line in narrow)
    assert max(map(len, narrow)) <= 60
    row = next(line.split() for line in narrow if line.startswith(" conv "))
    assert row[-3:] == ["5x5x16", *(f"{count:,}" for count in (230_400, 144_000))]
    told = next(line for line in narrow if line.startswith("Tiles in registers"))
    needed = int(next(word for word in told.split() if word.isdigit()))
    assert max(map(len, wide[:4])) <= needed <= 118


def test_places_that_were_live_are_counted_after_training() -> None:
    model = convmill.accelerate(small())
    random = np.random.default_rng(0)
    before = convmill.explain(model).stages[0].done
    model.fit(random.random((64, 12, 12, 8)), random.integers(0, 3, 64), verbose=0)
    assert convmill.explain(model).stages[0].done < before


def test_places_behind_frozen_weights_are_counted_too() -> None:
    """Their lists are gone with the image; how long they were is kept."""
    frozen = layers.Conv2D(7, 3, activation="relu", name="frozen")
    model = small(frozen)
    frozen.trainable = False
    model = convmill.accelerate(model)
    before = convmill.explain(model).stages[1]
    random = np.random.default_rng(0)
    model.fit(random.random((64, 12, 12, 8)), random.integers(0, 3, 64), verbose=0)
    after = convmill.explain(model).stages[1]
    assert after.name == "frozen"
    assert before.done == 2 * (3 * 3 * 7) * (3 * 3 * 16)
    assert before.done // 2 < after.done < before.done


def test_dense_arithmetic_needs_no_words() -> None:
    model = keras.Sequential([keras.Input((8,)), layers.Dense(3, name="dense")])
    assert "Really done" not in str(convmill.explain(model))


def test_texts_of_a_stage() -> None:
    found = convmill.explain(small())
    assert "define" in found.ir("conv")
    assert "stage0.direct_forward" in found.ir("conv", "inference")
    assert found.assembly("conv")
    with pytest.raises(KeyError, match=r"no stage 'nothing'; the stages are conv, dense"):
        found.ir("nothing")


def test_a_model_that_is_not_compiled() -> None:
    found = convmill.explain(small(layers.BatchNormalization(renorm=True, name="norm")))
    assert not found.compiled
    assert found.stages == ()
    assert "not compiled: layer 'norm' (BatchNormalization)" in str(found)
    with pytest.raises(convmill.NotCovered, match="BatchNormalization"):
        found.ir("conv")


def test_products_of_winograds_tiles_are_counted_as_done() -> None:
    model = keras.Sequential([keras.Input((14, 14, 32)), layers.Conv2D(64, 3, name="see")])
    told = convmill.explain(model)
    words = " ".join(str(told).split())
    assert "Winograd's products where that algorithm is taken. Memory" in words
    found = told.stages[0]
    assert found.tiles.startswith("Winograd")
    assert found.dense == 12 * 12 * 9 * 32 * 64
    assert found.done == 3 * 3 * 36 * 32 * 64  # 3 x 3 tiles of 4 x 4 places, 36 products each


class OwnStep(keras.Sequential):
    def train_step(self, *arguments, **named):
        return super().train_step(*arguments, **named)


@pytest.mark.parametrize(
    ("cls", "arguments", "words"),
    [
        (OwnStep, {}, "OwnStep defines its own train_step"),
        (keras.Sequential, {"run_eagerly": True}, "run_eagerly=True"),
    ],
)
def test_a_training_of_keras_own_is_told(cls, arguments, words) -> None:
    """Where ``fit`` falls back, nobody is told that training is compiled."""
    model = cls([keras.Input((4,)), layers.Dense(2)])
    model.compile("sgd", "mse", **arguments)
    assert words in str(convmill.explain(model))
    with pytest.raises(convmill.NotCovered, match=words):
        convmill.accelerate(model, strict=True).fit(np.ones((2, 4)), np.ones((2, 2)), verbose=0)


def arrays(count: int = 20) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.random((count, 12, 12, 8), np.float32), random.integers(0, 3, count)


def test_what_was_measured_of_a_stage_and_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second for each launch: so many there are."""

    def a_second_each(program, kind, run, seconds):
        run(program)
        return dict.fromkeys(program.code(kind).step.launches(), 1.0)

    monkeypatch.setattr(stopwatch, "launch_seconds", a_second_each)
    model = small()
    before = model.get_weights()
    found = convmill.explain(model, *arrays(), batch_size=8)
    assert found.times is not None
    assert found.times.images == 8
    launches = dict.fromkeys(found.report.program.code("training").step.launches())
    assert 8 * (sum(found.times.measured) + found.times.rest) == pytest.approx(len(launches))
    of_conv = [one for one in launches if one.of in ("stage0", "matrix0", "matrix1")]
    assert 8 * found.times.measured[0] == pytest.approx(len(of_conv))
    assert [one is not None for one in found.times.predicted] == [True, True, False]
    assert "on one thread" in str(found)
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_measured_for_certain() -> None:
    found = convmill.explain(small(), *arrays())
    assert found.times is not None
    assert all(seconds > 0 for seconds in found.times.measured)


def test_what_cannot_be_measured_says_why() -> None:
    frozen = layers.Conv2D(8, 3, name="frozen")
    model = small(frozen)
    for layer in model.layers[:-1]:
        layer.trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy")
    found = convmill.explain(model, *arrays())
    assert found.compiled
    assert found.times is None
    assert "stages are not measured: what its frozen base computes" in str(found)


def test_one_of_both_arrays_alone() -> None:
    with pytest.raises(ValueError, match="Received: x alone"):
        convmill.explain(small(), arrays()[0])
