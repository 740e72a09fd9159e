"""Keras' saving; the models that it loads run compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras.saving import *  # noqa: F403

from convmill.train.models import (
    deserialize_keras_object,
    load_model,
    load_weights,
    save_model,
    save_weights,
)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


__all__ = [
    "deserialize_keras_object",
    "load_model",
    "load_weights",
    "save_model",
    "save_weights",
]
