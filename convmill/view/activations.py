"""What the layers of a model make of images: outputs inside the net, computed compiled."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from convmill.plan.refusals import NotCovered
from convmill.train.doors import accelerate, restore
from convmill.view.images import Images, check_finite, many_images
from convmill.view.layers import calls, check_one_input, find, model_before, model_to


def activations(model: Any, images: Any, layer: str) -> NDArray[np.float32]:
    """The output of ``layer`` for each image.

    Args:
        model: a built Keras model of one input; it is not changed.
        images: (n, height, width, channels), or (n, height, width) where it reads one channel.
        layer: the layer's name; "inner/layer" for one of a model inside the model.

    Returns:
        float32 (n, *output shape), what a Keras model that ends at this layer would predict.

    Raises:
        TypeError: ``model`` is no Keras model.
        ValueError: no such layer (the nearest are named), images of another shape, or outputs that
            are not finite.
    """
    check_one_input(model)
    name = find(model, layer, lambda call: True, "layer").name
    pixels = many_images(model, images)
    return outputs(model_to(model, name), pixels)


def inputs_of(model: Any, images: Images, layer: str) -> NDArray[np.float32]:
    """What ``layer`` reads for each image, (n, *shape); ``images`` as the model reads them."""
    source = calls(model)[layer].inputs
    if len(source) == 1 and not calls(model)[source[0]].inputs:
        return images
    return outputs(model_before(model, layer), images)


def outputs(model: Any, images: Images) -> NDArray[np.float32]:
    """What ``model`` predicts: compiled where that is covered, else without a word as Keras does.

    ``model`` is one made for this purpose, for it is accelerated. ValueError for outputs that are
    not finite.
    """
    try:
        found = accelerate(model, strict=True).predict(images, verbose=0)
    except NotCovered:
        found = restore(model).predict(images, verbose=0)
    values = np.asarray(keras.ops.convert_to_numpy(found), dtype=np.float32)
    check_finite(values, "model must give finite numbers")
    return values
