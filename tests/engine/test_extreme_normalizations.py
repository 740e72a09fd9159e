"""Normalizations of values at the ends of what float32 holds, and of values that are alike."""

from __future__ import annotations

import numpy as np
import pytest
from keras import layers

from convmill.plan.recipe import Loss
from convmill.runtime.batches import Batches
from tests.engine.nets import program_of, recipe_of
from tests.engine.reference import model_of

NORMALIZATIONS = {  # the axes over which a value's mean and deviation are taken, batch and all
    "batch": (lambda: layers.BatchNormalization(), (0, 1, 2)),
    "batch, activation": (lambda: layers.BatchNormalization(), (0, 1, 2)),
    "layer": (lambda: layers.LayerNormalization(), (3,)),
    "image": (lambda: layers.LayerNormalization(axis=(1, 2, 3)), (1, 2, 3)),
    "group": (lambda: layers.GroupNormalization(1), (1, 2, 3)),
}


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_normalization_of_values_that_are_alike(name: str, images: int) -> None:
    """All of them equal, or away from one another by little beside what they are: nothing is lost,
    which Keras' own formula loses. Backwards as well, and in the moving means."""
    make, axes = NORMALIZATIONS[name]
    size, rng = (3, 7, 3), np.random.default_rng(5)
    relu = [layers.ReLU()] if "activation" in name else []
    _, reading = model_of(size, make(), *relu)
    values = [(rng.random(one.shape) + 0.5).astype(np.float32) for one in reading.variables]
    gamma, beta = values[:2]
    program = program_of(reading.graph, recipe_of(Loss("mean_squared_error")), values)
    for center in (0.0, 0.1, 1e4, 3e7, 1e18, 1e30, 1e38):
        for spread in (0.0, 0.01):
            far = 1 + spread * rng.standard_normal((images, *size))
            x = np.asarray(center * far, np.float32)
            program.set_parameters(values)
            y = np.zeros_like(x)
            outputs = np.zeros_like(x)
            order = np.arange(images)
            program.train(Batches(x, order, images, y), np.zeros(1), outputs=outputs)
            wide = x.astype(np.float64)
            away = wide - wide.mean(axis=axes, keepdims=True)
            deviation = np.sqrt((away**2).mean(axis=axes, keepdims=True) + 1e-3)
            if center > 1e18 and spread:
                continue  # squares of what is away are infinite
            normal = away / deviation
            exact = gamma * normal + beta
            exact = np.maximum(exact, 0) if relu else exact
            told = f"{center}, {spread}"
            close = 1e-3 if spread else 1e-6
            np.testing.assert_allclose(outputs, exact, rtol=1e-5, atol=close, err_msg=told)
            slopes = 2 * exact / exact.size
            by_gamma = slopes * normal
            over = tuple(range(4 - gamma.ndim))
            found = program.get_gradients()
            for ours, theirs in zip(found, (by_gamma, slopes), strict=True):
                np.testing.assert_allclose(ours, theirs.sum(axis=over), rtol=2e-3, atol=1e-3)
            if "batch" in name:
                moved = 0.99 * values[2] + 0.01 * wide.mean(axis=axes)
                np.testing.assert_allclose(program.get_parameters()[2], moved, rtol=1e-5)
