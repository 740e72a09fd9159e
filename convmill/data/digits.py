"""`digits`: 1,797 real handwritten digits that come with convmill, drawn again as MNIST draws.

The pictures are the test part of the UCI set "Optical Recognition of Handwritten Digits"
(E. Alpaydin and C. Kaynak, 1998, https://doi.org/10.24432/C50P49, CC BY 4.0), as scikit-learn has
it too: 8x8 counts of ink, each 0..16. Like MNIST's, the pictures made here have a longer side of 20
pixels, smooth edges, and their centre of mass at pixel (14, 14) of 28x28.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convmill.data.dataset import Array, Dataset, every_fifth_for_test

FILE = Path(__file__).with_name("digits.npz")
CLASS_NAMES = tuple("0123456789")
SIZE, BOX, CENTRE = 28, 20, 14
MARGIN, ENLARGE = 1, 12
# A cell's count is the share of it that the pen covered, so the pen's edge runs where the
# interpolated share crosses about a half; the ramp about it keeps the edge smooth.
EDGE, RAMP_WIDTH = 0.45, 0.4


def load_digits() -> Dataset:
    """1,437 pictures to train on and 360 to test on, uint8 (n, 28, 28), labels uint8 (n,).

    Always the same: every fifth picture of each digit is for the test. Both parts hold the hands
    of the same writers, so accuracies are better than for writers never seen.
    """
    counts, labels = raw_digits()
    images = np.stack([draw(each) for each in counts])
    train, test = every_fifth_for_test(labels)
    return Dataset(
        name="digits",
        x_train=images[train],
        y_train=labels[train],
        x_test=images[test],
        y_test=labels[test],
        class_names=CLASS_NAMES,
        source="1,797 digits of the UCI repository, drawn on 28x28",
    )


def raw_digits() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The pictures as they came, (1797, 8, 8) with 0..16, and labels, (1797,), both uint8."""
    with np.load(FILE) as arrays:
        return arrays["counts"], arrays["labels"]


def draw(counts: Array) -> NDArray[np.uint8]:
    """One 8x8 picture of counts 0..16 as a 28x28 picture, uint8 0 (paper) to 255 (ink)."""
    shares = np.pad(counts.astype(np.uint16) * 255 // 16, MARGIN).astype(np.uint8)
    enlarged = Image.fromarray(shares).resize(
        (shares.shape[1] * ENLARGE, shares.shape[0] * ENLARGE), Image.Resampling.BICUBIC
    )
    pen = enlarged.point(_RAMP)
    pen = pen.crop(pen.getbbox())
    scale = BOX / max(pen.size)
    small = (max(1, round(pen.width * scale)), max(1, round(pen.height * scale)))
    return centred(np.asarray(pen.resize(small, Image.Resampling.BOX)))


def centred(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Puts a picture of at most 28x28 on 28x28 with its centre of mass at (14, 14), or as near
    as it can be without losing a pixel. An empty one goes to the middle."""
    canvas = np.zeros((SIZE, SIZE), dtype=np.uint8)
    corner = []
    for axis in (0, 1):
        ink = picture.sum(axis=1 - axis, dtype=np.float64)
        total = ink.sum()
        mean = float(ink @ np.arange(len(ink)) / total) if total else len(ink) / 2
        corner.append(min(max(round(CENTRE - mean), 0), SIZE - len(ink)))
    top, left = corner
    height, width = picture.shape
    canvas[top : top + height, left : left + width] = picture
    return canvas


_RAMP = [
    round(255 * min(max((level / 255 - EDGE) / RAMP_WIDTH + 0.5, 0.0), 1.0)) for level in range(256)
]
