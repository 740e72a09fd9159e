"""Presets: what their files say is what they build, compiled or in plain Keras."""

from __future__ import annotations

import importlib
from typing import Any

import keras
import numpy as np
import pytest

import convmill
from convmill import presets

MNIST = (28, 28, 1)
IMAGES = 60_000
# Kinds of layers with their numbers of parameters; the highest learning rate; label smoothing.
SAID: dict[str, tuple[list[tuple[str, int]], float, float]] = {
    "fast": (
        [
            ("Cropping2D", 0),
            ("Conv2D", 16 * 26),
            ("MaxPooling2D", 0),
            ("Conv2D", 48 * (16 * 9 + 1)),
            ("MaxPooling2D", 0),
            ("Flatten", 0),
            ("Dense", 64 * (4 * 4 * 48 + 1)),
            ("Dense", 650),
        ],
        0.015,
        0.1,
    ),
    "notebook-fast": (
        [
            ("Conv2D", 320),
            ("MaxPooling2D", 0),
            ("Conv2D", 18_496),
            ("MaxPooling2D", 0),
            ("Conv2D", 36_928),
            ("Flatten", 0),
            ("Dense", 36_928),
            ("Dense", 650),
        ],
        0.008,
        0.15,
    ),
}
every_preset = pytest.mark.parametrize("name", presets.NAMES)


def built(name: str, shape: tuple[int, ...] = MNIST, classes: int = 10) -> Any:
    return presets.load(name).build(shape, classes)


@every_preset
def test_the_net_is_what_its_file_says(name: str) -> None:
    model = built(name)
    layers = [(type(layer).__name__, layer.count_params()) for layer in model.layers]
    assert layers == SAID[name][0]
    file = importlib.import_module(presets.load(name).build.__module__)
    assert f"{model.count_params():,} parameters" in (file.build.__doc__ or "")
    assert f"--recipe {name}" in (file.__doc__ or "")


@every_preset
def test_the_schedule_is_one_cycle(name: str) -> None:
    preset = presets.load(name)
    _, peak, label_smoothing = SAID[name]
    assert (preset.epochs, preset.batch_size) == (1, 64)
    model = built(name)
    preset.compile(model, IMAGES)
    optimizer = model.optimizer
    assert type(optimizer) is keras.optimizers.Nadam
    assert optimizer.beta_2 == 0.97
    assert model.loss.label_smoothing == label_smoothing

    def rate(step: int) -> float:
        return float(optimizer._learning_rate(keras.ops.convert_to_tensor(step)))

    # 938 steps; a fifth of them, 188, rise.
    assert rate(0) == pytest.approx(0.1 * peak)
    assert rate(94) == pytest.approx(0.55 * peak)
    assert rate(188) == pytest.approx(peak)
    assert rate(563) == pytest.approx(0.505 * peak, rel=1e-3)
    assert rate(938) == pytest.approx(0.01 * peak, rel=1e-3)


def test_other_epochs_and_batches_stretch_the_schedule() -> None:
    model = built("fast")
    presets.load("fast").compile(model, 1000, batch_size=300, epochs=3)
    schedule = model.optimizer._learning_rate
    assert schedule.warmup_steps + schedule.decay_steps == 12


@every_preset
@pytest.mark.parametrize("size", [1, 3, 15, 16, 17, 18])
def test_images_of_any_size(name: str, size: int) -> None:
    assert built(name, (size, size + 1, 3), 5).output_shape == (None, 5)


@every_preset
def test_plain_keras_trains_it_to_the_same_weights(name: str) -> None:
    random = np.random.default_rng(0)
    x = random.random((48, 8, 8, 1), dtype=np.float32)
    y = keras.utils.to_categorical(random.integers(0, 10, 48), 10)
    plain, compiled = built(name, (8, 8, 1)), built(name, (8, 8, 1))
    compiled.set_weights(plain.get_weights())
    for model in (plain, compiled):
        presets.load(name).compile(model, len(x), batch_size=16)
    convmill.accelerate(compiled, strict=True)
    for model in (plain, compiled):
        model.fit(x, y, batch_size=16, shuffle=False, verbose=0)
    for ours, theirs in zip(compiled.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_there_is_no_other() -> None:
    with pytest.raises(KeyError, match="slow"):
        presets.load("slow")
