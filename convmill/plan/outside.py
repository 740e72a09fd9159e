"""A model outside training, where a layer writes images of another size than in training.

Keras' RandomCrop cuts windows out in training and leaves images as they are otherwise
(https://github.com/keras-team/keras/issues/21868): what stands behind it works at two sizes, or
Keras itself cannot run it.
"""

from __future__ import annotations

from typing import Any

import keras

from convmill.plan.calls import Walk
from convmill.plan.functional import given_ends
from convmill.plan.graph.shapes import Sizes
from convmill.plan.refusals import Refusal
from convmill.plan.walk import is_left_outside, walk
from convmill.reasons import keras_reason


class _Outside(keras.Operation):
    """A model as Keras calls it outside training."""

    def __init__(self, model: Any) -> None:
        super().__init__(name="outside")
        self.model = model
        self.raised: Exception | None = None  # what Keras wraps up

    def call(self, inputs: Any) -> Any:
        try:
            return self.model(inputs, training=False)
        except Exception as error:
            self.raised = error
            raise


def walk_outside(model: Any, followed: Walk, sizes: Sizes | None) -> Walk | Refusal | None:
    """The calls of a built model, or of a Trace, with the sizes that they have outside training;
    None where those are the sizes of ``followed``, a Refusal where Keras cannot run it so."""
    cuts = (call for call in followed.calls if is_left_outside(call.layer))
    cut = next((call for call in cuts if call.read != (call.shape,)), None)
    if cut is None:
        return None
    layer = cut.layer
    says = f"layer {cut.name!r} ({type(layer).__name__}): Keras leaves images as they are outside "
    remedy = f"put keras.layers.CenterCrop({layer.height}, {layer.width}) behind it"
    called = _Outside(getattr(model, "layer", model))
    try:
        written = called.compute_output_spec(_of_sizes(given_ends(model)[0], sizes))
        outside = walk(model, follow=True, training=False, sizes=sizes)
    except Exception as error:  # whatever Keras or a user's layer raises
        why = keras_reason(called.raised or error)
        return Refusal(f"{says}training, where they do not fit: {why}", remedy)
    shapes = [tuple(tensor.shape[1:]) for tensor in keras.tree.flatten(written)]
    by_name = {call.name: call.shape for call in followed.calls}
    if shapes != [by_name[name] for name in followed.outputs]:
        written = " and ".join(map(str, shapes))
        return Refusal(f"{says}training, where the model writes {written}", remedy)
    return outside


def _of_sizes(inputs: Any, sizes: Sizes | None) -> Any:
    """Symbols like a model's inputs, for images of ``sizes``."""
    if sizes is None:
        return inputs
    flat = zip(keras.tree.flatten(inputs), sizes, strict=True)
    symbols = [keras.KerasTensor((None, *shape), one.dtype) for one, shape in flat]
    return keras.tree.pack_sequence_as(inputs, symbols)
