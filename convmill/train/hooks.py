"""Which callbacks want to hear of every batch. Where none does, an epoch is one native call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import keras
from keras import callbacks

Phase = Literal["train", "test", "predict"]

_HOOKS: dict[Phase, tuple[str, ...]] = {
    "train": ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end"),
    "test": ("on_test_batch_begin", "on_test_batch_end"),
    "predict": ("on_predict_batch_begin", "on_predict_batch_end"),
}
# Keras' callbacks whose batch hook does nothing when they save once an epoch.
_SAVERS = (callbacks.ModelCheckpoint, callbacks.BackupAndRestore)


def hears_batches(found: Iterable[Any], phase: Phase) -> bool:
    """Whether one of the callbacks does something at every batch."""
    return any(_hears(callback, phase) for callback in found)


def _hears(callback: Any, phase: Phase) -> bool:
    if isinstance(callback, callbacks.ProgbarLogger):  # a display, and ours has that part
        return False
    return any(_is_own(callback, name) for name in _HOOKS[phase])


def _is_own(callback: Any, name: str) -> bool:
    method = getattr(callback, name, None)
    plain = getattr(keras.callbacks.Callback, name)
    if method is None or getattr(method, "__func__", method) is plain:
        return False
    for saver in _SAVERS:
        if getattr(method, "__func__", None) is getattr(saver, name):
            return bool(callback.save_freq != "epoch")
    return True
