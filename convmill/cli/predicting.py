"""The work behind ``convmill predict``: pictures in, the likeliest classes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import convmill
from convmill.cli.arrays import images_for, input_shape, output_size
from convmill.cli.card import read_card
from convmill.cli.errors import Failure, as_failures
from convmill.cli.images import Preparation, prepare, read_picture
from convmill.cli.models import load_model


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
        Failure: the model cannot be loaded, or reads no images.
    """
    model = load_model(model_file)
    card = read_card(model_file)
    how = Preparation(_image_size(model), card.background, invert, center)
    if center and how.size[2] != 1:
        raise Failure("--center is for models that read grey pictures; this one reads colours.")
    usable, failed = _prepared(pictures, how)
    if not usable:
        return [], failed
    images = np.stack([pixels for _, pixels, _ in usable])
    with as_failures():
        outputs = convmill.accelerate(model).predict(
            images_for(model, images, "the picture"), verbose=0
        )
    found = [
        Prediction(path, inverted, _likeliest(row, card.class_names, top))
        for (path, _, inverted), row in zip(usable, outputs, strict=True)
    ]
    return found, failed


def _image_size(model: Any) -> tuple[int, int, int]:
    """(height, width, channels) that the model reads."""
    output_size(model)  # raises where it does not tell classes apart
    shape = input_shape(model)
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3 or None in shape or shape[2] not in (1, 3):
        raise Failure(
            "The model must read images (height, width, channels) of 1 or 3 channels. "
            f"Received: a model that reads {shape}."
        )
    height, width, channels = (size or 0 for size in shape)
    return height, width, channels


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


def _likeliest(outputs: NDArray[Any], names: tuple[str, ...], top: int) -> list[Likely]:
    """The ``top`` classes with the highest probability, the highest first."""
    probabilities = _probabilities(outputs)
    order = np.argsort(-probabilities, kind="stable")[:top]
    named = len(names) == len(probabilities)
    return [
        Likely(names[index] if named else str(index), int(index), float(probabilities[index]))
        for index in order
    ]


def _probabilities(outputs: NDArray[Any]) -> NDArray[Any]:
    """Of a softmax as they are, of one sigmoid for both classes, of logits by a softmax."""
    if outputs.size == 1:
        return np.array([1 - outputs[0], outputs[0]])
    if outputs.min() >= 0 and np.isclose(outputs.sum(), 1, atol=1e-3):
        return outputs
    exponentials = np.exp(outputs - outputs.max())
    return exponentials / exponentials.sum()


def _printable(text: str) -> str:
    """A name from a file, without what would steer the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
