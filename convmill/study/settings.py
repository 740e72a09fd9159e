"""What a study says of its data and of training: two tables, with their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convmill.study import fields
from convmill.study.errors import StudyError

DATA_KEYS = ("name", "train", "test", "canvas", "place")
PLACES = ("centre", "corner", "anywhere")
TRAINING_KEYS = ("epochs", "steps", "batch_size", "optimizer", "learning_rate", "decay", "engine")
OPTIMIZER_KEY = "name"
DECAYS = ("none", "cosine", "linear")
ENGINES = ("convmill", "keras")


@dataclass(frozen=True)
class Data:
    """Which data, and what is made of them.

    Attributes:
        name: of a data set, or a path, as ``convmill train --data`` takes it.
        train, test: how many images of each part, drawn by the seed; None for all.
        canvas: height and width of a black canvas that each image is laid on; None for none.
        place: where on the canvas the training images lie. Test images lie in the same place.
    """

    name: str = "mnist"
    train: int | None = None
    test: int | None = None
    canvas: int | None = None
    place: str = "centre"


@dataclass(frozen=True)
class Training:
    """How a net is trained.

    Attributes:
        epochs: how often through the training images.
        steps: instead of epochs: so many steps, whole epochs of them.
        optimizer: a name, or a table with a name and Keras' arguments; None leaves it to the model,
            or RMSprop where that is not compiled.
        learning_rate, decay: the rate, where not the optimizer's own, and how it falls to zero.
        engine: "convmill", or "keras" for Keras' own path.
    """

    epochs: int = 5
    steps: int | None = None
    batch_size: int = 64
    optimizer: Mapping[str, Any] | None = None
    learning_rate: float | None = None
    decay: str = "none"
    engine: str = "convmill"


def read_data(table: Mapping[str, Any], where: str) -> Data:
    """The table [data]; StudyError for wrong keys and values."""
    fields.check_keys(table, DATA_KEYS, where)
    data = Data(
        name=fields.text(table, "name", where, Data.name),
        train=fields.whole(table, "train", where, None),
        test=fields.whole(table, "test", where, None),
        canvas=fields.whole(table, "canvas", where, None),
        place=fields.choice(table, "place", where, PLACES, Data.place),
    )
    if data.canvas is None and data.place != Data.place:
        raise StudyError(f"{where}: place = '{data.place}' needs a canvas, such as canvas = 56.")
    return data


def read_training(table: Mapping[str, Any], where: str) -> Training:
    """The table [training]; StudyError for wrong keys and values."""
    fields.check_keys(table, TRAINING_KEYS, where)
    return Training(
        epochs=fields.whole(table, "epochs", where, Training.epochs) or 0,
        steps=fields.whole(table, "steps", where, None),
        batch_size=fields.whole(table, "batch_size", where, Training.batch_size) or 0,
        optimizer=_read_optimizer(table, where),
        learning_rate=fields.number(table, "learning_rate", where),
        decay=fields.choice(table, "decay", where, DECAYS, Training.decay),
        engine=fields.choice(table, "engine", where, ENGINES, Training.engine),
    )


def _read_optimizer(table: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    found = table.get("optimizer")
    if isinstance(found, str):
        return {OPTIMIZER_KEY: found}
    if found is None:
        return None
    if isinstance(found, Mapping) and isinstance(found.get(OPTIMIZER_KEY), str):
        return dict(found)
    wanted = "a name, or a table with a name and Keras' arguments"
    raise fields.wrong(where, "optimizer", wanted, found)
