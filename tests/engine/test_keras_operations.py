"""Operations of Keras in a graph: arithmetic with numbers, other shapes, slices, functions."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import activations, layers, ops

from convmill.plan.read import read
from convmill.plan.refusals import NotCovered
from tests.engine.keras_layers import follows_keras

IMAGE = (4, 5, 3)


def attention(x):
    """To places, by the mean and the maximum of their channels (CBAM)."""
    both = [ops.mean(x, axis=-1, keepdims=True), ops.max(x, axis=-1, keepdims=True)]
    together = layers.Concatenate()(both)
    return layers.Conv2D(1, 3, padding="same", activation="sigmoid")(together)


CASES = {
    "scaled to one": lambda x: x / 127.5 - 1,
    "from a number": lambda x: 2.0 - x,
    "by channel": lambda x: (x - np.arange(3, dtype=np.float32)) * np.float32([0.5, -1, 2]),
    "to itself": lambda x: x * x + x,
    "reshape": lambda x: ops.reshape(x, (-1, 10, 6)),
    "expanded": lambda x: ops.squeeze(ops.expand_dims(x, 2), 2),
    "transposed": lambda x: ops.transpose(x, (0, 3, 1, 2)),
    "flipped": lambda x: ops.flip(x, axis=2),
    "flipped twice": lambda x: ops.flip(x, axis=(1, -1)),
    "sliced": lambda x: x[:, 1:, ::2],
    "sliced backwards": lambda x: x[:, ::-1, -2:],
    "channels": lambda x: x[..., 1:],
    "one channel": lambda x: x[..., 0:1] + x[:, :, :, 2][..., None],
    "one row": lambda x: x[:, 2],
    "functions": lambda x: ops.sqrt(ops.exp(ops.square(x)) + 1.0) - ops.abs(x),
    "activations": lambda x: activations.relu(ops.silu(x), negative_slope=0.1, threshold=0.2),
    "softplus": lambda x: ops.log(ops.softplus(x) + 0.1) * ops.tanh(-x),
    "mean": lambda x: ops.mean(x, axis=(1, 2)) + ops.max(x, axis=(1, 2)),
    "number over tensor": lambda x: 1 / (x + 2),
    "maximum with a number": lambda x: ops.maximum(x, 0.1) + ops.minimum(0.2, x),
    "power": lambda x: x**2 + (x + 2) ** 0.5,
    "distance": lambda x: ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1.0),
    "sums": lambda x: ops.sum(x, axis=1)[:, None] + ops.sum(x, axis=(1, -1), keepdims=True),
    "means": lambda x: ops.mean(x, 2, keepdims=True) * ops.mean(x, (1, 2, 3), keepdims=True),
    "mean of channels": lambda x: layers.Conv1D(2, 3, padding="same")(ops.mean(x, axis=-1)),
    "extremes": lambda x: (
        ops.max(x, -1, keepdims=True) * ops.amin(x, 1)[:, None] + ops.amax(x, 2)[:, :, None]
    ),
    "extremes of all": lambda x: ops.min(x, (1, 2)) * ops.max(x, (1, 2, 3), keepdims=True)[:, 0, 0],
    "extremes that are shared": lambda x: ops.max(ops.relu(x), -1) + ops.min(ops.relu6(9 * x), 3),
    "attention": lambda x: x * attention(x),
    "halves": lambda x: ops.glu(x[:, :, 1:], axis=2),
    "split": lambda x: ops.concatenate([*ops.split(x, 2, axis=1), ops.split(x, [1], 1)[0]], 1),
    "stack": lambda x: ops.stack([x[..., 0], x[..., 2]], axis=1),
    "swapped": lambda x: ops.swapaxes(x, 1, 3)[:, :, :4] + ops.moveaxis(x, -1, 1)[..., :4],
    "spread": lambda x: ops.var(x, axis=-1, keepdims=True) + ops.std(x, axis=(1, 2))[:, None, None],
    "logarithm of a sum": lambda x: ops.logsumexp(x, axis=3),
    "clip": lambda x: ops.clip(x, -0.2, 0.3) + (x / 2) ** 3,
    "pools": lambda x: (
        ops.max_pool(ops.pad(x, ((0, 0), (1, 0), (0, 2), (0, 0))), (2, 2), (2, 2))
        + ops.average_pool(x, (2, 2), (2, 1), "same")[:, :, :3]
    ),
    "dot": lambda x: layers.Dot(axes=1)([ops.mean(x, axis=(1, 2)), ops.max(x, axis=(1, 2))]),
    "log softmax": lambda x: ops.log_softmax(x, axis=2),
}


@pytest.mark.parametrize("name", CASES)
def test_operation(name):
    image = keras.Input(IMAGE)
    found = CASES[name](layers.Conv2D(3, 1, activation="tanh")(image))
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(found)))
    follows_keras(model, tolerance=2e-5)


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: ops.flip(x, axis=0),
        lambda x: ops.cumsum(x, axis=1),
        lambda x: ops.roll(x, 1, axis=1),
        lambda x: ops.sum(x, axis=0, keepdims=True) + x,
        lambda x: ops.max(x, axis=3, initial=0.5),
    ],
)
def test_what_is_not_known_is_refused(operation):
    image = keras.Input(IMAGE)
    model = keras.Model(image, layers.Flatten()(operation(image)))
    with pytest.raises(NotCovered, match=r"operation .* is not covered"):
        read(model)
