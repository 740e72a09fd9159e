"""Keras' models, whose ``fit``, ``evaluate`` and ``predict`` run compiled.

``Sequential(...)`` and ``Model(inputs, outputs)`` make models of Keras' own classes: what they save
loads in plain Keras. Classes may derive from them as from Keras', and they serve wherever a class
does: in annotations, ``isinstance`` and ``match``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras.models import *  # noqa: F403

from convmill.train.models import clone_model, load_model, model_from_json, save_model

if TYPE_CHECKING:
    from keras import Model, Sequential

    def __getattr__(name: str) -> Any: ...

else:
    from convmill.train.models import Model, Sequential

__all__ = ["Model", "Sequential", "clone_model", "load_model", "model_from_json", "save_model"]
