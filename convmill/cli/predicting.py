"""The work behind ``convmill predict``: pictures in, the likeliest classes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import convmill
from convmill.cli.card import read_card
from convmill.cli.images import Preparation, preparation, prepare, read_picture
from convmill.failure import Failure, as_failures
from convmill.user_arrays import images_for, output_size
from convmill.user_models import load_model


@dataclass(frozen=True)
class Likely:
    """One class and the probability that the model gives it."""

    name: str
    index: int
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What the model sees in one picture, the likeliest first."""

    image: Path
    inverted: bool
    classes: list[Likely]

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return asdict(self) | {"image": str(self.image)}

    def __str__(self) -> str:
        classes = ", ".join(
            f"{_printable(each.name)} {each.probability:.1%}" for each in self.classes
        )
        return f"{self.image}{' (inverted)' if self.inverted else ''}: {classes}"


def predictions(
    model_file: Path, pictures: Sequence[Path], *, invert: bool | None, center: bool, top: int
) -> tuple[list[Prediction], list[str]]:
    """One prediction for each picture that can be used, and what is wrong with each other.

    Raises:
        Failure: the model cannot be loaded, reads no images, or gives no probabilities or logits.
    """
    model = load_model(model_file)
    output_size(model)  # raises where it does not tell classes apart
    how = preparation(model, model_file, invert=invert, center=center)
    usable, failed = _prepared(pictures, how)
    if not usable:
        return [], failed
    images = np.stack([pixels for _, pixels, _ in usable])
    names = read_card(model_file).class_names
    rows = _probabilities(model, images_for(model, images, "the picture"))
    found = [
        Prediction(path, inverted, _likeliest(row, names, top))
        for (path, _, inverted), row in zip(usable, rows, strict=True)
    ]
    return found, failed


def _prepared(
    pictures: Sequence[Path], how: Preparation
) -> tuple[list[tuple[Path, NDArray[Any], bool]], list[str]]:
    """(path, pixels, inverted) of each picture that can be used; what is wrong with the others."""
    usable, failed = [], []
    for path in pictures:
        try:
            usable.append((path, *prepare(read_picture(path), how)))
        except Failure as error:
            failed.append(f"{path}: {error.message}")
    return usable, failed


def _probabilities(model: Any, images: NDArray[Any]) -> NDArray[np.float64]:
    """Of each class, a row for each image, read from the outputs as ``show confusion`` does.

    Raises:
        Failure: the model cannot run, or gives neither probabilities nor logits.
    """
    from convmill.plan.ends import last_activation
    from convmill.view.predictions import class_probabilities

    with as_failures():
        activation = last_activation(model)
        outputs = convmill.accelerate(model).predict(images, verbose=0)
        return class_probabilities(model, np.asarray(outputs), activation)


def _likeliest(
    probabilities: NDArray[np.float64], names: tuple[str, ...], top: int
) -> list[Likely]:
    """The ``top`` classes with the highest probability, the highest first."""
    order = np.argsort(-probabilities, kind="stable")[:top]
    named = len(names) == len(probabilities)
    return [
        Likely(names[index] if named else str(index), int(index), float(probabilities[index]))
        for index in order
    ]


def _printable(text: str) -> str:
    """A name from a file, without what would steer the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
