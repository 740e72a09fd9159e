"""Files that Keras writes: made in memory, and with its question before one is overwritten."""

from __future__ import annotations

import io
from typing import Any

from keras.src.legacy.saving import legacy_h5_format
from keras.src.saving import saving_lib
from keras.src.utils import io_utils


def may_overwrite(path: Any) -> bool:
    """Whether the user says so, who is asked as Keras asks."""
    return bool(io_utils.ask_to_proceed_with_overwrite(str(path)))


def weights_file(model: Any) -> bytes:
    """What ``save_weights`` writes: HDF5, made in memory, for its library does not survive that a
    disk is full."""
    content = io.BytesIO()
    store = saving_lib.H5IOStore(content, mode="w")
    try:
        saving_lib._save_state(model, store, None, inner_path="", visited_saveables=set())
    finally:
        store.close()
    return content.getvalue()


def model_file_h5(model: Any, include_optimizer: bool) -> bytes:
    """What ``save`` writes into a file of Keras' older format, HDF5; made in memory as well."""
    import h5py

    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        legacy_h5_format.save_model_to_hdf5(model, file, include_optimizer=include_optimizer)
    return content.getvalue()
