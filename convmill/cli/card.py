"""The card: what ``convmill predict`` needs to know of the data that a model was trained on.

It rides in the .keras file as one more member of the archive, which Keras passes over.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from convmill.data import Dataset

MEMBER = "convmill.json"
SIZE_LIMIT = 1 << 20
SAMPLE = 1000
# Of the pictures, how many must agree for a data set to have a background.
AGREEMENT = 0.95

Background = Literal["dark", "light", "mixed"]


@dataclass(frozen=True)
class Card:
    """Names of the classes, and what is behind the things in the pictures."""

    class_names: tuple[str, ...] = ()
    background: Background = "dark"

    def to_json(self) -> bytes:
        """The content of the archive's member."""
        return json.dumps(asdict(self)).encode()


def describe_data(data: Dataset) -> Card:
    """The card of a model trained on ``data``."""
    # A stride, for the images may lie sorted by class.
    sample = data.x_train[:: max(1, len(data.x_train) // SAMPLE)]
    white = 255 if sample.dtype.kind in "ui" else 1
    light = np.mean([is_light(image, white) for image in sample])
    background: Background = "mixed"
    if light >= AGREEMENT:
        background = "light"
    elif light <= 1 - AGREEMENT:
        background = "dark"
    return Card(data.class_names, background)


def is_light(image: NDArray[Any], white: float = 255) -> bool:
    """Whether the border of an image, (height, width) or with channels, is rather white."""
    border = np.concatenate(
        [edge.ravel() for edge in (image[0], image[-1], image[:, 0], image[:, -1])]
    )
    return float(np.median(border)) > white / 2


def read_card(model_file: Path) -> Card:
    """The card in a model's file. Where there is none: no names, and MNIST's dark background."""
    try:
        with zipfile.ZipFile(model_file) as archive, archive.open(MEMBER) as member:
            content = json.loads(member.read(SIZE_LIMIT))
        names, background = content["class_names"], content["background"]
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError, RecursionError):
        return Card()
    named = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return Card(
        tuple(names) if named else (),
        background if background in get_args(Background) else "dark",
    )
