"""Doors for files of models, of weights, and for checkpoints."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

from convmill import models
from convmill.callbacks import Checkpoint
from convmill.train.checkpoint import folder as checkpoints
from tests.robust.fuzz import mutations
from tests.robust.fuzz.files import HEAVY, OFTEN, QUICK, SLOW, Door, both, fresh, written
from tests.robust.fuzz.outcomes import expect

IMAGES = 6
RNG = np.random.default_rng(0)
X = RNG.random((IMAGES, 4, 4, 1), np.float32)
Y = np.arange(IMAGES) % 3


def small() -> Any:
    """The smallest net that has weights, so that its files have few bytes."""
    return compiled([keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")])


def net() -> Any:
    """A small convnet that has all kinds of weights."""
    return compiled(
        [
            keras.layers.Conv2D(2, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


def compiled(layers: list[Any]) -> Any:
    """A model of these layers."""
    keras.utils.set_random_seed(3)
    model = models.Sequential([keras.Input((4, 4, 1)), *layers])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def held(model: Any) -> dict[str, np.ndarray]:
    """The numbers that a model holds."""
    variables = [*model.variables, *getattr(model.optimizer, "variables", ())]
    return {f"{number} {one.name}": one.numpy() for number, one in enumerate(variables)}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """Whether two models hold the same numbers."""
    return one.keys() == other.keys() and all(
        np.array_equal(value, other[name], equal_nan=value.dtype.kind == "f")
        for name, value in one.items()
    )


def model_doors(folder: Path) -> list[Door]:
    """Whole models, as Keras writes them now and wrote them once; weights; checkpoints."""
    return [
        *both(_model(folder, "net.keras", QUICK), mutations.zip_with, SLOW),
        _model(folder, "net.h5", OFTEN),
        _model(folder, "keras.h5", HEAVY),
        _weights(folder, sealed=True),
        _weights(folder, sealed=False),
        *both(_checkpoint(folder), mutations.checkpoint_with, SLOW),
    ]


def _model(folder: Path, name: str, turns: int) -> Door:
    model, path = small(), folder / name
    checked = name.startswith("net")  # Keras' own HDF5 files have no checksums
    content = written(path, model.save if checked else lambda path: keras.Model.save(model, path))
    path.write_bytes(content)
    config, expected = models.load_model(path).get_config(), held(model)

    def enter(may_differ: bool) -> None:
        found = models.load_model(path)
        if may_differ or not checked:
            found.predict_on_batch(np.zeros((2, *found.input_shape[1:]), np.float32))
            return
        expect(found.get_config() == config, "another model, without a word")
        expect(same(held(found), expected), "other weights, without a word")

    return Door(name, path, content, enter, turns)


def _weights(folder: Path, sealed: bool) -> Door:
    """Files of weights that convmill has written, or Keras, which writes no checksum."""
    model, name = small(), "net.weights.h5" if sealed else "keras.weights.h5"
    path = folder / name
    save = model.save_weights if sealed else lambda path: keras.Model.save_weights(model, path)
    content = written(path, save)
    expected = held(model)
    target = small()
    before = [np.full_like(one, 0.5) for one in target.get_weights()]

    def enter(may_differ: bool) -> None:
        target.set_weights(before)
        try:
            target.load_weights(path)
        except Exception:
            as_it_was = all(map(np.array_equal, target.get_weights(), before))
            expect(as_it_was, "refused, and other weights than before")
            raise
        right = may_differ or not sealed or same(held(target), expected)
        # what is cut off with the checksum is not seen: HDF5's own part must be whole then
        expect(right, "other weights, without a word")

    return Door(name, path, content, enter, QUICK if sealed else HEAVY)


def _checkpoint(folder: Path) -> Door:
    place = folder / "checkpoint"
    name = "checkpoint-00000001.zip"

    def fit(model: Any) -> Any:
        checkpoints._ended.clear()  # as in another process
        keep = Checkpoint(place, every="1 steps", keep=10)
        return model.fit(X, Y, batch_size=3, epochs=2, verbose=0, callbacks=[keep]).history

    expected = fit(model := net()), held(model)
    content = (place / name).read_bytes()
    fresh(place)

    ready: list[Any] = []  # a model that no checkpoint has changed, for the next case

    def enter(may_differ: bool) -> None:
        model = ready.pop() if ready else net()
        before = held(model)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                history = fit(model)
        except Exception as error:
            kept = same(held(model), before)
            if kept:
                ready.append(model)
            # without that word it was taken, and the training could not go on
            expect(kept or "heckpoint" not in str(error), f"refused, and other weights: {error}")
            raise
        finally:
            for path in place.glob("*"):
                path.unlink()
        right = may_differ or (history == expected[0] and same(held(model), expected[1]))
        expect(right, "another end, without a word")

    return Door(name, place / name, content, enter, SLOW)
