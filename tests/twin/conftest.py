"""Float64 on JAX, for the tests that hold the twin against Keras."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture
def double() -> Iterator[None]:
    """JAX computes in float64 where it is asked to, until the test ends."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)
