"""Keras' regularizers, unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras.regularizers import *  # noqa: F403

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
