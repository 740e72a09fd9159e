"""A training that tells of each checkpoint, and can be made to stand still behind one of them.

``python -m tests.robust.killed FOLDER RESULT STOP``: would write what the run leaves into RESULT,
an .npz file. But whoever writes the checkpoint of number STOP waits for standard input afterwards,
and training goes on until it wants to write the next one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from convmill import models, storage
from convmill.callbacks import Checkpoint
from convmill.train.checkpoint.folder import Folder

IMAGES, SIZE, EPOCHS = 48, 8, 3


def net() -> Any:
    """With all that keeps a state: batch normalization, dropout, random flips, Adam, a schedule."""
    stack = [
        keras.Input((6, 6, 1)),
        layers.RandomFlip("horizontal"),
        layers.Conv2D(2, 3, use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Flatten(),
        layers.Dropout(0.3),
        layers.Dense(3, activation="softmax"),
    ]
    model = models.Sequential(stack)
    rate = keras.optimizers.schedules.ExponentialDecay(0.01, 5, 0.9)
    model.compile(keras.optimizers.Adam(rate), "categorical_crossentropy", metrics=["accuracy"])
    return model


def stop_behind(stop: int) -> None:
    """Whoever writes the checkpoint of a number waits afterwards."""
    plain = Folder.write

    def write(self: Folder, content: Any) -> Any:
        path = plain(self, content)
        print(path.name, flush=True)
        if int(path.stem.partition("-")[2]) == stop:
            sys.stdin.read()
        return path

    Folder.write = write  # type: ignore[method-assign]


def train(folder: Any, result: Any, epochs: int = EPOCHS) -> None:
    """Trains, or goes on with what is in a folder, and writes what is left."""
    fit(built(), folder, result, epochs)


def built() -> Any:
    """The net, with the weights that it always begins with."""
    keras.utils.set_random_seed(5)
    return net()


def fit(model: Any, folder: Any, result: Any, epochs: int) -> None:
    """Trains what was built, and writes what is left."""
    rng = np.random.default_rng(0)
    x = rng.random((IMAGES, 6, 6, 1), np.float32)
    y = np.eye(3, dtype=np.float32)[rng.integers(0, 3, IMAGES)]
    history = model.fit(
        x,
        y,
        batch_size=SIZE,
        epochs=epochs,
        validation_split=0.25,
        verbose=0,
        callbacks=[Checkpoint(folder, every="2 steps"), keras.callbacks.CSVLogger(f"{result}.csv")],
    )
    every = [*model.variables, *model.optimizer.variables]
    left = {f"variable {number}": one.numpy() for number, one in enumerate(every)}
    left |= {name: np.array(values) for name, values in history.history.items()}
    left["next"] = np.random.random(2)
    storage.write(result, lambda file: np.savez(file, **left))


def assert_same_end(result: Any, whole: Any) -> None:
    """What two runs have left is the same, bit by bit."""
    found, expected = _left_by(result), _left_by(whole)
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def _left_by(result: Any) -> dict[str, Any]:
    with np.load(result) as found:
        arrays = {name: found[name] for name in found.files}
    return arrays | {"log": Path(f"{result}.csv").read_text()}


if __name__ == "__main__":
    stop_behind(int(sys.argv[3]))
    train(*sys.argv[1:3])
