"""What variables of Keras on JAX begin with, without compiling.

JAX compiles a function for each shape of zeros or ones, a twentieth of a second each, and for each
that it draws, half a second each, and so for each layer of a new model. Here NumPy makes them.

Of uniform random numbers it computes the same bits: Threefry with 20 rounds (Salmon, Moraes, Dror
and Shaw 2011) of each number's place, of whose bits the upper 23 become a number in [0, 1), scaled
by a multiply-add. That rounds once, or twice where JAX is told to leave most optimizations out.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from operator import index
from typing import Any

import jax
import keras
import numpy as np
from keras.src.backend.jax import random

from convmill.runtime import host

MOST = 1 << 22  # numbers: of more, compiling is the lesser part
_AT_ONCE = 1 << 16  # whose bits stay in the second cache
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)
_KERAS = random.uniform
_ALIKE = {keras.initializers.Zeros: 0.0, keras.initializers.Ones: 1.0}


def install() -> None:
    """Puts into Keras' place what fills with zeros and ones, and ``uniform``, where it draws the
    same bits: where JAX has fused multiply-adds of x86. Starts nothing of JAX."""
    for initializer, number in _ALIKE.items():
        if not hasattr(initializer.__call__, "__wrapped__"):
            initializer.__call__ = _filling(initializer.__call__, number)
    if "avx2" in host.targets():
        random.uniform = uniform


def _filling(keras_fills: Callable[..., Any], number: float) -> Callable[..., Any]:
    """What stands for the call of an initializer that gives every place the same ``number``."""

    @functools.wraps(keras_fills)
    def fill(self: Any, shape: Any, dtype: Any = None) -> Any:
        if _is_float32(dtype) and _are_few(shape):
            # Not by ``jax.device_put``: something in JAX keeps a sharding of it for each model.
            found = jax.numpy.asarray(np.full(tuple(map(index, shape)), number, np.float32))
            if not isinstance(found, jax.core.Tracer):  # else it were a literal in what is traced
                return found
        return keras_fills(self, shape, dtype=dtype)

    return fill


def uniform(
    shape: Any,
    minval: Any = 0.0,
    maxval: Any = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> Any:
    """``keras.random.uniform``, as Keras has it for JAX."""
    key = random.jax_draw_seed(seed)
    if not (_is_float32(dtype) and _is_plain(key) and _is_exact(shape, minval, maxval)):
        return _KERAS(shape, minval, maxval, dtype, key)
    sizes = tuple(map(int, shape))
    return jax.numpy.asarray(drawn(np.asarray(key), sizes, float(minval), float(maxval)))


def _is_float32(dtype: Any) -> bool:
    return str(dtype or keras.config.floatx()) == "float32"


def _is_plain(key: Any) -> bool:
    """Whether a key is two numbers that are known, of the kind whose bits we know."""
    known = not isinstance(key, jax.core.Tracer) and (key.shape, key.dtype) == ((2,), np.uint32)
    config = jax.config
    usual = config.jax_threefry_partitionable and not config.jax_enable_x64
    here = jax.default_backend() == "cpu" and config.jax_default_prng_impl == "threefry2x32"
    return known and usual and here


def _is_exact(shape: Any, minval: Any, maxval: Any) -> bool:
    """Whether these are few numbers, whose products and sums float64 holds exactly."""
    if not all(isinstance(one, int | float) for one in (minval, maxval)):
        return False
    low, high = np.float32(minval), np.float32(maxval)
    width = abs(high - low)
    if not (_are_few(shape) and 2.0**-60 < width < 2.0**60):
        return False
    return bool(low == 0 or 2.0**-20 <= abs(low) / width <= 2.0**6)


def _are_few(shape: Any) -> bool:
    """Whether an array of a shape, which may be none at all, has places, and not very many."""
    try:
        return 0 < math.prod(map(index, shape)) <= MOST
    except (TypeError, ValueError):
        return False


def drawn(key: np.ndarray, shape: tuple[int, ...], minval: float, maxval: float) -> np.ndarray:
    """Numbers in [minval, maxval): float32 of ``shape`` for a ``key``, uint32 (2,)."""
    low, high = np.float32(minval), np.float32(maxval)
    plain = jax.config.read("jax_disable_most_optimizations")
    wide = np.float32 if plain else np.float64
    width, result = wide(high - low), np.empty(math.prod(shape), np.float32)
    for start in range(0, len(result), _AT_ONCE):
        part = result[start : start + _AT_ONCE]
        bits = _threefry(key, np.arange(start, start + len(part), dtype=np.uint32))
        unit = (bits >> np.uint32(9) | np.uint32(0x3F800000)).view(np.float32) - np.float32(1)
        part[:] = np.maximum(unit * width + wide(low), wide(low))
    return result.reshape(shape)


def _threefry(key: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Random bits of places, uint32 both: those of (0, place), both halves in one."""
    keys = (key[0], key[1], key[0] ^ key[1] ^ _PARITY)
    one, other = np.zeros_like(places) + keys[0], places + keys[1]
    for turn in range(5):
        for rotation in _ROTATIONS[turn % 2]:
            one = one + other
            other = other << np.uint32(rotation) | other >> np.uint32(32 - rotation)
            other = one ^ other
        one = one + keys[(turn + 1) % 3]
        other = other + keys[(turn + 2) % 3] + np.uint32(turn + 1)
    return one ^ other
