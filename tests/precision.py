"""Keras on JAX in another precision than float32, for what compiled nets are held against."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import keras


@contextmanager
def precision(dtype: str) -> Iterator[None]:
    """Within, layers that are made and what they compute are of ``dtype``, "float32" or "float64".

    Keras' own normalizations of "float64" are computed in float32 for all that.
    """
    before = keras.config.floatx(), keras.config.dtype_policy()
    jax.config.update("jax_enable_x64", dtype == "float64")
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", False)
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])
