"""Images as a user passes them, in the shape in which a model reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convmill import finite
from convmill.train import check

Images = NDArray[np.float32]


def one_image(model: Any, image: Any) -> Images:
    """One image as a batch, (1, height, width, channels) or whatever shape the model reads.

    Args:
        model: a built Keras model of one input.
        image: (height, width), (height, width, channels), or either with a 1 before it; real
            numbers, in the range that the model was trained on.

    Raises:
        ValueError: another shape, or no finite real numbers.
    """
    return _as_batch(model, image, "image", single=True)


def many_images(model: Any, images: Any, argument: str = "images") -> Images:
    """Images as the model reads them: (n, height, width), where it reads one channel, or
    (n, height, width, channels). Raises as ``one_image``, by the name ``argument``.
    """
    return _as_batch(model, images, argument, single=False)


def _as_batch(model: Any, given: Any, argument: str, *, single: bool) -> Images:
    wanted = tuple(model.inputs[0].shape[1:])
    array = real_array(given, argument).astype(np.float32, copy=False)
    leading = 0 if single else 1
    candidates = [array.shape[leading:]]
    if single and array.shape[:1] == (1,):
        candidates.append(array.shape[1:])
    for shape in candidates:
        for full in (shape, (*shape, 1)):
            if _fits(full, wanted) and array.size:
                return array.reshape(-1, *full)
    whole = _text(wanted if single else ("n", *wanted))
    raise ValueError(f"{argument} must be of shape {whole}. Received: {_text(array.shape)}.")


def real_array(given: Any, argument: str) -> NDArray[Any]:
    """``given`` as an array; ValueError unless it holds finite real numbers."""
    try:
        array = np.asarray(given)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"{argument} must be an array of numbers. Received: {error}") from error
    if array.dtype.name == "bfloat16":  # NumPy does not count it among the real numbers
        array = array.astype(np.float32)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    check.numbers(array, argument)
    finite.check_finite(np.atleast_1d(array), argument)
    return array


def check_finite(values: NDArray[Any], demand: str, things: str = "images") -> None:
    """ValueError, which begins with ``demand``, unless ``values`` (things, ...) are all finite."""
    bad = int(np.sum(~np.isfinite(values.reshape(len(values), -1)).all(axis=1)))
    if bad:
        raise ValueError(
            f"{demand}; its training may have diverged. "
            f"Received: NaN or infinity for {bad} of {len(values)} {things}."
        )


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        size in (None, given) for given, size in zip(shape, wanted, strict=True)
    )


def _text(shape: tuple[Any, ...]) -> str:
    sizes = ["any" if size is None else str(size) for size in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
