"""Keras' callbacks, and ours: ``Checkpoint`` and ``StopOnNaN``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras.callbacks import *  # noqa: F403

from convmill.train.checkpoint.callback import Checkpoint
from convmill.train.guard import StopOnNaN

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


__all__ = ["Checkpoint", "StopOnNaN"]
